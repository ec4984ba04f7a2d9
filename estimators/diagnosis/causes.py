"""Slips of counting: each is a cause with a factor on the reported figure that the run's configuration can produce.

Only what the configuration can produce is tried. A slip is claimed where the figure divided by its factor meets what the run's other
figures make of it, or the expected interval; where two meet it alike both are said, with what separates them.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Iterator

from estimators.diagnosis.counts import Counts
from estimators.diagnosis.observed import COUNTS, RATES, TIMES, Figure
from estimators.diagnosis.question import DiagnosisQuestion
from estimators.facts.causes import causes
from estimators.facts.registry import hardware, hardware_ids
from estimators.facts.tool_conventions import peak_of
from estimators.frozen import frozen
from estimators.spec import Hardware
from estimators.units import format_duration, format_flop_rate, format_int


@frozen
class Slip:
    """A way to miscount that the configuration can produce.

    Attributes:
        id: of a cause.
        factor: reported over true, as rates; None for one that may have any factor between `low` and `high`.
        how: where the factor is from, such as ``8 devices``.
        sure: whether everything that it needs was said of the run.
    """

    id: str
    factor: float | None
    how: str
    sure: bool = True
    low: float = 1.0
    high: float = math.inf


FALLBACKS = ("a100-sxm4-80gb", "h100-sxm5-80gb", "v100-sxm2-32gb", "b200-sxm-180gb")
"""Devices whose peaks tools fall back to, or have in their code: nanoGPT's, Megatron-LM's and torchtitan's constants (tool_peaks.csv), and
of each generation the device that servers have."""

NEGLIGIBLE = 0.02
"""Slips whose factor is nearer to 1 explain nothing."""

TENS = 6
"""The most digits that a slip of the pen loses."""

CORES_AS_CHIPS = ("tpu-v2", "tpu-v3", "tpu-v4")
"""TPUs whose slices are named by cores, two of a chip. Source: Google Cloud, TPU versions: v4-8 is four chips."""


def slips(q: DiagnosisQuestion, counts: Counts | None, figure: Figure) -> list[Slip]:
    """Every slip that the run's configuration can produce on a figure, those with a factor of their own first."""
    found = [*_of_scope(q, figure), *_of_degrees(q, figure), *_of_batches(q, figure), *_of_peaks(q, figure)]
    found += [*_of_counts(q, counts, figure), *_of_units(q, figure), *_open(q, figure)]
    worth = [slip for slip in found if slip.factor is None or abs(math.log(slip.factor)) > NEGLIGIBLE]
    return sorted(worth, key=lambda slip: slip.factor is None)


def _counts_items(figure: Figure) -> bool:
    """Whether a figure is made of a count of tokens or samples."""
    return figure.quantity in (*RATES, *COUNTS, "mfu_fraction") and figure.quantity not in ("steps", "steps_per_s", "requests_per_s")


def _of_scope(q: DiagnosisQuestion, figure: Figure) -> Iterator[Slip]:
    number = q.num_devices or 1
    if number < 2 or not _counts_items(figure) or figure.quantity in COUNTS:
        return
    said = f"{format_int(number)} devices"
    if figure.quantity == "mfu_fraction":
        yield Slip(id="total_over_one_peak", factor=number, how=said)
    elif figure.scope == "device":
        yield Slip(id="total_as_per_gpu", factor=number, how=said)
    elif figure.scope == "job":
        yield Slip(id="per_gpu_as_total", factor=1 / number, how=said)


def _of_degrees(q: DiagnosisQuestion, figure: Figure) -> Iterator[Slip]:
    if not _counts_items(figure):
        return
    for name in ("tp", "cp", "pp", "ep"):
        degree = getattr(q.setting, name) or 1
        if degree > 1:
            yield Slip(id=f"{name}_counted", factor=degree, how=f"{name}={degree}")
    if q.setting.global_batch and q.replicas and q.replicas > 1:
        yield Slip(id="dp_counted", factor=q.replicas, how=f"{q.replicas} replicas")


def _of_batches(q: DiagnosisQuestion, figure: Figure) -> Iterator[Slip]:
    passes = q.accumulation or 1
    if passes > 1 and figure.quantity == "step_time_s":
        yield Slip(id="grad_accum_in_step", factor=passes, how=f"accumulation {passes}")
    elif passes > 1 and _counts_items(figure):
        yield Slip(id="micro_batch_only", factor=1 / passes, how=f"accumulation {passes}")


