"""What transformers and peft call the matrices that adapters stand beside, and which of a mixture of experts they reach.

Source: peft 0.21.2, peft/utils/transformers_weight_conversion.py, on the classes of transformers 5.24: a router is reached where
it is a linear layer; experts, whose matrices are one parameter of three dimensions, where peft carries over the names that they
had before.
"""

from __future__ import annotations

from collections.abc import Mapping

from estimators.errors import BadValueError
from estimators.spec import Op

TARGETS: dict[str, str] = {
    "q_proj": "query",
    "k_proj": "key",
    "v_proj": "value",
    "o_proj": "output",
    "dense": "output",
    "qkv_proj": "query_key_value",
    "Wqkv": "query_key_value",
    "c_attn": "query_key_value",
    "gate_proj": "gate",
    "up_proj": "up",
    "gate_up_proj": "gate_up",
    "down_proj": "down",
    "c_fc": "up",
    "fc1": "up",
    "fc2": "down",
    "fc_in": "up",
    "fc_out": "down",
    "dense_h_to_4h": "up",
    "dense_4h_to_h": "down",
    "q_a_proj": "query_down",
    "q_b_proj": "query_up",
    "kv_a_proj_with_mqa": "kv_down",
    "kv_b_proj": "kv_up",
    "wq_b": "index_query",
    "wk": "index_key",
    "weights_proj": "index_weights",
    "kv_proj": "kv_down",
    "o_a_proj": "output_down",
    "o_b_proj": "output",
    "in_proj": "in",
    "in_proj_qkvz": "in",
    "in_proj_ba": "in_gates",
    "in_proj_qkv": "in",
    "in_proj_z": "in_gate",
    "in_proj_b": "in_strength",
    "in_proj_a": "in_decay",
    "b_proj": "in_strength",
    "f_a_proj": "decay_down",
    "f_b_proj": "decay_up",
    "g_a_proj": "out_gate_down",
    "g_b_proj": "out_gate_up",
    "per_layer_input_gate": "layer_gate",
    "per_layer_projection": "layer_up",
    "linear_left": "residual_down",
    "linear_right": "residual_up",
    "modality_router": "stream_router",
    "prediction_coefs": "stream_mixture",
    "x_proj": "x",
    "dt_proj": "dt",
}
"""What transformers calls a matrix -> what the op table calls it."""

T5_TARGETS: dict[str, str] = {
    "q": "query",
    "k": "key",
    "v": "value",
    "o": "output",
    "wi": "up",
    "wi_0": "gate",
    "wi_1": "up",
    "wo": "down",
}
"""The same of T5's, whose names are too short to be looked for in other models."""

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
