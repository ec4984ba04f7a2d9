"""Optimizers by transformers' name: what each keeps of every trained tensor, and what a step holds beside that."""

from __future__ import annotations

from typing import Literal

from estimators.errors import UnknownNameError
from estimators.frozen import frozen, replace

Rule = Literal["moments", "blocks", "factored", "projected", "muon", "none"]
"""How state grows: so many numbers for each element; those in 8 or 4 bits with a scale per block; a row and a column of each matrix;
moments of a matrix projected to a rank, and the projection; one of matrices and two of all else; nothing."""

BNB_LEAST_ELEMENTS = 4096
"""A tensor below it has fp32 state in bitsandbytes and torchao. Source: bitsandbytes, optim/optimizer.py, min_8bit_size (version 0.50)."""

PROJECTED_RANK = 128
"""GaLore's and APOLLO's, unless optim_args says another. Source: transformers, trainer_optimizer.py (version 5.24)."""


@frozen
class TrainedTensor:
    """So many trained tensors of one shape.

    Attributes:
        rows, columns: 1 column for a vector.
        count: of tensors.
        size: bytes of an element.
        is_table: whether it is one of torch.nn.Embedding, whose state the Trainer keeps in fp32 under bitsandbytes.
        is_linear: whether it is a matrix of torch.nn.Linear, of which alone moments are projected.
    """

    rows: int
    columns: int = 1
    count: int = 1
    size: int = 4
    is_table: bool = False
    is_linear: bool = False

    @property
    def elements(self) -> int:
        """Of one tensor."""
        return self.rows * self.columns

    @property
    def params(self) -> int:
        """Of all of them."""
        return self.count * self.elements


