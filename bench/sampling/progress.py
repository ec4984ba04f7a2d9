"""How far the sampling of a phase is, on one line while it lasts: the running estimate with its interval, and the time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from bench.sampling.live_line import line
from bench.sampling.timing_loop import OnSample
from bench.statistics import robust
from estimators.units import format_duration

LATEST = 200


@contextmanager
def sampling(
    name: str,
    *,
    max_samples: int,
    max_time_s: float | None = None,
    shown: bool = True,
    stream: TextIO | None = None,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[OnSample | None]:
    """Yields what `bench.sampling.timing_loop.sample` calls as `on_sample`; None where nobody watches (stderr is not a terminal).

    Args:
        name: of the phase.
        max_samples, max_time_s: what the loop is asked for.
        shown, stream, now: see `line`.
    """
    with line(shown=shown, stream=stream, now=now) as show:
        if show is None:
            yield None
            return
        draw, start_s = show, now()
        samples_s: dict[str, list[float]] = {"warmup": [], "steady": []}

        def on_sample(kind: str, seconds: float) -> None:
            samples_s[kind].append(seconds)
            draw(lambda: _state(name, kind, samples_s, max_samples, None if max_time_s is None else start_s + max_time_s - now()))

        yield on_sample


def _state(name: str, kind: str, samples_s: dict[str, list[float]], max_samples: int, budget_s: float | None) -> str:
    """How far the loop is, its running estimate with the 95 % interval, and the time left at most.

    Estimate and interval are of the latest samples: the whole of a long run would take long to sort, again and again.
    """
    steady, latest_s = samples_s["steady"], samples_s[kind][-LATEST:]
    each_s = robust.median(latest_s)
    if not steady:
        return f"{name}: warming up, {len(samples_s['warmup'])}, {format_duration(each_s)} each"
    interval = robust.median_interval(latest_s)
    within = "" if interval is None else f" (95 %: {format_duration(interval[0])} to {format_duration(interval[1])})"
    left_s = (max_samples - len(steady)) * each_s
    left_s = left_s if budget_s is None else max(0.0, min(left_s, budget_s))
    left = f", {format_duration(left_s)} left at most" if left_s > 0 else ""
    return f"{name}: {len(steady)} of at most {max_samples}, {format_duration(each_s)} each{within}{left}"
