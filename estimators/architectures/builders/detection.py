"""DETR and Table Transformer: the model, or the one that finds objects, which a configuration is of where it does not say.

An image has the `image_size` of the configuration. Their own have none: it is then what their processor makes of a photo of 480 x 640.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.attention import Attention
from estimators.architectures.block import LAYER_NORM
from estimators.architectures.builders.backbones import HELD_NORM, backbone_of
from estimators.architectures.builders.parts import attention, class_named, head_width, labels, layers, size_pair
from estimators.architectures.detection import Detr
from estimators.architectures.feed_forward import FeedForward
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

PHOTO = (800, 1066)
"""Height and width of a photo of 480 x 640 whose shorter side is made 800 pixels long, its longer no longer than 1,333.

Source: Carion et al. 2020 (arXiv 2005.12872), section 4; transformers 5.24, DetrImageProcessor.
"""

TRAINED_STAGES = 3
"""Of timm's ResNet: training leaves the stem and the first stage as they are. Source: transformers 5.24, DetrConvEncoder."""


def detr(f: Fields, name: str, source: Source) -> Detr:
    """DETR: DetrForObjectDetection, DetrModel. Raises BadConfigError, NoOpTableError."""
    return _detr_like(f, name, source, "Detr")


def table_transformer(f: Fields, name: str, source: Source) -> Detr:
    """Table Transformer: DETR with its norms before the parts, and one behind the encoder. Raises BadConfigError, NoOpTableError."""
    return _detr_like(f, name, source, "TableTransformer", prenorm=True)


def photo_size(f: Fields, usual: tuple[int, int]) -> tuple[int, int]:
    """`image_size`, or the usual one. Raises BadConfigError."""
    return size_pair(f, "image_size", 0) if f.config.get("image_size") is not None else f.default("image_size", usual)


def _detr_like(f: Fields, name: str, source: Source, base: str, *, prenorm: bool = False) -> Detr:
    runs = class_named(f, (f"{base}ForObjectDetection", f"{base}Model"), f"{base}ForObjectDetection")
    backbone, kind, _ = backbone_of(f, "timm_backbone")
    d = f.integer("d_model", "hidden_size", default=256)
    function = f.text("activation_function", default="relu")

    def attend(side: str, *, cross: bool = False) -> Attention:
        key = f"{side}_attention_heads"
        n = f.integer(key, default=8)
        return attention(n, head_width(f, key, n, "d_model", d), cross=cross)

    def feed(side: str) -> FeedForward:
        return FeedForward(width=f.integer(f"{side}_ffn_dim", default=2048), activation=function, bias=True)

    model = Detr(
        name=name,
        source=source,
        runs=runs,
        image=photo_size(f, PHOTO),
        backbone=replace(backbone, norm=HELD_NORM),
        trained=TRAINED_STAGES if kind == "timm_backbone" else 0,
        width=d,
        encoder=layers(f.integer("encoder_layers", default=6), attend("encoder"), feed("encoder"), prenorm=prenorm),
        encoder_norm=LAYER_NORM if prenorm else None,
        decoder=layers(
            f.integer("decoder_layers", default=6),
            attend("decoder"),
            feed("decoder"),
            cross=attend("decoder", cross=True),
            prenorm=prenorm,
        ),
        queries=f.integer("num_queries", default=100),
        learned_positions=f.choice("position_embedding_type", "sine", ("sine", "learned")) == "learned",
        classes=labels(f) + 1 if runs.endswith("ObjectDetection") else 0,
    )
    model.demand_size()
    return model
