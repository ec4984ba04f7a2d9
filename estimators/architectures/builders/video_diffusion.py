"""Parts of pipelines that make videos, from the config.json that diffusers writes: Wan, HunyuanVideo, LTX-Video, CogVideoX."""

from __future__ import annotations

from estimators.architectures.builders.diffusion_transformers import UNGATED, made_channels
from estimators.architectures.chunked_autoencoder import ChunkedAutoencoder
from estimators.architectures.cross_denoisers import CrossTransformer
from estimators.architectures.denoisers import FREQUENCIES
from estimators.architectures.expert_denoisers import ExpertTransformer
from estimators.architectures.fields import Fields
from estimators.architectures.joint_denoisers import JointTransformer
from estimators.architectures.latents import USUAL, Compression
from estimators.architectures.video_autoencoder import VideoAutoencoder
from estimators.architectures.windowed_autoencoder import WindowedAutoencoder
from estimators.errors import NoOpTableError
from estimators.frozen import replace
from estimators.samples import Image
from estimators.spec import Source

WAN_IMAGE, WAN_FRAMES, WAN_TOKENS = Image(height=480, width=832), 81, 512
"""A video and the tokens of a text where nothing is said: height, width, num_frames and max_sequence_length of diffusers' WanPipeline."""

QWEN_IMAGE = Image(height=1024, width=1024)
"""default_sample_size times the autoencoder's 8 of diffusers' QwenImagePipeline."""

LTX_VIDEO, LTX_TOKENS, LTX_COMPRESSION = (Image(height=512, width=704), 161), 128, Compression(side=32, frames=8)
"""A video, the tokens of a text and what a position of a latent stands for: height, width, num_frames and max_sequence_length of diffusers'
LTXPipeline; spatial_compression_ratio and temporal_compression_ratio of its autoencoder."""

HUNYUAN_VIDEO, HUNYUAN_TOKENS = (Image(height=720, width=1280), 129), 256
"""A video and the tokens of a text: height, width, num_frames and max_sequence_length of diffusers' HunyuanVideoPipeline."""

WAN_PATCH, WAN_PICTURE = (1, 2, 2), 257
"""Frames, height and width of a patch; vectors of the image that CLIP's ViT-H/14 makes of 224 x 224 pixels."""

WAN_5B, WAN_5B_VIDEO, WAN_5B_COMPRESSION = 48, (Image(height=704, width=1280), 121), Compression(side=16)
"""Channels of the latents of Wan 2.2's 5B, which its class says nothing else about; the video that it makes, and its autoencoder.

Source: Wan-Video/Wan2.2, wan/configs/wan_ti2v_5B.py: frame_num, vae_stride; its README: 1280 x 704 at 24 frames per second.
"""


def wan(f: Fields, name: str, source: Source) -> CrossTransformer:
    """WanTransformer3DModel of Wan 2.1 from text or an image to video, one of Wan 2.2's two, and its 5B.

    Raises:
        BadConfigError: fields that make no sense, or an image's vectors of another width than the layers.
        NoOpTableError: patches of more than a frame, or half of what reads an image.
    """
    heads, channels = f.integer("num_attention_heads", default=40), f.integer("in_channels", default=16)
    width = heads * f.integer("attention_head_dim", default=128)
    patch = f.config.get("patch_size", WAN_PATCH)
    if not isinstance(patch, list | tuple) or tuple(patch) != WAN_PATCH:
        raise NoOpTableError(str(f.fail("patch_size", patch, str(list(WAN_PATCH)))))
    picture, added = f.optional_integer("image_dim"), f.optional_integer("added_kv_proj_dim")
    if (picture is None) != (added is None):
        raise NoOpTableError(str(f.fail("added_kv_proj_dim", added, "both this and image_dim, or neither")))
    if added is not None and added != width:
        raise f.fail("added_kv_proj_dim", added, f"{width:,}, the width of the heads together")
    positions = f.optional_integer("pos_embed_seq_len") if picture else None
    small = channels == WAN_5B
    image, frames = WAN_5B_VIDEO if small else (WAN_IMAGE, WAN_FRAMES)
    return CrossTransformer(
        name=name,
        source=source,
        runs="WanTransformer3DModel",
        image=image,
        frames=frames,
        compression=WAN_5B_COMPRESSION if small else USUAL,
        width=width,
        layers=f.integer("num_layers", default=40),
        heads=heads,
        patch=WAN_PATCH[1],
        latent_channels=channels,
        out_channels=made_channels(f, channels, 16),
        inner=f.integer("ffn_dim", default=13824),
        text_width=f.integer("text_dim", default=4096),
        text_tokens=f.integer("text_tokens", default=WAN_TOKENS),
        projects_text=True,
        attention_bias=True,
        frequencies=f.integer("freq_dim", default=FREQUENCIES),
        norms_queries=True,
        norms_before_text=f.flag("cross_attn_norm", True),
        image_width=picture or 0,
        image_tokens=(positions or WAN_PICTURE) if picture else 0,
        image_positions=positions or 0,
        steps_by_patch=small,
    )


