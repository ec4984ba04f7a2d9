"""fit: does a fine-tuning fit on a device, how far is it from that, and what may nvidia-smi show."""

from __future__ import annotations

import math
from typing import Literal

from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.spec import Hardware
from estimators.tuning.coverage import not_covered
from estimators.tuning.job import TuningJob
from estimators.tuning.memory import JobMemory, Moment, memory_of_job
from estimators.units import GIBI

Verdict = Literal["FITS", "TIGHT", "NO"]

FITS_BELOW, FITS_BELOW_SHARDED, TIGHT_TO = 0.87, 0.80, 0.95
"""Shares of the memory that the driver shows. What comes and goes has to stay below the first, or below
the second under FSDP, whose gathered layers cut memory up; state that stays where it is only below the third, as everything together.

Source: runs of fms-acceleration on A100-80 (scripts/benchmarks/refs): with more than 94.7 % predicted, 70 of 75 that ran out of memory
and none of 162 others are named.
"""

ASSUMED_FACTOR = 1.10
"""By how much more is asked for where nobody named the framework: the same words differ by more than that between frameworks."""

UNCOVERED_FACTOR = 1.28
"""By how much the upper end is higher where a part of the model has no checked law, and by its root more is asked for: small models of
such layers kept up to 22 % more in torch than is said."""

CONTEXT_LOW_BYTES, CONTEXT_HIGH_BYTES = 141 * 2**20, 0.92 * GIBI
"""The driver's context and the workspaces of libraries, outside the allocator. Source: fitcheck on a T4; fms-acceleration on an A100-80."""

SMI_FACTOR, SMI_FACTOR_SHARDED = 1.64, 1.70
"""nvidia-smi over allocated, nine runs of ten below it, on one device and under FSDP: a property of the allocator's past, not of the job.

Source: both meters of the same runs of fms-acceleration.
"""

SMI_MEDIAN, SMI_MEDIAN_SHARDED = 1.25, 1.39
"""The same, the middle of those runs."""

RESERVED_LOW, RESERVED_MEDIAN, RESERVED_HIGH = 1.05, 1.10, 1.19
"""torch.cuda.max_memory_reserved over allocated, for passes of one shape under a fused attention. Source: fitcheck, both meters."""

STAYS = ("weights", "edges", "adapters", "reference", "masters", "gradients", "optimizer", "step", "kv_cache", "engine")
"""Parts that lie where they are from step to step, or are taken once a step in the same sizes."""


@frozen
class Fit:
    """One job on one kind of device.

    Attributes:
        memory: of the fullest device and of the host.
        needed_bytes: of a device on which it fits: allocated and a reserve, at the moment that asks for most.
        verdict: FITS, TIGHT, or NO.
    """

    job: TuningJob
    hardware: Hardware
    memory: JobMemory
    needed_bytes: float
    verdict: Verdict

    @property
    def decides(self) -> Moment:
        """The moment that decides."""
        return self.memory.fullest

    @property
    def allocated_bytes(self) -> float:
        """At that moment, as torch.cuda.max_memory_allocated counts."""
        return self.memory.allocated_bytes

    @property
    def allocated_interval_bytes(self) -> tuple[float, float]:
        """Its 80 % interval, wider where nobody named the framework."""
        low, high = interval_of(self.job)
        return self.allocated_bytes * low, self.allocated_bytes * high

    @property
    def reserve_bytes(self) -> float:
        """What is asked for beside it: the context, fragments of what comes and goes, and doubt where the framework was assumed."""
        return self.needed_bytes - self.allocated_bytes

    @property
    def reserve(self) -> dict[str, float]:
        """The reserve by what it is for: bytes by name."""
        doubt = self.needed_bytes * (1 - 1 / doubt_factor(self.job))
        context = min(float(CONTEXT_HIGH_BYTES), max(0.0, self.reserve_bytes - doubt))
        parts = {
            "context": context,
            "fragments": self.reserve_bytes - doubt - context,
            "doubt": doubt,
        }
        return {name: size for name, size in parts.items() if size}

    @property
    def share(self) -> float:
        """Allocated of the device's memory."""
        return self.allocated_bytes / self.hardware.memory_bytes

    @property
    def left_bytes(self) -> float:
        """Of the device, beside what is needed; negative where it lacks."""
        return self.hardware.memory_bytes - self.needed_bytes

    @property
    def smi_bytes(self) -> tuple[float, float]:
        """What nvidia-smi may show, from and to."""
        factor = SMI_FACTOR_SHARDED if self.job.sharding == "fsdp" else SMI_FACTOR
        high = min(float(self.hardware.memory_bytes), self.allocated_bytes * factor + CONTEXT_HIGH_BYTES)
        low = self.allocated_bytes + CONTEXT_LOW_BYTES
        return low, max(low, high)


