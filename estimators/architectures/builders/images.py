"""Transformers over images: ViT, DeiT, DINOv2, Swin.

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
    per_stage,
    pooler,
    scaled,
    size_pair,
)
from estimators.architectures.encoder import Tower
from estimators.architectures.feed_forward import FeedForward
from estimators.architectures.stems import PatchStem
from estimators.architectures.vision import Stage, VisionTransformer, WindowedAttention
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


def swin(f: Fields, name: str, source: Source) -> VisionTransformer:
    """Swin: SwinForImageClassification, SwinModel; attention in windows, four tokens merged to one between stages.

    Raises:
        BadConfigError: stages that do not match, an image that patches do not fill, a map smaller than a window.
    """
    width, depths = f.integer("embed_dim", default=96), per_stage(f, "depths", (2, 2, 6, 2))
    heads, window = per_stage(f, "num_heads", (3, 6, 12, 24)), f.integer("window_size", default=7)
    if len(heads) != len(depths):
        raise f.fail("num_heads", list(heads), f"one number for each of the {len(depths)} stages in depths")
    last = width * 2 ** (len(depths) - 1)
    known: HeadTable = {"SwinModel": lambda: (), "SwinForImageClassification": lambda: (classifier(last, labels(f)),)}
    runs, chosen = heads_named(f, known, default_class(f, "Swin"))
    stem = patches(f, patch=4, extra_tokens=0, positions=f.flag("use_absolute_embeddings", False), norm=LAYER_NORM)
    if stem.image[0] % stem.patch[0] or stem.image[1] % stem.patch[1]:
        raise f.fail("image_size", f.config.get("image_size"), f"a multiple of patch_size, {stem.patch[0]} x {stem.patch[1]}")
    stages, grid = [], stem.grid
    for i, (depth, n) in enumerate(zip(depths, heads, strict=True)):
        d = width * 2**i
        if min(grid) < window:
            raise f.fail("window_size", window, f"at most {min(grid)}, the tokens along a side of stage {i + 1}")
        attend = attention(n, head_width(f, f"num_heads[{i}]", n, "embed_dim", d), bias=f.flag("qkv_bias", True), scores="biased")
        feed_forward = FeedForward(width=scaled(f, "mlp_ratio", 4, d), activation=f.text("hidden_act", default="gelu"), bias=True)
        parts = (("attention", WindowedAttention(attention=attend, grid=grid, window=window)), ("mlp", feed_forward))
        block = Block(count=depth, parts=parts, norms=2, norm=LAYER_NORM)
        stages.append(Stage(layers=block, grid=grid, width=d, merges=i + 1 < len(depths)))
        grid = (-(-grid[0] // 2), -(-grid[1] // 2))
    tower = Tower(stem=stem, width=width, blocks=tuple(stages))
    return VisionTransformer(name=name, source=source, runs=runs, tower=tower, tokens=stem.tokens, heads=chosen)
