"""The roofline of a step by class of operator: FLOP for each byte, FLOP per second, and the roofs measured and published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.records.asked import Asked
from bench.records.record import Measurement
from bench.statistics.rates import all_rates, ceiling
from estimators.architectures.from_config import model_from_config
from estimators.counting.conventions import step_flop
from estimators.errors import RequestError
from estimators.frozen import frozen
from estimators.spec import Op, Workload

CLASSES: Mapping[str, tuple[str, ...]] = {"matmul": ("matmul",), "attention": ("attention", "scan")}
"""Class of operator, as a predicted step has them -> the kinds of the op table in it. Others multiply nothing."""

WHOLE = "the step"
STEP = {"train": "train_step", "generate": "decode"}
"""Task -> the phase that is one step of it, where its name is another."""


@frozen
class RooflinePoint:
    """One class of operator, or the whole step.

    Attributes:
        flop: of the step, backward included; `full` convention.
        flop_per_byte: forward FLOP over the bytes of the forward operators: weights and cache read once, inputs read and outputs
            written once by each.
        seconds_s: that the class takes; `tag` says measured (by the profiler, or the step itself) or estimated (by the calibration).
    """

    name: str
    flop: int
    flop_per_byte: float
    seconds_s: float
    tag: str

    @property
    def flop_per_s(self) -> float:
        """What is reached."""
        return self.flop / self.seconds_s


@frozen
class Roof:
    """What a device allows at best: FLOP/s, and bytes/s below the ridge.

    Attributes:
        name: measured or datasheet.
    """

    name: str
    flop_per_s: float
    bytes_per_s: float

    def corners(self, low: float, high: float) -> list[tuple[float, float]]:
        """FLOP per byte and FLOP/s at the left end, at the ridge where it is between, and at the right end."""
        ridge = self.flop_per_s / self.bytes_per_s
        at = [low, *([ridge] if low < ridge < high else []), high]
        return [(x, min(self.flop_per_s, self.bytes_per_s * x)) for x in at]


@frozen
class Roofline:
    """Points and roofs of one step."""

    phase: str
    points: tuple[RooflinePoint, ...]
    roofs: tuple[Roof, ...]


def roofline(record: Measurement) -> Roofline | str:
    """The roofline of a record's step; where there is none, why.

    Source: Williams, Waterman, Patterson 2009, Roofline (doi 10.1145/1498765.1498785).
    """
    said = record.estimate.local
    phase = said.phase if said else STEP.get(record.request.task, record.request.task)
    reached = next((each for each in all_rates(record) if each.phase == phase), None)
    if reached is None:
        return "no step of it was both timed and estimated"
    ops = _ops(record.request, phase)
    if isinstance(ops, str):
        return ops
    workload = _workload(record.request, phase)
    if step_flop(ops, workload)["full"] != record.estimate.phases[phase].flop.full:
        return "its configuration alone does not give the FLOP that were counted for it"
    points = []
    for name, kinds in CLASSES.items():
        chosen = [op for op in ops if op.kind in kinds]
        profiled, predicted = (said.profiled_s or {}).get(name) if said else None, said.parts_s.stated().get(name) if said else None
        seconds, tag = (profiled, "measured") if profiled else (predicted, "estimated")
        if seconds and (point := _point(name, chosen, workload, seconds, tag)):
            points.append(point)
    if whole := _point(WHOLE, ops, workload, reached.seconds_s, reached.tag):
        points.append(whole)
    if not points:
        return "its step multiplies nothing"
    matmul, bandwidth = ceiling(record, "matmul"), ceiling(record, "bandwidth")
    peak, peak_bytes = record.estimate.peak_flop_per_s, record.estimate.peak_bytes_per_s
    roofs = [
        Roof(name=name, flop_per_s=flop, bytes_per_s=num_bytes)
        for name, flop, num_bytes in (("measured", matmul, bandwidth), ("datasheet", peak, peak_bytes))
        if flop and num_bytes
    ]
    return Roofline(phase=phase, points=tuple(points), roofs=tuple(roofs))


def _point(name: str, ops: Sequence[Op], workload: Workload, seconds_s: float, tag: str) -> RooflinePoint | None:
    """None for operators without FLOP or bytes."""
    flop = step_flop(ops, workload)["full"]
    forward = sum(op.count * op.flop for op in ops)
    num_bytes = sum(op.count * (op.weight_bytes + op.cache_bytes + op.activation_bytes) for op in ops)
    if not (flop and forward and num_bytes):
        return None
    return RooflinePoint(name=name, flop=flop, flop_per_byte=forward / num_bytes, seconds_s=seconds_s, tag=tag)


def _ops(asked: Asked, phase: str) -> Sequence[Op] | str:
    """The op table of a step; or why there is none."""
    if asked.method is not None:
        return "a fine-tuning's adapters are not in the record's configuration"
    if not asked.config:
        return "the record has no configuration"
    try:
        return model_from_config(asked.config, asked.model).ops(_workload(asked, phase))
    except RequestError as error:
        return str(error)


def _workload(asked: Asked, phase: str) -> Workload:
    """A step as it was timed; of decode the one in the middle."""
    rows, dtype = (asked.batch or 1) * (asked.num_beams or 1), asked.dtype or "fp32"
    if phase == "decode":
        return Workload(
            phase="decode", batch=rows, context_len=(asked.seq_len or 1) + max(0, (asked.new_tokens or 1) - 1) // 2, dtype=dtype
        )
    if phase == "prefill":
        return Workload(phase="prefill", batch=rows, seq_len=asked.seq_len or 1, dtype=dtype)
    return Workload(phase="train", batch=rows, seq_len=asked.seq_len or 1, dtype=dtype)
