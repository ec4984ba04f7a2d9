"""Two towers over images and texts, trained to tell which belong together: CLIP, SigLIP, SigLIP 2.

A text has the longest length of its tower, as all of them are trained. An image has the `image_size` of the configuration; SigLIP 2's of
any shape have as many patches as its table of positions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt
from typing import TYPE_CHECKING

from estimators.architectures.block import LAYER_NORM, Block
from estimators.architectures.builders.images import patches
from estimators.architectures.builders.parts import attention, attention_pool, class_named, classifier, head_width, labels, layers, section
from estimators.architectures.encoder import Tower
from estimators.architectures.feed_forward import FeedForward
from estimators.architectures.stems import PatchStem, Stem, TokenStem
from estimators.architectures.vision import DualEncoder, VisionTransformer
from estimators.errors import NoOpTableError
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields


@dataclass(frozen=True)
class _Usual:
    """What a tower has where its configuration says nothing."""

    width: int = 768
    heads: int = 12
    ffn_width: int = 3072
    activation: str = "gelu_pytorch_tanh"


_CLIP_IMAGE, _CLIP_TEXT = _Usual(activation="quick_gelu"), _Usual(width=512, heads=8, ffn_width=2048, activation="quick_gelu")


def clip(f: Fields, name: str, source: Source) -> DualEncoder:
    """CLIP: CLIPModel, both towers; a text is `max_position_embeddings` tokens long, as OpenAI pads it.

    Raises:
        BadConfigError: a part that is not an object; one line.
    """
    runs = class_named(f, ("CLIPModel",), "CLIPModel")
    text, vision = section(f, "text_config"), section(f, "vision_config")
    length = text.integer("max_position_embeddings", default=77)
    image, image_tokens = clip_image_tower(vision)
    return DualEncoder(
        name=name,
        source=source,
        runs=runs,
        image=image,
        text=clip_text_tower(text, length),
        image_tokens=image_tokens,
        text_tokens=length,
        shared_width=f.integer("projection_dim", default=512),
    )


def clip_image_tower(f: Fields) -> tuple[Tower, int]:
    """CLIP's tower over the patches of an image, and its tokens. Raises BadConfigError."""
    stem = patches(f, patch=32, bias=False, table_positions=True, norm=LAYER_NORM)
    return _tower(f, stem, _CLIP_IMAGE, per_sample=True), stem.tokens


def clip_text_tower(f: Fields, length: int) -> Tower:
    """CLIP's tower over texts of `length` tokens at most. Raises BadConfigError."""
    return _tower(f, _text_stem(f, length, vocab=49408), _CLIP_TEXT, causal=True)


def siglip(f: Fields, name: str, source: Source) -> DualEncoder | VisionTransformer:
    """SigLIP, and SigLIP 2 on images of one size: SiglipModel, SiglipForImageClassification (the image's tower alone)."""
    return _siglip_like(f, name, source, "Siglip", _siglip_stem)


def siglip2(f: Fields, name: str, source: Source) -> DualEncoder | VisionTransformer:
    """SigLIP 2 on images of any shape (NaFlex): Siglip2Model, Siglip2ForImageClassification."""
    return _siglip_like(f, name, source, "Siglip2", _siglip2_stem)


def siglip_vision(f: Fields, name: str, source: Source) -> VisionTransformer:
    """The image's tower of SigLIP, a model of its own: SiglipVisionModel."""
    stem, runs = _siglip_stem(f), class_named(f, ("SiglipVisionModel",), "SiglipVisionModel")
    tower = _tower(f, stem, _Usual(), pooled=f.flag("vision_use_head", True), used=True)
    return VisionTransformer(name=name, source=source, runs=runs, tower=tower, tokens=stem.tokens, heads=())


def _siglip_like(
    f: Fields, name: str, source: Source, base: str, stem_of: Callable[[Fields], PatchStem]
) -> DualEncoder | VisionTransformer:
    """What both generations share; a classifier stands on the mean of the tokens, beside a pooling that nothing reads.

    Raises:
        BadConfigError: a part that is not an object, or vectors of two widths to compare.
        NoOpTableError: towers without the pooling.
    """
    known = (f"{base}Model", f"{base}ForImageClassification")
    runs = class_named(f, known, known[0])
    vision = section(f, "vision_config")
    stem = stem_of(vision)
    pooled = vision.flag("vision_use_head", True)
    if runs == known[1]:
        tower = _tower(vision, stem, _Usual(), pooled=pooled, used=False)
        heads = (classifier(tower.width, labels(f)),)
        return VisionTransformer(name=name, source=source, runs=runs, tower=tower, tokens=stem.tokens, heads=heads)
    if not pooled:
        raise NoOpTableError(f"{name}: vision_use_head is false; the op table of {known[0]} compares what the head pools")
    text = section(f, "text_config")
    length = text.integer("max_position_embeddings", default=64)
    image = _tower(vision, stem, _Usual(), pooled=True, used=True)
    written = _tower(text, _text_stem(text, length, vocab=32000), _Usual())
    shared = text.integer("projection_size", default=written.width)
    if shared != image.width:
        raise text.fail("projection_size", shared, f"the image's width, {image.width}, with which a text is compared")
    return DualEncoder(
        name=name,
        source=source,
        runs=runs,
        image=image,
        text=written,
        image_tokens=stem.tokens,
        text_tokens=length,
        shared_width=shared,
        image_projected=False,
        biased=True,
    )


def _siglip_stem(f: Fields) -> PatchStem:
    return patches(f, patch=16, extra_tokens=0, table_positions=True)


def _siglip2_stem(f: Fields) -> PatchStem:
    """A square image of as many patches as there are positions. Raises BadConfigError where they make no square."""
    count, size = f.integer("num_patches", default=256), f.integer("patch_size", default=16)
    side = isqrt(count)
    if side * side != count:
        raise f.fail("num_patches", count, "a square number: positions are a square grid that is interpolated")
    pixels = (side * size, side * size)
    return PatchStem(image=pixels, patch=(size, size), channels=f.integer("num_channels", default=3), extra_tokens=0, resampled=True)


def _text_stem(f: Fields, length: int, *, vocab: int) -> TokenStem:
    return TokenStem(vocab=f.integer("vocab_size", default=vocab), positions=length)


def _tower(
    f: Fields, stem: Stem, usual: _Usual, *, causal: bool = False, per_sample: bool = False, pooled: bool = False, used: bool = False
) -> Tower:
    """A tower of one part of a configuration.

    Args:
        pooled: whether an attention pools its tokens.
        used: whether what comes after reads that.
    """
    width = f.integer("hidden_size", default=usual.width)
    n = f.integer("num_attention_heads", default=usual.heads)
    h = head_width(f, "num_attention_heads", n, "hidden_size", width)
    inner, activation = f.integer("intermediate_size", default=usual.ffn_width), f.text("hidden_act", default=usual.activation)
    feed_forward = FeedForward(width=inner, activation=activation, bias=True)
    block: Block = layers(f.integer("num_hidden_layers", default=12), attention(n, h, causal=causal), feed_forward)
    pool = attention_pool((n, h), feed_forward, used=used) if pooled else None
    return Tower(stem=stem, width=width, blocks=(block,), final_norm=LAYER_NORM, norm_per_sample=per_sample, pool=pool)