def ltx(f: Fields, name: str, source: Source) -> CrossTransformer:
    """LTXVideoTransformer3DModel, each position of whose latent is a patch.

    Raises:
        BadConfigError: fields that make no sense.
        NoOpTableError: patches of several positions, norms with a gain, or queries that are not normed.
    """
    plain = {"patch_size": 1, "patch_size_t": 1, "norm_elementwise_affine": False, "qk_norm": "rms_norm_across_heads"}
    plain |= {"attention_out_bias": True, "activation_fn": "gelu-approximate"}
    for key, value in plain.items():
        if f.config.get(key, value) != value:
            raise NoOpTableError(str(f.fail(key, f.config[key], str(value).lower())))
    heads, channels = f.integer("num_attention_heads", default=32), f.integer("in_channels", default=128)
    width, text = heads * f.integer("attention_head_dim", default=64), f.integer("cross_attention_dim", default=2048)
    if text != width:
        raise f.fail("cross_attention_dim", text, f"{width:,}, the width of the heads together, to which captions are projected")
    image, frames = LTX_VIDEO
    return CrossTransformer(
        name=name,
        source=source,
        runs="LTXVideoTransformer3DModel",
        image=image,
        frames=frames,
        compression=LTX_COMPRESSION,
        width=width,
        layers=f.integer("num_layers", default=28),
        heads=heads,
        patch=1,
        latent_channels=channels,
        out_channels=made_channels(f, channels, 128),
        inner=4 * width,
        text_width=f.integer("caption_channels", default=4096),
        text_tokens=f.integer("text_tokens", default=LTX_TOKENS),
        projects_text=True,
        attention_bias=f.flag("attention_bias", True),
        frequencies=FREQUENCIES,
        norms_queries=True,
    )


def hunyuan_video(f: Fields, name: str, source: Source) -> JointTransformer:
    """HunyuanVideoTransformer3DModel from text to video, and the one that reads an image's latent beside the video's.

    Raises:
        BadConfigError: fields that make no sense.
        NoOpTableError: patches of several frames, a first frame that replaces tokens, or another feed-forward or norm.
    """
    plain = {"patch_size_t": 1, "qk_norm": "rms_norm", "mlp_ratio": 4.0}
    for key, value in plain.items():
        if f.config.get(key, value) != value:
            raise NoOpTableError(str(f.fail(key, f.config[key], str(value))))
    if f.config.get("image_condition_type") not in (None, "latent_concat"):
        raise NoOpTableError(str(f.fail("image_condition_type", f.config["image_condition_type"], "latent_concat, or none")))
    heads, channels = f.integer("num_attention_heads", default=24), f.integer("in_channels", default=16)
    guided = f.flag("guidance_embeds", True)
    image, frames = HUNYUAN_VIDEO
    return JointTransformer(
        name=name,
        source=source,
        runs="HunyuanVideoTransformer3DModel",
        image=image,
        frames=frames,
        width=heads * f.integer("attention_head_dim", default=128),
        layers=f.integer("num_layers", default=20),
        heads=heads,
        patch=f.integer("patch_size", default=2),
        latent_channels=channels,
        out_channels=made_channels(f, channels, 16),
        text_width=f.integer("text_embed_dim", default=4096),
        text_tokens=f.integer("text_tokens", default=HUNYUAN_TOKENS),
        pooled_width=f.integer("pooled_projection_dim", default=768),
        singles=f.integer("num_single_layers", default=40),
        refiners=f.integer("num_refiner_layers", default=2),
        norms_queries=True,
        distilled=guided,
        embeds_guidance=guided,
    )


