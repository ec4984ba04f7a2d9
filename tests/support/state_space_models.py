"""Random configurations of state-space models and their hybrids with attention."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.support.drawn_decoders import (
    Config,
    family,
    flags,
    own_heads,
    routed,
    shapes,
)

taps, states = st.integers(2, 5), st.integers(2, 9)
width: Config = {"intermediate_size": st.integers(8, 40)}


@st.composite
def mamba2(draw: st.DrawFn) -> Config:
    """Heads that are twice as wide as the model together, in groups."""
    groups, width = draw(st.integers(1, 3)), 4 * draw(st.integers(1, 4))
    fields = {"num_heads": 2 * groups, "n_groups": groups, "head_dim": width, "hidden_size": groups * width, "expand": 2}
    fields |= {"num_hidden_layers": draw(st.integers(1, 3)), "state_size": draw(states), "chunk_size": draw(st.integers(2, 9))}
    optional = {"conv_kernel": taps, "use_bias": flags, "use_conv_bias": flags, "tie_word_embeddings": flags}
    return fields | draw(st.fixed_dictionaries({}, optional=optional | {"vocab_size": st.integers(20, 200)}))


@st.composite
def beside(draw: st.DrawFn, configs: st.SearchStrategy[Config], inner: str) -> Config:
    """A configuration with the fields of a Mamba 2 mixer, whose channels are `inner` or, in Bamba, expand times the width."""
    config = draw(configs)
    groups = draw(st.integers(1, 2))
    heads = 2 * groups
    head_width = draw(st.integers(2, 9))
    channels = {inner: heads * head_width} if inner else {"mamba_expand": 2}
    if not inner:
        config["hidden_size"] = config["num_attention_heads"] * 8
        config["attn_layer_indices"] = [draw(st.integers(0, config["num_hidden_layers"] - 1)), 7]
        heads = groups * next(n for n in (3, 2, 1) if 2 * config["hidden_size"] % (n * groups) == 0)
    optional = {"mamba_d_conv": taps, "mamba_chunk_size": st.integers(2, 9), "mamba_conv_bias": flags, "mamba_proj_bias": flags}
    return (
        config
        | channels
        | {"mamba_n_heads": heads, "mamba_n_groups": groups, "mamba_d_state": draw(states)}
        | draw(st.fixed_dictionaries({}, optional=optional))
    )


@st.composite
def periods(draw: st.DrawFn, configs: st.SearchStrategy[Config]) -> Config:
    """Which of Jamba's layers attend, one at least, and which have experts."""
    config, attention, experts = draw(configs), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    first = draw(st.integers(0, min(attention, config["num_hidden_layers"]) - 1))
    offsets = {"attn_layer_offset": first, "expert_layer_offset": draw(st.integers(0, experts - 1))}
    return config | {"attn_layer_period": attention, "expert_layer_period": experts} | offsets


@st.composite
def delta(draw: st.DrawFn, configs: st.SearchStrategy[Config]) -> Config:
    """Heads of Qwen's linear attention, and a layer of the usual one at least: transformers' cache asks it for its length."""
    config, keys = draw(configs), draw(st.integers(1, 3))
    heads = {"linear_num_key_heads": keys, "linear_num_value_heads": keys * draw(st.integers(1, 2))}
    widths = {"linear_key_head_dim": draw(st.integers(2, 9)), "linear_value_head_dim": draw(st.integers(2, 9))}
    interval = {"full_attention_interval": draw(st.integers(1, config["num_hidden_layers"]))}
    optional = {"linear_conv_kernel_dim": taps}
    return config | heads | widths | interval | draw(st.fixed_dictionaries({}, optional=optional))


