"""Transformers over images: ViT, DeiT, BEiT.

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
) -> PatchStem:
    """The stem of `image_size` and `patch_size`. Raises BadConfigError where not one patch fits."""
    size, pixels = size_pair(f, "patch_size", patch), size_pair(f, "image_size", IMAGE_SIDE)
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
