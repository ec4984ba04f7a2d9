"""Segment Anything (SAM): SamModel on an image with one point."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.attention import Attention
from estimators.architectures.block import LAYER_NORM, Block
from estimators.architectures.builders.parts import attention, class_named, head_width, layer_indexes, scaled, section, size_pair
from estimators.architectures.encoder import Tower
from estimators.architectures.feed_forward import FeedForward
from estimators.architectures.segment import AxisBiasedAttention, MaskDecoder, SegmentAnything
from estimators.architectures.stems import PatchStem
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

GLOBAL = (2, 5, 8, 11)
"""Layers of ViT-B whose attention is over the whole map."""

NARROWER = 2
"""Of attention between tokens and map in the layers, whatever attention_downsample_rate says: transformers 5.24 does not hand it on."""


def sam(f: Fields, name: str, source: Source) -> SegmentAnything:
    """SAM with ViT-B, ViT-L or ViT-H.

    Raises:
        BadConfigError: fields that make no sense, an image that is not square, parts of different widths.
    """
    runs = class_named(f, ("SamModel",), "SamModel")
    v, p, m = (section(f, key) for key in ("vision_config", "prompt_encoder_config", "mask_decoder_config"))
    width = m.integer("hidden_size", default=256)
    for part, key in ((v, "output_channels"), (p, "hidden_size")):
        if (given := part.integer(key, default=256)) != width:
            raise part.fail(key, given, f"{width}, as the mask decoder's hidden_size")
    if 2 * (feats := v.integer("num_pos_feats", default=128)) != width:
        raise v.fail("num_pos_feats", feats, f"half of {width}, the mask decoder's hidden_size")
    return SegmentAnything(
        name=name,
        source=source,
        runs=runs,
        tower=_tower(v),
        decoder=_decoder(m, width),
        mask_channels=p.integer("mask_input_channels", default=16),
    )


def _tower(v: Fields) -> Tower:
    d, n, depth = (
        v.integer(key, default=default) for key, default in (("hidden_size", 768), ("num_attention_heads", 12), ("num_hidden_layers", 12))
    )
    image, patch = size_pair(v, "image_size", 1024), size_pair(v, "patch_size", 16)
    stem = PatchStem(
        image=image,
        patch=patch,
        channels=v.integer("num_channels", default=3),
        extra_tokens=0,
        positions=v.flag("use_abs_pos", True),
    )
    if stem.grid[0] != stem.grid[1]:
        raise v.fail("image_size", list(image), "one side for both: its windows are laid out for a square")
    plain = attention(n, head_width(v, "num_attention_heads", n, "hidden_size", d), bias=v.flag("qkv_bias", True))
    attend = replace(plain, fused=True)
    inner = v.optional_integer("mlp_dim") or scaled(v, "mlp_ratio", 4.0, d)
    feed_forward = FeedForward(width=inner, activation=v.text("hidden_act", default="gelu"), bias=True)
    everywhere = len({index for index in layer_indexes(v, "global_attn_indexes", GLOBAL) if index < depth})
    window, biased = v.integer("window_size", default=14, minimum=0), v.flag("use_rel_pos", True)

    def block(count: int, window: int) -> Block:
        mixer = AxisBiasedAttention(attention=attend, side=stem.grid[0], window=window, biased=biased)
        return Block(count=count, parts=(("attention", mixer), ("mlp", feed_forward)), norms=2, norm=LAYER_NORM)

    kinds = ((depth - everywhere, window), (everywhere, 0))
    return Tower(stem=stem, width=d, blocks=tuple(block(count, each) for count, each in kinds if count))


def _decoder(m: Fields, width: int) -> MaskDecoder:
    n, rate = m.integer("num_attention_heads", default=8), m.integer("attention_downsample_rate", default=2)
    m.divides("attention_downsample_rate", rate, "hidden_size", width)

    def across(narrower: int) -> Attention:
        return attention(n, head_width(m, "num_attention_heads", n, "hidden_size", width // narrower), cross=True)

    return MaskDecoder(
        width=width,
        layers=m.integer("num_hidden_layers", default=2),
        own=attention(n, head_width(m, "num_attention_heads", n, "hidden_size", width)),
        across=across(NARROWER),
        last=across(rate),
        feed_forward=FeedForward(width=m.integer("mlp_dim", default=2048), activation=m.text("hidden_act", default="relu"), bias=True),
        masks=m.integer("num_multimask_outputs", default=3) + 1,
        quality_width=m.integer("iou_head_hidden_dim", default=256),
        quality_layers=m.integer("iou_head_depth", default=3, minimum=2),
    )
