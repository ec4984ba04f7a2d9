"""A utilisation or a rate that one tool printed, in the convention and against the peak of another."""

from __future__ import annotations

from estimators.counting.conventions import unskippable_flop
from estimators.counting.flop_by_tool import PARTS, ToolFlop, count
from estimators.errors import BadValueError
from estimators.facts.tool_conventions import Peak, ToolConvention, peak_of
from estimators.frozen import frozen
from estimators.spec import Hardware, Model, Recompute, Workload


@frozen
class Reading:
    """One run's figures, as one tool would print them.

    Attributes:
        peak: what it divides by; None where no device is known.
        flop_per_s: of one device; None where only a share of an unknown peak is known.
        utilization: the share of the peak; None where no peak is known.
    """

    flop: ToolFlop
    peak: Peak | None
    flop_per_s: float | None
    utilization: float | None

    @property
    def tool(self) -> ToolConvention:
        """Whose reading it is."""
        return self.flop.tool

    @property
    def tokens_per_s(self) -> float | None:
        """Of one device; None where the rate is unknown."""
        return None if self.flop_per_s is None else self.flop_per_s / self.flop.flop_per_token


@frozen
class Translation:
    """The same run read by two tools: translated = given · flop_ratio · peak_ratio.

    Attributes:
        peak_ratio: the peak of the first over that of the second; 1 where no device is known, and both divide by the same.
    """

    given: Reading
    translated: Reading
    flop_ratio: float
    peak_ratio: float

    @property
    def parts(self) -> tuple[tuple[str, int], ...]:
        """By which parts of the count the second differs from the first: FLOP of a sequence, named by PARTS.

        They add up to the difference of the two counts, so flop_ratio is 1 plus their sum over the first count.
        """
        first, second = self.given.flop.parts, self.translated.flop.parts
        differences = ((part, second.get(part, 0) - first.get(part, 0)) for part in PARTS)
        return tuple((part, flop) for part, flop in differences if flop)


def read(
    tool: ToolConvention,
    model: Model,
    *,
    seq_len: int,
    recompute: Recompute = "none",
    utilization: float | None = None,
    flop_per_s: float | None = None,
    hardware: Hardware | None = None,
    dtype: str = "bf16",
) -> Reading:
    """A published figure with what follows from it: FLOP/s = utilization · peak.

    Args:
        utilization: share of the tool's peak; above 1 is let through, for the caller to judge.
        flop_per_s: of one device; exactly one of the two is given.
        recompute: whether the run recomputed activations.

    Raises:
        BadValueError: none or both given, no peak for the dtype, or a model that the tools cannot count.
    """
    if (utilization is None) == (flop_per_s is None):
        raise BadValueError("a translation needs one figure; give either a utilization or a rate in FLOP/s")
    peak = peak_of(tool, hardware, dtype) if hardware else None
    if flop_per_s is None:
        assert utilization is not None
        flop_per_s = utilization * peak.flop_per_s if peak else None
    else:
        utilization = flop_per_s / peak.flop_per_s if peak else None
    return Reading(flop=count(tool, model, seq_len, recompute), peak=peak, flop_per_s=flop_per_s, utilization=utilization)


def translate(
    given: Reading,
    to: ToolConvention,
    model: Model,
    *,
    recompute: Recompute = "none",
    hardware: Hardware | None = None,
    dtype: str = "bf16",
) -> Translation:
    """The run of `given` as `to` would print it.

    The same tokens per second stand behind both, so a rate is multiplied by the ratio of the FLOP that each counts per
    token, and a utilisation by the ratio of the peaks as well.

    Raises:
        BadValueError: no peak for the dtype, or a model that the tools cannot count.
    """
    flop = count(to, model, given.flop.seq_len, recompute)
    peak = peak_of(to, hardware, dtype) if hardware else None
    flop_ratio = flop.flop / given.flop.flop
    peak_ratio = given.peak.flop_per_s / peak.flop_per_s if given.peak and peak else 1.0
    translated = Reading(
        flop=flop,
        peak=peak,
        flop_per_s=None if given.flop_per_s is None else given.flop_per_s * flop_ratio,
        utilization=None if given.utilization is None else given.utilization * flop_ratio * peak_ratio,
    )
    return Translation(given=given, translated=translated, flop_ratio=flop_ratio, peak_ratio=peak_ratio)


def observe(
    tool: ToolConvention,
    model: Model,
    *,
    seq_len: int,
    tokens_per_s: float,
    hardware: Hardware,
    recompute: Recompute = "none",
    dtype: str = "bf16",
) -> Reading:
    """What a tool would print for a known throughput: FLOP/s = tokens/s · FLOP per token, of one device.

    Raises:
        BadValueError: no peak for the dtype, or a model that the tools cannot count.
    """
    flop = count(tool, model, seq_len, recompute)
    peak = peak_of(tool, hardware, dtype)
    flop_per_s = tokens_per_s * flop.flop_per_token
    return Reading(flop=flop, peak=peak, flop_per_s=flop_per_s, utilization=flop_per_s / peak.flop_per_s)


@frozen
class Least:
    """What the device must have done at least, as a share of its dense peak: above 1 no machine does it.

    Attributes:
        training: forward and backward of what no kernel may skip, every weight trained.
        frozen: the same without the gradients of weights, as where all but a few adapters are frozen.
    """

    training: float
    frozen: float


def least(reading: Reading, model: Model, *, hardware: Hardware | None = None, dtype: str = "bf16") -> Least | None:
    """Physics behind a reading: FLOP that no kernel may skip over the data sheet's dense peak.

    Without a device the tool's own peak is taken for the true one. None where neither peak nor utilisation is known.
    """
    workload = Workload(phase="train", seq_len=reading.flop.seq_len)
    ops = model.ops(workload)
    if hardware and reading.flop_per_s is not None:
        counted = reading.flop_per_s / hardware.peak(dtype)
    elif reading.utilization is not None:
        counted = reading.utilization
    else:
        return None
    trained = unskippable_flop(ops, workload)
    frozen = trained - sum(op.count * op.weight_grad_flop for op in ops)
    return Least(training=counted * trained / reading.flop.flop, frozen=counted * frozen / reading.flop.flop)
