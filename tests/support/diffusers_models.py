"""Small parts of diffusion pipelines, and what diffusers counts of them on meta."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from bench.backend.counting import meta
from estimators.architectures.from_config import model_from_config
from estimators.frozen import replace
from estimators.samples import Clip, Image
from estimators.spec import Model

Config = dict[str, Any]

UNET: Config = {
    "_class_name": "UNet2DConditionModel",
    "sample_size": 16,
    "norm_num_groups": 8,
    "layers_per_block": 2,
    "cross_attention_dim": 24,
}
FLUX: Config = {
    "_class_name": "FluxTransformer2DModel",
    "in_channels": 16,
    "attention_head_dim": 8,
    "num_attention_heads": 4,
    "joint_attention_dim": 24,
    "pooled_projection_dim": 20,
    "axes_dims_rope": [2, 2, 4],
    "text_tokens": 7,
}
SD3: Config = {
    "_class_name": "SD3Transformer2DModel",
    "sample_size": 16,
    "attention_head_dim": 8,
    "num_attention_heads": 4,
    "joint_attention_dim": 24,
    "caption_projection_dim": 32,
    "pooled_projection_dim": 20,
    "in_channels": 4,
    "out_channels": 4,
    "pos_embed_max_size": 16,
    "text_tokens": 80,
}
PIXART: Config = {
    "_class_name": "PixArtTransformer2DModel",
    "sample_size": 16,
    "attention_head_dim": 12,
    "num_attention_heads": 2,
    "num_layers": 2,
    "cross_attention_dim": 24,
    "caption_channels": 20,
    "in_channels": 4,
    "out_channels": 8,
    "text_tokens": 7,
}
QWEN: Config = {
    "_class_name": "QwenImageTransformer2DModel",
    "in_channels": 16,
    "out_channels": 4,
    "num_layers": 2,
    "attention_head_dim": 8,
    "num_attention_heads": 3,
    "joint_attention_dim": 20,
    "axes_dims_rope": [2, 2, 4],
    "text_tokens": 7,
}
Z_IMAGE: Config = {
    "_class_name": "ZImageTransformer2DModel",
    "in_channels": 4,
    "dim": 48,
    "n_layers": 2,
    "n_refiner_layers": 1,
    "n_heads": 2,
    "n_kv_heads": 2,
    "cap_feat_dim": 20,
    "axes_dims": [8, 8, 8],
    "text_tokens": 7,
}
LTX: Config = {
    "_class_name": "LTXVideoTransformer3DModel",
    "in_channels": 6,
    "out_channels": 6,
    "attention_head_dim": 12,
    "num_attention_heads": 2,
    "num_layers": 2,
    "cross_attention_dim": 24,
    "caption_channels": 20,
    "text_tokens": 7,
}
HUNYUAN: Config = {
    "_class_name": "HunyuanVideoTransformer3DModel",
    "in_channels": 4,
    "out_channels": 4,
    "attention_head_dim": 8,
    "num_attention_heads": 3,
    "num_layers": 2,
    "num_single_layers": 1,
    "num_refiner_layers": 1,
    "text_embed_dim": 20,
    "pooled_projection_dim": 10,
    "rope_axes_dim": [2, 2, 4],
    "text_tokens": 7,
}
COGVIDEOX: Config = {
    "_class_name": "CogVideoXTransformer3DModel",
    "in_channels": 4,
    "out_channels": 4,
    "attention_head_dim": 8,
    "num_attention_heads": 6,
    "num_layers": 2,
    "time_embed_dim": 20,
    "text_embed_dim": 24,
    "max_text_seq_length": 7,
    "sample_height": 8,
    "sample_width": 12,
    "sample_frames": 9,
    "use_rotary_positional_embeddings": True,
}
WAN: Config = {
    "_class_name": "WanTransformer3DModel",
    "attention_head_dim": 12,
    "num_attention_heads": 2,
    "num_layers": 2,
    "ffn_dim": 40,
    "text_dim": 20,
    "freq_dim": 16,
    "in_channels": 4,
    "out_channels": 4,
    "text_tokens": 7,
}
WAN_AUTOENCODER: Config = {"_class_name": "AutoencoderKLWan", "base_dim": 8, "z_dim": 4, "dim_mult": [1, 2, 3, 3], "num_res_blocks": 1}
WAN_PICTURE: Config = WAN | {"image_dim": 14, "added_kv_proj_dim": 24, "in_channels": 9, "text_tokens": 512}
"""From image to video; diffusers takes the last 512 vectors that cross-attention reads for the text's."""

