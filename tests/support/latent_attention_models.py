"""Small models with latent attention: one of DeepSeek V3, and random ones."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.support.drawn_decoders import Config, flags

DEEPSEEK_V3: Config = {
    "model_type": "deepseek_v3",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 100,
    "q_lora_rank": 12,
    "kv_lora_rank": 8,
    "qk_nope_head_dim": 6,
    "qk_rope_head_dim": 4,
    "v_head_dim": 10,
    "moe_intermediate_size": 20,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "n_group": 4,
    "topk_group": 2,
    "first_k_dense_replace": 1,
    "num_nextn_predict_layers": 2,
}


@st.composite
def sparse_latent(draw: st.DrawFn, *, indexed: bool = True, shared: bool = False) -> Config:
    """Latent attention with dense and sparse layers in any order, and with an indexer, which some layers may share."""
    config = draw(latent(st.integers(1, 3)))
    del config["first_k_dense_replace"]
    layers = config["num_hidden_layers"]
    config |= {"n_group": 2, "topk_group": draw(st.integers(1, 2)), "num_experts_per_tok": draw(st.integers(1, 2))}
    of_each = st.lists(st.sampled_from(["dense", "sparse"]), min_size=layers, max_size=layers)
    config |= draw(st.fixed_dictionaries({}, optional={"mlp_layer_types": of_each}))
    if indexed:
        config |= {
            "q_lora_rank": draw(st.integers(1, 20)),
            "index_n_heads": draw(st.integers(1, 4)),
            "index_topk": draw(st.integers(1, 24)),
        }
        config |= {"index_head_dim": config["qk_rope_head_dim"] + 2 * draw(st.integers(0, 4))}
        config |= draw(st.fixed_dictionaries({}, optional={"first_k_dense_replace": st.integers(0, 3)}))
    if shared:
        types = st.lists(st.sampled_from(["full", "shared"]), min_size=layers - 1, max_size=layers - 1).map(lambda rest: ["full", *rest])
        config |= draw(st.fixed_dictionaries({}, optional={"indexer_types": types, "index_topk_freq": st.integers(1, 3)}))
    return config


@st.composite
def twice_latent(draw: st.DrawFn) -> Config:
    """LongCat-Flash: two latent attentions a layer, always with a latent for queries; experts beside some that hand on what they read."""
    config = draw(latent(st.integers(1, 3)))
    names = {"num_hidden_layers": "num_layers", "num_experts_per_tok": "moe_topk"}
    names |= {"intermediate_size": "ffn_hidden_size", "moe_intermediate_size": "expert_ffn_hidden_size"}
    left = ("first_k_dense_replace", "n_shared_experts")
    config = {names.get(key, key): value for key, value in config.items() if key not in left}
    # the class turns positions by angles of head_dim, which must be as wide as what they turn
    config |= {"q_lora_rank": draw(st.integers(1, 20)), "head_dim": config["qk_rope_head_dim"]}
    return config | {"zero_expert_num": draw(st.integers(0, 5)), "router_bias": draw(flags)}


@st.composite
def latent(draw: st.DrawFn, layers: st.SearchStrategy[int], **optional: st.SearchStrategy[Any]) -> Config:
    """A configuration with latent attention, experts in groups, dense first layers; DeepSeek V2 turns pairs, so widths are even."""
    heads = draw(st.integers(1, 4))
    always = {
        "hidden_size": heads * draw(st.integers(2, 12)),
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "num_hidden_layers": draw(layers),
        "q_lora_rank": draw(st.none() | st.integers(1, 20)),
        "vocab_size": draw(st.integers(20, 200)),
        "first_k_dense_replace": draw(st.integers(0, 3)),
        "n_routed_experts": 4 * draw(st.integers(1, 3)),
        "num_experts_per_tok": draw(st.integers(1, 4)),
        "kv_lora_rank": 2 * draw(st.integers(1, 8)),
        "qk_rope_head_dim": 2 * draw(st.integers(1, 4)),
    }
    sizes = {key: st.integers(1, 12).map(lambda n: 2 * n) for key in ("qk_nope_head_dim", "v_head_dim", "intermediate_size")}
    sizes |= {"moe_intermediate_size": st.integers(1, 24)}
    shared = {"n_shared_experts": st.integers(1, 3), "attention_bias": flags, "tie_word_embeddings": flags}
    return always | draw(st.fixed_dictionaries({}, optional=sizes | shared | optional))
