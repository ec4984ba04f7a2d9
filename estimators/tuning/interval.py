"""How far a predicted step of fine-tuning may be off: what steps were missed by on sources that no constant had seen."""

from __future__ import annotations

import functools
import math

from estimators.facts import data
from estimators.frozen import frozen
from estimators.training.interval import BAD_COVERAGE, BAD_MEDIAN
from estimators.tuning.job import TuningJob

ASSUMED = 1.1
"""Factor on both ends where nobody named the framework: half of what the same words differ by between frameworks whose adapters are
fp32 or 16-bit ones. Assumed."""


CLASSES = {"alone": "on one device", "several": "on several devices, which wait for one another"}
"""Classes of jobs, each with an interval of its own."""


def class_of(job: TuningJob) -> str:
    """The class of a job, one of CLASSES."""
    return "alone" if job.num_gpus == 1 else "several"


STEP_CLASSES = {f"fine-tuning-{name}": f"fine-tuning {text.partition(',')[0]}" for name, text in CLASSES.items()}
"""What the steps of each are called among those of all trainings."""


def step_class(job: TuningJob) -> str:
    """The class of a job's step, one of STEP_CLASSES."""
    return f"fine-tuning-{class_of(job)}"


@frozen
class TrackRecord:
    """What measured steps were missed by.

    Attributes:
        rows, sources: measured steps, and who measured.
        median_error: of the absolute relative error, median over sources.
        coverage: share of rows that the interval held, each by ends that had not seen its source.
        low, high: of the logarithm of measured over predicted, what 80 % of the rows lie between.
    """

    rows: int
    sources: int
    median_error: float
    coverage: float
    low: float
    high: float

    @property
    def is_bad(self) -> bool:
        """Whether they were missed by much, or lay outside the interval too often."""
        return self.median_error > BAD_MEDIAN or self.coverage < BAD_COVERAGE


@functools.cache
def _records() -> dict[str, dict[str, float]]:
    body: dict[str, dict[str, float]] = data.read_json(data.file("tuning_record.json"))
    return body


def track_record(kind: str = "all") -> TrackRecord | None:
    """Of all rows (`all`), of a class, or of those that one step of the same job calibrates (`calibrated`); None where there is none."""
    found = _records().get(kind)
    return TrackRecord(**found) if found else None  # type: ignore[arg-type]


def interval(job: TuningJob, *, calibrated: bool = False) -> tuple[float, float]:
    """Factors on a predicted step time, below and above; wider where nobody named the framework.

    Args:
        calibrated: whether one step of the user's own scaled it.
    """
    record = track_record("calibrated" if calibrated else class_of(job))
    low, high = (record.low, record.high) if record else (-0.3, 0.3)
    room = 1.0 if calibrated or not job.is_recipe_assumed else ASSUMED
    return math.exp(min(0.0, low)) / room, math.exp(max(0.0, high)) * room
