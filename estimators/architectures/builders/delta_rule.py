"""Linear attention by the delta rule beside attention of the usual kind, or over latents: Qwen3-Next, Qwen3.5, Kimi Linear."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.adapter_names import GATE_AND_EXPERTS, SHARED_GATE, Names
from estimators.architectures.builders.common import attention_of, feed_forward_of, with_qk_norm
from estimators.architectures.builders.deepseek import latent_attention
from estimators.architectures.builders.experts import experts_of, grouped_experts, sometimes_sparse
from estimators.architectures.builders.layers import indices, layer_kinds, layered, varied_layers
from estimators.architectures.builders.parts import section
from estimators.architectures.builders.prediction import with_prediction
from estimators.architectures.builders.sizes import Sizes, sizes
from estimators.architectures.decoder import Decoder
from estimators.architectures.delta_rule import GatedDeltaNet, KimiDeltaAttention
from estimators.architectures.feed_forward import Experts
from estimators.architectures.part import Part
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields


def qwen3_next(f: Fields, name: str, source: Source) -> Decoder:
    """Qwen3-Next: linear attention by the gated delta rule on three layers of four, gated attention on the fourth, experts."""
    s = sizes(f, vocab=151936, width=2048, layers=48, heads=16, kv_heads=2, head_width=256, positions=32768, ffn_width=5632)
    experts = _experts(f, s, num=512, per_token=10, adapter_names=GATE_AND_EXPERTS)
    return sometimes_sparse(f, name, source, s, _mixes(f, s, split=False), experts)


def qwen3_5_text(f: Fields, name: str, source: Source) -> Decoder:
    """Qwen3.5's language part: as Qwen3-Next mixes tokens, with a gated feed-forward on every layer."""
    s = sizes(f, vocab=248320, width=4096, layers=32, heads=16, kv_heads=4, head_width=256, positions=32768, ffn_width=12288)
    feed_forward = feed_forward_of(s, gated=True)
    return _predicting(f, layered(name, source, s, [(mix, ("mlp", feed_forward)) for mix in _mixes(f, s, split=True)]), feed_forward)


def qwen3_5_moe_text(f: Fields, name: str, source: Source) -> Decoder:
    """Qwen3.5's language part with experts on every layer, one of them shared behind a gate."""
    s = sizes(f, vocab=248320, width=2048, layers=40, heads=16, kv_heads=2, head_width=256, positions=32768, names={"ffn_width": ()})
    experts = _experts(f, s, num=256, per_token=8)
    return _predicting(f, layered(name, source, s, [(mix, ("mlp", experts)) for mix in _mixes(f, s, split=True)]), experts)


def kimi_linear(f: Fields, name: str, source: Source) -> Decoder:
    """Kimi Linear: the delta rule with a decay for each element of a key, every so often latent attention without positions, experts."""
    positions = ("model_max_length", "max_position_embeddings")
    s = sizes(
        f,
        vocab=163840,
        width=2304,
        layers=27,
        heads=32,
        kv_heads=32,
        positions=1048576,
        ffn_width=9216,
        head_key="",
        head_width=1,
        names={"positions": positions},
    )
    s = replace(s, tied=False)  # the class ties nothing, whatever is stated
    linear = section(f, "linear_attn_config")

    def of_linear(key: str, stated: str, default: int) -> int:
        return linear.integer(key) if linear.config.get(key) is not None else f.integer(stated, default=default)

    delta = KimiDeltaAttention(
        heads=of_linear("num_heads", "linear_num_heads", 32),
        head_width=of_linear("head_dim", "linear_head_dim", 128),
        taps=of_linear("short_conv_kernel_size", "linear_conv_kernel_dim", 4),
    )
    attention = latent_attention(f, s, query_rank=None, turned=False)
    routed = grouped_experts(
        f,
        s,
        num=256,
        per_token=8,
        width=1024,
        shared=1,
        groups=1,
        chosen_groups=1,
        num_keys=("num_experts", "num_local_experts"),
        per_token_keys=("num_experts_per_token", "num_experts_per_tok"),
        shared_keys=("num_shared_experts", "n_shared_experts"),
        groups_keys=("num_expert_group", "n_group"),
    )
    experts = replace(routed, adapter_names=())  # peft does not carry over their names
    words = {word: word for word in ("full_attention", "linear_attention")}
    kinds = layer_kinds(f, ("layer_types",), s.layers, words, _kimis_default(f, linear, s))
    first = f.integer("first_k_dense_replace", default=1, minimum=0)
    dense = feed_forward_of(s, gated=True)
    sparse = layer_kinds(
        f,
        ("mlp_layer_types",),
        s.layers,
        {word: word for word in ("dense", "sparse")},
        ["dense" if i < first else "sparse" for i in varied_layers(f, s)],
    )
    mixes: dict[str, tuple[str, Part]] = {"full_attention": ("attention", attention), "linear_attention": ("mixer", delta)}
    forwards: dict[str, Part] = {"dense": dense, "sparse": experts}
    return layered(name, source, s, [(mixes[mix], ("mlp", forwards[mlp])) for mix, mlp in zip(kinds, sparse, strict=True)])


