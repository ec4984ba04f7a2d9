"""Hybrids of recent months, whose configurations name the kind of each layer: Granite 4, Nemotron-H, LFM2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from estimators.architectures.block import Norm
from estimators.architectures.builders.common import attention_of, feed_forward_of, with_qk_norm
from estimators.architectures.builders.experts import experts_of, grouped_experts
from estimators.architectures.builders.layers import layer_kinds, layered, varied_layers
from estimators.architectures.builders.prediction import with_prediction
from estimators.architectures.builders.sizes import Sizes, sizes
from estimators.architectures.builders.state_space import groups_of, mamba2_beside_attention
from estimators.architectures.decoder import Decoder
from estimators.architectures.feed_forward import Experts
from estimators.architectures.mamba2 import Mamba2
from estimators.architectures.part import Part
from estimators.architectures.short_convolution import ShortConvolution
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

SCAN_OR_ATTENTION = {"linear_attention": "scan", "mamba": "scan", "full_attention": "attention", "attention": "attention"}
"""How configurations call a layer with a state and one with attention, transformers 5's names first."""


def granitemoehybrid(f: Fields, name: str, source: Source) -> Decoder:
    """Granite 4: Mamba 2 or attention, then experts beside a feed-forward for every token, or that alone."""
    s = sizes(f, vocab=32000, width=4096, layers=32, heads=32, positions=2048, ffn_width=11008, head_key="")
    mixer, attention = mamba2_beside_attention(f, s, inner=f.integer("mamba_expand", default=2) * s.width, out_bias_key="mamba_proj_bias")
    attention = replace(attention, rotary=f.config.get("position_embedding_type") == "rope")
    shared = feed_forward_of(s, width=f.integer("shared_intermediate_size", default=1024), gated=True, fused=True)
    mlp: Part = shared
    if f.integer("num_local_experts", "num_experts", default=8, minimum=0):
        num, per_token = experts_of(f, num=8, per_token=2, num_keys=("num_local_experts", "num_experts"))
        mlp = Experts(activation=s.activation, num=num, per_token=per_token, width=s.ffn_width, shared=shared)
    every = ["linear_attention"] * len(varied_layers(f, s))
    kinds = layer_kinds(f, ("layer_types", "layers_block_type"), s.layers, SCAN_OR_ATTENTION, every)
    mixes: dict[str, tuple[str, Part]] = {"attention": ("attention", attention)}
    return layered(name, source, s, [(mixes.get(kind, ("mixer", mixer)), ("mlp", mlp)) for kind in kinds])


LETTERS = {"M": "linear_attention", "E": "moe", "*": "full_attention", "-": "mlp"}
"""Of hybrid_override_pattern, a word as long as the model is deep."""


def nemotron_h(f: Fields, name: str, source: Source) -> Decoder:
    """Nemotron-H and Nemotron 3: each layer is one of Mamba 2, attention without positions, a feed-forward, or experts without gates.

    The number of layers is that of their kinds, whatever num_hidden_layers says.
    """
    kinds = _nemotron_kinds(f)
    names = {"activation": ("mlp_hidden_act",)}
    s = sizes(
        f,
        vocab=131072,
        width=4096,
        layers=len(kinds),
        heads=32,
        kv_heads=8,
        head_width=128,
        positions=4096,
        ffn_width=21504,
        activation="relu2",
        names=names,
    )
    s = replace(s, layers=len(kinds), tied=False)  # the class ties nothing, whatever is stated
    bias, mlp_bias = f.flag("use_bias", False), f.flag("mlp_bias", False)
    heads = f.integer("mamba_num_heads", default=128)
    mixer = Mamba2(
        heads=heads,
        head_width=f.integer("mamba_head_dim", default=64),
        state=f.integer("ssm_state_size", default=128),
        groups=groups_of(f, ("n_groups", "mamba_n_groups"), 8, "mamba_num_heads", heads),
        taps=f.integer("conv_kernel", "mamba_d_conv", default=4),
        chunk=f.integer("chunk_size", "mamba_chunk_size", default=128),
        bias=bias,
        out_bias=bias,
        conv_bias=f.flag("use_conv_bias", True),
    )
    experts = replace(
        grouped_experts(f, s, num=8, per_token=2, width=7688, shared=1, groups=1, chosen_groups=1),
        gated=False,
        latent=f.optional_integer("moe_latent_size"),
        latent_bias=mlp_bias,
        adapter_names=(),
        shared=feed_forward_of(s, width=f.integer("moe_shared_expert_intermediate_size", default=7688), bias=mlp_bias),
    )
    attention = attention_of(s, rotary=False)  # without biases, whatever attention_bias says
    parts: dict[str, tuple[str, Part]] = {
        "linear_attention": ("mixer", mixer),
        "full_attention": ("attention", attention),
        "mlp": ("mlp", feed_forward_of(s, bias=mlp_bias)),
        "moe": ("mlp", experts),
    }
    model = layered(name, source, s, [(parts[kind],) for kind in kinds], norms=1, norm=Norm(written="rms_wide"))
    beside = _nemotron_beside(f)
    return with_prediction(f, model, replace(model.blocks[0], parts=tuple(parts[kind] for kind in beside), norms=len(beside)))


