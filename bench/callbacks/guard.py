"""The one boundary between the meters and a training that is not ours: an error of ours never crosses it."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from bench.streams import say

P = ParamSpec("P")
T = TypeVar("T")
Event = TypeVar("Event", bound=Callable[..., Any])

WHOLE = "watching"
"""The figure of all figures: where it fails, no further event is watched and the record has what came before."""

SIZE = "batch size"
"""The figure of rows, tokens and samples."""

MAX_REASON = 300
"""Characters of an error that a record keeps."""


class Guard:
    """Runs what reads a training, so that an error of ours costs a figure and never the training.

    A meter that raised is off from then on: its reason is said once on stderr and stands in the record, and the other
    meters go on. Ctrl-C, SystemExit and what a signal handler of the user raised pass. What the training itself raises
    is not raised in here.

    Attributes:
        failed: figure that is unavailable -> why.
    """

    def __init__(self) -> None:
        self.failed: dict[str, str] = {}
        self._said: set[str] = set()

    def __call__(self, figure: str, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """What a meter reads; None where it fails now or has failed before."""
        if figure in self.failed:
            return None
        try:
            return read(*args, **kwargs)
        except Exception as error:
            self.fail(figure, error)
            return None

    def attempt(self, deed: str, do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """What may succeed another time, such as writing to a disk that is full: its failure is said once and no figure is lost."""
        try:
            return do(*args, **kwargs)
        except Exception as error:
            _let_the_users_own_pass(error)
            self._say(f"{deed} failed", reason_of(error))
            return None

    def fail(self, figure: str, error: Exception) -> None:
        """A figure is unavailable from now on; raises what was not ours."""
        _let_the_users_own_pass(error)
        self.failed[figure] = reason_of(error)
        self._say(f"{figure} is unavailable", self.failed[figure])

    def _say(self, what: str, reason: str) -> None:
        if what in self._said:
            return
        self._said.add(what)
        try:
            say(f"sixnd: {what}, the training goes on: {reason}")
        except Exception as error:  # there is nowhere to say it; the record has it
            _let_the_users_own_pass(error)


def event(method: Event) -> Event:
    """An event of a training, taken by a method of a class with a `_guard`: an error that no meter's own call held ends the watching.

    From then on its events do nothing and return None.
    """

    @functools.wraps(method)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        guard: Guard = self._guard
        if WHOLE in guard.failed:
            return None
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            guard.fail(WHOLE, error)
            return None

    return cast(Event, guarded)


def reason_of(error: BaseException) -> str:
    """One line of an error: its text, and its class where it is none of ours."""
    try:
        text = " ".join(str(error).split())[:MAX_REASON]
    except Exception:  # somebody's error may fail to tell itself
        text = ""
    return text if text and type(error).__module__ == "estimators.errors" else f"{type(error).__name__}: {text}".rstrip(": ")


def _let_the_users_own_pass(error: Exception) -> None:
    """Raise again what a signal handler of the user raised while a meter ran."""
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    codes = {_code_of(handler) for handler in handlers if callable(handler)} - {None}
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code in codes:
            raise error
        trace = trace.tb_next


def _code_of(handler: Any) -> Any:
    while isinstance(handler, functools.partial):
        handler = handler.func
    function = getattr(handler, "__func__", handler)
    return getattr(function, "__code__", None) or getattr(type(handler).__call__, "__code__", None)
