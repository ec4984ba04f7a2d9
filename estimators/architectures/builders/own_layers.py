"""Decoders whose layers differ in width, and whose code comes with the repository they are published in: OpenELM, DeciLM, Nemotron NAS.

Which layers they have, and how widths are rounded: from memory of that code, unchecked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from estimators.architectures.block import RMS_NORM, Block
from estimators.architectures.builders.common import attention_of, decoder, feed_forward_of, with_qk_norm
from estimators.architectures.builders.layers import Parts, layered, varied_layers
from estimators.architectures.builders.own_decoders import own_sizes
from estimators.architectures.builders.sizes import Sizes
from estimators.architectures.decoder import Decoder
from estimators.architectures.feed_forward import FeedForward
from estimators.architectures.own_code import by_hand, only, renamed, without_size
from estimators.errors import NoOpTableError
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

OPENELM_NAMES = {
    "hidden_size": "model_dim",
    "num_hidden_layers": "num_transformer_layers",
    "max_position_embeddings": "max_context_length",
    "tie_word_embeddings": "share_input_output_layers",
    "hidden_act": "activation_fn_name",
}


@by_hand
def openelm(f: Fields, name: str, source: Source) -> Decoder:
    """OpenELM: Llama with norms on queries and keys, whose heads and feed-forwards grow from layer to layer."""
    only(f, {"ffn_with_glu": True, "normalization_layer_name": "rms_norm"})
    without_size(f, "num_gqa_groups", "qkv_multipliers")
    layers = f.integer("num_transformer_layers")
    queries, keys = (_of_layers(f, key, layers, whole=True) for key in ("num_query_heads", "num_kv_heads"))
    factors, step = _of_layers(f, "ffn_multipliers", layers, whole=False), f.integer("ffn_dim_divisor", default=256)
    fixed = {"num_attention_heads": 1, "intermediate_size": 1}
    s = own_sizes(renamed(f, OPENELM_NAMES, fixed=fixed))
    normed = f.flag("normalize_qk_projections", True)

    def parts(heads: int, kv_heads: int, factor: float) -> Parts:
        f.divides("num_kv_heads", kv_heads, "num_query_heads", heads)
        plain = attention_of(replace(s, heads=heads, kv_heads=kv_heads), fused=True)
        attention = with_qk_norm(plain, over_all_heads=False) if normed else plain
        return ("attention", attention), ("mlp", feed_forward_of(s, width=_nearest(factor * s.width, step), gated=True, fused=True))

    return layered(name, source, s, [parts(*sizes) for sizes in zip(queries, keys, factors, strict=True)])


def _nearest(width: float, step: int) -> int:
    """The multiple of `step` that is nearest, no more than a tenth below.

    >>> _nearest(0.5 * 1280, 256), _nearest(3.53 * 1280, 256)
    (768, 4608)
    """
    near = max(step, int(width + step / 2) // step * step)
    return near + step if near < 0.9 * width else near


def _of_layers(f: Fields, key: str, layers: int, *, whole: bool) -> Sequence[Any]:
    """A list of one number above 0 for each layer. Raises BadConfigError."""
    value = f.config.get(key)
    if not isinstance(value, list) or len(value) != layers or not all(_is_number(n, whole) and 0 < n <= 10**6 for n in value):
        raise f.fail(key, value, f"a list of {layers} {'whole ' if whole else ''}numbers above 0, one for each layer")
    return value


def _is_number(value: Any, whole: bool) -> bool:
    return not isinstance(value, bool) and isinstance(value, int if whole else (int, float))


@by_hand
def deci(f: Fields, name: str, source: Source) -> Decoder:
    """DeciLM 7B: Llama whose layers have key heads of their own number; Nemotron NAS (Llama-Nemotron 49B, 51B, 253B)."""
    if f.config.get("block_configs") is not None:
        return nas(f, name, source)
    layers = f.integer("num_hidden_layers")
    of_each = _of_layers(f, "num_key_value_heads_per_layer", layers, whole=True)
    without_size(f, "num_key_value_heads")
    s = own_sizes(renamed(f, {}, fixed={"num_key_value_heads": f.integer("num_attention_heads")}))
    for heads in of_each:
        f.divides("num_key_value_heads_per_layer", heads, "num_attention_heads", s.heads)
    attention = {heads: attention_of(replace(s, kv_heads=heads), bias=f.flag("attention_bias", False)) for heads in set(of_each)}
    return decoder(name, source, s, [attention[heads] for heads in of_each], feed_forward_of(s, gated=True, bias=f.flag("mlp_bias", False)))


def nas(f: Fields, name: str, source: Source) -> Decoder:
    """Llama of which a search left out attention or the feed-forward of some layers, with the norm before it, or made it narrower.

    A layer of which nothing is left is none.
    """
    s = own_sizes(renamed(f, {}, fixed={"intermediate_size": 1, "num_key_value_heads": f.integer("num_attention_heads")}))
    without_size(f, "intermediate_size", "num_key_value_heads")
    given = f.config["block_configs"]
    if not isinstance(given, list) or len(given) != len(varied_layers(f, s)) or not all(isinstance(each, dict) for each in given):
        raise f.fail("block_configs", given, f"a list of {s.layers} objects, one for each layer")
    bias, of_ffn = f.flag("attention_bias", False), f.flag("mlp_bias", False)
    made = [_nas_parts(f, i, each, s, bias, of_ffn) for i, each in enumerate(given)]
    kinds: list[Parts] = []
    for parts in made:
        if parts and parts not in kinds:
            kinds.append(parts)
    if not kinds:
        raise f.fail("block_configs", "no_op in every layer", "one layer or more with attention or a feed-forward")
    blocks = tuple(Block(count=made.count(parts), parts=parts, norms=len(parts), norm=RMS_NORM) for parts in kinds)
    model = decoder(name, source, s, attention_of(s), feed_forward_of(s, gated=True))
    return replace(model, blocks=blocks, order=tuple(kinds.index(parts) for parts in made if parts) if len(kinds) > 1 else ())


def _nas_parts(f: Fields, index: int, given: Any, s: Sizes, bias: bool, of_ffn: bool) -> Parts:
    attention, ffn = (f.part(f"block_configs[{index}].{key}", _object(f, given, index, key)) for key in ("attention", "ffn"))
    for part in (attention, ffn):
        if part.config.get("replace_with_linear"):
            raise NoOpTableError(
                f"{part.name}: replace_with_linear is true; the op table of a layer has attention and a feed-forward, or neither"
            )
    parts: Parts = ()
    if not attention.flag("no_op", False):
        group = attention.integer("n_heads_in_group")
        f.divides("n_heads_in_group", group, "num_attention_heads", s.heads)
        window = attention.optional_integer("window_length")
        parts += (("attention", attention_of(replace(s, kv_heads=s.heads // group), bias=bias, window=window)),)
    if not ffn.flag("no_op", False):
        parts += (("mlp", FeedForward(width=_nas_width(ffn, s), activation=s.activation, gated=True, bias=of_ffn)),)
    return parts


def _object(f: Fields, given: Any, index: int, key: str) -> dict[str, Any]:
    value = given.get(key)
    if not isinstance(value, dict):
        raise f.fail(f"block_configs[{index}].{key}", value, "an object")
    return value


def _nas_width(ffn: Fields, s: Sizes) -> int:
    """Two thirds of ffn_mult times the model's width, up to the next multiple of 256; or as intermediate_size says."""
    if (stated := ffn.optional_integer("intermediate_size")) is not None:
        return stated
    factor = ffn.config.get("ffn_mult")
    if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not 0 < factor <= 100:
        raise ffn.fail("ffn_mult", factor, "a number above 0, up to 100")
    return -(-int(2 * factor * s.width / 3) // 256) * 256
