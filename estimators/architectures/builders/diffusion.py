"""Parts of diffusion pipelines, from the files that diffusers and transformers write: denoisers, autoencoders, text encoders."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from estimators.architectures.autoencoder import Autoencoder
from estimators.architectures.builders.image_text import clip_text_tower
from estimators.architectures.denoisers import LATENT, DiT, UNet
from estimators.architectures.encoder import Encoder, Projection
from estimators.architectures.joint_denoisers import JointTransformer
from estimators.errors import NoOpTableError
from estimators.samples import Image
from estimators.spec import Model, Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

TEXT_TOKENS = 77
"""Of CLIP's text encoders, to which prompts are padded (Radford et al. 2021, arXiv 2103.00020, section 2.4)."""

T5_TOKENS = 256
"""Of T5 in Stable Diffusion 3, behind CLIP's 77, and in Flux schnell; Flux dev has FLUX_TOKENS.

Source: max_sequence_length of diffusers' StableDiffusion3Pipeline; its documentation of Flux, where a timestep-distilled one has 256.
"""

FLUX_TOKENS, FLUX_PATCH, FLUX_SAMPLE = 512, 2, 128
"""Tokens of a text, side of a patch, and side of the latent of an image where none is said: max_sequence_length, _pack_latents and
default_sample_size of diffusers' FluxPipeline."""

ATTENDS = ("CrossAttnDownBlock2D", "DownBlock2D")
"""Levels that are covered: with and without transformers."""


def _square(side: int) -> Image:
    return Image(height=side, width=side)


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
        image=_square(LATENT * f.integer("sample_size", default=64)),
        channels=channels,
        blocks=f.integer("layers_per_block", default=2),
        layers=tuple(count if kind == ATTENDS[0] else 0 for kind, count in zip(down, layers, strict=True)),
        heads=_levels(f, "attention_head_dim", heads, len(channels)),
        text_width=f.integer("cross_attention_dim", default=1280),
        text_tokens=TEXT_TOKENS,
        latent_channels=f.integer("in_channels", default=4),
        added=f.integer("projection_class_embeddings_input_dim") if added else 0,
    )


def dit(f: Fields, name: str, source: Source) -> DiT:
    """DiTTransformer2DModel, and Transformer2DModel with patches, as older files call it. Raises BadConfigError."""
    heads = f.integer("num_attention_heads", default=16)
    channels = f.integer("in_channels", default=4)
    return DiT(
        name=name,
        source=source,
        runs="DiTTransformer2DModel",
        image=_square(LATENT * f.integer("sample_size", default=32)),
        width=heads * f.integer("attention_head_dim", default=72),
        layers=f.integer("num_layers", default=28),
        heads=heads,
        patch=f.integer("patch_size", default=2),
        latent_channels=channels,
        out_channels=f.integer("out_channels", default=channels),
        classes=f.integer("num_embeds_ada_norm", default=1000),
    )


def stable_diffusion_3(f: Fields, name: str, source: Source) -> JointTransformer:
    """SD3Transformer2DModel.

    Raises:
        BadConfigError: fields that make no sense.
        NoOpTableError: another norm of queries and keys than rms_norm.
    """
    heads, layers = f.integer("num_attention_heads", default=18), f.integer("num_layers", default=18)
    width, channels = heads * f.integer("attention_head_dim", default=64), f.integer("in_channels", default=16)
    if (text := f.integer("caption_projection_dim", default=1152)) != width:
        raise f.fail("caption_projection_dim", text, f"{width:,}, the width of the heads together")
    if (normed := f.config.get("qk_norm")) not in (None, "rms_norm"):
        raise NoOpTableError(str(f.fail("qk_norm", normed, "rms_norm, or none")))
    duals = f.config.get("dual_attention_layers") or []
    if not isinstance(duals, list | tuple) or any(type(each) is not int or not 0 <= each < layers for each in duals):
        raise f.fail("dual_attention_layers", duals, f"a list of layers from 0 to {layers - 1}")
    return JointTransformer(
        name=name,
        source=source,
        runs="SD3Transformer2DModel",
        image=_square(LATENT * f.integer("sample_size", default=128)),
        width=width,
        layers=layers,
        heads=heads,
        patch=f.integer("patch_size", default=2),
        latent_channels=channels,
        out_channels=f.integer("out_channels", default=16),
        text_width=f.integer("joint_attention_dim", default=4096),
        text_tokens=f.integer("text_tokens", default=TEXT_TOKENS + T5_TOKENS, minimum=TEXT_TOKENS + 1),
        clip_tokens=TEXT_TOKENS,
        pooled_width=f.integer("pooled_projection_dim", default=2048),
        duals=len(set(duals)),
        norms_queries=normed is not None,
        text_ends=True,
        most_patches=f.integer("pos_embed_max_size", default=96),
    )


def flux(f: Fields, name: str, source: Source) -> JointTransformer:
    """FluxTransformer2DModel, whose input channels are those of FLUX_PATCH x FLUX_PATCH positions of a latent. Raises BadConfigError."""
    heads, packed = f.integer("num_attention_heads", default=24), f.integer("in_channels", default=64)
    made, guided = f.integer("out_channels", default=packed), f.flag("guidance_embeds", False)
    for key, channels in (("in_channels", packed), ("out_channels", made)):
        if channels % FLUX_PATCH**2:
            raise f.fail(key, channels, f"a multiple of {FLUX_PATCH**2}, the positions of a patch")
    if (patch := f.integer("patch_size", default=1)) != 1:
        raise NoOpTableError(str(f.fail("patch_size", patch, "1: latents are packed before they are read")))
    return JointTransformer(
        name=name,
        source=source,
        runs="FluxTransformer2DModel",
        image=_square(LATENT * FLUX_SAMPLE),
        width=heads * f.integer("attention_head_dim", default=128),
        layers=f.integer("num_layers", default=19),
        heads=heads,
        patch=FLUX_PATCH,
        latent_channels=packed // FLUX_PATCH**2,
        out_channels=made // FLUX_PATCH**2,
        text_width=f.integer("joint_attention_dim", default=4096),
        text_tokens=f.integer("text_tokens", default=FLUX_TOKENS if guided else T5_TOKENS),
        pooled_width=f.integer("pooled_projection_dim", default=768),
        singles=f.integer("num_single_layers", default=38),
        norms_queries=True,
        distilled=True,
        embeds_guidance=guided,
    )


def autoencoder(f: Fields, name: str, source: Source) -> Autoencoder:
    """AutoencoderKL. Raises BadConfigError."""
    return Autoencoder(
        name=name,
        source=source,
        runs="AutoencoderKL",
        image=_square(f.integer("sample_size", default=512)),
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


PARTS: dict[str, Callable[[Fields, str, Source], Model]] = {
    "AutoencoderKL": autoencoder,
    "CLIPTextModel": clip_text,
    "CLIPTextModelWithProjection": clip_text,
    "DiTTransformer2DModel": dit,
    "FluxTransformer2DModel": flux,
    "SD3Transformer2DModel": stable_diffusion_3,
    "Transformer2DModel": dit,
    "UNet2DConditionModel": unet,
}
"""Class that a config.json names -> what builds it."""


def class_of(config: dict[str, object]) -> str:
    """The class that a part's configuration names, of diffusers or of transformers; empty for none."""
    named = config.get("_class_name")
    if named is None and config.get("model_type") == "clip_text_model":
        listed = config.get("architectures")
        named = listed[0] if isinstance(listed, list) and listed else "CLIPTextModel"
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
