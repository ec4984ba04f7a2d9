"""Bytes of a matrix's weights as they are stored: in 16 bits, or quantised."""

from __future__ import annotations

from typing import Literal

from estimators.frozen import frozen

WeightFormat = Literal["16-bit", "nf4", "nf4-double"]

WEIGHT_FORMATS: tuple[WeightFormat, ...] = ("16-bit", "nf4", "nf4-double")
"""What frozen matrices can be stored in: as they are computed with, as 4-bit NormalFloat, or with its scales quantised in turn."""

BLOCK = 64
"""Weights that share a scale."""

SCALES_BLOCK = 256
"""Scales that share a scale of theirs, under double quantisation."""

CODE_BYTES = 16 * 4
"""The 16 values that four bits stand for, kept with each matrix."""

SCALE_CODE_BYTES = 256 * 4 + 4
"""The 256 values of an 8-bit scale, and their offset."""


def stored_bytes(elements: int, weight_format: WeightFormat) -> int:
    """Bytes of one matrix of `elements` weights.

    NF4: half a byte each, an fp32 scale per block of 64, the code. Double: a byte per scale, an fp32 scale per 256 of those.

    Source: Dettmers et al. 2023, QLoRA (arXiv 2305.14314), section 3; bitsandbytes, functional.py, quantize_4bit (version 0.50).

    >>> stored_bytes(4096 * 4096, "nf4") == 8_388_608 + 1_048_576 + 64
    True
    >>> stored_bytes(4096 * 4096, "nf4-double") == 8_388_608 + 262_144 + 4_096 + 1_024 + 4 + 64
    True
    """
    if weight_format == "16-bit":
        return 2 * elements
    scales = -(-elements // BLOCK)
    codes = -(-elements // 2) + CODE_BYTES
    return codes + (4 * scales if weight_format == "nf4" else scales + 4 * -(-scales // SCALES_BLOCK) + SCALE_CODE_BYTES)


@frozen
class StoredMatrix:
    """How a quantised checkpoint holds a matrix of n outputs and k inputs: numbers of few bits, and the scales that they share.

    Attributes:
        bits: of a number.
        group: inputs of one output that share a scale; 0 for all of them.
        tile: outputs and inputs that share a scale, in place of a group; empty for none.
        whole: whether one scale serves the whole matrix.
        scale_bytes: of a scale; 0 for none.
        zero_bits: of the zero point beside each scale; 0 for none.
        input_bytes: held for each input, such as the index of its group.
        nf4: bitsandbytes' format, whose scales are flat blocks; None for any other.
    """

    bits: int
    group: int = 0
    tile: tuple[int, int] | None = None
    whole: bool = False
    scale_bytes: int = 0
    zero_bits: int = 0
    input_bytes: int = 0
    nf4: WeightFormat | None = None

    def num_bytes(self, n: int, k: int) -> int:
        """Bytes of one matrix, scales and all.

        GPTQ of 4 bits in groups of 128: half a byte a weight, a 16-bit scale and a 4-bit zero point for each group, an index for
        each input.

        >>> gptq = StoredMatrix(bits=4, group=128, scale_bytes=2, zero_bits=4, input_bytes=4)
        >>> gptq.num_bytes(4096, 4096) == 4096 * 4096 // 2 + 4096 * 32 * 2 + 4096 * 32 // 2 + 4096 * 4
        True
        """
        if self.nf4 is not None:
            return stored_bytes(n * k, self.nf4)
        rows, columns = self.tile or (1, self.group or k)
        scales = 1 if self.whole else -(-n // rows) * -(-k // columns)
        return -(-n * k * self.bits // 8) + scales * self.scale_bytes + -(-scales * self.zero_bits // 8) + k * self.input_bytes
