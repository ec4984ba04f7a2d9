"""Extrapolation: from slices at two depths to the full depth."""

from __future__ import annotations

from typing import Annotated

from bench.records.part import Part
from bench.records.typed_json import AtLeast


class Extrapolation(Part):
    """A line through the medians at two depths, read at the full depth.

    Attributes:
        value_s: at full depth; per_layer_s and fixed_s: of the line.
        residual_fraction: scatter of the samples, carried there, over value_s; None where value_s is not above 0.
        items_per_sample, item: as of a Phase.
    """

    phase: str
    shallow_layers: int
    deep_layers: int
    full_layers: int
    per_layer_s: float
    fixed_s: float
    value_s: float
    residual_fraction: float | None
    items_per_sample: Annotated[int, AtLeast(1)]
    item: str
