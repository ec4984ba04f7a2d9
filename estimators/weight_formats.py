"""Bytes of a matrix's weights as they are stored: in 16 bits, or quantised."""

from __future__ import annotations

import re
from collections.abc import Mapping

from estimators.errors import BadValueError
from estimators.frozen import frozen

WeightFormat = str
"""A name that `weight_format` returns."""

PLAIN: WeightFormat = "16-bit"
"""As the weights are computed with."""

BLOCK = 64
"""Weights that share a scale, in bitsandbytes' 4 bits."""

SCALES_BLOCK = 256
"""Scales that share a scale of theirs, under double quantisation."""

CODE_BYTES = 16 * 4
"""The 16 values that four bits stand for, kept with each matrix."""

SCALE_CODE_BYTES = 256 * 4 + 4
"""The 256 values of an 8-bit scale, and their offset."""


@frozen
class StoredMatrix:
    """How a matrix of n outputs and k inputs is held: numbers of few bits, and the scales that they share.

    Attributes:
        bits: of a number.
        group: inputs of one output that share a scale; 0 for all of them.
        tile: outputs and inputs that share a scale, in place of a group; None for none.
        block: weights in memory order that share a scale, in place of a group; 0 for none.
        whole: whether one scale serves the whole matrix.
        scale_bytes: of a scale; 0 for none.
        scales_block: scales that share an fp32 scale of theirs; 0 for none.
        zero_bits: of the zero point beside each scale; 0 for none.
        input_bytes: held for each input, such as the index of its group.
        matrix_bytes: held for each matrix, such as the values that its numbers stand for.
    """

    bits: int
    group: int = 0
    tile: tuple[int, int] | None = None
    block: int = 0
    whole: bool = False
    scale_bytes: int = 0
    scales_block: int = 0
    zero_bits: int = 0
    input_bytes: int = 0
    matrix_bytes: int = 0

    def num_bytes(self, n: int, k: int) -> int:
        """Bytes of one matrix, scales and all.

        NF4: half a byte a weight, an fp32 scale for each block of 64, the code; double: a byte for each scale, an fp32 scale for each
        256 of those. GPTQ of 4 bits in groups of 128: half a byte a weight, a 16-bit scale and a 4-bit zero point for each group, an
        index for each input.

        >>> FORMATS["nf4"].num_bytes(4096, 4096) == 8_388_608 + 1_048_576 + 64
        True
        >>> FORMATS["nf4-double"].num_bytes(4096, 4096) == 8_388_608 + 262_144 + 4_096 + 1_024 + 4 + 64
        True
        >>> FORMATS["gptq"].num_bytes(4096, 4096) == 4096 * 4096 // 2 + 4096 * 32 * 2 + 4096 * 32 // 2 + 4096 * 4
        True
        """
        scales = self._num_scales(n, k)
        of_scales = scales * self.scale_bytes + (4 * -(-scales // self.scales_block) if self.scales_block else 0)
        zeros = -(-scales * self.zero_bits // 8)
        return -(-n * k * self.bits // 8) + of_scales + zeros + k * self.input_bytes + self.matrix_bytes

    def _num_scales(self, n: int, k: int) -> int:
        if self.whole:
            return 1
        if self.block:
            return -(-n * k // self.block)
        rows, columns = self.tile or (1, self.group or k)
        return -(-n // rows) * -(-k // columns)


def grouped(bits: int, group: int, *, input_bytes: int = 0) -> StoredMatrix:
    """Integers with a 16-bit scale and a zero point for each group of inputs, as GPTQ and AWQ hold them.

    Args:
        group: 0 for one group per output.
        input_bytes: 4 where each input has the index of its group, as in GPTQ.
    """
    return StoredMatrix(bits=bits, group=group, scale_bytes=2, zero_bits=bits, input_bytes=input_bytes)


INDEX_BYTES = 4
"""Of the index of an input's group, which GPTQ holds."""

FORMATS: Mapping[WeightFormat, StoredMatrix] = {
    "nf4": StoredMatrix(bits=4, block=BLOCK, scale_bytes=4, matrix_bytes=CODE_BYTES),
    "nf4-double": StoredMatrix(bits=4, block=BLOCK, scale_bytes=1, scales_block=SCALES_BLOCK, matrix_bytes=CODE_BYTES + SCALE_CODE_BYTES),
    "int8": StoredMatrix(bits=8, scale_bytes=4),
    "fp8": StoredMatrix(bits=8, whole=True, scale_bytes=4),
    "fp8-tiles": StoredMatrix(bits=8, tile=(128, 128), scale_bytes=4),
    "mxfp4": StoredMatrix(bits=4, group=32, scale_bytes=1),
    "gptq": grouped(4, 128, input_bytes=INDEX_BYTES),
    "awq": grouped(4, 128),
}
"""What frozen matrices can be stored in: 4-bit NormalFloat, that with its scales quantised in turn, 8-bit integers with a scale per
output, 8-bit floats with a scale per matrix or per tile, the 4-bit floats of gpt-oss's experts, and integers in groups.

Source: Dettmers et al. 2023, QLoRA (arXiv 2305.14314), section 3; bitsandbytes, functional.py, quantize_4bit (version 0.50);
AutoGPTQ and AutoAWQ, packed linear layers; the README of DeepSeek-V3's weights; gpt-oss's model card (arXiv 2508.10925), section 2.1.
"""

SERVED_ALONE: Mapping[WeightFormat, StoredMatrix] = {
    "nvfp4": StoredMatrix(bits=4, group=16, scale_bytes=1),
    "q4_k_m": StoredMatrix(bits=4, block=256, scale_bytes=16),
    "q8_0": StoredMatrix(bits=8, block=32, scale_bytes=2),
}
"""What engines hold matrices in and nobody trains adapters over: 4-bit floats with an fp8 scale for 16, and llama.cpp's blocks: of 256
weights of 4 bits with 12 bytes of scales of eight groups and two 16-bit scales of those, and of 32 weights of 8 bits with a 16-bit scale.

Source: NVIDIA 2025 (arXiv 2509.25149), section 2; llama.cpp, ggml/src/ggml-common.h, block_q4_K and block_q8_0.
"""

Q6_K = StoredMatrix(bits=6, block=256, scale_bytes=18)
"""llama.cpp's blocks of 256 weights of 6 bits: sixteen 8-bit scales and a 16-bit one. Source: ggml/src/ggml-common.h, block_q6_K."""

WEIGHT_FORMATS: tuple[WeightFormat, ...] = (PLAIN, *FORMATS)
"""Names of formats; gptq-8-128 or awq-4-64 name other bits and groups."""

SERVED_FORMATS: tuple[WeightFormat, ...] = (*WEIGHT_FORMATS, *SERVED_ALONE)
"""The same of models that are served."""

EXPERTS_ALONE = ("mxfp4",)
"""Formats of experts' matrices: the others of a layer stay in 16 bits."""

LAYERS_ALONE = ("nf4", "nf4-double", "int8")
"""Formats that are made of torch.nn.Linear while it is loaded: a bank of experts, which is none in transformers 5, stays in 16 bits."""

SPELLINGS = {
    "16bit": PLAIN,
    "bf16": PLAIN,
    "fp16": PLAIN,
    "bfloat16": PLAIN,
    "float16": PLAIN,
    "fp4": "nf4",
    "nf4-dq": "nf4-double",
    "4bit": "nf4",
    "8bit": "int8",
    "fp8-block": "fp8-tiles",
}
"""What else formats are called; fp4 has the bytes of nf4."""

SERVED_SPELLINGS = {"int4": "awq", "w4a16": "awq", "q4-k-m": "q4_k_m", "q8-0": "q8_0", "fp4": "nvfp4"}
"""The same where models are served: weights of 4 bits alone, and 4-bit floats that a device multiplies."""

_GROUPED = re.compile(r"(?:int)?(?P<bits>[2348])?-?(?P<kind>gptq|awq)(?:-(?P<bits_behind>[2348]))?(?:-g?(?P<group>\d{1,4}))?")


def weight_format(text: str) -> WeightFormat:
    """The name of a format; `gptq-BITS-GROUP` and `awq-BITS-GROUP` for what is held in groups.

    >>> weight_format("NF4-DQ"), weight_format("int4-gptq-g128"), weight_format("gptq-8-64")
    ('nf4-double', 'gptq', 'gptq-8-64')

    Raises:
        BadValueError: an unknown format.
    """
    name = text.strip().casefold().replace("_", "-")
    name = SPELLINGS.get(name, name)
    if name in WEIGHT_FORMATS:
        return name
    if found := _GROUPED.fullmatch(name):
        kind, bits, group = found["kind"], found["bits"] or found["bits_behind"] or "4", found["group"] or "128"
        return kind if (bits, group) == ("4", "128") else f"{kind}-{bits}-{group}"
    raise BadValueError(f"weights stored as {text[:40]!r} are unknown; expected one of: {', '.join(WEIGHT_FORMATS)}, gptq-BITS-GROUP")


def served_format(text: str) -> WeightFormat:
    """The name of a format that an engine holds weights in.

    >>> served_format("Q4_K_M"), served_format("nvfp4"), served_format("int4")
    ('q4_k_m', 'nvfp4', 'awq')

    Raises:
        BadValueError: an unknown format.
    """
    name = text.strip().casefold().replace("_", "-")
    name = SERVED_SPELLINGS.get(name) or SPELLINGS.get(name, name)
    if name in SERVED_FORMATS:
        return name
    try:
        return weight_format(text)
    except BadValueError:
        known = ", ".join(SERVED_FORMATS)
        raise BadValueError(f"weights stored as {text[:40]!r} are unknown; expected one of: {known}, gptq-BITS-GROUP") from None


def stored_matrix(name: WeightFormat) -> StoredMatrix | None:
    """How a format holds a matrix; None for 16 bits. Raises BadValueError for an unknown format."""
    name = served_format(name)
    if name == PLAIN:
        return None
    if name in FORMATS:
        return FORMATS[name]
    if name in SERVED_ALONE:
        return SERVED_ALONE[name]
    kind, bits, group = name.split("-")
    return grouped(int(bits), int(group), input_bytes=INDEX_BYTES if kind == "gptq" else 0)
