"""Towers over pictures that several families of vision-language models have: CLIP's, SigLIP's, Pixtral's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.block import LAYER_NORM, RMS_NORM, Block
from estimators.architectures.builders.parts import attention, attention_pool, head_width, layers, size_pair
from estimators.architectures.encoder import Tower
from estimators.architectures.feed_forward import FeedForward
from estimators.architectures.stems import PatchStem
from estimators.architectures.tiled_tower import TiledTower
from estimators.architectures.vision import Scaled
from estimators.architectures.vision_language import OneMaskedSequence
from estimators.frozen import frozen, replace

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields


@frozen
class Sizes:
    """Of a tower where its configuration does not say."""

    width: int
    inner: int
    layers: int
    heads: int
    side: int
    patch: int
    function: str


CLIP = Sizes(width=768, inner=3072, layers=12, heads=12, side=224, patch=32, function="quick_gelu")
CLIP_OF_LLAVA = Sizes(width=1024, inner=4096, layers=24, heads=16, side=336, patch=14, function="quick_gelu")
SIGLIP = Sizes(width=768, inner=3072, layers=12, heads=12, side=224, patch=16, function="gelu_pytorch_tanh")
IDEFICS = Sizes(width=1152, inner=3072, layers=12, heads=16, side=224, patch=32, function="gelu_pytorch_tanh")
PIXTRAL = Sizes(width=1024, inner=4096, layers=24, heads=16, side=1024, patch=16, function="gelu")


def feed_forward(v: Fields, sizes: Sizes) -> FeedForward:
    """Two matrices with biases and an activation between."""
    inner, function = v.integer("intermediate_size", default=sizes.inner), v.text("hidden_act", default=sizes.function)
    return FeedForward(width=inner, activation=function, bias=True)


def plain_tower(v: Fields, sizes: Sizes, *, kind: str) -> Tower:
    """CLIP's and SigLIP's towers: learned positions; CLIP has a class token, and norms before the layers and on the class token behind."""
    d, n = v.integer("hidden_size", default=sizes.width), v.integer("num_attention_heads", default=sizes.heads)
    clip = kind == "clip"
    block = layers(
        v.integer("num_hidden_layers", default=sizes.layers),
        attention(n, head_width(v, "num_attention_heads", n, "hidden_size", d)),
        feed_forward(v, sizes),
    )
    stem = PatchStem(
        image=size_pair(v, "image_size", sizes.side),
        patch=size_pair(v, "patch_size", sizes.patch),
        channels=v.integer("num_channels", default=3),
        bias=not clip,
        extra_tokens=int(clip),
        table_positions=True,
        norm=LAYER_NORM if clip else None,
    )
    return Tower(stem=stem, width=d, blocks=(block,), final_norm=LAYER_NORM, norm_per_sample=clip)


def pixtral_tower(v: Fields) -> Tower:
    """Pixtral's tower: rotary positions, RMS norms, a gated feed-forward, no biases."""
    d, n = v.integer("hidden_size", default=PIXTRAL.width), v.integer("num_attention_heads", default=PIXTRAL.heads)
    attend = replace(attention(n, head_width(v, "num_attention_heads", n, "hidden_size", d), bias=False, out_bias=False), rotary=True)
    feed_forward = FeedForward(
        width=v.integer("intermediate_size", default=PIXTRAL.inner),
        gated=True,
        activation=v.text("hidden_act", default=PIXTRAL.function),
    )
    parts = (("attention", OneMaskedSequence(attention=attend)), ("mlp", feed_forward))
    block = Block(count=v.integer("num_hidden_layers", default=PIXTRAL.layers), parts=parts, norms=2, norm=RMS_NORM)
    stem = PatchStem(
        image=size_pair(v, "image_size", PIXTRAL.side),
        patch=size_pair(v, "patch_size", PIXTRAL.patch),
        channels=v.integer("num_channels", default=3),
        bias=False,
        extra_tokens=0,
        positions=False,
        norm=RMS_NORM,
    )
    return Tower(stem=stem, width=d, blocks=(block,))


def tiled_tower(v: Fields) -> TiledTower:
    """Llama 3.2 Vision's: no biases in attention; the layers behind have learned gates.

    Raises:
        BadConfigError: a tile that is not square, layers that are not there, or aspects that are no list of pairs.
    """
    d, n = v.integer("hidden_size", default=1280), v.integer("attention_heads", "num_attention_heads", default=16)
    attend = attention(n, head_width(v, "attention_heads", n, "hidden_size", d), bias=False, out_bias=False)
    feed_forward = FeedForward(
        width=v.integer("intermediate_size", default=5120), activation=v.text("hidden_act", default="gelu"), bias=True
    )
    gated = (("attention", Scaled(part=attend, one_for_all=True)), ("mlp", Scaled(part=feed_forward, one_for_all=True)))
    side, patch = v.integer("image_size", default=448), v.integer("patch_size", default=14)
    stem = PatchStem(
        image=(side, side),
        patch=(patch, patch),
        channels=v.integer("num_channels", default=3),
        bias=False,
        norm=LAYER_NORM,
    )
    shapes = v.config.get("supported_aspect_ratios")
    if shapes is not None and not (isinstance(shapes, list) and shapes):
        raise v.fail("supported_aspect_ratios", shapes, "a list of widths and heights in tiles")
    return TiledTower(
        stem=stem,
        width=d,
        tiles=v.integer("max_num_tiles", default=4),
        shapes=len(shapes) if shapes else v.default("supported_aspect_ratios", ASPECTS),
        local=layers(v.integer("num_hidden_layers", default=32), attend, feed_forward),
        behind=Block(count=v.integer("num_global_layers", default=8), parts=gated, norms=2, norm=LAYER_NORM),
    )


ASPECTS = 8
"""In which four tiles can be laid out at most."""


def picture_side(v: Fields, tower: Tower) -> int:
    """Pixels along the side of a tower's square pictures. Raises BadConfigError where they are not square."""
    stem = tower.stem
    assert isinstance(stem, PatchStem)
    if stem.image[0] != stem.image[1] or stem.patch[0] != stem.patch[1]:
        raise v.fail("image_size", list(stem.image), "one side for both, as its processor makes squares")
    return stem.image[0]


def siglip_tower(v: Fields) -> Tower:
    """SigLIP's tower; unless `vision_use_head` is false an attention pools its tokens, which runs, and which no feature reads."""
    tower = plain_tower(v, SIGLIP, kind="siglip")
    if not v.flag("vision_use_head", True):
        return tower
    n = v.integer("num_attention_heads", default=SIGLIP.heads)
    heads = n, head_width(v, "num_attention_heads", n, "hidden_size", tower.width)
    return replace(tower, pool=attention_pool(heads, feed_forward(v, SIGLIP), used=False))
