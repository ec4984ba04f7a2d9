"""Transformers over images in windows: Swin and Swin v2.

The class of transformers that `architectures` names decides the head; without it, a classifier where the configuration
speaks of labels, else the plain model that AutoModel builds. An image has the `image_size` of the configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.block import LAYER_NORM, Block
from estimators.architectures.builders.images import patches
from estimators.architectures.builders.parts import (
    HeadTable,
    attention,
    classifier,
    default_class,
    head_width,
    heads_named,
    labels,
    per_stage,
    scaled,
)
from estimators.architectures.encoder import Tower
from estimators.architectures.feed_forward import FeedForward
from estimators.architectures.vision import Stage, VisionTransformer, WindowedAttention
from estimators.errors import NoOpTableError
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

BIAS_WIDTH = 512
"""Of the network that makes Swin v2's biases.

Source: transformers 5, Swinv2SelfAttention.
"""


def swin(f: Fields, name: str, source: Source) -> VisionTransformer:
    """Swin: SwinForImageClassification, SwinModel; attention in windows, four tokens merged to one between stages.

    Raises:
        BadConfigError: stages that do not match, an image that patches do not fill, a map smaller than a window.
    """
    return _swin(f, name, source, "Swin")


def swinv2(f: Fields, name: str, source: Source) -> VisionTransformer:
    """Swin v2: Swinv2ForImageClassification, Swinv2Model; norms behind the parts, biases that a small network makes.

    A window is no larger than the map of its stage.

    Raises:
        BadConfigError: stages that do not match, an image that patches do not fill.
        NoOpTableError: with learned positions, for which transformers makes one row too many.
    """
    if f.flag("use_absolute_embeddings", False):
        raise NoOpTableError(f"{name}: use_absolute_embeddings is true; the op table of swinv2 has none")
    return _swin(f, name, source, "Swinv2")


def _swin(f: Fields, name: str, source: Source, base: str) -> VisionTransformer:
    width, depths = f.integer("embed_dim", default=96), per_stage(f, "depths", (2, 2, 6, 2))
    heads, window = per_stage(f, "num_heads", (3, 6, 12, 24)), f.integer("window_size", default=7)
    if len(heads) != len(depths):
        raise f.fail("num_heads", list(heads), f"one number for each of the {len(depths)} stages in depths")
    last = width * 2 ** (len(depths) - 1)
    known: HeadTable = {f"{base}Model": lambda: (), f"{base}ForImageClassification": lambda: (classifier(last, labels(f)),)}
    runs, chosen = heads_named(f, known, default_class(f, base))
    stem = patches(f, patch=4, extra_tokens=0, positions=f.flag("use_absolute_embeddings", False), norm=LAYER_NORM)
    if stem.image[0] % stem.patch[0] or stem.image[1] % stem.patch[1]:
        raise f.fail("image_size", f.config.get("image_size"), f"a multiple of patch_size, {stem.patch[0]} x {stem.patch[1]}")
    stages, grid, second = [], stem.grid, base == "Swinv2"
    for i, (depth, n) in enumerate(zip(depths, heads, strict=True)):
        d = width * 2**i
        here = window
        if second:
            here = min(window, stem.grid[0] // 2**i)
        elif min(grid) < window:
            raise f.fail("window_size", window, f"at most {min(grid)}, the tokens along a side of stage {i + 1}")
        attend = attention(n, head_width(f, f"num_heads[{i}]", n, "embed_dim", d), bias=f.flag("qkv_bias", True), scores="biased")
        if second:
            attend = replace(attend, key_bias=False, scores="written_out")
        feed_forward = FeedForward(width=scaled(f, "mlp_ratio", 4, d), activation=f.text("hidden_act", default="gelu"), bias=True)
        windowed = WindowedAttention(attention=attend, grid=grid, window=here, bias_width=BIAS_WIDTH if second else 0)
        parts = (("attention", windowed), ("mlp", feed_forward))
        block = Block(count=depth, parts=parts, norms=2, norm=LAYER_NORM, prenorm=not second)
        stages.append(Stage(layers=block, grid=grid, width=d, merges=i + 1 < len(depths), norm_behind=second))
        grid = (-(-grid[0] // 2), -(-grid[1] // 2))
    tower = Tower(stem=stem, width=width, blocks=tuple(stages))
    return VisionTransformer(name=name, source=source, runs=runs, tower=tower, tokens=stem.tokens, heads=chosen)
