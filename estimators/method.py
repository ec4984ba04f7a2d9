"""How a model is trained: all of it, adapters beside frozen matrices, or its upper layers; one noun for whatever prices training."""

from __future__ import annotations

from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.weight_formats import WEIGHT_FORMATS, WeightFormat


@frozen
class TrainingMethod:
    """What training changes of a model, and how the rest of it is stored.

    Attributes:
        rank: of LoRA's adapters, with which every weight of the model is frozen; 0 for none.
        targets: what transformers or the op table calls the matrices that have adapters, or "all-linear"; queries and values if empty.
        frozen_layers: without adapters: layers from the first on that are frozen, and the embedding with them; None for none of it.
        base_format: of the frozen matrices inside the layers, under adapters: 16-bit, or 4-bit as QLoRA has it.
    """

    rank: int = 0
    targets: tuple[str, ...] = ()
    frozen_layers: int | None = None
    base_format: WeightFormat = "16-bit"

    def __post_init__(self) -> None:
        if self.rank < 0:
            raise BadValueError(f"an adapter of rank {self.rank}; expected a whole number from 1, or 0 for no adapters")
        if self.rank and self.frozen_layers is not None:
            raise BadValueError("adapters and frozen layers exclude each other; with adapters every layer is frozen")
        if self.targets and not self.rank:
            raise BadValueError(f"targets {', '.join(self.targets)[:80]} need adapters; give a rank")
        if self.base_format not in WEIGHT_FORMATS:
            raise BadValueError(f"weights stored as {self.base_format!r} are unknown; expected one of: {', '.join(WEIGHT_FORMATS)}")
        if self.base_format != "16-bit" and not self.rank:
            raise BadValueError(f"weights stored as {self.base_format} are not trained; give a rank for adapters beside them")


FULL = TrainingMethod()
"""Every weight is trained."""
