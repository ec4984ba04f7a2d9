"""What the rows of an op table can be, and how parallelism can divide them."""

from __future__ import annotations

from typing import Literal

Cut = Literal["whole", "columns", "rows", "heads", "vocabulary", "expert_columns", "expert_rows"]
"""What parallelism divides of a row: nothing (each rank does all of it, or its share of the tokens under sequence parallelism); a
matrix's outputs, or its inputs, so that a sum over the ranks follows (Shoeybi et al. 2019, arXiv 1909.08053, section 3); heads; the
vocabulary; and the same of experts, which expert parallelism shares out first."""

Role = Literal[
    # tables
    "token",
    "position",
    "token_type",
    "layer_token",
    "relative_bias",
    "distance",
    # attention
    "query",
    "key",
    "value",
    "query_key_value",
    "query_down",
    "query_up",
    "kv_down",
    "kv_up",
    "position_query",
    "position_key",
    "scores",
    "position_scores",
    "context",
    "index_query",
    "index_key",
    "index_weights",
    "output",
    "output_down",
    "rotary",
    "sinks",
    # feed-forward and experts
    "gate",
    "up",
    "gate_up",
    "down",
    "activation",
    "layer_gate",
    "layer_up",
    "own_down",
    "own_up",
    "residual_down",
    "residual_up",
    "stream_router",
    "stream_mixture",
    "router",
    "shared_gate",
    # state-space mixers
    "in",
    "in_gates",
    "in_gate",
    "in_strength",
    "in_decay",
    "decay_down",
    "decay_up",
    "out_gate_down",
    "out_gate_up",
    "x",
    "dt",
    "scan",
    "out",
    # norms
    "norm",
    "query_norm",
    "key_norm",
    "value_norm",
    "kv_norm",
    "edge_norm",
    # around the layers
    "project_in",
    "project_out",
    "projection",
    "similarity",
    "head",
    # anywhere
    "linear",
    "convolution",
    "adapter",
    "residual",
    "elementwise",
    "parameters",
    "checkpoint",
]
"""What an operation is. What a configuration or a user names (targets of adapters, say) is looked up by role, never in a row's name.
An edge norm stands before the first layer or behind the last."""

NormForm = Literal[
    "", "layer", "layer_in_fp32", "layer_plus_one", "layer_written_out", "rms", "rms_bare", "rms_plus_one", "rms_power", "rms_wide"
]
"""How transformers writes a norm: `layer` is torch's kernel, `layer_in_fp32` that on an fp32 copy, `layer_plus_one` that with
1 + gain, `layer_written_out` one in Python; `rms` multiplies by the gain in the input's dtype, `rms_wide` in fp32, `rms_plus_one` in
fp32 by 1 + gain, `rms_bare` by none; `rms_power` is `rms_wide` with a power in place of a root. Empty for what parameters say: `layer`
with a bias, `rms` without."""
