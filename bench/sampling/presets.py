"""How thorough a run is: named sets of caps and targets of the sampling loop, and what is measured beside it.

`--steps` and `--max-time` override a preset's caps; the record holds the preset's name and every value that it stood for.
"""

from __future__ import annotations

from bench.records.asked import Preset
from estimators.errors import UnknownNameError

DEFAULT = "standard"


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

QUICK = STANDARD.replaced(
    about="a first look: few samples, a wide target, the instruments' own cost not measured",
    max_samples={"cpu": 3, "cuda": 20, "mps": 10},
    warmup_max={"cpu": 1, "cuda": 10, "mps": 10},
    target_fraction=0.05,
    max_time_s=20.0,
    idle_s=1.0,
    overhead_rounds=0,
)

RIGOROUS = STANDARD.replaced(
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
