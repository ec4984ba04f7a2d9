"""SIGTERM and SIGHUP, by which a scheduler or a closed terminal ends a process: to a command they are a Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_received: list[int] = []


def ours_to_take() -> list[int]:
    """The signals that end the process and that nobody handles or ignores; none outside the main thread, where none can be handled."""
    if threading.current_thread() is not threading.main_thread():
        return []
    known = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    return [number for number in known if signal.getsignal(number) is signal.SIG_DFL]


@contextmanager
def as_interrupts() -> Iterator[None]:
    """Inside, the first of them raises KeyboardInterrupt, so that what was measured is kept; those that follow do nothing."""
    taken = ours_to_take()
    _received.clear()

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        for each in taken:
            signal.signal(each, signal.SIG_IGN)
        _received.append(number)
        raise KeyboardInterrupt

    for number in taken:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def received() -> int | None:
    """The signal that ends this command; None where it is another's or none has come."""
    return _received[0] if _received else None


def ended_by() -> str:
    """Who ended it, for a record's reason."""
    return f"ended by {signal.Signals(_received[0]).name}" if _received else "interrupted by the user"


def exit_code() -> int:
    """Of a command that was ended: 128 and the signal's number, as a shell gives it."""
    return 128 + (_received[0] if _received else signal.SIGINT)
