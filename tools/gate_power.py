"""How often `compare` calls the same thing different, and how often it finds what is slower: simulated runs whose truth is known.

python -m tools.gate_power

Prints the table of docs/ci.md, in Markdown. Every draw has its seed, so that the table is the same each time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.records.asked import Asked
from bench.records.record import Measurement, Phase
from bench.statistics.comparison import Comparison, compare

PAIRS, SEED = 100, 20260101
BY_TURNS, ONE_AFTER_OTHER = "abbaabbaab", "aaaaabbbbb"
WITHIN_FRACTION = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How the times of both sides are drawn: each run has a level, each step a deviation from it.

    Attributes:
        order: the runs of A and of B, as they follow one another.
        steps: of a run.
        correlation: of a step's deviation, which is 2 % wide, with the one before.
        process_fraction: by how much runs of the same thing differ.
        drift_fraction: by how much each run is slower than the one before.
        walk_fraction: by how much the level of the machine moves from a run to the next, up or down.
        within_fraction: by how much a run gets slower from its first step to its last.
    """

    order: str = "ab"
    steps: int = 60
    correlation: float = 0.4
    process_fraction: float = 0.0
    drift_fraction: float = 0.0
    walk_fraction: float = 0.0
    within_fraction: float = 0.0


SCENES: dict[str, Noise] = {
    "one run each, steps independent": Noise(correlation=0.0),
    "one run each, steps alike (correlation 0.4)": Noise(),
    "one run each, steps much alike (0.9)": Noise(correlation=0.9),
    "one run each that gets 10 % slower from first to last step": Noise(within_fraction=0.1),
    "five runs each by turns, processes 2 % apart": Noise(order=BY_TURNS, process_fraction=0.02),
    "five runs each by turns, processes 5 % apart": Noise(order=BY_TURNS, process_fraction=0.05),
    "three runs each by turns, processes 2 % apart": Noise(order=BY_TURNS[:6], process_fraction=0.02),
    "five runs each by turns, a machine that wanders by 2 % from run to run": Noise(
        order=BY_TURNS, process_fraction=0.01, walk_fraction=0.02
    ),
    "one run each, processes 2 % apart": Noise(process_fraction=0.02),
    "five runs of A, then five of B, a machine that gets 1 % slower each run": Noise(
        order=ONE_AFTER_OTHER, process_fraction=0.01, drift_fraction=0.01
    ),
}


def _times(draw: np.random.Generator, noise: Noise, level: float) -> npt.NDArray[np.float64]:
    """Times of one run, in seconds, about exp(level)."""
    r = noise.correlation
    steps = draw.standard_normal(noise.steps)
    steps[0] /= math.sqrt(1 - r * r)
    for at in range(1, noise.steps):
        steps[at] += r * steps[at - 1]
    within = noise.within_fraction * np.arange(noise.steps) / noise.steps
    return np.exp(level + within + WITHIN_FRACTION * steps)


def _run(samples_s: npt.NDArray[np.float64], number: int) -> Measurement:
    phase = Phase(name="train_step", samples_s=tuple(samples_s.tolist()))
    asked = Asked(model="simulated", task="train")
    return Measurement(run_id=f"run-{number}", created_utc="", status="complete", request=asked, phases=(phase,))


def comparisons(noise: Noise, factor: float, pairs: int = PAIRS, threshold_fraction: float = 0.03) -> Iterator[Comparison]:
    """Comparisons of sides of which B takes `factor` times as long as A, else alike."""
    draw = np.random.default_rng(SEED)
    for _ in range(pairs):
        machine, sides = 0.0, {"a": [], "b": []}  # type: tuple[float, dict[str, list[Measurement]]]
        for number, side in enumerate(noise.order):
            level = machine + noise.process_fraction * draw.standard_normal() + (math.log(factor) if side == "b" else 0.0)
            sides[side].append(_run(_times(draw, noise, level), number))
            machine += noise.drift_fraction + noise.walk_fraction * draw.standard_normal()
        yield compare(sides["a"], sides["b"], main_phase={"train": "train_step"}, threshold_fraction=threshold_fraction)


def share(noise: Noise, factor: float, verdicts: tuple[str, ...], *, pairs: int = PAIRS, threshold_fraction: float = 0.03) -> float:
    """Share of comparisons that end in one of the verdicts."""
    return sum(each.verdict in verdicts for each in comparisons(noise, factor, pairs, threshold_fraction)) / pairs


def main() -> None:
    """Print the table."""
    print(f"### Of {PAIRS} comparisons each\n")
    print("| what is compared | called different, though the same | 10 % slower is found |")
    print("|---|---:|---:|")
    for name, noise in SCENES.items():
        false = share(noise, 1.0, ("SLOWER", "FASTER"))
        print(f"| {name} | {100 * false:.0f} % | {100 * share(noise, 1.1, ('SLOWER',)):.0f} % |")


if __name__ == "__main__":
    main()
