"""The towers, projectors and processors' rules of Qwen's vision-language models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.attention import Attention
from estimators.architectures.block import LAYER_NORM, RMS_NORM, Block
from estimators.architectures.builders.parts import head_width, layer_indexes, layers
from estimators.architectures.encoder import Tower
from estimators.architectures.feed_forward import FeedForward
from estimators.architectures.image_tokens import OwnSize, Rule
from estimators.architectures.projector import Projector
from estimators.architectures.stems import PatchStem
from estimators.architectures.tiled_tower import TiledTower
from estimators.architectures.vision_language import GridWindows, PictureTower
from estimators.frozen import replace

if TYPE_CHECKING:
    from estimators.architectures.decoder import Decoder
    from estimators.architectures.fields import Fields

Built = tuple[PictureTower | TiledTower, Projector, Rule, str]
"""Tower, projector, the processor's rule, and the class of transformers."""

QWEN2_PIXELS, QWEN3_PIXELS = (3136, 12845056), (65536, 16777216)
"""Least and most pixels of an image in the preprocessor_config.json of Qwen2-VL and Qwen2.5-VL, and of Qwen3-VL."""


def _qwen_stem(v: Fields, *, patch: int, bias: bool, position_rows: int = 0) -> PatchStem:
    """Patches of two frames, joined; an image is its own second frame."""
    side = v.integer("patch_size", default=patch)
    depth = v.integer("temporal_patch_size", default=2)
    return PatchStem(
        image=(2 * side, 2 * side),
        patch=(side, side),
        channels=depth * v.integer("in_channels", default=3),
        bias=bias,
        extra_tokens=0,
        positions=position_rows > 0,
        table_positions=True,
        position_rows=position_rows,
    )


def _fused(heads: int, width: int, f: Fields, width_key: str) -> Attention:
    h = head_width(f, "num_heads", heads, width_key, width)
    return Attention(
        heads=heads, kv_heads=heads, head_width=h, query_bias=True, key_bias=True, value_bias=True, out_bias=True, fused=True, causal=False
    )


def _qwen_rule(v: Fields, *, patch: int, pixels: tuple[int, int], shared: bool) -> OwnSize:
    side, merge = v.integer("patch_size", default=patch), v.integer("spatial_merge_size", default=2)
    token = (2 * patch) ** 2  # as the bounds of the processor's class are written
    return OwnSize(
        patch=side,
        merge=merge,
        depth=v.integer("temporal_patch_size", default=2),
        min_pixels=pixels[0],
        max_pixels=pixels[1],
        least_frame=128 * token,
        most_frame=768 * token,
        shared=shared,
    )


def qwen2_vl(f: Fields, v: Fields, language: Decoder) -> Built:
    """Qwen2-VL: every patch of an image sees every other."""
    d, n = v.integer("embed_dim", default=1280), v.integer("num_heads", default=16)
    out, merge = v.integer("hidden_size", default=3584), v.integer("spatial_merge_size", default=2) ** 2
    inner = v.integer("mlp_ratio", default=4) * d
    block = layers(
        v.integer("depth", default=32),
        _fused(n, d, v, "embed_dim"),
        FeedForward(width=inner, activation=v.text("hidden_act", default="quick_gelu"), bias=True),
    )
    tower = Tower(stem=_qwen_stem(v, patch=14, bias=False), width=d, blocks=(block,))
    projector = Projector(width=d, merge=merge, norm=LAYER_NORM, widths=(merge * d, out), biases=(True, True))
    return (
        PictureTower(tower=tower),
        projector,
        _qwen_rule(v, patch=14, pixels=QWEN2_PIXELS, shared=False),
        "Qwen2VLForConditionalGeneration",
    )


def qwen2_5_vl(f: Fields, v: Fields, language: Decoder) -> Built:
    """Qwen2.5-VL: all but a few layers attend inside windows; gated feed-forward, RMS norms."""
    d, n = v.integer("hidden_size", default=3584), v.integer("num_heads", default=16)
    depth, merge = v.integer("depth", default=32), v.integer("spatial_merge_size", default=2)
    whole_image = layer_indexes(v, "fullatt_block_indexes", (7, 15, 23, 31))
    side = v.integer("window_size", default=112) // v.integer("patch_size", default=14) // merge * merge
    attend = _fused(n, d, v, "hidden_size")
    feed_forward = FeedForward(
        width=v.integer("intermediate_size", default=3420), gated=True, activation=v.text("hidden_act", default="silu"), bias=True
    )
    everywhere = len({index for index in whole_image if index < depth})

    def block(count: int, mixer: Attention | GridWindows) -> Block:
        return Block(count=count, parts=(("attention", mixer), ("mlp", feed_forward)), norms=2, norm=RMS_NORM)

    kinds = ((depth - everywhere, GridWindows(attention=attend, grid=(2, 2), side=side)), (everywhere, attend))
    blocks = tuple(block(count, mixer) for count, mixer in kinds if count)
    tower = Tower(stem=_qwen_stem(v, patch=14, bias=False), width=d, blocks=blocks)
    out = v.integer("out_hidden_size", default=3584)
    projector = Projector(width=d, merge=merge**2, norm=RMS_NORM, widths=(merge**2 * d, out), biases=(True, True))
    return (
        PictureTower(tower=tower),
        projector,
        _qwen_rule(v, patch=14, pixels=QWEN2_PIXELS, shared=False),
        "Qwen2_5_VLForConditionalGeneration",
    )


def qwen3_vl(f: Fields, v: Fields, language: Decoder) -> Built:
    """Qwen3-VL: learned positions, and features of several layers led into the first layers of the language part."""
    d, n = v.integer("hidden_size", default=1152), v.integer("num_heads", default=16)
    merge, out = v.integer("spatial_merge_size", default=2) ** 2, v.integer("out_hidden_size", default=3584)
    block = layers(
        v.integer("depth", default=27),
        _fused(n, d, v, "hidden_size"),
        FeedForward(
            width=v.integer("intermediate_size", default=4304), activation=v.text("hidden_act", default="gelu_pytorch_tanh"), bias=True
        ),
    )
    stem = _qwen_stem(v, patch=16, bias=True, position_rows=v.integer("num_position_embeddings", default=2304))
    taps = len(layer_indexes(v, "deepstack_visual_indexes", (8, 16, 24)))
    projector = Projector(width=d, merge=merge, norm=LAYER_NORM, widths=(merge * d, out), biases=(True, True))
    tower = PictureTower(
        tower=Tower(stem=stem, width=d, blocks=(block,)), taps=taps, tap=replace(projector, norm_of_joined=True) if taps else None
    )
    return tower, projector, _qwen_rule(v, patch=16, pixels=QWEN3_PIXELS, shared=True), "Qwen3VLForConditionalGeneration"
