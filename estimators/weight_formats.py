"""Bytes of a matrix's weights as they are stored: in 16 bits, or quantised."""

from __future__ import annotations

from typing import Literal

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
