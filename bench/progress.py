"""What a person sees while something long runs: one line on stderr, rewritten between two steps; nothing where nobody watches.

Nothing runs beside the step: no thread refreshes the line, so it costs the loop and never a sample. It is written by
hand because a library's bar takes half a millisecond to draw, which is more than 1 % of ten short steps.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from bench import stats
from bench.timing import OnSample
from estimators.units import format_duration

REDRAW_S = 0.2

Show = Callable[[Callable[[], str]], None]
"""Takes what makes the line's text, and calls it only when the line is drawn."""


@contextmanager
def line(*, shown: bool = True, stream: TextIO | None = None, now: Callable[[], float] = time.monotonic) -> Iterator[Show | None]:
    """One line, drawn a few times a second at most and wiped at the end. Yields None where nobody watches.

    Args:
        shown: False draws nothing, as on all ranks but the first.
        stream: where to draw; None takes stderr. Nothing is drawn on what is no terminal.
        now: monotonic time in seconds.
    """
    out = sys.stderr if stream is None else stream
    if not (shown and out.isatty()):
        yield None
        return
    next_at_s = now()

    def show(text: Callable[[], str]) -> None:
        nonlocal next_at_s
        if now() < next_at_s:
            return
        next_at_s = now() + REDRAW_S
        out.write(f"\r\x1b[K{text()}")
        out.flush()

    try:
        yield show
    finally:
        out.write("\r\x1b[K")
        out.flush()


@contextmanager
def sampling(
    name: str, *, max_samples: int, shown: bool = True, stream: TextIO | None = None, now: Callable[[], float] = time.monotonic
) -> Iterator[OnSample | None]:
    """Yields what `bench.timing.sample` calls as `on_sample`; None where nobody watches (stderr is no terminal).

    Args:
        name: of the phase.
        max_samples: what the loop is asked for.
        shown, stream, now: see `line`.
    """
    with line(shown=shown, stream=stream, now=now) as show:
        if show is None:
            yield None
            return
        draw = show
        taken: dict[str, list[float]] = {"warmup": [], "steady": []}

        def on_sample(kind: str, seconds: float) -> None:
            taken[kind].append(seconds)
            draw(lambda: _state(name, kind, taken, max_samples))

        yield on_sample


def _state(name: str, kind: str, taken: dict[str, list[float]], max_samples: int) -> str:
    steady = taken["steady"]
    state = f"{len(steady)} of at most {max_samples}" if steady else f"warming up, {len(taken['warmup'])}"
    return f"{name}: {state}, {format_duration(stats.median(taken[kind]))} each"