def _of_peaks(q: DiagnosisQuestion, figure: Figure) -> Iterator[Slip]:
    own, device = q.peak_flop_per_s, q.hardware
    if figure.quantity not in ("mfu_fraction", "peak_flop_per_s") or own is None or device is None:
        return
    direct = figure.quantity == "peak_flop_per_s"
    yield Slip(id="sparse_peak", factor=2.0 if direct else 0.5, how="2:4 sparsity", sure=False)
    if not direct and (known := known_peak(q)) is not None:
        yield Slip(id="wrong_peak", factor=own / known, how=f"{q.setting.software} divides by {format_flop_rate(known, 4)}")
    sixteen = device.peak_flop_per_s.get("bf16") or device.peak_flop_per_s.get("fp16")
    if not direct and q.dtype not in ("bf16", "fp16") and sixteen and q.setting.dtype:
        yield Slip(
            id="wrong_peak", factor=own / sixteen, how=f"{format_flop_rate(sixteen, 4)}, its own in 16 bits, of products in {q.dtype}"
        )
    for peak, other in _other_peaks(device, q.dtype):
        variant = _product_of(other) == _product_of(device)
        factor = peak / own if direct else own / peak
        how = f"{format_flop_rate(peak, 4)}, {other.id}'s"
        yield Slip(id="wrong_variant" if variant else "wrong_peak", factor=factor, how=how, sure=variant)


def known_peak(q: DiagnosisQuestion) -> float | None:
    """What the run's tool divides by whatever the device is, where that is not the device's own peak; None else."""
    if q.tool is None or q.hardware is None or q.peak_flop_per_s is None:
        return None
    peak = peak_of(q.tool, q.hardware, q.dtype).flop_per_s
    return peak if abs(peak / q.peak_flop_per_s - 1) > NEGLIGIBLE else None


def _other_peaks(device: Hardware, dtype: str) -> list[tuple[float, Hardware]]:
    """Peaks that may stand in a device's place, each once: of its variants, and of those that tools fall back to."""
    siblings = [other for other in _all_hardware() if _product_of(other) == _product_of(device) and other.vendor == device.vendor]
    found: dict[float, Hardware] = {}
    for other in (*siblings, *map(hardware, FALLBACKS)):
        peak = other.peak_flop_per_s.get(dtype) or other.peak_flop_per_s.get("fp16")
        if peak and other.id != device.id:
            found.setdefault(peak, other)
    return list(found.items())


def _product_of(device: Hardware) -> str:
    """What variants of one product share: h100 of H100 PCIe and NVL, b300 of B300 and GB300."""
    words = device.id.split("-")
    name = "-".join(words[:2]) if words[0].isalpha() else words[0]
    return name.removeprefix("g") if re.fullmatch(r"g[bh]\d+", name) else name


@functools.cache
def _all_hardware() -> tuple[Hardware, ...]:
    return tuple(map(hardware, hardware_ids()))


def _of_counts(q: DiagnosisQuestion, counts: Counts | None, figure: Figure) -> Iterator[Slip]:
    if counts is None or figure.quantity not in ("mfu_fraction", "flop_per_s"):
        return
    usual = counts.usual
    if counts.all_experts > counts.full:
        yield Slip(id="total_for_active", factor=counts.all_experts / usual, how="every expert as used")
    if counts.all_trained > counts.full:
        yield Slip(id="frozen_counted", factor=counts.all_trained / usual, how="every weight as trained")
    if q.setting.recompute != "none":
        how = "the layers' forward pass twice"
        yield Slip(id="recompute_counted", factor=counts.hardware / usual, how=how, sure=q.setting.recompute == "full")
    yield Slip(
        id="attention_square", factor=counts.full / counts.causal if usual < counts.full else 1.0, how="the masked half of attention"
    )
    if "palm" in counts.by_tool:
        yield Slip(id="embeddings_counted", factor=counts.by_tool["palm"] / counts.all_trained, how="6 a parameter of the tables")