def cogvideox(f: Fields, name: str, source: Source) -> ExpertTransformer:
    """CogVideoXTransformer3DModel of CogVideoX and 1.5, from text and from an image.

    Raises:
        BadConfigError: fields that make no sense.
        NoOpTableError: a feed-forward with a gate.
    """
    if (function := f.text("activation_fn", default="gelu-approximate")) not in UNGATED:
        raise NoOpTableError(str(f.fail("activation_fn", function, f"one of {', '.join(UNGATED)}")))
    heads, channels = f.integer("num_attention_heads", default=30), f.integer("in_channels", default=16)
    height, width = (USUAL.side * f.integer(key, default=side) for key, side in (("sample_height", 60), ("sample_width", 90)))
    together, timed, offset = (
        f.optional_integer("patch_size_t"),
        f.integer("time_embed_dim", default=512),
        f.optional_integer("ofs_embed_dim"),
    )
    if offset not in (None, timed):
        raise f.fail("ofs_embed_dim", offset, f"{timed:,}, the width of the time step's vector, to which it is added")
    return ExpertTransformer(
        name=name,
        source=source,
        runs="CogVideoXTransformer3DModel",
        image=Image(height=height, width=width),
        frames=f.integer("sample_frames", default=49),
        width=heads * f.integer("attention_head_dim", default=64),
        layers=f.integer("num_layers", default=30),
        heads=heads,
        patch=f.integer("patch_size", default=2),
        patch_frames=together or 1,
        latent_channels=channels,
        out_channels=f.integer("out_channels", default=16),
        text_width=f.integer("text_embed_dim", default=4096),
        text_tokens=f.integer("max_text_seq_length", default=226),
        timed=timed,
        embeds_offset=offset is not None,
        attention_bias=f.flag("attention_bias", True),
        patch_bias=together is not None or f.flag("patch_bias", True),
        norms_affine=f.flag("norm_elementwise_affine", True),
    )


def wan_autoencoder(f: Fields, name: str, source: Source) -> VideoAutoencoder:
    """AutoencoderKLWan of Wan 2.1, and Wan 2.2's own for its 5B.

    Raises:
        BadConfigError: fields that make no sense.
        NoOpTableError: attention within levels, or another rhythm in time.
    """
    if (attends := f.config.get("attn_scales", [])) != []:
        raise NoOpTableError(str(f.fail("attn_scales", attends, "[]")))
    grows = f.integers("dim_mult", minimum_length=3) if "dim_mult" in f.config else (1, 2, 4, 4)
    halves = f.config.get("temperal_downsample", [False, True, True])
    known = isinstance(halves, list | tuple) and len(halves) == len(grows) - 1 and all(isinstance(each, bool) for each in halves)
    if not known or sum(halves) != 2:
        raise NoOpTableError(str(f.fail("temperal_downsample", halves, f"two true among {len(grows) - 1}: a frame of the latent for four")))
    base = f.integer("base_dim", default=96)
    last = f.integer("decoder_base_dim", default=base)
    residual = f.flag("is_residual", False)
    for key, channels in (("base_dim", base), ("decoder_base_dim", last)):
        if channels % 2 and not residual:
            raise f.fail(key, channels, "an even number, which levels of the decoder halve")
    if residual:
        _demand_averages(f, grows, tuple(halves))
    square = f.integer("patch_size", default=1)
    read, made = f.integer("in_channels", default=3), f.integer("out_channels", default=3)
    for key, channels in (("in_channels", read), ("out_channels", made)):
        if channels % square**2:
            raise f.fail(key, channels, f"a multiple of {square**2}, the pixels that patch_size folds into channels")
    return VideoAutoencoder(
        name=name,
        source=source,
        runs="AutoencoderKLWan",
        image=WAN_IMAGE,
        frames=WAN_FRAMES,
        channels=(base, *(base * times for times in grows)),
        decoder_channels=(last, *(last * times for times in grows)),
        blocks=f.integer("num_res_blocks", default=2),
        halves_time=tuple(halves),
        latent_channels=f.integer("z_dim", default=16),
        read_channels=read,
        made_channels=made,
        square=square,
        residual=residual,
    )


