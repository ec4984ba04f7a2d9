"""Gemma 4: heads of two widths, layers that read the keys of earlier ones, embeddings of each layer's own, experts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from estimators.architectures.adapter_names import ROUTER
from estimators.architectures.attention import Attention
from estimators.architectures.block import Block, Norm
from estimators.architectures.builders.common import attention_of, feed_forward_of, with_qk_norm
from estimators.architectures.builders.experts import experts_of
from estimators.architectures.builders.layers import Parts, layered, varied_layers
from estimators.architectures.builders.sizes import Sizes, sizes
from estimators.architectures.decoder import Decoder
from estimators.architectures.feed_forward import Experts
from estimators.architectures.layer_inputs import LayerInput, LayerInputs
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

POWER_NORM = Norm(written="rms_power")
SLIDING, FULL = "sliding_attention", "full_attention"
DIRECTIONS = (None, "vision", "all")
"""Which tokens see what comes behind them: none, those of one image, or every one."""


def gemma4_text(f: Fields, name: str, source: Source) -> Decoder:
    """Gemma 4's language part: five layers with a window, then one that sees everything, with heads twice as wide."""
    s = sizes(
        f,
        vocab=262144,
        width=2304,
        layers=30,
        heads=8,
        kv_heads=4,
        head_width=256,
        positions=131072,
        ffn_width=9216,
        tied=True,
        activation="gelu_pytorch_tanh",
        names={"activation": ("hidden_activation", "hidden_act")},
    )
    types = _layer_types(f, s)
    sharing = f.integer("num_kv_shared_layers", default=0, minimum=0)
    if sharing and not {*types} <= {*types[: s.layers - sharing]}:
        raise f.fail("num_kv_shared_layers", sharing, "a number that leaves a layer of each kind whose keys the others can read")
    attentions = _attentions(f, s, types, s.layers - sharing)
    dense = feed_forward_of(s, gated=True)
    wide = replace(dense, width=2 * dense.width) if f.flag("use_double_wide_mlp", False) else dense
    table = f.integer("hidden_size_per_layer_input", default=256, minimum=0)
    closing: Parts = (("layer_input", LayerInput(width=table, activation=s.activation)),) if table else ()
    mixture = f.flag("enable_moe_block", False)

    def parts(attention: Attention) -> Parts:
        feed_forward = wide if attention.reads_earlier else dense
        return (
            ("attention", attention),
            ("mlp", _experts(f, replace(s, ffn_width=feed_forward.width)) if mixture else feed_forward),
            *closing,
        )

    made = {attention: parts(attention) for attention in {*attentions}}
    model = layered(name, source, s, [made[attention] for attention in attentions], norms=4, norm=POWER_NORM)
    return replace(
        model,
        blocks=tuple(replace(block, unnormed=len(closing), last_alone=_reads_earlier(block)) for block in model.blocks),
        layer_inputs=LayerInputs(vocab=f.integer("vocab_size_per_layer_input", default=262144), width=table) if table else None,
        capped=f.config.get("final_logit_softcapping") is not None,
    )


def _reads_earlier(block: Block) -> bool:
    return block.attention is not None and block.attention.reads_earlier


def _layer_types(f: Fields, s: Sizes) -> list[str]:
    """What each layer sees; the last one sees everything, whatever is said."""
    types = f.config.get("layer_types")
    if types is None:
        types = [FULL if i % 6 == 5 else SLIDING for i in varied_layers(f, s)]
    if not isinstance(types, list) or len(types) != s.layers or not {*types} <= {SLIDING, FULL}:
        raise f.fail("layer_types", types, f"a list of {s.layers} words, each {FULL} or {SLIDING}")
    return [*types[:-1], FULL]


def _attentions(f: Fields, s: Sizes, types: Sequence[str], first_sharing: int) -> list[Attention]:
    """The attention of each layer; those from `first_sharing` on read the keys of the last layer of their kind before."""
    direction = f.config.get("use_bidirectional_attention")
    if direction not in DIRECTIONS:
        raise f.fail("use_bidirectional_attention", direction, "vision, all or null")
    window = f.integer("sliding_window", default=512)
    if direction == "all":
        window = window // 2 + 1  # stated over both sides, itself included
    plain = replace(
        with_qk_norm(attention_of(s, bias=f.flag("attention_bias", False)), over_all_heads=False, form="rms_power"), value_norm=True
    )
    plain = replace(plain, causal=direction != "all")
    keys_are_values = f.flag("attention_k_eq_v", False)

    def attention(i: int) -> Attention:
        heads, kv_heads = _heads(f, s, i, types[i], keys_are_values)
        shares = i >= first_sharing
        widths = {"head_width": heads, "query_norm_width": heads, "key_norm_width": heads}
        base = replace(plain, kv_heads=kv_heads, reads_earlier=shares, reads_whole=shares, **widths)
        return replace(base, window=window) if types[i] == SLIDING else replace(base, keys_are_values=keys_are_values)

    return [attention(i) for i in range(s.layers)]


def _heads(f: Fields, s: Sizes, layer: int, kind: str, keys_are_values: bool) -> tuple[int, int]:
    """Width of a layer's heads, and how many of keys: as `per_layer_config` says, or the two fields that it is made of."""
    stated = f.config.get("per_layer_config")
    if stated is not None:
        of_layer = _of_layer(stated, layer) if isinstance(stated, dict) else None
        if not isinstance(of_layer, dict):
            raise f.fail("per_layer_config", stated, "an object that has an object of fields for each layer that differs")
        own = f.part(f"per_layer_config.{layer}", of_layer)
        width, kv_heads = own.integer("head_dim", default=s.head_width), own.integer("num_key_value_heads", default=s.kv_heads)
    elif kind == FULL:
        width = f.integer("global_head_dim", default=512)
        kv_heads = (f.optional_integer("num_global_key_value_heads") if keys_are_values else None) or s.kv_heads
    else:
        width, kv_heads = s.head_width, s.kv_heads
    f.divides("num_key_value_heads", kv_heads, "num_attention_heads", s.heads)
    return width, kv_heads


def _of_layer(stated: Mapping[Any, Any], layer: int) -> object:
    """What is stated of a layer, under its number with or without noughts before it: transformers writes "05" beside "11"."""
    return next((fields for key, fields in stated.items() if str(key).lstrip("0") == str(layer).lstrip("0")), {})


def _experts(f: Fields, s: Sizes) -> Experts:
    """Experts beside a dense feed-forward."""
    num, per_token = experts_of(f, num=0, per_token=None, num_keys=("num_experts",), per_token_keys=("top_k_experts",))
    return Experts(
        activation=s.activation,
        num=num,
        per_token=per_token,
        width=f.integer("moe_intermediate_size"),
        shared=feed_forward_of(s, gated=True),
        apart=True,
        router_layer=True,
        router_scaled=True,
        renormalises=True,
        wide_weights=True,
        adapter_names=(("proj", ROUTER),),
    )