def _of_units(q: DiagnosisQuestion, figure: Figure) -> Iterator[Slip]:
    tokens = q.item_tokens or 1
    if figure.quantity == "samples_per_s" and tokens > 1:
        yield Slip(id="unit_label", factor=tokens, how=f"{format_int(tokens)} tokens a sample")
    if figure.quantity == "tokens_per_s" and tokens > 1:
        yield Slip(id="unit_label", factor=1 / tokens, how=f"{format_int(tokens)} tokens a sample")
    if figure.quantity == "flop_per_s":
        for time in (f for f in q.observed.figures if f.quantity in TIMES):
            yield Slip(id="work_not_rate", factor=time.value, how=f"FLOP of {format_duration(time.value)}, not of a second")
    if figure.quantity == "steps_per_s":
        yield Slip(id="unit_flip", factor=figure.value**2, how="1 over it")
    if figure.quantity == "step_time_s":
        yield Slip(id="unit_flip", factor=figure.value**-2, how="1 over it")
    if q.hardware is not None and (q.hardware.id in CORES_AS_CHIPS or q.hardware.one_device):
        yield Slip(id="cores_as_chips", factor=2.0, how="two of a chip, or of a card")
        yield Slip(id="cores_as_chips", factor=0.5, how="two of a chip, or of a card")
    if figure.quantity in (*RATES, *COUNTS, *TIMES):
        for power in (*range(1, TENS + 1), *range(-TENS, 0)):
            yield Slip(id="decimal_slip", factor=10.0**power, how=f"10 to the {power}", sure=abs(power) == 1)


def _open(q: DiagnosisQuestion, figure: Figure) -> Iterator[Slip]:
    """Slips of any factor."""
    if figure.includes and "first steps" in figure.includes:
        yield Slip(id="first_step_included", factor=None, how="the mean is over all steps", low=0.0, high=1.0)
    if figure.quantity in ("mfu_fraction", "flop_per_s", "tokens_per_s", "samples_per_s"):
        yield Slip(id="cumulative_numerator", factor=None, how="", sure=False)
    if figure.quantity in ("tokens_per_s", "samples_per_s") and q.setting.packed is not True:
        yield Slip(id="padding_counted", factor=None, how="", sure="padding" in figure.includes, high=8.0)
        yield Slip(id="masked_excluded", factor=None, how="", sure="masked tokens" in figure.includes, low=0.05, high=1.0)
    if figure.quantity in (*RATES, "mfu_fraction"):
        yield Slip(id="async_timing", factor=None, how="", sure=False)
    if figure.quantity == "flop_per_s":
        yield Slip(id="work_not_rate", factor=None, how="", sure=False, low=10.0)
    if figure.quantity in (*RATES, "mfu_fraction", *TIMES) and "first steps" not in figure.includes:
        yield Slip(id="first_step_included", factor=None, how="", sure=figure.cumulative, low=0.0, high=1.0)


@frozen
class Explained:
    """A slip that explains a figure.

    Attributes:
        figure: that is wrong by it.
        off: what is left between the figure over the factor and what it should be, relative; 0 for an open one.
    """

    slip: Slip
    figure: Figure
    off: float


def explained(ratio: float, tolerance: float, found: Iterable[Slip], figure: Figure) -> list[Explained]:
    """Slips whose factor is the ratio within the tolerance, the nearest first; of those alike, what is sure, then as causes are listed."""
    order = list(causes())
    near = [
        Explained(slip=slip, figure=figure, off=ratio / slip.factor - 1)
        for slip in found
        if slip.factor is not None and abs(math.log(ratio / slip.factor)) <= tolerance
    ]
    once: dict[str, Explained] = {}
    for each in sorted(near, key=lambda e: (not e.slip.sure, round(abs(e.off) / max(tolerance, 1e-9) * 2), order.index(e.slip.id))):
        once.setdefault(each.slip.id, each)
    return list(once.values())


def could_be(ratio: float, found: Iterable[Slip], figure: Figure) -> list[Explained]:
    """Open slips that may have such a factor, what is sure first."""
    may = [slip for slip in found if slip.factor is None and slip.low < ratio < slip.high]
    return [Explained(slip=slip, figure=figure, off=0.0) for slip in sorted(may, key=lambda slip: not slip.sure)]
