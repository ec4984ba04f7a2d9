"""Time of a step on one calibrated machine: a sum over the operators that a framework dispatches.

Every operator is looked up in what was measured of the machine: exactly its shape where that was calibrated, else
interpolated between neighbours (matrix products on a grid of shapes, everything else by the bytes that it touches),
else carried beyond the range, which is said. Pure arithmetic: no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from estimators.frozen import field, frozen
from estimators.profile.interpolation import Grid, along

BASES = ("exact", "interpolated", "extrapolated", "stand-in", "free")
"""How an operator's time was had, best first: its own shape, between calibrated ones, beyond them, from another operator, no work."""


@frozen
class OperatorCall:
    """One operator that a step dispatches `count` times.

    Attributes:
        key: operator, shapes, strides, dtypes, and what is not in the caches when it starts.
        kind: the operator's name alone.
        group: what limits it: matmul, attention, memory (its bytes), optimizer (the weights' update), or view (the host alone).
        dtype: of its widest tensor.
        mnk: (m, n, k) where it is one matrix product.
        flop: of one copy, one multiply-add being two.
        num_bytes: of its inputs and outputs, one copy.
        cold_bytes: of its inputs, those that come from memory.
    """

    key: str
    kind: str
    group: str
    dtype: str
    count: int = 1
    mnk: tuple[int, int, int] | None = None
    flop: int = 0
    num_bytes: int = 0
    cold_bytes: int = 0


@frozen
class Host:
    """What the host adds to the operators' own time: per step and per operator it dispatches.

    Attributes:
        fixed_s, per_op_s: from two reference models of different depth and negligible width.
        passing: (bytes, seconds) per operator, ascending: what one costs where so many bytes of the step's data pass through
            the caches beside each, and drive the host's own code and data out; empty where it was not measured.
    """

    fixed_s: float
    per_op_s: float
    passing: tuple[tuple[float, float], ...] = ()

    def seconds(self, num_ops: int, num_bytes: int = 0) -> float:
        """fixed + per operator · operators, of a step that touches so many bytes."""
        return self.fixed_s + self._per_op_s(num_bytes / max(1, num_ops)) * num_ops

    def _per_op_s(self, bytes_per_op: float) -> float:
        """`per_op_s` with nothing beside; straight in the bytes' logarithm between what was measured; beyond the last, as there."""
        if not self.passing:
            return self.per_op_s
        (first, first_s), (last, last_s) = self.passing[0], self.passing[-1]
        if bytes_per_op <= first:
            return self.per_op_s + (first_s - self.per_op_s) * bytes_per_op / first
        if bytes_per_op >= last:
            return last_s
        (low, low_s), (high, high_s) = next(pair for pair in pairwise(self.passing) if bytes_per_op < pair[1][0])
        return low_s + (high_s - low_s) * math.log(bytes_per_op / low) / math.log(high / low)


@frozen
class MachineProfile:
    """What a calibration says of one machine, ready to be asked.

    Attributes:
        exact: seconds by a piece's key.
        grids: by dtype, seconds of a matrix product over (m, n, k).
        curves: by kind and dtype, (bytes, seconds) in ascending order.
        bytes_per_s: sustained, for what has no curve.
        op_s: seconds of the smallest operator, called bare.
        hosts: by mode of execution.
    """

    exact: Mapping[str, float] = field(hash=False)
    grids: Mapping[str, Grid] = field(hash=False)
    curves: Mapping[tuple[str, str], tuple[tuple[float, float], ...]] = field(hash=False)
    bytes_per_s: float
    op_s: float
    hosts: Mapping[str, Host] = field(hash=False)

    def seconds(self, call: OperatorCall) -> tuple[float, str]:
        """Seconds of one copy of a piece, and how they were had: one of BASES.

        The bytes stand-in, for an operator of which nothing was measured, or nothing that is larger than a launch:
        launch + bytes / bandwidth.
        """
        if call.group == "view":
            return 0.0, "free"
        if call.key in self.exact:
            return self.exact[call.key], "exact"
        if call.mnk is not None and call.group == "matmul" and call.dtype in self.grids:
            seconds, inside = self.grids[call.dtype].seconds(call.mnk)
            return seconds, "interpolated" if inside else "extrapolated"
        curve = self.curves.get((call.kind, call.dtype)) or self.curves.get((call.kind, "fp32"))
        if curve and (call.num_bytes <= curve[-1][0] or self._weighs(curve[-1][0])):
            seconds, inside = along(curve, call.num_bytes)
            return seconds, "interpolated" if inside else "extrapolated"
        if curve:
            (last_bytes, last_s) = curve[-1]
            return last_s + (call.num_bytes - last_bytes) / self.bytes_per_s, "stand-in"
        return self.op_s + call.num_bytes / self.bytes_per_s, "stand-in"

    def _weighs(self, num_bytes: float) -> bool:
        """Whether so many bytes take as long as a launch: the time of fewer is the launch's, and says nothing of more."""
        return num_bytes / self.bytes_per_s >= self.op_s


@frozen
class OperatorPrediction:
    """What a step will take here.

    Attributes:
        seconds_s: all of it.
        parts_s: matmul, attention, memory, optimizer, host; they sum to the whole.
        num_ops: operators dispatched.
        basis_fraction: of the operators' time, by how it was had.
        weakest: keys of the costliest operators whose shape was not calibrated.
    """

    seconds_s: float
    parts_s: Mapping[str, float] = field(hash=False)
    num_ops: int
    basis_fraction: Mapping[str, float] = field(hash=False)
    weakest: tuple[str, ...] = ()

    @property
    def extrapolated_fraction(self) -> float:
        """Of the operators' time, what lies beyond the calibrated range or stands in for an operator never measured."""
        return self.basis_fraction.get("extrapolated", 0.0) + self.basis_fraction.get("stand-in", 0.0)


NUM_WEAKEST = 3


def predict(calls: Sequence[OperatorCall], profile: MachineProfile, mode: str) -> OperatorPrediction:
    """Seconds of a step: sum of count · seconds over its pieces, and the host's share for the mode.

    Raises:
        KeyError: the calibration has no host cost for the mode; calibrations have all of HOST_MODES.
    """
    parts = dict.fromkeys(("matmul", "attention", "memory", "optimizer"), 0.0)
    bases = dict.fromkeys(BASES, 0.0)
    rough: list[tuple[float, str]] = []
    for call in calls:
        each, basis = profile.seconds(call)
        if call.group == "view":
            continue
        parts[call.group] += call.count * each
        bases[basis] += call.count * each
        if basis != "exact":
            rough.append((call.count * each, call.key))
    work_s = math.fsum(parts.values())
    num_ops = sum(call.count for call in calls)
    parts["host"] = profile.hosts[mode].seconds(num_ops, sum(call.count * call.num_bytes for call in calls if call.group != "view"))
    return OperatorPrediction(
        seconds_s=work_s + parts["host"],
        parts_s=parts,
        num_ops=num_ops,
        basis_fraction={name: value / work_s for name, value in bases.items() if value} if work_s else {},
        weakest=tuple(key for _, key in sorted(rough, reverse=True)[:NUM_WEAKEST]),
    )


HOST_MODES = ("forward", "language-train", "dense-train")
"""Ways a step is driven: a forward pass of transformers, its training through accelerate, a dense network's training."""
