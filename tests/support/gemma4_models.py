"""Random configurations of Gemma 4: dense and with experts, with heads of two widths, shared keys, and embeddings of each layer's own."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.support.drawn_decoders import Config, family, flags, own_heads, windows

SLIDING, FULL = "sliding_attention", "full_attention"


@st.composite
def gemma4(draw: st.DrawFn) -> Config:
    """Layers that share keys are of kinds that a layer before them has, and the last one sees everything.

    Where layers share keys, transformers 5.24 cannot do without embeddings of each layer's own.
    """
    optional = {"intermediate_size": st.integers(8, 40), "attention_bias": flags, "attention_k_eq_v": flags, "use_double_wide_mlp": flags}
    optional |= {
        "use_bidirectional_attention": st.sampled_from([None, "vision", "all"]),
        "final_logit_softcapping": st.sampled_from([None, 30.0]),
    }
    config = draw(family(own_heads(), {"sliding_window": draw(windows)}, **optional))
    own = draw(st.lists(st.sampled_from([SLIDING, FULL]), min_size=1, max_size=3))
    sharing = draw(st.lists(st.sampled_from(sorted({*own})), max_size=2))
    types = [*own, *sharing] if [*own, *sharing][-1] == FULL else [FULL, *own, *sharing, FULL]
    config |= {"num_hidden_layers": len(types), "layer_types": types, "num_kv_shared_layers": len(sharing)}
    config |= {
        "global_head_dim": draw(st.sampled_from([8, 16, 64])),
        "hidden_size_per_layer_input": draw(st.sampled_from([0, 4, 12][bool(sharing) :])),
    }
    config |= {"vocab_size_per_layer_input": draw(st.integers(config.get("vocab_size", 262144), 262144))}
    config |= draw(st.sampled_from([{}, {"num_global_key_value_heads": config["num_attention_heads"]}]))
    if draw(flags):
        experts = draw(st.integers(2, 4))
        config |= {"enable_moe_block": True, "num_experts": experts, "top_k_experts": draw(st.integers(1, experts))}
        config |= {"moe_intermediate_size": draw(st.integers(4, 24))}
    return config
