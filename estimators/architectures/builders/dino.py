"""Self-supervised transformers over images: DINOv2, with registers or without, and DINOv3.

The class of transformers that `architectures` names decides the head; without it, a classifier where the configuration
speaks of labels, else the plain model that AutoModel builds. An image has the `image_size` of the configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.attention import Attention
from estimators.architectures.block import LAYER_NORM, Block
from estimators.architectures.builders.images import patches
from estimators.architectures.builders.parts import (
    Heads,
    HeadTable,
    attention,
    classifier,
    default_class,
    head_width,
    heads_named,
    labels,
    scaled,
)
from estimators.architectures.encoder import Tower
from estimators.architectures.feed_forward import FeedForward
from estimators.architectures.stems import PatchStem
from estimators.architectures.vision import Scaled, VisionTransformer
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields


def dinov2(f: Fields, name: str, source: Source) -> VisionTransformer:
    """DINOv2: Dinov2Model, Dinov2ForImageClassification; learned scales per layer, a gated feed-forward in the largest."""
    return _dinov2(f, name, source, "Dinov2", patches(f, patch=14, spare_tokens=int(f.flag("use_mask_token", True))))


def dinov2_with_registers(f: Fields, name: str, source: Source) -> VisionTransformer:
    """DINOv2 with registers, tokens without a position: Dinov2WithRegistersModel, Dinov2WithRegistersForImageClassification."""
    registers = f.integer("num_register_tokens", default=4, minimum=0)
    stem = patches(f, patch=16, extra_tokens=1 + registers, spare_tokens=1)
    return _dinov2(f, name, source, "Dinov2WithRegisters", replace(stem, position_rows=stem.tokens - registers))


def _dinov2(f: Fields, name: str, source: Source, base: str, stem: PatchStem) -> VisionTransformer:
    d, n = f.integer("hidden_size", default=768), f.integer("num_attention_heads", default=12)
    known: HeadTable = {
        f"{base}Model": lambda: (),
        f"{base}ForImageClassification": lambda: (classifier(2 * d, labels(f)),),
    }
    runs, heads = heads_named(f, known, default_class(f, base))
    inner = scaled(f, "mlp_ratio", 4, d)
    gated = f.flag("use_swiglu_ffn", False)
    if gated:
        inner = (int(inner * 2 / 3) + 7) // 8 * 8
    attend = attention(n, head_width(f, "num_attention_heads", n, "hidden_size", d), bias=f.flag("qkv_bias", True))
    activation = "silu" if gated else f.text("hidden_act", default="gelu")
    feed_forward = FeedForward(width=inner, gated=gated, activation=activation, bias=True)
    return _scaled(f, name, source, runs, stem, d, attend, feed_forward, heads)


def dinov3_vit(f: Fields, name: str, source: Source) -> VisionTransformer:
    """DINOv3: DINOv3ViTModel; rotary positions for patches, registers, keys without a bias.

    Raises:
        BadConfigError: heads whose width is no multiple of 4, two coordinates with a sine and a cosine each.
    """
    d, n = f.integer("hidden_size", default=384), f.integer("num_attention_heads", default=6)
    runs, heads = heads_named(f, {"DINOv3ViTModel": lambda: ()}, "DINOv3ViTModel")
    h = head_width(f, "num_attention_heads", n, "hidden_size", d)
    if h % 4:
        raise f.fail("hidden_size", d, f"a multiple of 4 times num_attention_heads, {n}, so that rows and columns turn pairs")
    attend = Attention(
        heads=n,
        kv_heads=n,
        head_width=h,
        query_bias=f.flag("query_bias", True),
        key_bias=f.flag("key_bias", False),
        value_bias=f.flag("value_bias", True),
        out_bias=f.flag("proj_bias", True),
        by_head=True,
        causal=False,
    )
    gated, activation = f.flag("use_gated_mlp", False), f.text("hidden_act", default="gelu")
    inner, bias = f.integer("intermediate_size", default=1536), f.flag("mlp_bias", True)
    feed_forward = FeedForward(width=inner, gated=gated, activation=activation, bias=bias)
    registers = f.integer("num_register_tokens", default=0, minimum=0)
    stem = patches(f, patch=16, extra_tokens=1 + registers, spare_tokens=1, positions=False)
    return _scaled(f, name, source, runs, stem, d, attend, feed_forward, heads)


def _scaled(
    f: Fields,
    name: str,
    source: Source,
    runs: str,
    stem: PatchStem,
    width: int,
    attend: Attention,
    feed_forward: FeedForward,
    heads: Heads,
) -> VisionTransformer:
    """Layers whose parts are multiplied by learned scales, and a norm behind."""
    parts = (("attention", Scaled(part=attend)), ("mlp", Scaled(part=feed_forward)))
    block = Block(count=f.integer("num_hidden_layers", default=12), parts=parts, norms=2, norm=LAYER_NORM)
    tower = Tower(stem=stem, width=width, blocks=(block,), final_norm=LAYER_NORM)
    return VisionTransformer(name=name, source=source, runs=runs, tower=tower, tokens=stem.tokens, heads=heads)
