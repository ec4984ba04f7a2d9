"""A claimed training held against every convention, against the published runs and against physics."""

from __future__ import annotations

import math
from typing import Literal

from estimators.architectures.adapters import FineTuned
from estimators.architectures.decoder import Decoder
from estimators.counting.conventions import CONVENTIONS, unskippable_flop
from estimators.counting.translate import observe
from estimators.facts.percentile import Percentile, percentile
from estimators.facts.tool_conventions import Peak, tools
from estimators.frozen import frozen, replace
from estimators.spec import Hardware, Model, Recompute, Workload
from estimators.training.at_utilization import check_devices, implied_utilization, training_flop, training_state_bytes
from estimators.units import DAY_S

Verdict = Literal[
    "impossible",
    "above every published run",
    "among the fastest tenth",
    "ordinary",
    "among the slowest tenth",
    "below every published run",
]
TENTH = 0.1
Compared = Literal["6nd", "full"]
"""Published runs are compared by 6·N·D over active parameters, which is what most of their shares are derived by.

Models of samples are counted full: a convolution uses a parameter many times, which 6·N·D leaves out.
"""


@frozen
class Implied:
    """What a claimed training implies under one way of counting.

    Attributes:
        name: id of the convention.
        includes: what it counts, in one line.
        training_flop: of all tokens.
        flop_per_s: of one device.
        peak: what a utilisation divides by.
    """

    name: str
    includes: str
    training_flop: int
    flop_per_s: float
    peak: Peak

    @property
    def utilization(self) -> float:
        """Share of the peak: flop_per_s / peak; above 1 is let through."""
        return self.flop_per_s / self.peak.flop_per_s


@frozen
class Claim:
    """What a claimed training implies.

    Attributes:
        implied: one per convention: of a decoder-only language model every tool's, in the order of tool_conventions.csv,
            of any other model this project's own.
        least: share of the dense peak that FLOP which no kernel may skip take; above 1 the claim is impossible.
        recomputed: the same with every activation recomputed.
        compared, percentile: the convention by which the claim stands among the published runs, and where.
        tokens, num_devices, wall_s, recompute: as claimed.
        state_bytes: weights, gradients, optimizer state and low-precision copies of one replica.
        device_bytes: memory of one device.
    """

    implied: tuple[Implied, ...]
    least: float
    recomputed: float
    compared: Compared
    percentile: Percentile
    tokens: int
    num_devices: int
    wall_s: float
    recompute: Recompute
    state_bytes: int
    device_bytes: int

    @property
    def by_convention(self) -> dict[str, Implied]:
        """Id of the convention -> what it implies."""
        return {implied.name: implied for implied in self.implied}

    @property
    def gpu_days(self) -> float:
        """Device time in days, all devices together."""
        return self.num_devices * self.wall_s / DAY_S

    @property
    def possible(self) -> bool:
        """Whether physics allows it."""
        return self.least <= 1

    @property
    def least_wall_s(self) -> float:
        """The shortest time in which those devices could have done it, every product at the dense peak."""
        return self.wall_s * self.least

    @property
    def usual_wall_s(self) -> float:
        """The time at the median share of the published runs."""
        return self.wall_s * self.percentile.share / self.percentile.median

    @property
    def headroom(self) -> float:
        """The share of the time that is left of a possible claim once what no kernel may skip is done at peak speed."""
        return 1 - self.least

    @property
    def devices_per_replica(self) -> int:
        """The fewest devices whose memory holds the training state."""
        return math.ceil(self.state_bytes / self.device_bytes)

    @property
    def rounded_range(self) -> tuple[float, float] | None:
        """The lowest and highest share that claims rounding to the same figures would imply; None for exact figures.

        Tokens are taken as given to two figures where the rest are zeros, days to a whole day.
        """
        share, tokens, wall_s = self.percentile.share, self.tokens, self.wall_s
        unit = 10 ** max(0, len(str(tokens)) - 2)
        half_tokens = unit / 2 if tokens % unit == 0 else 0
        half_s = DAY_S / 2 if wall_s % DAY_S == 0 else 0
        if not (half_tokens or half_s) or wall_s <= half_s:
            return None
        low = share * (tokens - half_tokens) / tokens * wall_s / (wall_s + half_s)
        high = share * (tokens + half_tokens) / tokens * wall_s / (wall_s - half_s)
        return low, high

    @property
    def verdict(self) -> Verdict:
        """Where the claim stands, physics first."""
        below = self.percentile.percentile_fraction
        if not self.possible:
            return "impossible"
        if below == 1:
            return "above every published run"
        if below >= 1 - TENTH:
            return "among the fastest tenth"
        if below == 0:
            return "below every published run"
        return "among the slowest tenth" if below < TENTH else "ordinary"


