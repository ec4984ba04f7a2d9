"""SegFormer: stages of shrinking maps, with a head of classes or one that labels every position.

The class of transformers that `architectures` names decides the head; without it, a classifier where the configuration
speaks of labels, else the plain model. An image has the `image_size` of the configuration, 224 where there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.block import LAYER_NORM, Block
from estimators.architectures.builders.parts import (
    IMAGE_SIDE,
    attention,
    class_named,
    classifier,
    default_class,
    head_width,
    labels,
    per_stage,
    size_pair,
)
from estimators.architectures.convolution import Convolution, Map, after
from estimators.architectures.pyramid import MixedFeedForward, Pyramid, PyramidStage, ReducedAttention, Segmentation
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

USUAL = {
    "depths": (2, 2, 2, 2),
    "hidden_sizes": (32, 64, 160, 256),
    "num_attention_heads": (1, 2, 5, 8),
    "sr_ratios": (8, 4, 2, 1),
    "patch_sizes": (7, 3, 3, 3),
    "strides": (4, 2, 2, 2),
    "mlp_ratios": (4, 4, 4, 4),
}
"""Numbers of each stage where a configuration says nothing."""


def segformer(f: Fields, name: str, source: Source) -> Pyramid:
    """SegFormer: SegformerModel, SegformerForImageClassification, SegformerForSemanticSegmentation.

    Raises:
        BadConfigError: lists of other lengths than the stages, a map that a stage shrinks to nothing.
    """
    known = ("SegformerModel", "SegformerForImageClassification", "SegformerForSemanticSegmentation")
    runs = class_named(f, known, default_class(f, "Segformer"))
    given = {key: per_stage(f, key, usual) for key, usual in USUAL.items()}
    count = f.integer("num_encoder_blocks", default=len(given["depths"]))
    for key, values in given.items():
        if len(values) != count:
            raise f.fail(key, list(values), f"one number for each of the {count} stages in num_encoder_blocks")
    image = size_pair(f, "image_size", IMAGE_SIDE)
    activation, here, channels = f.text("hidden_act", default="gelu"), image, f.integer("num_channels", default=3)
    stages: list[PyramidStage] = []
    for i in range(count):
        width, n, kernel = given["hidden_sizes"][i], given["num_attention_heads"][i], given["patch_sizes"][i]
        there = after(here, kernel=kernel, stride=given["strides"][i], padding=kernel // 2)
        ratio = given["sr_ratios"][i]
        if min(there) < ratio:
            raise f.fail("sr_ratios", ratio, f"at most {min(there)}, the positions along a side of stage {i + 1}")
        attend = attention(n, head_width(f, f"num_attention_heads[{i}]", n, "hidden_sizes", width), cross=ratio > 1)
        parts = (
            ("attention", ReducedAttention(attention=attend, grid=there, ratio=ratio)),
            ("mlp", MixedFeedForward(width=width * given["mlp_ratios"][i], grid=there, activation=activation)),
        )
        block = Block(count=given["depths"][i], parts=parts, norms=2, norm=LAYER_NORM)
        stages.append(PyramidStage(name=f"stage.{i + 1}", stem=_stem(i, channels, width, kernel, here, there), layers=block, width=width))
        here, channels = there, width
    segmented = runs.endswith("Segmentation")
    return Pyramid(
        name=name,
        source=source,
        runs=runs,
        image=image,
        stages=tuple(stages),
        heads=(classifier(channels, labels(f)),) if runs == known[1] else (),
        segmentation=Segmentation(
            widths=given["hidden_sizes"],
            grids=tuple(stage.grid for stage in stages),
            width=f.integer("decoder_hidden_size", default=256),
            labels=labels(f),
        )
        if segmented
        else None,
    )


def _stem(i: int, channels: int, width: int, kernel: int, before: Map, there: Map) -> Convolution:
    """A filter that overlaps, and a norm over channels."""
    return Convolution(
        name=f"stage.{i + 1}.patch",
        channels_in=channels,
        channels_out=width,
        kernel=(kernel, kernel),
        before=before,
        after=there,
        bias=True,
        batch_norm=False,
        activation=False,
        reads_data=i == 0,
    )
