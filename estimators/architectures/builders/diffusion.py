"""Parts of diffusion pipelines, from the files that diffusers and transformers write: denoisers, autoencoders, text encoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING

from estimators.architectures.autoencoder import Autoencoder
from estimators.architectures.builders.diffusion_transformers import (
    TEXT_TOKENS,
    dit,
    flux,
    pixart,
    qwen_image,
    square,
    stable_diffusion_3,
    transformer,
    z_image,
)
from estimators.architectures.builders.encoder_decoders import umt5_encoder
from estimators.architectures.builders.image_text import clip_image_tower, clip_text_tower
from estimators.architectures.builders.video_diffusion import (
    cogvideox,
    cogvideox_autoencoder,
    hunyuan_autoencoder,
    hunyuan_video,
    ltx,
    qwen_autoencoder,
    wan,
    wan_autoencoder,
)
from estimators.architectures.encoder import Encoder, Projection
from estimators.architectures.latents import USUAL
from estimators.architectures.unets import ControlNet, UNet
from estimators.architectures.vision import VisionTransformer
from estimators.errors import NoOpTableError
from estimators.spec import Model, Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

ATTENDS = ("CrossAttnDownBlock2D", "DownBlock2D")
"""Levels that are covered: with and without transformers."""


def _levels(f: Fields, key: str, value: object, levels: int) -> tuple[int, ...]:
    """A number for every level, or one for each. Raises BadConfigError."""
    if type(value) is int and value > 0:
        return (value,) * levels
    if isinstance(value, list) and len(value) == levels and all(type(each) is int and each > 0 for each in value):
        return tuple(value)
    raise f.fail(key, value, f"a whole number, or one for each of the {levels} levels")


def unet(f: Fields, name: str, source: Source) -> UNet:
    """UNet2DConditionModel of Stable Diffusion 1 and 2 and SDXL.

    Raises:
        BadConfigError: fields that make no sense.
        NoOpTableError: blocks, or something embedded beside the time step, that no op table is of.
    """
    channels = f.integers("block_out_channels", minimum_length=2)
    down = f.config.get("down_block_types")
    if not isinstance(down, list) or len(down) != len(channels) or any(kind not in ATTENDS for kind in down):
        raise NoOpTableError(str(f.fail("down_block_types", down, f"{' or '.join(ATTENDS)} for each of the {len(channels)} levels")))
    up = f.config.get("up_block_types", [kind.replace("Down", "Up") for kind in reversed(down)])
    if up != [kind.replace("Down", "Up") for kind in reversed(down)]:
        raise NoOpTableError(str(f.fail("up_block_types", up, "the mirror image of down_block_types")))
    added = f.config.get("addition_embed_type")
    if added not in (None, "text_time"):
        raise NoOpTableError(str(f.fail("addition_embed_type", added, "text_time, or none")))
    for key, plain in (("class_embed_type", None), ("mid_block_type", "UNetMidBlock2DCrossAttn"), ("encoder_hid_dim", None)):
        if f.config.get(key, plain) != plain:
            raise NoOpTableError(str(f.fail(key, f.config[key], "none")))
    heads = f.config.get("num_attention_heads") or f.config.get("attention_head_dim", 8)
    layers = _levels(f, "transformer_layers_per_block", f.config.get("transformer_layers_per_block", 1), len(channels))
    return UNet(
        name=name,
        source=source,
        runs="UNet2DConditionModel",
        image=square(USUAL.side * f.integer("sample_size", default=64)),
        channels=channels,
        blocks=f.integer("layers_per_block", default=2),
        layers=tuple(count if kind == ATTENDS[0] else 0 for kind, count in zip(down, layers, strict=True)),
        heads=_levels(f, "attention_head_dim", heads, len(channels)),
        text_width=f.integer("cross_attention_dim", default=1280),
        text_tokens=TEXT_TOKENS,
        latent_channels=f.integer("in_channels", default=4),
        made_channels=f.integer("out_channels", default=4),
        added=f.integer("projection_class_embeddings_input_dim") if added else 0,
    )


NARROWING = (16, 32, 96, 256)
"""Channels of the filters over a ControlNet's picture where its file says nothing, as diffusers' class has them."""


def controlnet(f: Fields, name: str, source: Source) -> ControlNet:
    """ControlNetModel beside a U-Net of Stable Diffusion or SDXL.

    Raises:
        BadConfigError, NoOpTableError: as `unet`, and where its picture does not get to a latent's size or becomes one vector.
    """
    built = unet(f, name, source)
    narrowing = (
        f.integers("conditioning_embedding_out_channels", minimum_length=1)
        if "conditioning_embedding_out_channels" in f.config
        else NARROWING
    )
    if 2 ** (len(narrowing) - 1) != built.compression.side:
        raise f.fail("conditioning_embedding_out_channels", list(narrowing), "4 numbers: a picture is halved to the 8th of its sides")
    if f.flag("global_pool_conditions", False):
        raise NoOpTableError(str(f.fail("global_pool_conditions", True, "false")))
    return ControlNet(
        **{each.name: getattr(built, each.name) for each in fields(built) if each.name != "runs"},
        runs="ControlNetModel",
        picture_channels=f.integer("conditioning_channels", default=3),
        narrowing=narrowing,
    )


def autoencoder(f: Fields, name: str, source: Source) -> Autoencoder:
    """AutoencoderKL. Raises BadConfigError."""
    return Autoencoder(
        name=name,
        source=source,
        runs="AutoencoderKL",
        image=square(f.integer("sample_size", default=512)),
        channels=f.integers("block_out_channels", minimum_length=1),
        blocks=f.integer("layers_per_block", default=1),
        latent_channels=f.integer("latent_channels", default=4),
        turns_latent=(f.flag("use_quant_conv", True), f.flag("use_post_quant_conv", True)),
    )


def clip_text(f: Fields, name: str, source: Source) -> Encoder:
    """CLIPTextModel, and CLIPTextModelWithProjection where `architectures` names it. Raises BadConfigError."""
    width, longest = f.integer("hidden_size", default=512), f.integer("max_position_embeddings", default=TEXT_TOKENS)
    named = f.config.get("architectures") or ["CLIPTextModel"]
    projects = named == ["CLIPTextModelWithProjection"]
    if not projects and named != ["CLIPTextModel"]:
        raise NoOpTableError(str(f.fail("architectures", named, "CLIPTextModel or CLIPTextModelWithProjection")))
    out = f.integer("projection_dim", default=512)
    heads = (Projection(name="projection", d_in=width, d_out=out, bias=False, per="sample", component="transform"),) if projects else ()
    return Encoder(
        name=name,
        source=source,
        runs=str(named[0]),
        tower=clip_text_tower(f, longest),
        heads=heads,
        max_positions=longest,
    )


def clip_image(f: Fields, name: str, source: Source) -> VisionTransformer:
    """CLIPVisionModel, without a projection. Raises BadConfigError; NoOpTableError for the class with one."""
    named = f.config.get("architectures") or ["CLIPVisionModel"]
    if named != ["CLIPVisionModel"]:
        raise NoOpTableError(str(f.fail("architectures", named, "CLIPVisionModel")))
    tower, tokens = clip_image_tower(f)
    return VisionTransformer(name=name, source=source, runs="CLIPVisionModel", tower=tower, tokens=tokens, heads=())


PARTS: dict[str, Callable[[Fields, str, Source], Model]] = {
    "AutoencoderKL": autoencoder,
    "AutoencoderKLCogVideoX": cogvideox_autoencoder,
    "AutoencoderKLHunyuanVideo": hunyuan_autoencoder,
    "AutoencoderKLQwenImage": qwen_autoencoder,
    "AutoencoderKLWan": wan_autoencoder,
    "CLIPTextModel": clip_text,
    "CLIPTextModelWithProjection": clip_text,
    "CLIPVisionModel": clip_image,
    "CogVideoXTransformer3DModel": cogvideox,
    "ControlNetModel": controlnet,
    "DiTTransformer2DModel": dit,
    "FluxTransformer2DModel": flux,
    "HunyuanVideoTransformer3DModel": hunyuan_video,
    "LTXVideoTransformer3DModel": ltx,
    "PixArtTransformer2DModel": pixart,
    "QwenImageTransformer2DModel": qwen_image,
    "SD3Transformer2DModel": stable_diffusion_3,
    "Transformer2DModel": transformer,
    "UMT5EncoderModel": umt5_encoder,
    "UNet2DConditionModel": unet,
    "WanTransformer3DModel": wan,
    "ZImageTransformer2DModel": z_image,
}
"""Class that a config.json names -> what builds it."""


ENCODERS = {"clip_text_model": "CLIPTextModel", "clip_vision_model": "CLIPVisionModel", "umt5": "UMT5EncoderModel"}
"""model_type of an encoder without a family here -> its class in a pipeline where its file names none."""


def class_of(config: dict[str, object]) -> str:
    """The class that a part's configuration names, of diffusers or of transformers; empty for none."""
    named = config.get("_class_name")
    if named is None and (usual := ENCODERS.get(str(config.get("model_type")))):
        listed = config.get("architectures")
        named = listed[0] if isinstance(listed, list) and listed else usual
    return named if isinstance(named, str) else ""


def part_from(f: Fields, name: str, source: Source) -> Model:
    """One part of a pipeline.

    Raises:
        BadConfigError: fields that make no sense.
        NoOpTableError: a class that no op table is of.
    """
    named = class_of(dict(f.config))
    if named not in PARTS:
        raise NoOpTableError(f"{name}: the class {named[:60]!r} has no op table; of diffusers these have: {', '.join(sorted(PARTS))}")
    return PARTS[named](f, name, source)