def _kimis_default(f: Fields, linear: Fields, s: Sizes) -> list[str]:
    """What each layer is where `layer_types` does not say: by two lists that count from 1, else attention on every fourth but the first.

    Raises:
        BadConfigError: the lists do not name every layer once.
    """
    if linear.config.get("full_attn_layers") is None or linear.config.get("kda_layers") is None:
        return ["full_attention" if i and i % 4 == 0 else "linear_attention" for i in varied_layers(f, s)]
    attends, recalls = indices(linear, "full_attn_layers"), indices(linear, "kda_layers")
    if attends & recalls or attends | recalls != {i + 1 for i in varied_layers(f, s)}:
        raise linear.fail("full_attn_layers", sorted(attends), f"with kda_layers each of the {s.layers} layers once, counted from 1")
    return ["full_attention" if i + 1 in attends else "linear_attention" for i in range(s.layers)]


def _predicting(f: Fields, model: Decoder, feed_forward: Part) -> Decoder:
    """With Qwen3.5's layers that predict further tokens: each has attention of the usual kind, whatever the layers before it have."""
    attention = next((block.attention for block in model.blocks if block.attention), None)
    if attention is None:
        return model
    return with_prediction(f, model, replace(model.blocks[0], parts=(("attention", attention), ("mlp", feed_forward))))


def _mixes(f: Fields, s: Sizes, *, split: bool) -> list[tuple[str, Part]]:
    """What mixes the tokens of each layer, with its name."""
    key_heads, value_heads = f.integer("linear_num_key_heads", default=16), f.integer("linear_num_value_heads", default=32)
    f.divides("linear_num_key_heads", key_heads, "linear_num_value_heads", value_heads)
    delta = GatedDeltaNet(
        key_heads=key_heads,
        value_heads=value_heads,
        key_width=f.integer("linear_key_head_dim", default=128),
        value_width=f.integer("linear_value_head_dim", default=128),
        taps=f.integer("linear_conv_kernel_dim", default=4),
        split=split,
    )
    attention = with_qk_norm(attention_of(s, bias=f.flag("attention_bias", False)), over_all_heads=False, form="rms_plus_one")
    attention = replace(attention, output_gate=True, by_head=True)
    interval = f.integer("full_attention_interval", default=4)
    default = ["linear_attention" if (i + 1) % interval else "full_attention" for i in varied_layers(f, s)]
    words = {word: word for word in ("full_attention", "linear_attention")}
    types = layer_kinds(f, ("layer_types",), s.layers, words, default)
    return [("attention", attention) if kind == "full_attention" else ("mixer", delta) for kind in types]


def _experts(f: Fields, s: Sizes, *, num: int, per_token: int, adapter_names: Names = ()) -> Experts:
    """Small experts, and one that serves all tokens behind a gate.

    Args:
        num, per_token: defaults.
        adapter_names: what peft calls those matrices that adapters reach, the gate's aside.
    """
    num, per_token = experts_of(f, num=num, per_token=per_token)
    return Experts(
        adapter_names=(*adapter_names, ("shared_expert_gate", SHARED_GATE)),
        activation=s.activation,
        num=num,
        per_token=per_token,
        width=f.integer("moe_intermediate_size", default=512),
        shared=feed_forward_of(s, width=f.integer("shared_expert_intermediate_size", default=512), gated=True),
        shared_gate=True,
    )
