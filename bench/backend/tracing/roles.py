"""What an operation of a traced model is called, and how parallelism cuts it: read off the names of its modules."""

from __future__ import annotations

import re

from estimators.roles import Cut, Role

_BY_NAME: tuple[tuple[str, Role], ...] = (
    (r"(q_proj|query|wq|to_q|q_lin|q|query_proj)", "query"),
    (r"(k_proj|key|wk|to_k|k_lin|k|key_proj)", "key"),
    (r"(v_proj|value|wv|to_v|v_lin|v|value_proj)", "value"),
    (r"(qkv|qkv_proj|query_key_value|c_attn|wqkv|in_proj_qkv\w*)", "query_key_value"),
    (r"(q_a_proj|q_down_proj)", "query_down"),
    (r"(q_b_proj|q_up_proj)", "query_up"),
    (r"(kv_a_proj_with_mqa|kv_a_proj|kv_down_proj)", "kv_down"),
    (r"(kv_b_proj|kv_up_proj)", "kv_up"),
    (r"(gate_up_proj|gate_up)", "gate_up"),
    (r"(gate_proj|w1|wi_0)", "gate"),
    (r"(up_proj|fc1|w3|wi|wi_1|c_fc|dense_h_to_4h|lin1|linear1|intermediate\.dense)", "up"),
    (r"(down_proj|fc2|w2|wo|dense_4h_to_h|lin2|linear2)", "down"),
    (r"(o_proj|out_proj|out_lin|attention\.output\.dense|attn\.c_proj|self_attention\.dense|dense_out)", "output"),
    (r"(mlp\.c_proj|output\.dense)", "down"),
    (r"(router|gate|router\.\w+)", "router"),
    (r"(lm_head|embed_out|output_projection|cls\.predictions\.decoder)", "head"),
    (r"(shared_expert_gate)", "shared_gate"),
)
_CUTS: dict[Role, Cut] = {
    **dict.fromkeys(("query", "key", "value", "query_key_value", "query_up", "kv_up", "gate", "up", "gate_up"), "columns"),
    **dict.fromkeys(("output", "down"), "rows"),
    "head": "vocabulary",
    "scores": "heads",
    "context": "heads",
}


def pattern_of(path: str) -> str:
    """A path with a star in place of each number, so that repeated layers have one.

    >>> pattern_of("model.layers.11.mlp.down_proj")
    'model.layers.*.mlp.down_proj'
    """
    return re.sub(r"(?<![^.])\d+(?![^.])", "*", path)


def is_of_layers(pattern: str) -> bool:
    """Whether a pattern lies in a list of layers, which checkpointing runs again."""
    return "*" in pattern


def role_of(path: str) -> Role:
    """What a linear layer is there, by its own name, or with those around it.

    >>> role_of("model.layers.*.self_attn.q_proj"), role_of("model.layers.*.mixer.conv1d")
    ('query', 'linear')
    """
    return next((role for name, role in _BY_NAME if re.search(rf"(?:^|\.){name}$", path)), "linear")


def cut_of(role: Role, *, of_experts: bool) -> Cut:
    """What tensor and expert parallelism divide of it."""
    cut = _CUTS.get(role, "whole")
    if of_experts:
        return "expert_rows" if cut == "rows" else "expert_columns"
    return cut


_MIXERS = re.compile(r"mamba|mixer|linear_attn|ssm|recurrent|delta|short_?conv|retention|rwkv|xlstm|mlstm", re.IGNORECASE)


def component_of(path: str, role: Role, *, mixes: bool) -> str:
    """Which part of a model it belongs to.

    Args:
        mixes: whether products of activations that are no attention stand in the same module or above it.
    """
    if role == "head":
        return "head"
    if role in ("router", "shared_gate"):
        return "router"
    if mixes or _MIXERS.search(path):
        return "state_space"
    if re.search(r"attn|attention", path):
        return "attention"
    return "embedding" if re.search(r"embed|wte|wpe", path) else "mlp"
