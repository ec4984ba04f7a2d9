"""Transformers over patches that take noise off, from diffusers' config.json: DiT, Stable Diffusion 3, Flux, Qwen-Image, PixArt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.cross_denoisers import CrossTransformer
from estimators.architectures.denoisers import FREQUENCIES, DiT, PatchTransformer
from estimators.architectures.joint_denoisers import JointTransformer
from estimators.architectures.latents import USUAL
from estimators.architectures.single_denoisers import SingleStream
from estimators.errors import NoOpTableError
from estimators.samples import Image
from estimators.spec import Source

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

QWEN_TOKENS = 512
"""Tokens of the longest text of Qwen-Image and Z-Image, which pad to the longest of a batch alone.

Source: max_sequence_length of diffusers' QwenImagePipeline and ZImagePipeline.
"""

PIXART_TOKENS, PIXART_SIZED = 120, 128
"""Tokens of a text, and side of a latent at which sizes are embedded where nothing is said.

Source: max_sequence_length of diffusers' PixArtAlphaPipeline (its PixArtSigmaPipeline has 300); PixArtTransformer2DModel.
"""

UNGATED = ("gelu", "gelu-approximate")
"""Activations of a feed-forward without a gate, as diffusers calls them."""


def square(side: int) -> Image:
    """An image as high as wide, in pixels."""
    return Image(height=side, width=side)


def made_channels(f: Fields, read: int, default: int) -> int:
    """Channels that a denoiser makes: as many as it reads where its file says null. Raises BadConfigError."""
    nothing = "out_channels" in f.config and f.config["out_channels"] is None
    return read if nothing else f.integer("out_channels", default=default)


def dit(f: Fields, name: str, source: Source) -> DiT:
    """DiTTransformer2DModel. Raises BadConfigError."""
    heads = f.integer("num_attention_heads", default=16)
    channels = f.integer("in_channels", default=4)
    return DiT(
        name=name,
        source=source,
        runs="DiTTransformer2DModel",
        image=square(USUAL.side * f.integer("sample_size", default=32)),
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
        image=square(USUAL.side * f.integer("sample_size", default=128)),
        width=width,
        layers=layers,
        heads=heads,
        patch=f.integer("patch_size", default=2),
        latent_channels=channels,
        out_channels=made_channels(f, channels, 16),
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
    if (patch := f.integer("patch_size", default=1)) != 1:
        raise NoOpTableError(str(f.fail("patch_size", patch, "1: latents are packed before they are read")))
    return JointTransformer(
        name=name,
        source=source,
        runs="FluxTransformer2DModel",
        image=square(USUAL.side * FLUX_SAMPLE),
        width=heads * f.integer("attention_head_dim", default=128),
        layers=f.integer("num_layers", default=19),
        heads=heads,
        patch=FLUX_PATCH,
        latent_channels=_unpacked(f, "in_channels", packed, FLUX_PATCH),
        out_channels=_unpacked(f, "out_channels", made, FLUX_PATCH),
        text_width=f.integer("joint_attention_dim", default=4096),
        text_tokens=f.integer("text_tokens", default=FLUX_TOKENS if guided else T5_TOKENS),
        pooled_width=f.integer("pooled_projection_dim", default=768),
        singles=f.integer("num_single_layers", default=38),
        norms_queries=True,
        distilled=True,
        embeds_guidance=guided,
    )


def _unpacked(f: Fields, key: str, channels: int, patch: int) -> int:
    """Channels of one position, where a patch's are given together. Raises BadConfigError."""
    if channels % patch**2:
        raise f.fail(key, channels, f"a multiple of {patch**2}, the positions of a patch")
    return channels // patch**2


def qwen_image(f: Fields, name: str, source: Source) -> JointTransformer:
    """QwenImageTransformer2DModel of Qwen-Image.

    Raises:
        BadConfigError: fields that make no sense.
        NoOpTableError: one that knows more than one time step, or images in layers (Qwen-Image-Edit 2511, -Layered).
    """
    for key in ("zero_cond_t", "use_additional_t_cond", "guidance_embeds"):
        if f.flag(key, False):
            raise NoOpTableError(str(f.fail(key, True, "false")))
    heads, patch = f.integer("num_attention_heads", default=24), f.integer("patch_size", default=2)
    packed = f.integer("in_channels", default=64)
    return JointTransformer(
        name=name,
        source=source,
        runs="QwenImageTransformer2DModel",
        image=square(USUAL.side * FLUX_SAMPLE),
        width=heads * f.integer("attention_head_dim", default=128),
        layers=f.integer("num_layers", default=60),
        heads=heads,
        patch=patch,
        latent_channels=_unpacked(f, "in_channels", packed, patch),
        out_channels=made_channels(f, packed, 16),
        text_width=f.integer("joint_attention_dim", default=3584),
        text_tokens=f.integer("text_tokens", default=QWEN_TOKENS),
        norms_queries=True,
        norms_text=True,
        text_unread=True,
    )


