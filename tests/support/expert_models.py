"""Random configurations of families of mixtures of experts, with and without latent attention."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.support.compressed_models import compressed
from tests.support.drawn_decoders import (
    Config,
    family,
    flags,
    layered,
    own_heads,
    routed,
    shapes,
    sliding,
    windows,
)
from tests.support.latent_attention_models import latent, sparse_latent, twice_latent

width, small = {"intermediate_size": st.integers(8, 40)}, st.integers(4, 24)
layer_lists = st.lists(st.integers(0, 3), max_size=2, unique=True)
qwen = {
    **width,
    "sliding_window": windows,
    "moe_intermediate_size": small,
    "decoder_sparse_step": st.integers(1, 2),
    "mlp_only_layers": layer_lists,
}
padded = family(shapes(), {"pad_token_id": 0}, **width, attention_bias=flags)


@st.composite
def in_parts(draw: st.DrawFn) -> Config:
    """DBRX: sizes of attention and experts in objects of their own; without clip_qkv transformers' class does not run."""
    groups = draw(st.integers(1, 3))
    heads = groups * draw(st.integers(1, 3))
    experts, width = draw(st.integers(2, 6)), heads * draw(st.sampled_from([2, 4, 8]))
    ffn = {"hidden_size": width, "ffn_hidden_size": draw(small), "moe_num_experts": experts, "moe_top_k": draw(st.integers(1, experts))}
    fields = {"d_model": width, "n_heads": heads, "n_layers": draw(st.integers(1, 3)), "vocab_size": draw(st.integers(20, 200))}
    attention = {"kv_n_heads": groups, "clip_qkv": 8, "rope_theta": 1e4}
    return fields | {"attn_config": attention, "ffn_config": ffn}


chunked = st.fixed_dictionaries({}, optional={"no_rope_layer_interval": st.integers(1, 3), "interleave_moe_layer_step": st.integers(1, 2)})

EXPERTS: dict[str, st.SearchStrategy[Config]] = {
    "dbrx": in_parts(),
    "mixtral": routed(family(own_heads(), **width, sliding_window=st.none() | windows)),
    "minimax_m2": routed(family(shapes(), {"head_dim": 16}, **width)),
    "qwen2_moe": routed(
        sliding(
            family(
                shapes(),
                {"use_sliding_window": True},
                **qwen,
                max_window_layers=st.integers(0, 3),
                shared_expert_intermediate_size=small,
                qkv_bias=flags,
            )
        ),
        num="num_experts",
    ),
    "qwen3_moe": routed(
        family(own_heads(), **qwen, use_sliding_window=flags, attention_bias=flags),
        num="num_experts",
    ),
    "olmoe": routed(padded, num="num_experts"),
    "gpt_oss": routed(sliding(family(own_heads(), **width, sliding_window=windows, attention_bias=flags))),
    "deepseek_v2": latent(st.integers(1, 3), mlp_bias=flags),
    "deepseek_v3": latent(st.integers(1, 3), num_nextn_predict_layers=st.integers(0, 2)).flatmap(
        lambda config: st.sampled_from([(1, 1), (2, 1), (2, 2)]).map(lambda g: config | {"n_group": g[0], "topk_group": g[1]})
    ),
    "deepseek_v32": sparse_latent(),
    "deepseek_v4": compressed(),
    "glm4_moe_lite": sparse_latent(indexed=False),
    "glm_moe_dsa": sparse_latent(shared=True),
    "longcat_flash": twice_latent(),
    "sarvam_mla": latent(st.integers(1, 3)),
    "granitemoe": routed(padded),
    "phimoe": routed(family(own_heads(), **width, sliding_window=st.none() | windows, attention_bias=flags, lm_head_bias=flags), fixed=2),
    "glm4_moe": routed(
        family(
            own_heads(),
            {"pad_token_id": 0},
            **width,
            moe_intermediate_size=small,
            n_shared_experts=st.integers(1, 2),
            first_k_dense_replace=st.integers(0, 3),
            attention_bias=flags,
            use_qk_norm=flags,
        ),
        num="n_routed_experts",
    ),
    "dots1": routed(
        sliding(
            family(
                own_heads(),
                {"n_shared_experts": 1},
                **width,
                moe_intermediate_size=small,
                n_shared_experts=st.integers(1, 2),
                first_k_dense_replace=st.integers(0, 3),
                max_window_layers=st.integers(0, 2),
                sliding_window=windows,
                attention_bias=flags,
            )
        ),
        num="n_routed_experts",
    ),
    "exaone_moe": routed(
        layered(
            sliding(
                family(
                    shapes(),
                    **width,
                    moe_intermediate_size=small,
                    num_shared_experts=st.integers(1, 2),
                    first_k_dense_replace=st.integers(0, 3),
                    sliding_window=windows,
                )
            ),
            "mlp_layer_types",
            ["dense", "sparse"],
        ),
        num="num_experts",
    ),
    "ernie4_5_moe": routed(
        family(
            own_heads(),
            {"pad_token_id": 0},
            **width,
            moe_intermediate_size=small,
            moe_num_shared_experts=st.integers(0, 2),
            moe_layer_start_index=st.integers(0, 2),
            moe_layer_end_index=st.sampled_from([-1, 1]),
            moe_layer_interval=st.integers(1, 2),
            use_bias=flags,
        ),
        num="moe_num_experts",
        per_token="moe_k",
    ),
    "hunyuan_v1_moe": routed(
        family(shapes(), {"head_dim": 8, "pad_token_id": 0}, **width, attention_bias=flags), num="num_experts", per_token="moe_topk"
    ),
    "llama4_text": routed(
        st.tuples(
            family(
                shapes(),
                {"head_dim": 16, "attention_chunk_size": 12},
                **width,
                intermediate_size_mlp=st.integers(8, 40),
                use_qk_norm=flags,
                attention_bias=flags,
            ),
            chunked,
        ).map(lambda drawn: drawn[0] | drawn[1])
    ),
}
