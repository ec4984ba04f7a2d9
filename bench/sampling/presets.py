"""How thorough a run is: named sets of caps and targets of the sampling loop, and what is measured beside it.

`--steps` and `--max-time` override a preset's caps; the record holds the preset's name and every value that it stood for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from bench.records.asked import PresetValues
from estimators.errors import UnknownNameError

DEFAULT = "standard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Caps and targets. Counts by kind of device, because a step on a GPU is a hundred times shorter.

    Attributes:
        about: what it is for, in a line.
        max_samples, warmup_max: steady and warm-up samples at most.
        min_samples: steady samples before the target may stop the loop.
        target_fraction: half width of the median's 95 % interval, as a share of the median, that is narrow enough.
        max_time_s: for warm-up and sampling of one phase.
        spread_fraction: robust relative spread of the main phase's samples above which the run fails its check of stability.
        strict: whether a warm-up that never settled, a thermal slowdown or a busy processor fail the run, too.
        idle_s: how long the idle power is read before the run.
        overhead_rounds: rounds with the instruments on and off, to measure what they cost; 0 leaves it unmeasured.
        repeats: runs in fresh processes.
    """

    about: str
    max_samples: Mapping[str, int]
    warmup_max: Mapping[str, int]
    min_samples: int
    target_fraction: float
    max_time_s: float
    spread_fraction: float
    strict: bool
    idle_s: float
    overhead_rounds: int
    repeats: int

    def values(self) -> PresetValues:
        """What a record keeps of it."""
        return PresetValues(**dataclasses.asdict(self) | {"max_samples": dict(self.max_samples), "warmup_max": dict(self.warmup_max)})


STANDARD = Preset(
    about="the default: samples until the median is known to 1 %, or a minute",
    max_samples={"cpu": 5, "cuda": 50, "mps": 20},
    warmup_max={"cpu": 3, "cuda": 20, "mps": 20},
    min_samples=3,
    target_fraction=0.01,
    max_time_s=60.0,
    spread_fraction=0.5,
    strict=False,
    idle_s=2.0,
    overhead_rounds=6,
    repeats=1,
)

QUICK = dataclasses.replace(
    STANDARD,
    about="a first look: few samples, a wide target, the instruments' own cost not measured",
    max_samples={"cpu": 3, "cuda": 20, "mps": 10},
    warmup_max={"cpu": 1, "cuda": 10, "mps": 10},
    target_fraction=0.05,
    max_time_s=20.0,
    idle_s=1.0,
    overhead_rounds=0,
)

RIGOROUS = dataclasses.replace(
    STANDARD,
    about="to publish or to compare: three fresh processes, 0.5 %, and a disturbed run fails",
    max_samples={"cpu": 30, "cuda": 300, "mps": 100},
    warmup_max={"cpu": 12, "cuda": 60, "mps": 60},
    min_samples=10,
    target_fraction=0.005,
    max_time_s=300.0,
    spread_fraction=0.1,
    strict=True,
    idle_s=5.0,
    overhead_rounds=30,
    repeats=3,
)

PRESETS: dict[str, Preset] = {"quick": QUICK, "standard": STANDARD, "rigorous": RIGOROUS}
"""From the least thorough to the most."""


def preset(name: str) -> Preset:
    """One preset by name.

    Raises:
        UnknownNameError: there is none of that name.
    """
    if name not in PRESETS:
        raise UnknownNameError("preset", name, PRESETS, "python -m bench run --help")
    return PRESETS[name]