def z_image(f: Fields, name: str, source: Source) -> SingleStream:
    """ZImageTransformer2DModel.

    Raises:
        BadConfigError: fields that make no sense.
        NoOpTableError: patches of several sizes or of several frames, or one that reads images as well.
    """
    patches, frames = f.config.get("all_patch_size", [2]), f.config.get("all_f_patch_size", [1])
    if not isinstance(patches, list | tuple) or len(patches) != 1 or type(patches[0]) is not int or patches[0] < 1:
        raise NoOpTableError(str(f.fail("all_patch_size", patches, "one size")))
    if not isinstance(frames, list | tuple) or list(frames) != [1]:
        raise NoOpTableError(str(f.fail("all_f_patch_size", frames, "[1]")))
    if f.config.get("siglip_feat_dim") is not None:
        raise NoOpTableError(str(f.fail("siglip_feat_dim", f.config["siglip_feat_dim"], "none: images from text")))
    width, channels = f.integer("dim", default=3840), f.integer("in_channels", default=16)
    heads = f.integer("n_heads", default=30)
    f.divides("n_heads", heads, "dim", width)
    return SingleStream(
        name=name,
        source=source,
        runs="ZImageTransformer2DModel",
        image=square(USUAL.side * FLUX_SAMPLE),
        width=width,
        layers=f.integer("n_layers", default=30),
        heads=heads,
        patch=patches[0],
        latent_channels=channels,
        out_channels=channels,
        inner=int(width / 3 * 8),
        text_width=f.integer("cap_feat_dim", default=2560),
        text_tokens=f.integer("text_tokens", default=QWEN_TOKENS),
        refiners=f.integer("n_refiner_layers", default=2, minimum=0),
        norms_queries=f.flag("qk_norm", True),
    )


def pixart(f: Fields, name: str, source: Source) -> CrossTransformer:
    """PixArtTransformer2DModel of PixArt-α and -Σ.

    Raises:
        BadConfigError: fields that make no sense.
        NoOpTableError: norms with a gain, or another activation, that no op table is of.
    """
    heads, channels = f.integer("num_attention_heads", default=16), f.integer("in_channels", default=4)
    width, side = heads * f.integer("attention_head_dim", default=72), f.integer("sample_size", default=128)
    for key, plain in (("norm_type", "ada_norm_single"), ("norm_elementwise_affine", False), ("attention_type", "default")):
        if f.config.get(key, plain) != plain:
            raise NoOpTableError(str(f.fail(key, f.config[key], str(plain))))
    if (function := f.text("activation_fn", default="gelu-approximate")) not in UNGATED:
        raise NoOpTableError(str(f.fail("activation_fn", function, f"one of {', '.join(UNGATED)}")))
    projects = f.config.get("caption_channels") is not None
    text = f.integer("cross_attention_dim", default=1152)
    if projects and text != width:
        raise f.fail("cross_attention_dim", text, f"{width:,}, the width of the heads together, to which captions are projected")
    embeds_size = f.flag("use_additional_conditions", side == PIXART_SIZED)
    if embeds_size and width % 3:
        raise f.fail("use_additional_conditions", True, f"heads that are together as wide as a multiple of 3, which {width:,} is not")
    return CrossTransformer(
        name=name,
        source=source,
        runs="PixArtTransformer2DModel",
        image=square(USUAL.side * side),
        width=width,
        layers=f.integer("num_layers", default=28),
        heads=heads,
        patch=f.integer("patch_size", default=2),
        latent_channels=channels,
        out_channels=made_channels(f, channels, 8),
        inner=4 * width,
        text_width=f.integer("caption_channels") if projects else text,
        text_tokens=f.integer("text_tokens", default=PIXART_TOKENS),
        projects_text=projects,
        attention_bias=f.flag("attention_bias", True),
        frequencies=FREQUENCIES,
        size_width=width // 3 if embeds_size else 0,
    )


def transformer(f: Fields, name: str, source: Source) -> PatchTransformer:
    """Transformer2DModel, as older files call DiT and PixArt, and which by their norms.

    Raises:
        BadConfigError: fields that make no sense.
        NoOpTableError: another norm, or one of theirs with fields that no op table is of.

    Source: _CLASS_REMAPPING_DICT of diffusers 0.42, models/model_loading_utils.py.
    """
    kinds = {"ada_norm_zero": dit, "ada_norm_single": pixart}
    if (kind := f.text("norm_type", default="layer_norm")) not in kinds:
        raise NoOpTableError(str(f.fail("norm_type", kind, f"one of {', '.join(kinds)}")))
    return kinds[kind](f, name, source)