def check_claim(
    model: Model,
    *,
    tokens: int,
    seq_len: int,
    hardware: Hardware,
    num_devices: int,
    wall_s: float,
    dtype: str = "bf16",
    recompute: Recompute = "none",
) -> Claim:
    """Judge a training of `tokens` tokens on `num_devices` devices in `wall_s` seconds.

    Args:
        tokens: samples for a model without sequences.
        seq_len: tokens per sequence, on which attention depends.
        recompute: whether the run recomputed activations; conventions that count it ask for it.

    Raises:
        BadValueError: devices out of range, or no peak for the dtype.
    """

    def share(flop: int) -> float:
        return implied_utilization(flop, hardware=hardware, num_devices=num_devices, wall_s=wall_s, dtype=dtype)

    check_devices(num_devices)
    workload = Workload(phase="train", seq_len=seq_len)
    device_s = num_devices * wall_s
    ops = model.ops(workload)
    needed = unskippable_flop(ops, workload)
    again = sum(op.count * (op.flop - op.masked_flop) for op in model.ops(replace(workload, recompute="full")) if op.recomputed)
    decoder = isinstance(model.base if isinstance(model, FineTuned) else model, Decoder)
    implied = (_by_every_tool if decoder else _by_ours)(
        model, tokens=tokens, seq_len=seq_len, hardware=hardware, device_s=device_s, dtype=dtype, recompute=recompute
    )
    compared: Compared = "full" if model.item == "sample" else "6nd"
    flop = next(each.training_flop for each in implied if each.name == compared)
    return Claim(
        implied=implied,
        least=share(needed * tokens // seq_len),
        recomputed=share((needed + again) * tokens // seq_len),
        compared=compared,
        percentile=percentile(share(flop), hardware, tokens=tokens, device_s=device_s),
        tokens=tokens,
        num_devices=num_devices,
        wall_s=wall_s,
        recompute=recompute,
        state_bytes=training_state_bytes(model, dtype),
        device_bytes=hardware.memory_bytes,
    )


def _by_every_tool(
    model: Model, *, tokens: int, seq_len: int, hardware: Hardware, device_s: float, dtype: str, recompute: Recompute
) -> tuple[Implied, ...]:
    """What each tool would print for it."""
    readings = []
    for tool in tools().values():
        rate = tokens / device_s
        reading = observe(tool, model, seq_len=seq_len, tokens_per_s=rate, hardware=hardware, recompute=recompute, dtype=dtype)
        assert reading.peak is not None
        assert reading.flop_per_s is not None
        flop = reading.flop.flop * tokens // seq_len
        readings.append(Implied(name=tool.id, includes=tool.includes, training_flop=flop, flop_per_s=reading.flop_per_s, peak=reading.peak))
    return tuple(readings)


def _by_ours(
    model: Model, *, tokens: int, seq_len: int, hardware: Hardware, device_s: float, dtype: str, recompute: Recompute
) -> tuple[Implied, ...]:
    """This project's conventions, which count any model."""
    counted = training_flop(model, tokens, seq_len)
    if recompute == "none":
        counted["hardware"] = counted["full"]
    peak = Peak(flop_per_s=hardware.peak(dtype), own=False, source=hardware.source)
    return tuple(
        Implied(
            name=name,
            includes=CONVENTIONS[name].includes if name in CONVENTIONS else tools()[name].includes,
            training_flop=flop,
            flop_per_s=flop / device_s,
            peak=peak,
        )
        for name, flop in counted.items()
    )
