"""quantization_config of a config.json: what the matrices of its layers are held as, or that its format is not known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from estimators.errors import BadConfigError
from estimators.frozen import frozen, replace
from estimators.spec import Op, Workload
from estimators.weight_formats import (
    EXPERTS_ALONE,
    FORMATS,
    INDEX_BYTES,
    LAYERS_ALONE,
    Q6_K,
    SERVED_ALONE,
    StoredMatrix,
    WeightFormat,
    grouped,
    served_format,
    stored_matrix,
)

PARTS = {"attn": "attention", "mlp": "mlp", "experts": "experts"}
"""What names of modules that are left as they are have in them -> the component that is meant."""

NEVER = ("lm_head", "embed", "norm", "gate", "router")
"""The same of what no format quantises."""


@frozen
class Quantisation:
    """How the matrices of a checkpoint's layers are held. Embedding, head, norms and routers stay as they are computed with.

    Attributes:
        matrix: None for a format that is not known: then nothing is held otherwise.
        but: components that stay as they are computed with.
        said: what it is, in words.
        mixture: what a file of llama.cpp holds otherwise; None for a format that leaves all but matrices of layers alone.
    """

    matrix: StoredMatrix | None
    said: str
    but: frozenset[str] = frozenset()
    mixture: Mixture | None = None

    def held(self, w: Workload, op: Op) -> Op:
        """The row as it is held and read; training keeps its weights in the dtype of compute."""
        if w.phase == "train" or self.matrix is None:
            return op
        if self.mixture is not None and (mixed := self.mixture.held(w, op, self.matrix)) is not None:
            return mixed
        inside = op.component in ("attention", "mlp", "experts", "state_space") and op.component not in self.but
        return held_as(op, self.matrix, w) if inside and op.kind == "matmul" and op.mnk and op.role not in LEFT else op


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
    but = frozenset({"attention", "mlp", "state_space"} if name in EXPERTS_ALONE else {"experts"} if name in LAYERS_ALONE else ())
    mixture = None
    if name == "q8_0":
        mixture = Mixture(more=matrix, share=0.0, tied=tied)
    elif name == "q4_k_m":
        eighth = layers // 8
        more = sum(1 for i in range(layers) if i < eighth or i >= 7 * layers // 8 or (i - eighth) % 3 == 2)
        mixture = Mixture(more=Q6_K, share=more / layers, tied=tied)
    return Quantisation(matrix=matrix, said=name, but=but, mixture=mixture)


LEFT = ("dt", "convolution", "router")
"""Roles of rows inside layers that are no linear layers, or are left in 16 bits."""


def quantisation(config: Mapping[str, Any], name: str) -> Quantisation | None:
    """What the configuration says of its checkpoint's weights; None where neither it nor a part of it says anything.

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
    except (TypeError, ValueError, LookupError, AttributeError):
        raise BadConfigError(f"{name}: {called} has a field that makes no sense; expected what transformers writes") from None
    if matrix is None:
        unknown = f"{called}{f', {what},' if what else ''} is not known"
        return Quantisation(matrix=None, said=f"{unknown}: weights are counted as if none were quantised")
    but, unread = _left_alone(given)
    if method == "mxfp4":
        but |= {"attention", "mlp"}
    left = f"; {unread} more names of modules that it leaves alone are counted as quantised" if unread else ""
    said = f"{called}: matrices of layers are held as {what}, the rest as computed with; in training by --base-format{left}"
    return Quantisation(matrix=matrix, said=said, but=but)


def _left_alone(given: Mapping[str, Any]) -> tuple[frozenset[str], int]:
    """Components that are left alone, and how many names are of something else, such as of single layers."""
    keys = ("ignore", "ignored_layers", "exclude", "exclude_modules", "modules_to_not_convert", "llm_int8_skip_modules", "skip_modules")
    names = [str(name) for key in keys for name in given.get(key) or ()]
    named = [name for name in names if not any(part in name for part in NEVER)]
    whole = {component for name in named for part, component in PARTS.items() if part in name and not any(c.isdigit() for c in name)}
    return frozenset(whole), sum(not any(part in name for part in PARTS) or any(c.isdigit() for c in name) for name in named)


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
