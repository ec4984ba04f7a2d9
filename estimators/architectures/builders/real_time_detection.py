"""RT-DETR and its second version: the model, or the one that finds objects, which a configuration is of where it does not say.

An image has the `image_size` of the configuration; their own have none, and their processors make 640 x 640 of every image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.builders.backbones import HELD_NORM, backbone_of
from estimators.architectures.builders.parts import (
    attention,
    class_named,
    head_width,
    labels,
    layer_indexes,
    layers,
    per_stage,
    scaled,
    size_pair,
)
from estimators.architectures.deformable import DeformableAttention
from estimators.architectures.feed_forward import FeedForward
from estimators.architectures.real_time_detection import HybridEncoder, RealTimeDetr
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.block import Block
    from estimators.architectures.fields import Fields

SQUARE = (640, 640)
"""What the processor makes of every image. Source: Zhao et al. 2023 (arXiv 2304.08069), section 5.1; transformers 5.24."""


def rt_detr(f: Fields, name: str, source: Source) -> RealTimeDetr:
    """RT-DETR: RTDetrForObjectDetection, RTDetrModel. Raises BadConfigError, NoOpTableError."""
    return _rt_detr_like(f, name, source, "RTDetr")


def rt_detr_v2(f: Fields, name: str, source: Source) -> RealTimeDetr:
    """RT-DETR v2: RTDetrV2ForObjectDetection, RTDetrV2Model. Raises BadConfigError, NoOpTableError."""
    return _rt_detr_like(f, name, source, "RTDetrV2", own_levels=True)


def _rt_detr_like(f: Fields, name: str, source: Source, base: str, *, own_levels: bool = False) -> RealTimeDetr:
    runs = class_named(f, (f"{base}ForObjectDetection", f"{base}Model"), f"{base}ForObjectDetection")
    if f.flag("learn_initial_query", False):
        raise f.fail("learn_initial_query", True, "false: with learned queries the class of transformers does not run")
    backbone, _, read = backbone_of(f, "rt_detr_resnet")
    if f.flag("freeze_backbone_batch_norms", True):
        backbone = replace(backbone, norm=HELD_NORM)
    d = f.integer("d_model", "hidden_size", default=256)
    n = f.integer("decoder_attention_heads", default=8)
    levels = f.integer("num_feature_levels", default=3)
    if own_levels and (looked := f.integer("decoder_n_levels", default=3)) != levels:
        raise f.fail("decoder_n_levels", looked, f"{levels}, as num_feature_levels")
    if levels < len(read):
        raise f.fail("num_feature_levels", levels, f"at least the {len(read)} maps that are read")
    own = attention(n, head_width(f, "decoder_attention_heads", n, "d_model", d))
    across = DeformableAttention(heads=n, levels=levels, points=f.integer("decoder_n_points", default=4))
    feed = FeedForward(
        width=f.integer("decoder_ffn_dim", default=1024),
        activation=f.text("decoder_activation_function", default="relu"),
        bias=True,
    )
    model = RealTimeDetr(
        name=name,
        source=source,
        runs=runs,
        image=size_pair(f, "image_size", SQUARE),
        backbone=backbone,
        read=read,
        encoder=_encoder(f, len(read)),
        levels=levels,
        width=d,
        decoder=layers(f.integer("decoder_layers", default=6), own, feed, cross=across, prenorm=False),
        queries=f.integer("num_queries", default=300),
        classes=labels(f),
        noisy=f.integer("num_denoising", default=100, minimum=0) > 0,
        heads=runs.endswith("ObjectDetection"),
        spare_heads=own_levels and not f.flag("tie_word_embeddings", True),
    )
    _demand_widths(f, model, len(read))
    return model


def _encoder(f: Fields, maps: int) -> HybridEncoder:
    d, n = f.integer("encoder_hidden_dim", default=256), f.integer("encoder_attention_heads", default=8)
    count = f.integer("encoder_layers", default=1, minimum=0)
    block: Block | None = None
    if count:
        feed = FeedForward(
            width=f.integer("encoder_ffn_dim", default=1024),
            activation=f.text("encoder_activation_function", default="gelu"),
            bias=True,
        )
        own = attention(n, head_width(f, "encoder_attention_heads", n, "encoder_hidden_dim", d))
        block = layers(count, own, feed, prenorm=f.flag("normalize_before", False))
    attended = layer_indexes(f, "encode_proj_layers", (2,))
    if len(set(attended)) != len(attended) or any(index >= maps for index in attended):
        raise f.fail("encode_proj_layers", list(attended), f"different maps, from 0 to {maps - 1}")
    return HybridEncoder(
        width=d,
        layers=block,
        attended=attended,
        inner=scaled(f, "hidden_expansion", 1.0, d),
        function=f.text("activation_function", default="silu"),
    )


def _demand_widths(f: Fields, model: RealTimeDetr, maps: int) -> None:
    """Refuse channels that are not those of the maps. Raises BadConfigError."""
    made = model.encoder.width
    for key, default, expected in (
        ("encoder_in_channels", (512, 1024, 2048), tuple(model.backbone.widths[index] for index in model.read)),
        ("decoder_in_channels", (256, 256, 256), (made,) * maps),
    ):
        given = per_stage(f, key, default)
        fits = len(given) == maps if key.startswith("encoder") else given == expected
        if not fits:
            raise f.fail(key, list(given), f"{list(expected)}, the channels of the {maps} maps")
    if model.levels > maps and made != model.width and model.levels > maps + 1:
        raise f.fail("d_model", model.width, f"{made}, as encoder_hidden_dim, where maps are made of the encoder's last")
