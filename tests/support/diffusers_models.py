"""Small parts of diffusion pipelines, and what diffusers counts of them on meta."""

from __future__ import annotations

from typing import Any

import torch

from bench.backend.counting import meta
from estimators.architectures.from_config import model_from_config
from estimators.frozen import replace
from estimators.samples import Image
from estimators.spec import Model

Config = dict[str, Any]

UNET: Config = {
    "_class_name": "UNet2DConditionModel",
    "sample_size": 16,
    "norm_num_groups": 8,
    "layers_per_block": 2,
    "cross_attention_dim": 24,
}
SMALL: dict[str, tuple[Config, Image]] = {
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
}
"""Configurations as diffusers writes them, and the image of a sample."""

COUNTED: dict[str, tuple[int, int, int]] = {
    "unet": (3822916, 1478148096, 2927394816),
    "unet-1.5": (3208868, 1668184064, 3321219072),
    "dit": (89344, 89882624, 179109888),
    "autoencoder": (1288263, 2374934528, 4742791168),
}
"""Parameters, forward and backward FLOP of two samples by diffusers 0.42.1 and torch 2.13 on meta; the slow test counts them anew."""


def small(name: str) -> Model:
    config, image = SMALL[name]
    return replace(model_from_config(config, name), image=image)  # type: ignore[type-var]


def counted(name: str, batch: int) -> tuple[int, int, int]:
    """Parameters, forward and backward FLOP by diffusers' own class."""
    import diffusers

    config, image = SMALL[name]
    built = getattr(diffusers, config["_class_name"])
    with torch.device("meta"):
        module = built(**{key: value for key, value in config.items() if key != "_class_name"})
        latent = torch.zeros(batch, 4, image.height // 8, image.width // 8)
        given: dict[str, Any] = {"sample": latent, "timestep": torch.zeros(batch), "encoder_hidden_states": torch.zeros(batch, 77, 24)}
        if name == "unet":
            given["added_cond_kwargs"] = {"text_embeds": torch.zeros(batch, 16), "time_ids": torch.zeros(batch, 6)}
        if name == "dit":
            steps = torch.zeros(batch, dtype=torch.long)
            given = {"hidden_states": latent, "timestep": steps, "class_labels": steps}
        if name == "autoencoder":
            given = {"sample": torch.zeros(batch, 3, image.height, image.width)}
        counter = meta.flop_counter()
        with counter:
            out = module(**given).sample
        forward = counter.get_total_flops()
        with counter:
            out.sum().backward()
    return meta.params_of(module), forward, counter.get_total_flops()
