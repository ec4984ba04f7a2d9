"""From a model and a token budget to FLOP, GPU-days, wall days, energy and money; and back from a claim."""

from __future__ import annotations

import math

from estimators.cost.layout import MAX_DEVICES
from estimators.counting.conventions import CONVENTIONS, convention, step_flop
from estimators.counting.estimate import count_active_params, count_params, memory
from estimators.counting.formulas import six_nd
from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.spec import Hardware, Model, Workload
from estimators.units import DAY_S, HOUR_S


@frozen
class TrainingRun:
    """What a whole training costs at a stated utilisation.

    Attributes:
        training_flop: by convention; `6nd` beside them.
        convention: the one that `utilization` counts.
        gpu_seconds: device time, all devices together.
        wall_s: device time over the number of devices.
        energy_j: at the board's power limit, an upper figure for the boards alone; None where it is unpublished.
    """

    params: int
    tokens: int
    seq_len: int
    training_flop: dict[str, int]
    convention: str
    utilization: float
    num_devices: int
    gpu_seconds: float
    wall_s: float
    energy_j: float | None

    @property
    def gpu_days(self) -> float:
        """Device time in days."""
        return self.gpu_seconds / DAY_S

    @property
    def gpu_hours(self) -> float:
        """Device time in hours."""
        return self.gpu_seconds / HOUR_S

    @property
    def tokens_per_s(self) -> float:
        """Throughput of all devices together."""
        return self.tokens / self.wall_s


def training_flop(model: Model, tokens: int, seq_len: int) -> dict[str, int]:
    """FLOP of training on `tokens` tokens in sequences of `seq_len`, under every convention and by 6·N·D.

    One sequence is counted exactly and multiplied by the number of sequences; a last, shorter sequence counts in
    proportion, rounded down. `hardware` is with full recomputation; N of `6nd` are the parameters that a token uses.

    Args:
        tokens: a whole number of tokens.
        seq_len: tokens per sequence.
    """
    plain = Workload(phase="train", seq_len=seq_len)
    recomputing = Workload(phase="train", seq_len=seq_len, recompute="full")
    ops = model.ops(plain)
    per_sequence = step_flop(ops, plain)
    per_sequence["hardware"] = step_flop(model.ops(recomputing), recomputing)["hardware"]
    return {name: flop * tokens // seq_len for name, flop in per_sequence.items()} | {"6nd": six_nd(count_active_params(ops), tokens)}


def training_state_bytes(model: Model, dtype: str) -> int:
    """What training one replica holds besides activations: weights, gradients, optimizer state, low-precision copies.

    Models of samples of numbers are trained with plain gradient descent, all others with AdamW. Of a decoder that is trained in part,
    what a fine-tuning of it holds while its optimizer steps.
    """
    if model.base is not model:
        from estimators.tuning.single_step import state_of_step  # deferred: other models do without it

        if (state := state_of_step(model, dtype)) is not None:
            return state
    workload = Workload(phase="train", dtype=dtype, optimizer="sgd" if model.item == "sample" and model.sample is None else "adamw")
    parts = memory(model.ops(workload), workload)
    return sum(size for part, size in parts.items() if part != "activations")


def check_utilization(utilization: float) -> None:
    """Demand 0 < utilization <= 1. Raises BadValueError."""
    if not 0 < utilization <= 1:
        raise BadValueError(f"utilization {utilization:g} is out of range; expected a fraction of peak above 0 and up to 1, such as 0.4")


def check_devices(num_devices: int) -> None:
    """Demand a number of devices in range. Raises BadValueError."""
    if not 1 <= num_devices <= MAX_DEVICES:
        raise BadValueError(f"{num_devices:,} devices is out of range; expected a whole number from 1 to {MAX_DEVICES:,}")


def training_run(
    model: Model,
    *,
    tokens: int,
    seq_len: int,
    hardware: Hardware,
    num_devices: int,
    utilization: float,
    dtype: str = "bf16",
    counted_as: str = "full",
) -> TrainingRun:
    """GPU-seconds = FLOP / (peak · utilization); wall = GPU-seconds / devices; energy = power limit · GPU-seconds.

    Args:
        utilization: share of the dense peak that the run reaches, counted under `counted_as`; 0..1.
        dtype: whose peak counts.

    Raises:
        BadValueError: utilization or devices out of range, or no peak for the dtype.
        UnknownNameError: no such convention.
    """
    check_utilization(utilization)
    flop = training_flop(model, tokens, seq_len)
    counted = counted_as if counted_as == "6nd" else convention(counted_as).name
    gpu_seconds = flop[counted] / (hardware.peak(dtype) * utilization)
    return timed_run(
        model,
        tokens=tokens,
        seq_len=seq_len,
        hardware=hardware,
        num_devices=num_devices,
        gpu_seconds=gpu_seconds,
        utilization=utilization,
        counted_as=counted,
    )


def timed_run(
    model: Model,
    *,
    tokens: int,
    seq_len: int,
    hardware: Hardware,
    num_devices: int,
    gpu_seconds: float,
    utilization: float,
    counted_as: str,
) -> TrainingRun:
    """What a training costs that takes so much device time, all devices together.

    Args:
        utilization: the share of peak that follows from it; above 1 where the convention counts what no kernel runs.

    Raises:
        BadValueError: devices out of range.
    """
    check_devices(num_devices)
    return TrainingRun(
        params=count_params(model.ops(Workload(phase="train", seq_len=seq_len))),
        tokens=tokens,
        seq_len=seq_len,
        training_flop=training_flop(model, tokens, seq_len),
        convention=counted_as,
        utilization=utilization,
        num_devices=num_devices,
        gpu_seconds=gpu_seconds,
        wall_s=gpu_seconds / num_devices,
        energy_j=None if hardware.power_w is None else hardware.power_w * gpu_seconds,
    )


def implied_utilization(flop: int, *, hardware: Hardware, num_devices: int, wall_s: float, dtype: str = "bf16") -> float:
    """The share of peak that a claimed run implies: FLOP / (devices · seconds · peak); above 1 is let through, for the caller to judge.

    >>> from estimators.facts.registry import hardware
    >>> a100 = hardware("a100-sxm4-80gb")
    >>> round(implied_utilization(312 * 10**12 * 86400, hardware=a100, num_devices=2, wall_s=86400), 12)
    0.5
    """
    check_devices(num_devices)
    return flop / (num_devices * wall_s * hardware.peak(dtype))


def tokens_for_budget(
    model: Model, *, seq_len: int, hardware: Hardware, gpu_seconds: float, utilization: float, dtype: str = "bf16", counted_as: str = "full"
) -> int:
    """How many tokens fit a budget of device time: budget · peak · utilization / FLOP per token, rounded down.

    Args:
        utilization: that training_run took, or that follows from a prediction.
    """
    per_sequence = training_flop(model, seq_len, seq_len)[counted_as]
    return int(gpu_seconds * hardware.peak(dtype) * utilization / per_sequence * seq_len)


def devices_for_deadline(
    model: Model,
    *,
    tokens: int,
    seq_len: int,
    hardware: Hardware,
    wall_s: float,
    utilization: float,
    dtype: str = "bf16",
    counted_as: str = "full",
) -> int:
    """How many devices finish in time: FLOP / (peak · utilization · seconds), rounded up.

    Args:
        utilization: that training_run took, or that follows from a prediction.
    """
    needed = training_flop(model, tokens, seq_len)[counted_as] / (hardware.peak(dtype) * utilization * wall_s)
    return max(1, math.ceil(needed - 1e-9))


COUNTED_AS = (*CONVENTIONS, "6nd")
"""What a utilization may be counted under."""