@st.composite
def kimi(draw: st.DrawFn) -> Config:
    """Kimi's layers of both kinds, one over latents at least, by the checkpoint's two lists or by words; dense ones too."""
    ranks = {key: draw(st.integers(2, 9)) for key in ("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")}
    config = draw(routed(family(shapes(kv_heads=""), ranks | {"pad_token_id": 0}, **width, q_lora_rank=taps), num="num_experts"))
    layers = config["num_hidden_layers"]
    attends = {layers} | draw(st.sets(st.integers(1, layers)))
    linear = {"head_dim": draw(st.integers(2, 9)), "num_heads": draw(st.integers(1, 3)), "short_conv_kernel_size": draw(taps)}
    if draw(flags):
        lists = {"full_attn_layers": sorted(attends), "kda_layers": [i + 1 for i in range(layers) if i + 1 not in attends]}
        kinds: Config = {"linear_attn_config": linear | lists, "first_k_dense_replace": draw(st.integers(0, 2))}
    else:
        words = ["full_attention" if i + 1 in attends else "linear_attention" for i in range(layers)]
        dense = draw(st.lists(st.sampled_from(["dense", "sparse"]), min_size=layers, max_size=layers))
        kinds = {"linear_attn_config": linear, "layer_types": words, "mlp_layer_types": dense}
    chosen = {"num_experts_per_token": config.pop("num_experts_per_tok"), "num_key_value_heads": config["num_attention_heads"]}
    small = {"moe_intermediate_size": draw(st.integers(4, 24)), "num_shared_experts": draw(st.integers(1, 2))}
    return config | kinds | chosen | small


@st.composite
def nemotron(draw: st.DrawFn) -> Config:
    """Layers of every kind, a Mamba 2 and an attention among them at least, as a list or letter by letter."""
    config = draw(family(shapes(), {"head_dim": 8}, intermediate_size=st.integers(8, 40), attention_bias=flags, mlp_bias=flags))
    groups = draw(st.integers(1, 2))
    kinds = draw(st.permutations(["M", "*", *draw(st.lists(st.sampled_from("ME-*"), max_size=2))]))
    words = {"M": "mamba", "E": "moe", "*": "attention", "-": "mlp"}
    as_list = {"layers_block_type": [words[kind] for kind in kinds]}
    experts = {"n_routed_experts": draw(st.integers(2, 4)), "num_experts_per_tok": draw(st.integers(1, 2))}
    optional = {"conv_kernel": taps, "chunk_size": st.integers(2, 9), "use_bias": flags, "use_conv_bias": flags}
    optional |= {"moe_latent_size": st.integers(4, 24), "moe_shared_expert_intermediate_size": st.integers(4, 24)}
    return (
        {key: value for key, value in config.items() if key != "num_hidden_layers"}
        | (as_list if draw(flags) else {"hybrid_override_pattern": "".join(kinds)})
        | {"mamba_num_heads": 2 * groups, "n_groups": groups, "mamba_head_dim": draw(st.integers(2, 9)), "ssm_state_size": draw(states)}
        | experts
        | {"moe_intermediate_size": draw(st.integers(4, 24))}
        | draw(st.fixed_dictionaries({}, optional=optional))
    )


@st.composite
def zamba(draw: st.DrawFn) -> Config:
    """A hybrid layer at least: transformers' cache asks it for its length. Adapters of the attention need as many keys as heads."""
    heads, groups = draw(st.integers(1, 4)), draw(st.integers(1, 2))
    config: Config = {"num_attention_heads": heads, "hidden_size": heads * draw(st.sampled_from([4, 8, 12]))}
    hybrids = st.lists(st.sampled_from(["hybrid", "linear_attention", "mamba"]), max_size=4)
    kinds = draw(st.permutations([*draw(hybrids), "hybrid"]))
    config |= {"layers_block_type": kinds, "num_hidden_layers": len(kinds), "num_mem_blocks": draw(st.integers(1, 3))}
    config |= {"n_mamba_heads": 2 * groups, "mamba_ngroups": groups, "mamba_d_state": draw(states)}
    keys = {"use_shared_attention_adapter": True} if draw(flags) else {"num_key_value_heads": draw(st.sampled_from([1, heads]))}
    optional = {"mamba_d_conv": taps, "chunk_size": st.integers(2, 9), "add_bias_linear": flags, "use_mem_rope": flags}
    optional |= {"adapter_rank": st.integers(1, 9), "vocab_size": st.integers(20, 200), "tie_word_embeddings": flags}
    return config | keys | draw(st.fixed_dictionaries({}, optional=optional | width))


