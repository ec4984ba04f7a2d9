"""What a person sees while something long runs: one line on stderr, rewritten between two steps; nothing where nobody watches.

Nothing runs beside the step: no thread refreshes the line, so it costs the loop and never a sample. It is written by
hand because a library's bar takes half a millisecond to draw, which is more than 1 % of ten short steps.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from bench import streams, terminal
from estimators.printable import cut, printable

REDRAW_S = 0.2
USUAL_COLUMNS = 80

Show = Callable[[Callable[[], str]], None]
"""Takes what makes the line's text, and calls it only when the line is drawn."""


@contextmanager
def line(*, shown: bool = True, stream: TextIO | None = None, now: Callable[[], float] = time.monotonic) -> Iterator[Show | None]:
    """One line, drawn a few times a second at most and wiped at the end. Yields None where nobody watches.

    Args:
        shown: False draws nothing, as on all ranks but the first.
        stream: where to draw; None takes stderr. Nothing is drawn on what is not a terminal, or one that cannot erase a line.
        now: monotonic time in seconds.
    """
    out = sys.stderr if stream is None else stream
    if not (shown and terminal.takes_commands(out)):
        yield None
        return
    next_at_s = now()

    def show(text: Callable[[], str]) -> None:
        nonlocal next_at_s
        if now() < next_at_s:
            return
        next_at_s = now() + REDRAW_S
        # the last column stays free: some terminals go to the next line as soon as it is filled
        _draw(out, cut(printable(text()), (terminal.num_columns(out) or USUAL_COLUMNS) - 1))

    try:
        yield show
    finally:
        _draw(out, "")


def _draw(stream: TextIO, text: str) -> None:
    """Nothing where the terminal has gone: what runs goes on."""
    with suppress(OSError, ValueError):
        streams.write(stream, f"\r\x1b[K{text}", "backslashreplace")
