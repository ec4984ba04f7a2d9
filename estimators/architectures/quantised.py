"""quantization_config of a config.json: what the matrices of its layers are held as, or that its format is not known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from estimators.architectures.left_alone import SHARED, LeftAlone, left_alone
from estimators.errors import BadConfigError
from estimators.frozen import frozen, replace
from estimators.spec import Op, Workload
from estimators.weight_formats import (
    EXPERTS_ALONE,
    FORMATS,
    INDEX_BYTES,
    LAYERS_ALONE,
    PLAIN,
    Q6_K,
    SERVED_ALONE,
    SERVED_FORMATS,
    StoredMatrix,
    WeightFormat,
    grouped,
    served_format,
    stored_matrix,
)


@frozen
class Quantisation:
    """How the matrices of a checkpoint's layers are held. Embedding, head, norms and routers stay as they are computed with.

    Attributes:
        matrix: None for a format that is not known: then nothing is held otherwise.
        said: what it is, in words.
        name: what the format is called where models are served; of one that has no name there, the name of one that is multiplied alike.
        but: matrices of layers that stay as they are computed with.
        mixture: what a file of llama.cpp holds otherwise; None for a format that leaves all but matrices of layers alone.
    """

    matrix: StoredMatrix | None
    said: str
    name: WeightFormat = PLAIN
    but: LeftAlone = LeftAlone()
    mixture: Mixture | None = None

    def held(self, w: Workload, op: Op) -> Op:
        """The row as it is held and read; training keeps its weights in the dtype of compute."""
        if w.phase == "train" or self.matrix is None:
            return op
        if self.mixture is not None and (mixed := self.mixture.held(w, op, self.matrix)) is not None:
            return mixed
        inside = op.component in ("attention", "mlp", "experts", "state_space")
        left = self.but.share_of(op)
        if not inside or left == 1 or op.kind != "matmul" or not op.mnk or op.role in LEFT:
            return op
        held = held_as(op, self.matrix, w)
        return _between(held, replace(op, stored_bytes=w.bytes_of(op.params)), left) if left else held


@frozen
class Mixture:
    """What a file of llama.cpp holds in more bits than most of its matrices, and what else it holds.

    Attributes:
        more: of the values' and the feed-forwards' last matrices in a share of the layers, and of the head.
        share: of the layers: the first and the last eighth, and each third between.
        tied: whether the head is the embedding.
    """

    more: StoredMatrix
    share: float
    tied: bool

    def held(self, w: Workload, op: Op, matrix: StoredMatrix) -> Op | None:
        """The row where it is held otherwise than most; None for most of them. Vectors and routers are fp32."""
        if op.role == "head":
            return held_as(op, self.more, w)
        if op.role in ("token", "layer_token"):
            table = self.more if self.tied and op.role == "token" else matrix
            return replace(op, stored_bytes=table.num_bytes(op.params, 1))
        if op.role in ("value", "down") and op.mnk and op.role not in LEFT:
            few, many = held_as(op, matrix, w), held_as(op, self.more, w)
            return few if not self.share else _between(few, many, self.share)
        if op.params and (op.kind != "matmul" or op.role in LEFT):
            return replace(op, stored_bytes=4 * op.params)
        return None


def _between(few: Op, many: Op, share: float) -> Op:
    assert few.stored_bytes is not None
    assert many.stored_bytes is not None
    return replace(
        few,
        stored_bytes=round(few.stored_bytes + share * (many.stored_bytes - few.stored_bytes)),
        weight_bytes=round(few.weight_bytes + share * (many.weight_bytes - few.weight_bytes)),
    )


def held_as(op: Op, matrix: StoredMatrix, w: Workload) -> Op:
    """A row whose matrices, one or one of each expert, are held in a format; its biases stay as they are computed with."""
    assert op.mnk
    _, n, k = op.mnk
    matrices, rest = divmod(op.params, n * k)
    if not matrices:  # a tied head, whose matrix is the embedding's
        return replace(op, stored_bytes=w.bytes_of(rest), weight_bytes=matrix.num_bytes(n, k) if op.weight_bytes else 0)
    size = matrices * matrix.num_bytes(n, k) + w.bytes_of(rest)
    return replace(op, stored_bytes=size, weight_bytes=op.weight_bytes * size // max(1, w.bytes_of(op.params)))


def served_in(name: WeightFormat, layers: int, *, tied: bool) -> Quantisation | None:
    """How an engine holds a model of so many layers in a format; None for 16 bits.

    Embedding, head, norms and routers stay as they are computed with; under mxfp4 all but experts do. llama.cpp's formats reach
    embedding and head, too: q4_k_m has 6 bits for the head and, in half of the layers, for values and the feed-forward's last matrix.

    Source: llama.cpp, src/llama-quant.cpp, llama_tensor_get_type and use_more_bits.
    """
    name = served_format(name)
    matrix = stored_matrix(name)
    if matrix is None:
        return None
    but = EXPERTS_QUANTISED if name in EXPERTS_ALONE else LAYERS_QUANTISED if name in LAYERS_ALONE else LeftAlone()
    mixture = None
    if name == "q8_0":
        mixture = Mixture(more=matrix, share=0.0, tied=tied)
    elif name == "q4_k_m":
        eighth = layers // 8
        more = sum(1 for i in range(layers) if i < eighth or i >= 7 * layers // 8 or (i - eighth) % 3 == 2)
        mixture = Mixture(more=Q6_K, share=more / layers, tied=tied)
    return Quantisation(matrix=matrix, said=name, name=name, but=but, mixture=mixture)


EXPERTS_QUANTISED = LeftAlone(shares=tuple((part, 1.0) for part in ("attention", "state_space", "mlp", SHARED)))
LAYERS_QUANTISED = LeftAlone(shares=(("experts", 1.0),))


LEFT = ("dt", "convolution", "router")
"""Roles of rows inside layers that are no linear layers, or are left in 16 bits."""


def quantisation(config: Mapping[str, Any], name: str, layers: Callable[[], Sequence[frozenset[str]]]) -> Quantisation | None:
    """What the configuration says of its checkpoint's weights; None where neither it nor a part of it says anything.

    Args:
        layers: that says of each layer which components it has.

    Raises:
        BadConfigError: no object, or numbers in it that are none.
    """
    parts = [config, *(part for part in config.values() if isinstance(part, dict))]
    given = next((part["quantization_config"] for part in parts if part.get("quantization_config") is not None), None)
    if given is None:
        return None
    if not isinstance(given, dict):
        raise BadConfigError(f"{name}: quantization_config is {str(given)[:40]!r}; expected an object with a quant_method")
    method = str(given.get("quant_method", "bitsandbytes" if "load_in_4bit" in given or "load_in_8bit" in given else "no quant_method"))
    read, called = READERS.get(method.replace("_", "-")), f"quantization_config ({method[:40]})"
    try:
        matrix, what = read(given) if read else (None, "")
        but = left_alone(given, layers())
    except (TypeError, ValueError, LookupError, AttributeError):
        raise BadConfigError(f"{name}: {called} has a field that makes no sense; expected what transformers writes") from None
    if matrix is None:
        unknown = f"{called}{f', {what},' if what else ''} is not known"
        return Quantisation(matrix=None, said=f"{unknown}: weights are counted as if none were quantised")
    if method == "mxfp4":
        but = replace(EXPERTS_QUANTISED, unread=but.unread)
    left = "" if method == "mxfp4" else but.said
    if but.unread:
        names, are = ("names", "are") if but.unread > 1 else ("name", "is")
        left += f"; {but.unread} more {names} of modules that it leaves alone {are} not known"
    said = f"{called}: matrices of layers are held as {what}, the rest as computed with{left}; in training by --base-format"
    return Quantisation(matrix=matrix, said=said, name=_served_as(matrix, what, given), but=but)


def _served_as(matrix: StoredMatrix, what: str, given: Mapping[str, Any]) -> WeightFormat:
    """The name of a format where models are served: its own, else that of one whose matrices are multiplied alike."""
    alike = next((name for name in SERVED_FORMATS if stored_matrix(name) == matrix), None)
    if alike is not None:
        return alike
    if "float" in what or "fp" in what:
        return "fp8" if matrix.bits == 8 else "nvfp4" if matrix.group == 16 else "mxfp4"
    groups = (given.get("config_groups") or {}).values()
    if matrix.bits == 8 and any(isinstance(group, dict) and group.get("input_activations") for group in groups):
        return "int8"
    return "awq" if (matrix.bits, matrix.group) == (4, 128) else f"awq-{matrix.bits}-{matrix.group}"


Read = tuple[StoredMatrix | None, str]


def _bitsandbytes(given: Mapping[str, Any]) -> Read:
    """4 bits in flat blocks of 64, fp4 as nf4; or 8 bits with one fp32 scale per output."""
    if given.get("load_in_4bit"):
        double = bool(given.get("bnb_4bit_use_double_quant"))
        kind = str(given.get("bnb_4bit_quant_type", "fp4"))
        return FORMATS["nf4-double" if double else "nf4"], f"{kind}{' with scales quantised in turn' if double else ''}"
    if given.get("load_in_8bit"):
        return FORMATS["int8"], "int8 with a scale per output"
    return None, ""


def _grouped(given: Mapping[str, Any], *, input_bytes: int) -> Read:
    """Integers with a 16-bit scale and a zero point per group of inputs."""
    bits, group = int(given.get("bits", given.get("w_bit", 4))), int(given.get("group_size", given.get("q_group_size", 128)))
    matrix = grouped(bits, max(0, group), input_bytes=input_bytes)
    return matrix, f"int{bits} in {f'groups of {group}' if group > 0 else 'one group per output'}"


def _fp8(given: Mapping[str, Any]) -> Read:
    """fp8 with an fp32 scale per tile of outputs and inputs, or per matrix."""
    tile = given.get("weight_block_size")
    if tile:
        rows, columns = (int(side) for side in tile)
        return StoredMatrix(bits=8, tile=(rows, columns), scale_bytes=4), f"fp8 in tiles of {rows} x {columns}"
    return FORMATS["fp8"], "fp8 with a scale per matrix"


def _compressed_tensors(given: Mapping[str, Any]) -> Read:
    """What the one group of its config_groups says of weights: bits, and a 16-bit scale by strategy."""
    groups = given.get("config_groups") or {}
    weights = [group.get("weights", group) for group in groups.values()]
    if len(weights) != 1:
        return None, f"{len(weights)} groups"
    (one,) = weights
    bits, kind = int(one["num_bits"]), str(one.get("type", "int"))
    group = int(one.get("group_size") or 0)
    strategy = str(one.get("strategy") or ("group" if group > 0 else "channel" if group else "tensor"))
    few = kind == "float" and bits == 4
    zero_bits = 0 if one.get("symmetric", True) else bits
    what = f"{kind}{bits}, a scale per {f'{strategy} of {group}' if group > 0 else strategy}"
    if strategy == "tensor":
        return StoredMatrix(bits=bits, whole=True, scale_bytes=2, zero_bits=zero_bits), what
    if strategy == "block":
        rows, columns = (int(side) for side in one["block_structure"])
        return StoredMatrix(bits=bits, tile=(rows, columns), scale_bytes=2, zero_bits=zero_bits), what
    return StoredMatrix(bits=bits, group=max(0, group), scale_bytes=1 if few else 2, zero_bits=zero_bits), what


def _modelopt(given: Mapping[str, Any]) -> Read:
    """NVIDIA's Model Optimizer: nvfp4 in groups of 16 with an fp8 scale, or fp8 with a scale per matrix."""
    algorithm = str(given.get("quant_algo", "no quant_algo"))
    if algorithm == "NVFP4":
        return SERVED_ALONE["nvfp4"], "nvfp4"
    return _fp8({}) if algorithm == "FP8" else (None, algorithm[:40])