@st.composite
def one_attends(draw: st.DrawFn, configs: st.SearchStrategy[Config], other: str) -> Config:
    """Layers of two kinds, one of attention at least: transformers' cache asks it for its length."""
    config = draw(configs)
    kinds = draw(st.lists(st.sampled_from([other, "full_attention"]), min_size=config["num_hidden_layers"] - 1, max_size=2))
    return config | {"layer_types": draw(st.permutations([*kinds[: config["num_hidden_layers"] - 1], "full_attention"]))}


MIXTURE = {"moe_intermediate_size": st.integers(4, 24), "shared_expert_intermediate_size": st.integers(4, 24)}
mamba = st.fixed_dictionaries(
    {"hidden_size": st.integers(4, 40), "num_hidden_layers": st.integers(1, 3)},
    optional={
        "state_size": states,
        "expand": st.integers(1, 3),
        "conv_kernel": taps,
        "time_step_rank": st.just("auto") | st.integers(1, 5),
        "use_bias": flags,
        "use_conv_bias": flags,
        "tie_word_embeddings": flags,
        "vocab_size": st.integers(20, 200),
    },
)
short = {"conv_L_cache": taps, "conv_bias": flags}
STATE_SPACE: dict[str, st.SearchStrategy[Config]] = {
    "mamba": mamba,
    "falcon_mamba": mamba,
    "granitemoehybrid": one_attends(
        beside(
            routed(family(shapes(), {"pad_token_id": 0}, **width, attention_bias=flags, shared_intermediate_size=st.integers(4, 24))), ""
        ),
        "linear_attention",
    ),
    "kimi_linear": kimi(),
    "lfm2": one_attends(
        family(
            shapes(),
            **width,
            **short,
            block_multiple_of=st.integers(1, 9),
            block_auto_adjust_ff_dim=flags,
            block_ffn_dim_multiplier=st.just(1.3),
        ),
        "conv",
    ),
    "lfm2_moe": one_attends(
        routed(family(shapes(), {"moe_intermediate_size": 12}, **width, **short, num_dense_layers=st.integers(0, 2)), num="num_experts"),
        "conv",
    ),
    "nemotron_h": nemotron(),
    "mamba2": mamba2(),
    "jamba": periods(
        routed(
            family(
                shapes(),
                {"mamba_d_state": 3},
                **width,
                mamba_d_conv=taps,
                mamba_expand=st.integers(1, 3),
                mamba_dt_rank=st.just("auto") | st.integers(1, 5),
                mamba_conv_bias=flags,
                mamba_proj_bias=flags,
            ),
            num="num_experts",
        )
    ),
    "bamba": beside(family(shapes(), **width, attention_bias=flags, mlp_bias=flags), ""),
    "falcon_h1": beside(
        family(own_heads(), **width, attention_bias=flags, mlp_bias=flags, projectors_bias=flags, mamba_rms_norm=flags), "mamba_d_ssm"
    ),
    "zamba2": zamba(),
    "qwen3_5_moe_text": delta(routed(family(own_heads(), **MIXTURE, attention_bias=flags), num="num_experts")),
    "qwen3_5_text": delta(family(own_heads(), **width, attention_bias=flags)),
    "qwen3_next": delta(
        routed(family(own_heads(), **width, **MIXTURE, decoder_sparse_step=st.integers(1, 2), attention_bias=flags), num="num_experts")
    ),
}
