"""Transformers over images: ViT, DeiT, YOLOS, BEiT.

The class of transformers that `architectures` names decides the head; without it, a classifier where the configuration
speaks of labels, else the plain model that AutoModel builds. An image has the `image_size` of the configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.block import LAYER_NORM, Block, Norm
from estimators.architectures.builders.parts import (
    IMAGE_SIDE,
    HeadTable,
    attention,
    class_named,
    classifier,
    default_class,
    head_width,
    heads_named,
    labels,
    layers,
    number,
    pooler,
    size_pair,
)
from estimators.architectures.encoder import Tower
from estimators.architectures.feed_forward import FeedForward
from estimators.architectures.part import Part
from estimators.architectures.stems import PatchStem
from estimators.architectures.token_detection import TokenDetector
from estimators.architectures.vision import BiasedAttention, Scaled, VisionTransformer
from estimators.errors import NoOpTableError
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields


def patches(
    f: Fields,
    *,
    patch: int,
    bias: bool = True,
    extra_tokens: int = 1,
    spare_tokens: int = 0,
    positions: bool = True,
    table_positions: bool = False,
    norm: Norm | None = None,
    side: int | tuple[int, int] = IMAGE_SIDE,
) -> PatchStem:
    """The stem of `image_size` and `patch_size`. Raises BadConfigError where not one patch fits."""
    size, pixels = size_pair(f, "patch_size", patch), size_pair(f, "image_size", side)
    if size[0] > pixels[0] or size[1] > pixels[1]:
        raise f.fail("patch_size", f.config.get("patch_size", patch), f"at most image_size, {pixels[0]} x {pixels[1]}")
    return PatchStem(
        image=pixels,
        patch=size,
        channels=f.integer("num_channels", default=3),
        bias=bias,
        extra_tokens=extra_tokens,
        spare_tokens=spare_tokens,
        positions=positions,
        table_positions=table_positions,
        norm=norm,
    )


def vit(f: Fields, name: str, source: Source) -> VisionTransformer:
    """ViT: ViTForImageClassification, ViTModel (with pooler)."""
    return _vit_like(f, name, source, "ViT", extra_tokens=1)


def deit(f: Fields, name: str, source: Source) -> VisionTransformer:
    """DeiT: DeiTForImageClassification, DeiTForImageClassificationWithTeacher, DeiTModel; a distillation token beside the class token."""
    return _vit_like(f, name, source, "DeiT", extra_tokens=2)


def _vit_like(f: Fields, name: str, source: Source, base: str, *, extra_tokens: int) -> VisionTransformer:
    d, n = f.integer("hidden_size", default=768), f.integer("num_attention_heads", default=12)
    known: HeadTable = {
        f"{base}Model": lambda: (pooler(d, f.integer("pooler_output_size", default=d)),),
        f"{base}ForImageClassification": lambda: (classifier(d, labels(f)),),
    }
    if extra_tokens == 2:
        two = ("head.class", "head.distillation")
        known |= {f"{base}ForImageClassificationWithTeacher": lambda: tuple(classifier(d, labels(f), name=head) for head in two)}
    runs, heads = heads_named(f, known, default_class(f, base))
    stem = patches(f, patch=16, extra_tokens=extra_tokens)
    h = head_width(f, "num_attention_heads", n, "hidden_size", d)
    block = layers(
        f.integer("num_hidden_layers", default=12),
        attention(n, h, bias=f.flag("qkv_bias", True)),
        FeedForward(width=f.integer("intermediate_size", default=3072), activation=f.text("hidden_act", default="gelu"), bias=True),
    )
    tower = Tower(stem=stem, width=d, blocks=(block,), final_norm=LAYER_NORM)
    return VisionTransformer(name=name, source=source, runs=runs, tower=tower, tokens=stem.tokens, heads=heads)


def yolos(f: Fields, name: str, source: Source) -> TokenDetector:
    """YOLOS: YolosForObjectDetection, YolosModel (with pooler); an image is 512 x 864 pixels where the configuration does not say.

    Raises:
        BadConfigError: fields that make no sense, an image with a part of a patch where positions stand within the layers too.
    """
    runs = class_named(f, ("YolosForObjectDetection", "YolosModel"), "YolosForObjectDetection")
    d, n, depth = (
        f.integer(key, default=default) for key, default in (("hidden_size", 768), ("num_attention_heads", 12), ("num_hidden_layers", 12))
    )
    found, finds = f.integer("num_detection_tokens", default=100), runs == "YolosForObjectDetection"
    stem = patches(f, patch=16, extra_tokens=1 + found, side=(512, 864))
    within = f.flag("use_mid_position_embeddings", True)
    if within and stem.image[0] * stem.image[1] // (stem.patch[0] * stem.patch[1]) != stem.grid[0] * stem.grid[1]:
        raise f.fail("image_size", list(stem.image), f"whole patches of {stem.patch[0]} x {stem.patch[1]}, for use_mid_position_embeddings")
    block = layers(
        depth,
        attention(n, head_width(f, "num_attention_heads", n, "hidden_size", d), bias=f.flag("qkv_bias", True)),
        FeedForward(width=f.integer("intermediate_size", default=3072), activation=f.text("hidden_act", default="gelu"), bias=True),
    )
    tower = Tower(stem=stem, width=d, blocks=(block,), final_norm=LAYER_NORM)
    heads = () if finds else (pooler(d),)
    return TokenDetector(
        name=name,
        source=source,
        runs=runs,
        body=VisionTransformer(name=name, source=source, runs=runs, tower=tower, tokens=stem.tokens, heads=heads),
        found=found,
        positions_within=depth - 1 if within else 0,
        classes=labels(f) + 1 if finds else 0,
    )


def beit(f: Fields, name: str, source: Source) -> VisionTransformer:
    """BEiT: BeitForImageClassification, BeitModel; a bias by distance in every layer, learned scales, keys without a bias.

    Raises:
        NoOpTableError: with one table of biases for all layers, or a width of heads of its own.
    """
    for key in ("use_shared_relative_position_bias", "head_dim"):
        if f.config.get(key):
            raise NoOpTableError(f"{name}: {key} is {f.config[key]}; the op table of beit has none")
    d, n = f.integer("hidden_size", default=768), f.integer("num_attention_heads", default=12)
    known: HeadTable = {"BeitModel": lambda: (), "BeitForImageClassification": lambda: (classifier(d, labels(f)),)}
    runs, heads = heads_named(f, known, default_class(f, "Beit"))
    masked, placed = f.flag("use_mask_token", False), f.flag("use_absolute_position_embeddings", False)
    stem = patches(f, patch=16, spare_tokens=int(masked), positions=placed)
    h = head_width(f, "num_attention_heads", n, "hidden_size", d)
    biased = f.flag("use_relative_position_bias", False)
    plain = attention(n, h, key_bias=False, scores="biased" if biased else "fused")
    distances = (2 * stem.grid[0] - 1) * (2 * stem.grid[1] - 1) + 3
    attend: Part = BiasedAttention(attention=plain, distances=distances) if biased else plain
    feed_forward = FeedForward(
        width=f.integer("intermediate_size", default=3072), activation=f.text("hidden_act", default="gelu"), bias=True
    )
    parts: tuple[tuple[str, Part], ...] = (("attention", attend), ("mlp", feed_forward))
    if number(f, "layer_scale_init_value", 0.1) > 0:
        parts = tuple((label, Scaled(part=part)) for label, part in parts)
    block = Block(count=f.integer("num_hidden_layers", default=12), parts=parts, norms=2, norm=LAYER_NORM)
    per_sample = f.flag("use_mean_pooling", True)
    tower = Tower(stem=stem, width=d, blocks=(block,), final_norm=LAYER_NORM, norm_per_sample=per_sample)
    return VisionTransformer(name=name, source=source, runs=runs, tower=tower, tokens=stem.tokens, heads=heads)