def qwen_autoencoder(f: Fields, name: str, source: Source) -> VideoAutoencoder:
    """AutoencoderKLQwenImage: Wan 2.1's, trained on images, each a video of one frame. Raises as `wan_autoencoder`."""
    channels = f.integer("input_channels", default=3)
    unlike = {"in_channels": channels, "out_channels": channels, "decoder_base_dim": None, "is_residual": False, "patch_size": None}
    return replace(
        wan_autoencoder(Fields({**f.config, **unlike}, f.name), name, source), runs="AutoencoderKLQwenImage", image=QWEN_IMAGE, frames=1
    )


def hunyuan_autoencoder(f: Fields, name: str, source: Source) -> WindowedAutoencoder:
    """AutoencoderKLHunyuanVideo.

    Raises:
        BadConfigError: fields that make no sense.
        NoOpTableError: another number of levels than 4, another compression than 4 x 8 x 8, or no attention in the middle.
    """
    plain = {"temporal_compression_ratio": 4, "spatial_compression_ratio": 8, "mid_block_add_attention": True}
    for key, value in plain.items():
        if f.config.get(key, value) != value:
            raise NoOpTableError(str(f.fail(key, f.config[key], str(value).lower())))
    channels = f.integers("block_out_channels", minimum_length=1) if "block_out_channels" in f.config else (128, 256, 512, 512)
    if len(channels) != 4:
        raise NoOpTableError(str(f.fail("block_out_channels", list(channels), "4 levels")))
    image, frames = HUNYUAN_VIDEO
    return WindowedAutoencoder(
        name=name,
        source=source,
        runs="AutoencoderKLHunyuanVideo",
        image=image,
        frames=frames,
        channels=(channels[0], *channels),
        decoder_channels=(channels[0], *channels),
        blocks=f.integer("layers_per_block", default=2),
        halves_time=(False, True, True),
        latent_channels=f.integer("latent_channels", default=16),
        read_channels=f.integer("in_channels", default=3),
        made_channels=f.integer("out_channels", default=3),
    )


def cogvideox_autoencoder(f: Fields, name: str, source: Source) -> ChunkedAutoencoder:
    """AutoencoderKLCogVideoX.

    Raises:
        BadConfigError: fields that make no sense.
        NoOpTableError: another number of levels than 4, a frame of the latent for other than four, or filters over the latent alone.
    """
    for key, value in {"temporal_compression_ratio": 4, "use_quant_conv": False, "use_post_quant_conv": False}.items():
        if f.config.get(key, value) != value:
            raise NoOpTableError(str(f.fail(key, f.config[key], str(value).lower())))
    channels = f.integers("block_out_channels", minimum_length=1) if "block_out_channels" in f.config else (128, 256, 256, 512)
    if len(channels) != 4:
        raise NoOpTableError(str(f.fail("block_out_channels", list(channels), "4 levels")))
    height, width = (f.integer(key, default=side) for key, side in (("sample_height", 480), ("sample_width", 720)))
    return ChunkedAutoencoder(
        name=name,
        source=source,
        runs="AutoencoderKLCogVideoX",
        image=Image(height=height, width=width),
        frames=49,
        channels=(channels[0], *channels),
        decoder_channels=(channels[0], *channels),
        blocks=f.integer("layers_per_block", default=3),
        halves_time=(True, True, False),
        latent_channels=f.integer("latent_channels", default=16),
        read_channels=f.integer("in_channels", default=3),
        made_channels=f.integer("out_channels", default=3),
    )


def _demand_averages(f: Fields, grows: tuple[int, ...], halves: tuple[bool, ...]) -> None:
    """That what a level reads can be averaged, or repeated, to the channels of what it makes. Raises BadConfigError."""
    folded = [8 if halved else 4 for halved in halves]
    down = zip((1, *grows[:-1]), grows, (*folded, 1), strict=True)
    up = zip((*grows[2:], grows[-1]), grows[1:], folded, strict=True)
    if any(read * times % made for read, made, times in down) or any(made * times % read for read, made, times in up):
        raise f.fail("dim_mult", list(grows), "levels whose channels can be averaged and repeated, as [1, 2, 4, 4]'s can")
