"""How a model is trained: all of it, adapters beside frozen matrices, or its upper layers; one noun for whatever prices training."""

from __future__ import annotations

from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.weight_formats import PLAIN, WeightFormat, weight_format


@frozen
class TrainingMethod:
    """What training changes of a model, and how the rest of it is stored.

    Attributes:
        rank: of LoRA's adapters, with which every weight of the model is frozen; 0 for none.
        targets: what transformers or the op table calls the matrices that have adapters, or "all-linear"; queries and values if empty.
        dora: whether each adapter has a trained length for every output of its matrix as well.
        frozen_layers: without adapters: layers from the first on that are frozen, and the embedding with them; None for none of it.
        base_format: of the frozen matrices inside the layers: 16-bit, or a quantised one of `weight_formats`, over which adapters
            alone are trained.
        quantises_experts: whether experts are stored so even by a format of linear layers: in transformers before 5 they are such.

    Source: Hu et al. 2021, LoRA (arXiv 2106.09685); Liu et al. 2024, DoRA (arXiv 2402.09353), section 4.1.
    """

    rank: int = 0
    targets: tuple[str, ...] = ()
    dora: bool = False
    frozen_layers: int | None = None
    base_format: WeightFormat = PLAIN
    quantises_experts: bool = False

    def __post_init__(self) -> None:
        if self.rank < 0:
            raise BadValueError(f"an adapter of rank {self.rank}; expected a whole number from 1, or 0 for no adapters")
        if self.rank and self.frozen_layers is not None:
            raise BadValueError("adapters and frozen layers exclude each other; with adapters every layer is frozen")
        if self.targets and not self.rank:
            raise BadValueError(f"targets {', '.join(self.targets)[:80]} need adapters; give a rank")
        if self.dora and not self.rank:
            raise BadValueError("DoRA is adapters with lengths beside them; give a rank")
        if weight_format(self.base_format) != self.base_format:
            raise BadValueError(f"weights stored as {self.base_format!r}: the name is {weight_format(self.base_format)}")


FULL = TrainingMethod()
"""Every weight is trained."""
