"""How fast models of images train, by constants of their own class: no language model's efficiency says anything of them.

seconds = other · (products · FLOP / peak + (traffic · bytes + scores · attention's bytes) / bandwidth), FLOP forward and backward, bytes
what norms and activations, and the two products of attention, read and write forward if nothing is fused. The constants of a class are
fitted to measured trainings on one device; `other` is what the same classes took on other devices over that.
`python -m tools.fit_sample_rates` fits them and leaves rows out.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from estimators.architectures.convolution import ConvolutionalNetwork, Inverted
from estimators.architectures.denoisers import Denoiser
from estimators.architectures.encoder_decoder import EncoderDecoder
from estimators.architectures.vision import DualEncoder, Stage, VisionTransformer
from estimators.cost.efficiency import efficiency
from estimators.facts import data
from estimators.frozen import field, frozen
from estimators.spec import Hardware, Model, Op, Workload

Kind = Literal["transformer", "windowed", "convolution", "inverted"]
KINDS: dict[Kind, str] = {
    "transformer": "transformers over patches",
    "windowed": "transformers in windows",
    "convolution": "residual networks of convolutions",
    "inverted": "ConvNeXt",
}
"""Classes that have measured rows, and what each is called."""

BATCH = 64
"""Samples of a device's step at which a rate is predicted; measured rows have 64 to 512."""

FORWARD_SHARE = 1 / 2.5
"""Of the traffic of a training step, what a forward pass alone has: backward reads the saved input beside the gradient."""

SIXTEEN_BITS = ("bf16", "fp16")
"""Formats of products that measured rows are of."""


@frozen
class Constants:
    """Of one class of model.

    Attributes:
        products: seconds of matrix products over what the peak says.
        traffic: bytes moved by norms and activations, forward and backward, over what the op table says of a forward pass.
        scores: the same of attention that writes its scores, as it did where it was measured; a fused kernel moves next to nothing.
    """

    products: float
    traffic: float
    scores: float


@frozen
class SampleRates:
    """What the data file says.

    Attributes:
        constants: by class.
        measured_on: the device that they are of.
        other: time on other devices over that.
        spread: of each kind of case, the factor that held-out rows stay within: on that device, on others, of classes without rows.
    """

    constants: Mapping[Kind, Constants] = field(hash=False)
    measured_on: str
    other: float
    spread: Mapping[str, float] = field(hash=False)


@frozen
class Rate:
    """A predicted rate of training.

    Attributes:
        seconds: of one sample on one device.
        low_s, high_s: the interval.
        said: where it is from.
    """

    seconds: float
    low_s: float
    high_s: float
    said: str


def rates_from(body: Mapping[str, Any]) -> SampleRates:
    """The content of the data file."""
    return SampleRates(
        constants={kind: Constants(**each) for kind, each in body["constants"].items()},
        measured_on=body["measured_on"],
        other=body["other"],
        spread=body["spread"],
    )


@functools.cache
def sample_rates() -> SampleRates:
    """The shipped constants."""
    return rates_from(data.read_json(data.file("sample_rates.json")))


def kind_of(model: Model) -> Kind | None:
    """The class whose constants apply to a model; None where none does."""
    if isinstance(model, VisionTransformer):
        return "windowed" if any(isinstance(block, Stage) for block in model.tower.blocks) else "transformer"
    if isinstance(model, ConvolutionalNetwork):
        if any(isinstance(layer, Inverted) for layer in model.layers):
            return "inverted"
        return None if any(op.matrices_per_token > 1 for op in model.ops(Workload())) else "convolution"
    return None


def borrowed_kind(model: Model) -> Kind | None:
    """The class whose constants are borrowed for a model that no measured row is of: layers of the same kind; None for none."""
    speech = isinstance(model, EncoderDecoder) and model.sample is not None
    return "transformer" if speech or isinstance(model, DualEncoder | Denoiser) else None


def step_seconds(ops: Sequence[Op], hardware: Hardware, dtype: str, constants: Constants, *, fused: bool = False) -> float:
    """Seconds of one step on the device that the constants are of, with all that training needs of these rows.

    Args:
        fused: whether a kernel does attention without writing scores, at the share of peak that such kernels have elsewhere.

    Raises:
        BadValueError: no peak for the dtype.
    """
    flop = sum(op.count * (op.flop + op.backward_flop) for op in ops if op.kind != "attention")
    pairs = sum(op.count * (op.flop + op.backward_flop) for op in ops if op.kind == "attention")
    products = constants.products * flop + pairs * (1 / efficiency().attention_flash2_ampere if fused else constants.products)
    moved = sum(op.count * op.activation_bytes for op in ops if op.kind not in ("matmul", "attention"))
    scores = 0 if fused else sum(op.count * op.activation_bytes for op in ops if op.kind == "attention")
    passes = 1.0 if any(op.backward_flop for op in ops) else FORWARD_SHARE
    traffic_s = passes * (constants.traffic * moved + constants.scores * scores) / hardware.memory_bytes_per_s
    return float(products / hardware.peak(dtype) + traffic_s)


def rate_of(model: Model, hardware: Hardware, dtype: str, seq_len: int = 1) -> Rate | None:
    """How long one sample (or one sequence of `seq_len` tokens) takes to train on one device; None where no class says.

    Raises:
        BadValueError: no peak for the dtype.
    """
    kind, borrowed = kind_of(model), borrowed_kind(model)
    chosen = kind or borrowed
    if chosen is None or dtype not in SIXTEEN_BITS:
        return None
    ops = model.ops(Workload(phase="train", batch=BATCH, seq_len=seq_len, dtype=dtype))
    seconds = step_seconds(ops, hardware, dtype, sample_rates().constants[chosen], fused=kind is None)
    bound = sum(op.count * (op.flop + op.backward_flop) for op in ops) / hardware.peak(dtype)
    return rate_from(max(seconds, bound) / BATCH, hardware, chosen, borrowed=kind is None)


def rate_from(seconds: float, hardware: Hardware, kind: Kind, *, borrowed: bool) -> Rate:
    """The rate on a device, with the interval of its case and where it is from.

    Args:
        seconds: of one sample on the device that the constants are of.
        borrowed: whether no measured row is of such a model.
    """
    rates = sample_rates()
    same = hardware.id == rates.measured_on
    spread = rates.spread["borrowed" if borrowed else "same" if same else "other"]
    middle = seconds * (1.0 if same else rates.other)
    whose = f"{KINDS[kind]} on {rates.measured_on} (timm)" + (", attention fused" if borrowed else "")
    where = "" if same else f", times {rates.other:.2f} as other devices took"
    of = "no measured training is of such a model: constants of " if borrowed else "constants of measured trainings of "
    said = f"predicted, {of}{whose}{where}; within a factor of {spread:.2f}. --utilization sets your own."
    return Rate(seconds=middle, low_s=middle / spread, high_s=middle * spread, said=said)