def _hqq(given: Mapping[str, Any]) -> Read:
    """HQQ: integers with a 16-bit scale and a 16-bit zero point per group of inputs."""
    params = given["quant_config"]["weight_quant_params"]
    bits, group = int(params["nbits"]), int(params["group_size"])
    return StoredMatrix(bits=bits, group=max(0, group), scale_bytes=2, zero_bits=16), f"int{bits} in groups of {group}"


def _torchao(given: Mapping[str, Any]) -> Read:
    """torchao's weight-only and dynamic kinds: int4 with a 16-bit scale and zero point per group, int8 and fp8 with a scale per output."""
    kind, options = given["quant_type"], given.get("quant_type_kwargs") or {}
    if isinstance(kind, dict):
        kind, options = kind["default"]["_type"], kind["default"].get("_data") or {}
    written = str(kind).replace("_", "").casefold().removesuffix("config")
    if written == "int4weightonly":
        group = int(options.get("group_size", 128))
        return StoredMatrix(bits=4, group=max(0, group), scale_bytes=2, zero_bits=16), f"int4 in groups of {group}"
    if written in ("int8weightonly", "int8dynamicactivationint8weight"):
        return StoredMatrix(bits=8, scale_bytes=2), "int8 with a scale per output"
    if written in ("float8weightonly", "float8dynamicactivationfloat8weight"):
        return StoredMatrix(bits=8, scale_bytes=4), "fp8 with a scale per output"
    return None, str(kind)[:40]


