"""What peft calls the matrices of a mixture of experts, and which of them its adapters reach.

Source: peft 0.21.2, peft/utils/transformers_weight_conversion.py, on the classes of transformers 5.24: a router is reached where
it is a linear layer; experts, whose matrices are one parameter of three dimensions, where peft carries over the names that they
had before.
"""

from __future__ import annotations

from collections.abc import Mapping

from estimators.errors import BadValueError
from estimators.spec import Op

Names = tuple[tuple[str, str], ...]
"""Name in peft -> row of the op table."""

GATE_UP, UP, DOWN, ROUTER, SHARED_GATE = "experts.gate_up", "experts.up", "experts.down", "router", "shared_gate"
EXPERTS = frozenset((GATE_UP, UP, DOWN))
OF_MIXTURE = EXPERTS | {ROUTER, SHARED_GATE}

EXPERTS_BY_PROJ: Names = (("gate_proj", GATE_UP), ("up_proj", GATE_UP), ("down_proj", DOWN))
"""Of types that peft treats as successors of Qwen2-MoE: these names are the experts' alone, so that dense layers and shared experts
of the same names have no adapters."""

GATE_AND_EXPERTS: Names = (("gate", ROUTER), *EXPERTS_BY_PROJ)
"""The same, where the router is called gate."""

EXPERTS_BY_W: Names = (("gate", ROUTER), ("w1", GATE_UP), ("w3", GATE_UP), ("w2", DOWN))
"""Mixtral."""

GROUPED: dict[str, str] = {"output_down": "o_a_proj"}
"""Matrices whose groups of outputs each read inputs of their own, and what transformers calls them: peft makes an adapter of one of
them for all groups at once, and cannot add what it puts out."""

FUSED = 2
"""Ranks of gate and up together, where peft carries over the names of both: each has its own."""


def row_of(op: Op) -> str:
    """What a matrix is called as a target: its role, that of experts told apart from the same one of plain layers."""
    return f"experts.{op.role}" if op.component == "experts" else op.role


def carried_over(names: Mapping[str, str]) -> bool:
    """Whether peft reaches a type's experts by the names that they had as layers of their own."""
    return GATE_UP in names.values()


def demand_both_halves(target: str, targets: tuple[str, ...], names: Mapping[str, str]) -> None:
    """Refuse one half of what is one matrix. Raises BadValueError."""
    other = next((name for name, row in names.items() if row == names[target] == GATE_UP and name != target), target)
    if other not in targets:
        raise BadValueError(f"target {target!r} without {other!r}: the experts' two are one matrix, which peft adapts whole; expected both")


def demand_plain(name: str, targets: frozenset[str]) -> None:
    """Refuse an adapter beside a matrix of groups. Raises BadValueError."""
    for row in targets & GROUPED.keys():
        raise BadValueError(
            f"an adapter beside {GROUPED[row]} of {name}: peft makes it for all groups of heads at once and cannot add it to one; "
            "name other matrices, and not all-linear"
        )