def metered_bytes(job: TuningJob, allocated_bytes: float, meter: str) -> tuple[float, float, float]:
    """Low, middle and high of what a meter reads of a job.

    Args:
        meter: allocated, reserved or nvidia-smi; any other may be any of them.
    """
    low, high = (allocated_bytes * factor for factor in interval_of(job))
    sharded = job.sharding == "fsdp"
    if meter == "allocated":
        return low, allocated_bytes, high
    if meter == "reserved":
        return low * RESERVED_LOW, allocated_bytes * RESERVED_MEDIAN, high * RESERVED_HIGH
    if meter == "nvidia-smi":
        middle = allocated_bytes * (SMI_MEDIAN_SHARDED if sharded else SMI_MEDIAN)
        return allocated_bytes + CONTEXT_LOW_BYTES, middle, allocated_bytes * (SMI_FACTOR_SHARDED if sharded else SMI_FACTOR)
    return low, allocated_bytes * RESERVED_MEDIAN, allocated_bytes * (SMI_FACTOR_SHARDED if sharded else SMI_FACTOR)


INTERVALS = {"one": (0.97, 1.21), "several": (0.98, 1.03), "assumed": (0.73, 1.21)}
"""Factors on predicted allocated memory that held 80 % of measured rows, each source weighing the same: on one device, on several, and
where nobody named the framework. The last reaches as far up as the first.
Written down from the rows that `validate --task fit` scores; a test computes them anew."""


def interval_of(job: TuningJob) -> tuple[float, float]:
    """Factors of a job's 80 % interval of allocated memory; further up where a part of the model has no checked law."""
    low, high = INTERVALS["assumed" if job.is_recipe_assumed else "one" if job.num_gpus == 1 else "several"]
    return (low / UNCOVERED_FACTOR, high * UNCOVERED_FACTOR) if not_covered(job) else (low, high)


RESERVE = {
    "context": "the driver's context and workspaces of libraries, outside of the allocator",
    "fragments": "memory cut up by what comes and goes",
    "doubt": "no framework named, or a part of the model without a checked law",
}
"""What is asked for beside what is allocated."""


def doubt_factor(job: TuningJob) -> float:
    """By how much more is asked for, where the framework was assumed or a part of the model has no checked law."""
    return (ASSUMED_FACTOR if job.is_recipe_assumed else 1.0) * (math.sqrt(UNCOVERED_FACTOR) if not_covered(job) else 1.0)


def needed_bytes(job: TuningJob, moment: Moment) -> float:
    """Memory of a device on which a moment fits: what stays and what comes and goes, each over its share."""
    stays = sum(size for name, size in moment.parts.items() if name in STAYS)
    below = FITS_BELOW_SHARDED if job.sharding in ("fsdp", "zero-3") else FITS_BELOW
    return (stays / TIGHT_TO + (moment.total_bytes - stays) / below) * doubt_factor(job)


def fit(job: TuningJob, hardware: Hardware) -> Fit:
    """Whether a job fits on each of its devices.

    FITS below 87 % of the driver's memory (80 % under FSDP), and above as far as what fills it is state that never moves; TIGHT to
    95 %; else NO.

    Raises:
        BadValueError: a model that is no decoder or lacks what the method names, a number format that the device has none of, a sample that
            is longer than the model has positions.
    """
    demand_dtype(job, hardware)
    demand_positions(job)
    memory = memory_of_job(job, hardware.memory_bytes)
    needs = max(needed_bytes(job, moment) for moment in memory.moments)
    verdict: Verdict = "NO"
    if needs <= hardware.memory_bytes:
        verdict = "FITS"
    elif memory.allocated_bytes <= TIGHT_TO * hardware.memory_bytes:
        verdict = "TIGHT"
    return Fit(job=job, hardware=hardware, memory=memory, needed_bytes=needs, verdict=verdict)


def demand_positions(job: TuningJob) -> None:
    """Refuse samples that are longer than a model's table of positions. Raises BadValueError."""
    if job.model.positions and job.seq_len > job.model.positions:
        raise BadValueError(
            f"a sample of {job.seq_len:,} tokens is more than the {job.model.positions:,} positions that {job.model.name} has; "
            "give at most that, by --seq-len"
        )


def demand_dtype(job: TuningJob, hardware: Hardware) -> None:
    """Refuse a number format that a device does not multiply in. Raises BadValueError."""
    if job.dtype not in hardware.peak_flop_per_s:
        have = ", ".join(name for name in ("bf16", "fp16", "fp32") if name in hardware.peak_flop_per_s)
        raise BadValueError(f"{hardware.id} does not multiply in {job.dtype}; it does in {have}: give --precision")
