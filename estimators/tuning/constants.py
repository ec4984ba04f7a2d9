"""The constants of fine-tuning's step time: one data file, each with its prior, its fitted value, and what it is without each source."""

from __future__ import annotations

import functools
from typing import Any

from estimators.facts import data
from estimators.facts.fitted import fitted_values
from estimators.frozen import frozen
from estimators.weight_formats import PLAIN

NF4 = ("nf4", "nf4-double")
FLOATS = ("fp8", "fp8-tiles", "mxfp4")
FLOAT_BYTES = 8.0
"""Bytes for each weight and pass where floats of 8 or 4 bits become 16-bit ones in one kernel: 1 read, 2 written, 2 read, scales. Assumed:
no row measures it."""


@frozen
class TuningConstants:
    """Constants; `data/tuning_constants.json` says where each comes from.

    Attributes:
        nf4_bytes, integer_bytes: for each weight and pass, what making 16-bit weights of 4-bit NormalFloats and of grouped integers
            takes, in bytes that the memory would move in that time; whatever the number of tokens.
        adapter_traffic: bytes that move beside adapters over those that their operators read and write.
    """

    nf4_bytes: float
    integer_bytes: float
    adapter_traffic: float

    def dequantise_bytes(self, weight_format: str) -> float:
        """Of one weight and pass; 0 for 16 bits."""
        if weight_format == PLAIN:
            return 0.0
        if weight_format in NF4:
            return self.nf4_bytes
        return FLOAT_BYTES if weight_format in FLOATS else self.integer_bytes


@functools.cache
def constants_file() -> dict[str, Any]:
    """The whole data file."""
    body: dict[str, Any] = data.read_json(data.file("tuning_constants.json"))
    return body


@functools.cache
def tuning_constants(without: str = "") -> TuningConstants:
    """The constants as fitted on all sources, or on all but one.

    Raises:
        BadValueError: no fit without that source is in the file.
    """
    return TuningConstants(**fitted_values(constants_file(), without))