def _quanto(given: Mapping[str, Any]) -> Read:
    """optimum-quanto: one byte and less with 16-bit scales, per output, and below 8 bits per 128 inputs with a shift as wide."""
    kind = str(given["weights"])
    bits = int(kind.removeprefix("float").removeprefix("int"))
    if bits < 8:
        return StoredMatrix(bits=bits, group=128, scale_bytes=2, zero_bits=16), f"{kind} in groups of 128"
    return StoredMatrix(bits=bits, scale_bytes=2), f"{kind} with a scale per output"


READERS: Mapping[str, Callable[[Mapping[str, Any]], Read]] = {
    "bitsandbytes": _bitsandbytes,
    "gptq": lambda given: _grouped(given, input_bytes=INDEX_BYTES),
    "awq": lambda given: _grouped(given, input_bytes=0),
    "auto-round": lambda given: _grouped(given, input_bytes=0),
    "modelopt": _modelopt,
    "fp8": _fp8,
    "fbgemm-fp8": lambda given: (StoredMatrix(bits=8, scale_bytes=4), "fp8 with a scale per output"),
    "mxfp4": lambda given: (FORMATS["mxfp4"], "mxfp4, experts alone"),
    "mxfp8": lambda given: (StoredMatrix(bits=8, group=32, scale_bytes=1), "mxfp8"),
    "eetq": lambda given: (StoredMatrix(bits=8, scale_bytes=2), "int8 with a scale per output"),
    "hqq": _hqq,
    "quanto": _quanto,
    "torchao": _torchao,
    "compressed-tensors": _compressed_tensors,
}
"""quant_method -> how its matrices are held.

Source: transformers, quantizers (version 5); AutoGPTQ and AutoAWQ, packed linear layers; DeepSeek-V3's fp8 checkpoint, README of its
weights; compressed-tensors, quantisation schemes; gpt-oss's model card (arXiv 2508.10925), section 2.1; mxfp8: the OCP's microscaling
formats 1.0, blocks of 32 with a scale of 8 bits; of EETQ, HQQ, quanto and torchao the scales are from memory, unchecked.
"""