WAN_SMALL: Config = WAN | {"in_channels": 48, "out_channels": 48}
"""As Wan 2.2's 5B, which is known by its 48 channels, and has 16 pixels along a side of a position."""

WAN_AUTOENCODER_2: Config = WAN_AUTOENCODER | {
    "is_residual": True,
    "dim_mult": [1, 2, 4, 4],
    "patch_size": 2,
    "in_channels": 12,
    "out_channels": 12,
}
COGVIDEOX_AUTOENCODER: Config = {
    "_class_name": "AutoencoderKLCogVideoX",
    "block_out_channels": [8, 16, 16, 24],
    "down_block_types": ["CogVideoXDownBlock3D"] * 4,
    "up_block_types": ["CogVideoXUpBlock3D"] * 4,
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 4,
}
HUNYUAN_AUTOENCODER: Config = {
    "_class_name": "AutoencoderKLHunyuanVideo",
    "block_out_channels": [8, 16, 16, 24],
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 4,
}
SMALL: dict[str, tuple[Config, Image | Clip]] = {
    "unet": (
        UNET
        | {
            "block_out_channels": [32, 64, 64],
            "attention_head_dim": [2, 4, 4],
            "transformer_layers_per_block": [1, 2, 3],
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 6 * 8 + 16,
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        },
        Image(height=256, width=128),
    ),
    "unet-1.5": (
        UNET
        | {
            "block_out_channels": [32, 64, 64, 64],
            "attention_head_dim": 8,
            "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
            "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
        },
        Image(height=256, width=128),
    ),
    "dit": (
        {
            "_class_name": "DiTTransformer2DModel",
            "num_attention_heads": 4,
            "attention_head_dim": 8,
            "in_channels": 4,
            "out_channels": 8,
            "num_layers": 3,
            "sample_size": 32,
            "patch_size": 2,
            "num_embeds_ada_norm": 10,
            "norm_type": "ada_norm_zero",
            "norm_elementwise_affine": False,
            "activation_fn": "gelu-approximate",
            "attention_bias": True,
        },
        Image(height=256, width=256),
    ),
    "flux-guided": (
        FLUX | {"num_layers": 2, "num_single_layers": 3, "guidance_embeds": True},
        Image(height=64, width=96),
    ),
    "flux": (
        FLUX | {"out_channels": 8, "num_layers": 1, "num_single_layers": 1},
        Image(height=64, width=32),
    ),
    "sd3": (SD3 | {"num_layers": 2}, Image(height=64, width=96)),
    "sd3.5": (SD3 | {"num_layers": 3, "dual_attention_layers": [0, 2], "qk_norm": "rms_norm"}, Image(height=128, width=128)),
    "pixart": (PIXART, Image(height=128, width=128)),
    "pixart-sized": (PIXART | {"use_additional_conditions": True, "num_layers": 3}, Image(height=64, width=96)),
    "autoencoder": (
        {
            "_class_name": "AutoencoderKL",
            "sample_size": 64,
            "norm_num_groups": 8,
            "down_block_types": ["DownEncoderBlock2D"] * 3,
            "up_block_types": ["UpDecoderBlock2D"] * 3,
            "block_out_channels": [32, 64, 64],
            "layers_per_block": 2,
            "latent_channels": 4,
        },
        Image(height=64, width=32),
    ),
    "qwen-image": (QWEN, Image(height=64, width=96)),
    "qwen-autoencoder": (WAN_AUTOENCODER | {"_class_name": "AutoencoderKLQwenImage"}, Clip(image=Image(height=32, width=48), frames=1)),
    "z-image": (Z_IMAGE, Image(height=64, width=96)),
    "ltx": (LTX, Clip(image=Image(height=64, width=96), frames=17)),
    "hunyuan-video": (HUNYUAN, Clip(image=Image(height=64, width=96), frames=9)),
    "cogvideox": (COGVIDEOX, Clip(image=Image(height=64, width=96), frames=9)),
    "cogvideox-1.5": (
        COGVIDEOX | {"patch_size_t": 2, "ofs_embed_dim": 20, "in_channels": 8, "patch_bias": False},
        Clip(image=Image(height=32, width=48), frames=9),
    ),
    "wan": (WAN, Clip(image=Image(height=64, width=96), frames=9)),
    "wan-picture": (WAN_PICTURE, Clip(image=Image(height=32, width=48), frames=5)),
    "wan-pictures": (WAN_PICTURE | {"pos_embed_seq_len": 514}, Clip(image=Image(height=32, width=32), frames=9)),
    "wan-2.2-small": (WAN_SMALL, Clip(image=Image(height=64, width=96), frames=9)),
    "cogvideox-autoencoder": (COGVIDEOX_AUTOENCODER, Clip(image=Image(height=16, width=24), frames=17)),
    "hunyuan-autoencoder": (HUNYUAN_AUTOENCODER, Clip(image=Image(height=16, width=24), frames=13)),
    "hunyuan-autoencoder-windows": (HUNYUAN_AUTOENCODER, Clip(image=Image(height=16, width=16), frames=33)),
    "wan-autoencoder": (WAN_AUTOENCODER, Clip(image=Image(height=32, width=48), frames=9)),
    "wan-autoencoder-still": (WAN_AUTOENCODER | {"decoder_base_dim": 10}, Clip(image=Image(height=32, width=16), frames=1)),
    "wan-autoencoder-2.2": (WAN_AUTOENCODER_2 | {"decoder_base_dim": 10}, Clip(image=Image(height=32, width=48), frames=9)),
    "autoencoder-16": (
        {
            "_class_name": "AutoencoderKL",
            "sample_size": 64,
            "norm_num_groups": 8,
            "down_block_types": ["DownEncoderBlock2D"] * 2,
            "up_block_types": ["UpDecoderBlock2D"] * 2,
            "block_out_channels": [16, 32],
            "layers_per_block": 1,
            "latent_channels": 16,
            "use_quant_conv": False,
            "use_post_quant_conv": False,
        },
        Image(height=32, width=48),
    ),
}
"""Configurations as diffusers writes them, and the image of a sample. `text_tokens` is of ours: diffusers reads texts of any length."""

