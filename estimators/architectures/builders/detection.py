"""DETR, Table Transformer, Conditional and Deformable DETR: the model, or the one that finds objects, which is meant where
a configuration does not say.

An image has the `image_size` of the configuration. Their own have none: it is then what their processor makes of a photo of 480 x 640.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.attention import Attention
from estimators.architectures.block import LAYER_NORM
from estimators.architectures.builders.backbones import HELD_NORM, backbone_of
from estimators.architectures.builders.parts import attention, class_named, head_width, labels, layers, size_pair
from estimators.architectures.conditional_detection import ConditionalDetr, PlacedAttention, PlacedCrossAttention
from estimators.architectures.deformable import DeformableAttention
from estimators.architectures.deformable_detection import DeformableDetr
from estimators.architectures.detection import Detr
from estimators.architectures.feed_forward import FeedForward
from estimators.architectures.panoptic import MaskHead
from estimators.architectures.residual import ResidualNetwork
from estimators.errors import NoOpTableError
from estimators.frozen import as_dict, replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

PHOTO = (800, 1066)
"""Height and width of a photo of 480 x 640 whose shorter side is made 800 pixels long, its longer no longer than 1,333.

Source: Carion et al. 2020 (arXiv 2005.12872), section 4; transformers 5.24, DetrImageProcessor.
"""

WITH_MASKS = ("Detr",)
"""Families whose class that segments has an op table."""

TRAINED_STAGES = 3
"""Of timm's ResNet: training leaves the stem and the first stage as they are. Source: transformers 5.24, DetrConvEncoder."""


def detector_backbone(f: Fields) -> tuple[ResidualNetwork, str, tuple[int, ...]]:
    """The backbone, its type, and the stages whose maps are read: of timm's all, of Deformable DETR's all but the first, or the last alone.

    Raises:
        BadConfigError, NoOpTableError: as `backbone_of`.
    """
    usual: tuple[int, ...] = (0, 1, 2, 3)
    if f.config.get("model_type") == "deformable_detr":
        usual = (1, 2, 3) if f.integer("num_feature_levels", default=4) > 1 else (3,)
    return backbone_of(f, "timm_backbone", usual=usual)


def detr(f: Fields, name: str, source: Source) -> Detr:
    """DETR: DetrForObjectDetection, DetrForSegmentation, DetrModel. Raises BadConfigError, NoOpTableError."""
    return _detr_like(f, name, source, "Detr")


def table_transformer(f: Fields, name: str, source: Source) -> Detr:
    """Table Transformer: DETR with its norms before the parts, and one behind the encoder. Raises BadConfigError, NoOpTableError."""
    return _detr_like(f, name, source, "TableTransformer", prenorm=True)


def conditional_detr(f: Fields, name: str, source: Source) -> ConditionalDetr:
    """Conditional DETR: ConditionalDetrForObjectDetection, ConditionalDetrModel. Raises BadConfigError, NoOpTableError."""
    plain = _detr_like(f, name, source, "ConditionalDetr", queries=300)
    n = f.integer("decoder_attention_heads", default=8)
    h = head_width(f, "decoder_attention_heads", n, "d_model", plain.width)
    own = PlacedAttention(number=n, head_width=h)
    across = PlacedCrossAttention(number=n, head_width=h, positions_fed=plain.learned_positions)
    decoder = replace(plain.decoder, parts=(("attention", own), ("cross_attention", across), plain.decoder.parts[-1]))
    return ConditionalDetr(**as_dict(replace(plain, decoder=decoder, classes=max(0, plain.classes - 1))))


