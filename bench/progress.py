"""What a person sees while samples are taken: one line on stderr, rewritten between samples.

Nothing runs beside the step: no thread refreshes the line, so it costs the sampling loop and never a sample.
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


@contextmanager
def sampling(
    name: str, *, max_samples: int, stream: TextIO | None = None, now: Callable[[], float] = time.monotonic
) -> Iterator[OnSample | None]:
    """Yields what `bench.timing.sample` calls as `on_sample`; None where nobody watches (stderr is no terminal).

    Args:
        name: of the phase.
        max_samples: what the loop is asked for.
        stream: where to draw; None takes stderr.
        now: monotonic time in seconds.
    """
    out = sys.stderr if stream is None else stream
    if not out.isatty():
        yield None
        return
    taken: dict[str, list[float]] = {"warmup": [], "steady": []}
    next_at_s = now()

    def show(kind: str, seconds: float) -> None:
        nonlocal next_at_s
        taken[kind].append(seconds)
        if now() < next_at_s:
            return
        next_at_s = now() + REDRAW_S
        steady = taken["steady"]
        typical = format_duration(stats.median(taken[kind]))
        state = f"{len(steady)} of at most {max_samples}" if steady else f"warming up, {len(taken['warmup'])}"
        out.write(f"\r\x1b[K{name}: {state}, {typical} each")
        out.flush()

    try:
        yield show
    finally:
        out.write("\r\x1b[K")
        out.flush()