def _nemotron_kinds(f: Fields) -> list[str]:
    """What each layer is: by layers_block_type, else letter by letter."""
    return _kinds(f, ("layers_block_type", "layer_types"), "hybrid_override_pattern", ("linear_attention", "moe", "full_attention", "mlp"))


def _nemotron_beside(f: Fields) -> list[str]:
    """What a layer that predicts a further token is made of, in the same words; attention and experts where nothing is said."""
    return _kinds(f, ("mtp_layers_block_type", "mtp_layer_types"), "mtp_hybrid_override_pattern", ("full_attention", "moe"))


def _kinds(f: Fields, keys: tuple[str, ...], letters_key: str, default: tuple[str, ...]) -> list[str]:
    words = {word: word for word in LETTERS.values()} | {"mamba": "linear_attention", "attention": "full_attention"}
    pattern = f.config.get(letters_key)
    if pattern is None or any(f.config.get(key) is not None for key in keys):
        return layer_kinds(f, keys, 0, words, default)
    if not isinstance(pattern, str) or not pattern or not {*pattern} <= LETTERS.keys():
        raise f.fail(letters_key, pattern, f"a word of the letters {' '.join(LETTERS)}, one for each layer")
    return [LETTERS[letter] for letter in pattern]


def lfm2(f: Fields, name: str, source: Source) -> Decoder:
    """LFM2: short convolutions and attention with norms on queries and keys, a gated feed-forward of two thirds of what is stated."""
    s = _lfm2_sizes(f, width=2560, ffn_width=12288)
    feed_forward = feed_forward_of(s, width=_adjusted(f, s.ffn_width), gated=True)
    attends = f.config.get("full_attn_idxs")
    default = ["full_attention" if attends is None or i in attends else "conv" for i in varied_layers(f, s)]
    mixes = _lfm2_mixes(f, s, default)
    return layered(name, source, s, [(mix, ("mlp", feed_forward)) for mix in mixes])


def lfm2_moe(f: Fields, name: str, source: Source) -> Decoder:
    """LFM2 MoE: LFM2 with experts on all layers but the first two."""
    s = _lfm2_sizes(f, width=2048, ffn_width=7168)
    num, per_token = experts_of(f, num=32, per_token=4)
    width = f.integer("moe_intermediate_size", default=1792)
    experts = Experts(activation="silu", num=num, per_token=per_token, width=width)
    dense, first = feed_forward_of(s, gated=True), f.integer("num_dense_layers", default=2, minimum=0)
    if f.config.get("layer_types") is None:
        raise f.fail("layer_types", None, f"a list of {s.layers} words, each conv or full_attention: transformers has no default")
    mixes = _lfm2_mixes(f, s, ())
    return layered(name, source, s, [(mix, ("mlp", dense if i < first else experts)) for i, mix in enumerate(mixes)])


def _lfm2_sizes(f: Fields, *, width: int, ffn_width: int) -> Sizes:
    names = {"ffn_width": ("block_ff_dim", "intermediate_size"), "activation": ()}
    s = sizes(f, vocab=65536, width=width, layers=32, heads=32, kv_heads=8, positions=128000, ffn_width=ffn_width, tied=True, names=names)
    return replace(s, tied=f.flag("tie_embedding", s.tied)) if "tie_embedding" in f.config else s


def _adjusted(f: Fields, width: int) -> int:
    """Two thirds of the width, times a multiplier, up to a multiple; or the width itself."""
    if not f.flag("block_auto_adjust_ff_dim", True):
        return width
    width = int(2 * width / 3)
    factor = f.config.get("block_ffn_dim_multiplier", 1.0)
    if factor is None:
        return width
    if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not 0 < factor <= 100:
        raise f.fail("block_ffn_dim_multiplier", factor, "a number above 0, up to 100")
    multiple = f.integer("block_multiple_of", default=256)
    return multiple * -(-int(factor * width) // multiple)


def _lfm2_mixes(f: Fields, s: Sizes, default: Sequence[str]) -> list[tuple[str, Part]]:
    attention = with_qk_norm(attention_of(s), over_all_heads=False)
    mixer = ShortConvolution(taps=f.integer("conv_L_cache", default=3), bias=f.flag("conv_bias", False))
    words = {"conv": "conv", "full_attention": "full_attention"}
    mixes: dict[str, tuple[str, Part]] = {"conv": ("mixer", mixer), "full_attention": ("attention", attention)}
    return [mixes[kind] for kind in layer_kinds(f, ("layer_types",), s.layers, words, default)]
