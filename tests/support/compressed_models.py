"""Random configurations of DeepSeek V4."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.support.drawn_decoders import Config, flags, windows

WINDOW, SPARSE, HEAVY = "sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention"
RATIOS = {0: WINDOW, 4: SPARSE, 128: HEAVY}


@st.composite
def compressed(draw: st.DrawFn) -> Config:
    """Layers of all three kinds in any order, as a list of words, of numbers or by default; heads in groups; small rates."""
    groups, layers = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    head, turned = draw(st.sampled_from([8, 16, 32])), draw(st.sampled_from([2, 4, 8]))
    experts = draw(st.integers(2, 5))
    config: Config = {
        "hidden_size": draw(st.integers(2, 40)),
        "num_hidden_layers": layers,
        "num_attention_heads": groups * draw(st.integers(1, 3)),
        "num_key_value_heads": 1,
        "head_dim": head,
        "qk_rope_head_dim": turned,
        "q_lora_rank": draw(st.integers(1, 20)),
        "o_groups": groups,
        "o_lora_rank": draw(st.integers(1, 12)),
        "moe_intermediate_size": draw(st.integers(4, 24)),
        "n_routed_experts": experts,
        "num_experts_per_tok": draw(st.integers(1, experts)),
        "index_n_heads": draw(st.integers(1, 4)),
        "index_head_dim": turned + 2 * draw(st.integers(0, 4)),
        "index_topk": draw(st.integers(1, 8)),
        "sliding_window": draw(windows),
        "hc_mult": draw(st.integers(1, 4)),
        "hc_sinkhorn_iters": 1,
        "vocab_size": draw(st.integers(20, 200)),
    }
    rates = {SPARSE: draw(st.integers(2, 6)), HEAVY: draw(st.integers(2, 12))}
    config |= draw(st.sampled_from([{"compress_rates": rates}, {"compress_rate_csa": rates[SPARSE], "compress_rate_hca": rates[HEAVY]}]))
    ratios = draw(st.lists(st.sampled_from([*RATIOS]), min_size=layers, max_size=layers))
    config |= draw(st.sampled_from([{}, {"compress_ratios": [*ratios, 0]}, {"layer_types": [RATIOS[ratio] for ratio in ratios]}]))
    optional = {"tie_word_embeddings": flags, "mlp_bias": flags}
    optional |= {"num_hash_layers": st.integers(0, 3), "num_nextn_predict_layers": st.integers(0, 1)}
    return config | draw(st.fixed_dictionaries({}, optional=optional))