CONTROLLED = {"_class_name": "ControlNetModel", "conditioning_embedding_out_channels": [4, 8, 12, 16]}
SMALL |= {
    f"controlnet-{name}": (
        {k: v for k, v in SMALL[name][0].items() if k not in ("sample_size", "up_block_types")} | CONTROLLED,
        SMALL[name][1],
    )
    for name in ("unet", "unet-1.5")
}

COUNTED: dict[str, tuple[int, int, int]] = {
    "unet": (3822916, 1478148096, 2927394816),
    "unet-1.5": (3208868, 1668184064, 3321219072),
    "dit": (89344, 89882624, 179109888),
    "flux-guided": (147168, 9192192, 18245632),
    "flux": (68312, 1748992, 3424768),
    "sd3": (77008, 13289984, 26249728),
    "sd3.5": (129744, 39119360, 77826560),
    "pixart": (32072, 6303360, 12470400),
    "pixart-sized": (46000, 3053952, 6008448),
    "autoencoder": (1288263, 2374934528, 4742791168),
    "wan": (20712, 5613696, 11101824),
    "qwen-image": (52276, 2257152, 4162560),
    "qwen-autoencoder": (385135, 195648000, 387314688),
    "controlnet-unet": (1709932, 627257344, 1225650176),
    "controlnet-unet-1.5": (1321516, 671625216, 1321041920),
    "z-image": (457220, 26948608, 52750336),
    "ltx": (31374, 1489536, 2930688),
    "hunyuan-video": (85104, 10744512, 21288384),
    "cogvideox": (87208, 22846528, 45435776),
    "cogvideox-1.5": (91136, 4841664, 9498176),
    "cogvideox-autoencoder": (338411, 727226112, 1437531648),
    "hunyuan-autoencoder": (369591, 616425984, 1219912704),
    "hunyuan-autoencoder-windows": (369591, 1356055296, 2683577856),
    "wan-picture": (24286, 13989200, 26952352),
    "wan-pictures": (31482, 18088864, 35151680),
    "wan-2.2-small": (29336, 2022528, 3672192),
    "wan-autoencoder-2.2": (906638, 801126528, 1566421248),
    "wan-autoencoder": (385135, 1503972864, 2972113920),
    "wan-autoencoder-still": (514301, 89486336, 177645568),
    "autoencoder-16": (178259, 468910080, 935165952),
}
"""Parameters, forward and backward FLOP of two samples by diffusers 0.42.1 and torch 2.13 on meta; the slow test counts them anew."""


def small(name: str) -> Model:
    return ours(*SMALL[name])


def ours(config: Config, sample: Image | Clip) -> Model:
    """The model of a configuration, on images or videos of a size."""
    size = {"image": sample.image, "frames": sample.frames} if isinstance(sample, Clip) else {"image": sample}
    return replace(model_from_config(config, "small"), **size)  # type: ignore[type-var]