@frozen
class Optimizer:
    """What one optimizer keeps.

    Attributes:
        name: transformers' `optim`.
        rule: see the type.
        moments: numbers kept for each element; of `factored` those beside rows and columns.
        is_fp32: whether they are fp32 whatever the parameter's dtype; else of that dtype.
        bits, block: of `blocks`: of a number, and elements that share a scale.
        divides: whether only a tensor of whole blocks is quantised, the others kept in the parameter's dtype (torchao).
        step_copies: copies of all trained parameters that a step holds for a moment, as torch's foreach loops do.
        tensor_copies: fp32 copies of the largest tensor, for optimizers that go tensor by tensor in Python.
        is_paged: whether state may be moved to the host when the device is full.
        is_in_backward: whether each parameter is updated inside backward, so that its gradient is freed at once.
        compensation_bytes: more for each element of a 16-bit parameter: Kahan's sum.
    """

    name: str
    rule: Rule = "moments"
    moments: int = 2
    is_fp32: bool = False
    bits: int = 8
    block: int = 256
    divides: bool = False
    step_copies: int = 0
    tensor_copies: int = 0
    is_paged: bool = False
    is_in_backward: bool = False
    compensation_bytes: int = 0

    def state_bytes(self, tensor: TrainedTensor, rank: int = 0) -> int:
        """Bytes kept of tensors of one shape; a step's number, 4 bytes a tensor, is left out.

        AdamW of a 4,096 x 4,096 matrix in bf16: two moments of 2 bytes. In 8 bits: two of a byte, an fp32 scale per 256.

        >>> matrix = TrainedTensor(rows=4096, columns=4096, size=2)
        >>> optimizer("adamw_torch").state_bytes(matrix) == 4 * 4096**2
        True
        >>> optimizer("adamw_8bit").state_bytes(matrix) == 2 * 4096**2 + 2 * 4 * 4096**2 // 256
        True

        Args:
            rank: of projected moments; 0 for the usual one.
        """
        return tensor.count * self._of_one(tensor, rank or PROJECTED_RANK)

    def _of_one(self, tensor: TrainedTensor, rank: int) -> int:
        n, size = tensor.elements, 4 if self.is_fp32 else tensor.size
        more = self.compensation_bytes * n if tensor.size < 4 else 0
        if self.rule == "none":
            return 0
        if self.rule == "factored":
            lines = tensor.rows + tensor.columns if tensor.columns > 1 else n
            return 4 * (lines + self.moments * n)
        if self.rule == "muon":
            return (1 if tensor.is_linear else 2) * size * n
        if self.rule == "projected" and tensor.is_linear:
            long, short = max(tensor.rows, tensor.columns), min(tensor.rows, tensor.columns)
            held = replace(self, rule="blocks" if self.bits < 16 else "moments")
            return held._of_one(TrainedTensor(rows=min(rank, short), columns=long, size=4), rank) + 4 * min(rank, short) * short
        quantised = self.bits < 16 and (self.rule == "blocks" or self.rule == "projected")
        if not quantised or n < BNB_LEAST_ELEMENTS or (self.divides and n % self.block) or (tensor.is_table and not self.divides):
            return self.moments * (4 if quantised and not self.divides else size) * n + more
        return self.moments * (-(-n * self.bits // 8) + 4 * -(-n // self.block))


_TORCH = {"adamw_torch_fused": 2, "adamw_torch_xla": 2, "adamw_torch_npu_fused": 2, "schedule_free_radam": 2, "schedule_free_adamw": 2}
_BNB = {"adamw": 2, "lion": 1, "ademamix": 3}

_ALL = [
    Optimizer(name="adamw_torch", step_copies=1),
    *(Optimizer(name=name, moments=moments) for name, moments in _TORCH.items()),
    Optimizer(name="adafactor", rule="factored", moments=0, tensor_copies=2),
    Optimizer(name="adamw_anyprecision", is_fp32=True),
    Optimizer(name="adamw_torch_4bit", rule="blocks", bits=4, block=128, divides=True),
    Optimizer(name="adamw_torch_8bit", rule="blocks", divides=True),
    Optimizer(name="sgd", moments=0),
    Optimizer(name="adagrad", moments=1, step_copies=1),
    Optimizer(name="rmsprop", moments=1, step_copies=1),
    Optimizer(name="adamw_bnb_8bit", rule="blocks"),
    Optimizer(name="adamw_8bit", rule="blocks"),
    Optimizer(name="ademamix", moments=3, is_fp32=True),
    Optimizer(name="ademamix_8bit", rule="blocks", moments=3),
    Optimizer(name="lion_8bit", rule="blocks", moments=1),
    Optimizer(name="lion_32bit", moments=1, is_fp32=True),
    *(Optimizer(name=f"paged_{name}_8bit", rule="blocks", moments=moments, is_paged=True) for name, moments in _BNB.items()),
    *(Optimizer(name=f"paged_{name}_32bit", moments=moments, is_fp32=True, is_paged=True) for name, moments in _BNB.items()),
    Optimizer(name="rmsprop_bnb", moments=1, is_fp32=True),
    Optimizer(name="rmsprop_bnb_8bit", rule="blocks", moments=1),
    Optimizer(name="rmsprop_bnb_32bit", moments=1, is_fp32=True),
    *(Optimizer(name=f"galore_adamw{tail}", rule="projected", bits=32, is_in_backward=bool(tail)) for tail in ("", "_layerwise")),
    *(Optimizer(name=f"galore_adamw_8bit{tail}", rule="projected", is_in_backward=bool(tail)) for tail in ("", "_layerwise")),
    *(
        Optimizer(name=f"galore_adafactor{tail}", rule="factored", moments=0, tensor_copies=2, is_in_backward=bool(tail))
        for tail in ("", "_layerwise")
    ),
    Optimizer(name="lomo", rule="none", is_in_backward=True),
    Optimizer(name="adalomo", rule="factored", moments=0, is_in_backward=True),
    Optimizer(name="grokadamw", moments=3),
    Optimizer(name="schedule_free_sgd", moments=1),
    *(Optimizer(name=f"apollo_adamw{tail}", rule="projected", bits=32, is_in_backward=bool(tail)) for tail in ("", "_layerwise")),
    Optimizer(name="stable_adamw", compensation_bytes=2),
    Optimizer(name="muon", rule="muon"),
]

OPTIMIZERS: dict[str, Optimizer] = {each.name: each for each in _ALL}
"""transformers' name -> what it keeps; and Muon, which others bring.

Counted by stepping small tensors with torch 2.13, transformers 5.24 and bitsandbytes 0.50.2; the rest read in its package: torchao 0.18
(optim/subclass_8bit.py), galore-torch, apollo-torch, lomo-optim, schedulefree, grokadamw, torch-optimi.
"""

ALSO_CALLED = {
    "adamw": "adamw_torch_fused",
    "adamw-8bit": "adamw_8bit",
    "adamw_hf": "adamw_torch",
    "paged_adamw": "paged_adamw_32bit",
    "paged_adamw_bnb_8bit": "paged_adamw_8bit",
    "lion": "lion_32bit",
    "paged_lion": "paged_lion_32bit",
    "paged_ademamix": "paged_ademamix_32bit",
    "schedule_free": "schedule_free_adamw",
}
"""What else they are called."""


def optimizer(name: str) -> Optimizer:
    """An optimizer by its name. Raises UnknownNameError where transformers has none of that name."""
    wanted = name.strip().casefold()
    wanted = ALSO_CALLED.get(wanted, wanted).replace("-", "_")
    if wanted not in OPTIMIZERS:
        raise UnknownNameError("optimizer", name, list(OPTIMIZERS), "python -m bench list optimizers")
    return OPTIMIZERS[wanted]