def deformable_detr(f: Fields, name: str, source: Source) -> DeformableDetr:
    """Deformable DETR: DeformableDetrForObjectDetection, DeformableDetrModel.

    Raises:
        BadConfigError: fields that make no sense.
        NoOpTableError: boxes that are refined by other matrices than the heads'.
    """
    runs = class_named(f, ("DeformableDetrForObjectDetection", "DeformableDetrModel"), "DeformableDetrForObjectDetection")
    levels, finds = f.integer("num_feature_levels", default=4), runs.endswith("ObjectDetection")
    backbone, kind, read = detector_backbone(f)
    if levels < len(read):
        raise f.fail("num_feature_levels", levels, f"at least the {len(read)} maps that are read")
    refines, chooses = f.flag("with_box_refine", False), f.flag("two_stage", False)
    if chooses and not (refines and finds):
        raise f.fail("two_stage", True, "false without with_box_refine, and without the heads that choose")
    tied = f.flag("tie_word_embeddings", True)
    if refines and finds and not tied:
        raise NoOpTableError(
            f"{name}: with_box_refine beside tie_word_embeddings false; the op table has one network for heads and decoder"
        )
    d = f.integer("d_model", "hidden_size", default=256)
    function = f.text("activation_function", default="relu")

    def heads(side: str) -> int:
        key = f"{side}_attention_heads"
        f.divides(key, n := f.integer(key, default=8), "d_model", d)
        return n

    def places(side: str) -> DeformableAttention:
        points = f.integer(f"{side}_n_points", default=4)
        return DeformableAttention(heads=heads(side), levels=levels, points=points, crosses_over=side == "decoder")

    def feed(side: str) -> FeedForward:
        return FeedForward(width=f.integer(f"{side}_ffn_dim", default=1024), activation=function, bias=True)

    n = heads("decoder")
    return DeformableDetr(
        name=name,
        source=source,
        runs=runs,
        image=size_pair(f, "image_size", PHOTO),
        backbone=replace(backbone, norm=HELD_NORM),
        trained=TRAINED_STAGES if kind == "timm_backbone" else 0,
        read=read,
        levels=levels,
        width=d,
        encoder=layers(f.integer("encoder_layers", default=6), places("encoder"), feed("encoder"), prenorm=False),
        decoder=layers(
            f.integer("decoder_layers", default=6), attention(n, d // n), feed("decoder"), cross=places("decoder"), prenorm=False
        ),
        queries=f.integer(*(("two_stage_num_proposals",) if chooses else ("num_queries",)), default=300),
        learned_positions=f.choice("position_embedding_type", "sine", ("sine", "learned")) == "learned",
        classes=labels(f) if finds else 0,
        refines=refines,
        chooses=chooses,
        shares_heads=tied,
    )


def _detr_like(f: Fields, name: str, source: Source, base: str, *, prenorm: bool = False, queries: int = 100) -> Detr:
    segments = f"{base}ForSegmentation"
    known = (f"{base}ForObjectDetection", f"{base}Model", *((segments,) if base in WITH_MASKS else ()))
    runs = class_named(f, known, known[0])
    backbone, kind, read = detector_backbone(f)
    d = f.integer("d_model", "hidden_size", default=256)
    function = f.text("activation_function", default="relu")

    def attend(side: str, *, cross: bool = False) -> Attention:
        key = f"{side}_attention_heads"
        n = f.integer(key, default=8)
        return attention(n, head_width(f, key, n, "d_model", d), cross=cross)

    def feed(side: str) -> FeedForward:
        return FeedForward(width=f.integer(f"{side}_ffn_dim", default=2048), activation=function, bias=True)

    trained = TRAINED_STAGES if kind == "timm_backbone" else 0
    return Detr(
        name=name,
        source=source,
        runs=runs,
        image=size_pair(f, "image_size", PHOTO),
        backbone=replace(backbone, norm=HELD_NORM),
        trained=trained,
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
        queries=f.integer("num_queries", default=queries),
        learned_positions=f.choice("position_embedding_type", "sine", ("sine", "learned")) == "learned",
        classes=0 if runs == known[1] else labels(f) + 1,
        masks=_masks(f, backbone, read, trained, d) if runs == segments else None,
    )


def _masks(f: Fields, backbone: ResidualNetwork, read: tuple[int, ...], trained: int, width: int) -> MaskHead:
    """What makes masks of the last map and the three before it.

    Raises:
        BadConfigError: a backbone whose four maps are not all read, or widths that do not divide as its class demands.
    """
    heads, stages = f.integer("encoder_attention_heads", default=8), len(backbone.widths)
    if read != (0, 1, 2, 3) or stages != 4:
        raise f.fail("backbone_config", f"maps of {len(read)} of {stages} stages", "the maps of all four stages, of which masks are made")
    halves = [width // 2**i for i in range(1, 5)]
    if (width + heads) % 8 or halves[-1] < 1 or any(half % min(8, half) for half in halves):
        raise f.fail("d_model", width, "with encoder_attention_heads a multiple of 8, and halved four times one of 8 or less than 8")
    channels, lowest = backbone.widths, stages - trained
    return MaskHead(
        width=width,
        heads=heads,
        channels=(channels[2], channels[1], channels[0]),
        fed=(lowest <= 2, lowest <= 1, lowest <= 0),
    )