def counted(config: Config, image: Any, batch: int) -> tuple[int, int, int]:
    """Parameters, forward and backward FLOP by diffusers' own class."""
    import diffusers

    built = getattr(diffusers, config["_class_name"])
    with torch.device("meta"):
        module = built(**{key: value for key, value in config.items() if key not in ("_class_name", "text_tokens")})
        counter = meta.flop_counter()
        given = INPUTS[config["_class_name"]](config, image, batch)
        with counter:
            made = module(**given)
        forward = counter.get_total_flops()
        with counter:
            sum(each.sum() for each in OUTPUTS.get(config["_class_name"], lambda result: [result.sample])(made)).backward()
    return meta.params_of(module), forward, counter.get_total_flops()


def _latent(config: Config, image: Image, batch: int) -> torch.Tensor:
    return torch.zeros(batch, config.get("in_channels", 4), image.height // 8, image.width // 8)


def _unet(config: Config, image: Image, batch: int) -> dict[str, Any]:
    text = torch.zeros(batch, 77, config["cross_attention_dim"])
    given = {"sample": _latent(config, image, batch), "timestep": torch.zeros(batch), "encoder_hidden_states": text}
    if "addition_embed_type" in config:
        given["added_cond_kwargs"] = {"text_embeds": torch.zeros(batch, 16), "time_ids": torch.zeros(batch, 6)}
    return given


def _dit(config: Config, image: Image, batch: int) -> dict[str, Any]:
    steps = torch.zeros(batch, dtype=torch.long)
    return {"hidden_states": _latent(config, image, batch), "timestep": steps, "class_labels": steps}


def _autoencoder(config: Config, image: Image, batch: int) -> dict[str, Any]:
    return {"sample": torch.zeros(batch, 3, image.height, image.width)}


def _joint(config: Config, batch: int) -> dict[str, Any]:
    return {
        "encoder_hidden_states": torch.zeros(batch, config["text_tokens"], config["joint_attention_dim"]),
        "pooled_projections": torch.zeros(batch, config["pooled_projection_dim"]),
        "timestep": torch.zeros(batch),
    }


def _sd3(config: Config, image: Image, batch: int) -> dict[str, Any]:
    return {"hidden_states": _latent(config, image, batch), **_joint(config, batch)}


def _flux(config: Config, image: Image, batch: int) -> dict[str, Any]:
    patches = (image.height // 16) * (image.width // 16)
    given = {
        "hidden_states": torch.zeros(batch, patches, config["in_channels"]),
        "img_ids": torch.zeros(patches, 3),
        "txt_ids": torch.zeros(config["text_tokens"], 3),
        **_joint(config, batch),
    }
    return given | ({"guidance": torch.zeros(batch)} if config.get("guidance_embeds") else {})


def _qwen(config: Config, image: Image, batch: int) -> dict[str, Any]:
    side = 8 * config.get("patch_size", 2)
    rows, columns = image.height // side, image.width // side
    return {
        "hidden_states": torch.zeros(batch, rows * columns, config["in_channels"]),
        "encoder_hidden_states": torch.zeros(batch, config["text_tokens"], config["joint_attention_dim"]),
        "timestep": torch.zeros(batch),
        "img_shapes": [[(1, rows, columns)]] * batch,
    }


def _z_image(config: Config, image: Image, batch: int) -> dict[str, Any]:
    latent = (config["in_channels"], 1, image.height // 8, image.width // 8)
    return {
        "x": [torch.zeros(latent) for _ in range(batch)],
        "t": torch.zeros(batch),
        "cap_feats": [torch.zeros(config["text_tokens"], config["cap_feat_dim"]) for _ in range(batch)],
        "patch_size": config.get("all_patch_size", [2])[0],
    }


def _ltx(config: Config, clip: Clip, batch: int) -> dict[str, Any]:
    frames, height, width = 1 + (clip.frames - 1) // 8, clip.image.height // 32, clip.image.width // 32
    return {
        "hidden_states": torch.zeros(batch, frames * height * width, config["in_channels"]),
        "encoder_hidden_states": torch.zeros(batch, config["text_tokens"], config["caption_channels"]),
        "encoder_attention_mask": torch.ones(batch, config["text_tokens"]),
        "timestep": torch.zeros(batch),
        "num_frames": frames,
        "height": height,
        "width": width,
    }


def _hunyuan(config: Config, clip: Clip, batch: int) -> dict[str, Any]:
    latent = (1 + (clip.frames - 1) // 4, clip.image.height // 8, clip.image.width // 8)
    given = {
        "hidden_states": torch.zeros(batch, config["in_channels"], *latent),
        "encoder_hidden_states": torch.zeros(batch, config["text_tokens"], config["text_embed_dim"]),
        "encoder_attention_mask": torch.ones(batch, config["text_tokens"]),
        "pooled_projections": torch.zeros(batch, config["pooled_projection_dim"]),
        "timestep": torch.zeros(batch, dtype=torch.long),
    }
    return given | ({"guidance": torch.zeros(batch)} if config.get("guidance_embeds", True) else {})


def _cogvideox(config: Config, clip: Clip, batch: int) -> dict[str, Any]:
    together = config.get("patch_size_t") or 1
    frames = -(-(1 + (clip.frames - 1) // 4) // together) * together
    given = {
        "hidden_states": torch.zeros(batch, frames, config["in_channels"], clip.image.height // 8, clip.image.width // 8),
        "encoder_hidden_states": torch.zeros(batch, config["max_text_seq_length"], config["text_embed_dim"]),
        "timestep": torch.zeros(batch),
    }
    return given | ({"ofs": torch.zeros(batch)} if config.get("ofs_embed_dim") else {})


def _wan(config: Config, clip: Clip, batch: int) -> dict[str, Any]:
    by_patch = config["in_channels"] == 48
    side, frames = 16 if by_patch else 8, 1 + (clip.frames - 1) // 4
    height, width = clip.image.height // side, clip.image.width // side
    given = {
        "hidden_states": torch.zeros(batch, config["in_channels"], frames, height, width),
        "encoder_hidden_states": torch.zeros(batch, config["text_tokens"], config["text_dim"]),
        "timestep": torch.zeros(batch, frames * height * width // 4) if by_patch else torch.zeros(batch),
    }
    if "image_dim" in config:
        pictures = 2 if config.get("pos_embed_seq_len") else 1
        given["encoder_hidden_states_image"] = torch.zeros(batch * pictures, 257, config["image_dim"])
    return given


def _wan_autoencoder(config: Config, clip: Clip, batch: int) -> dict[str, Any]:
    return {"sample": torch.zeros(batch, 3, clip.frames, clip.image.height, clip.image.width)}


def _pixart(config: Config, image: Image, batch: int) -> dict[str, Any]:
    width = config.get("caption_channels") or config["cross_attention_dim"]
    given: dict[str, Any] = {
        "hidden_states": _latent(config, image, batch),
        "encoder_hidden_states": torch.zeros(batch, config["text_tokens"], width),
        "timestep": torch.zeros(batch),
    }
    if config.get("use_additional_conditions"):
        given["added_cond_kwargs"] = {"resolution": torch.zeros(batch, 2), "aspect_ratio": torch.zeros(batch, 1)}
    return given


def _control(config: Config, image: Image, batch: int) -> dict[str, Any]:
    picture = torch.zeros(batch, config.get("conditioning_channels", 3), image.height, image.width)
    return _unet(config, image, batch) | {"controlnet_cond": picture}


OUTPUTS: dict[str, Callable[[Any], list[torch.Tensor]]] = {
    "ControlNetModel": lambda made: [*made.down_block_res_samples, made.mid_block_res_sample],
    "ZImageTransformer2DModel": lambda made: made.sample,
}
"""Class -> the tensors that its forward pass makes, where they are not `sample`."""

INPUTS: dict[str, Callable[[Config, Any, int], dict[str, Any]]] = {
    "UNet2DConditionModel": _unet,
    "ControlNetModel": _control,
    "DiTTransformer2DModel": _dit,
    "AutoencoderKL": _autoencoder,
    "SD3Transformer2DModel": _sd3,
    "FluxTransformer2DModel": _flux,
    "PixArtTransformer2DModel": _pixart,
    "QwenImageTransformer2DModel": _qwen,
    "AutoencoderKLCogVideoX": _wan_autoencoder,
    "AutoencoderKLHunyuanVideo": _wan_autoencoder,
    "AutoencoderKLQwenImage": _wan_autoencoder,
    "LTXVideoTransformer3DModel": _ltx,
    "HunyuanVideoTransformer3DModel": _hunyuan,
    "CogVideoXTransformer3DModel": _cogvideox,
    "WanTransformer3DModel": _wan,
    "ZImageTransformer2DModel": _z_image,
    "AutoencoderKLWan": _wan_autoencoder,
}
"""Class -> what its forward pass is given."""
