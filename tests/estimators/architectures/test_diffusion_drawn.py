"""Parts of diffusion pipelines with sizes drawn at random have as many parameters and FLOP as diffusers counts on meta."""

from __future__ import annotations

import random

import pytest

from estimators.counting.estimate import estimate
from estimators.samples import Clip, Image
from estimators.spec import Case, Workload
from tests.support.diffusers_models import (
    COGVIDEOX,
    COGVIDEOX_AUTOENCODER,
    FLUX,
    HUNYUAN,
    HUNYUAN_AUTOENCODER,
    LTX,
    PIXART,
    QWEN,
    SD3,
    UNET,
    WAN,
    WAN_AUTOENCODER,
    WAN_AUTOENCODER_2,
    Z_IMAGE,
    Config,
    counted,
    ours,
)

NUM_DRAWN = 12


def _unet(draw: random.Random) -> tuple[Config, Image]:
    levels, width = draw.randint(2, 4), 8 * draw.randint(1, 3)
    kinds = [draw.choice(("CrossAttnDownBlock2D", "DownBlock2D")) for _ in range(levels - 1)] + ["CrossAttnDownBlock2D"]
    config = UNET | {
        "block_out_channels": [width * draw.randint(1, 3) for _ in range(levels)],
        "attention_head_dim": draw.choice((2, 4, 8)),
        "transformer_layers_per_block": [draw.randint(1, 3) for _ in range(levels)],
        "layers_per_block": draw.randint(1, 3),
        "cross_attention_dim": draw.randint(3, 40),
        "use_linear_projection": draw.random() < 0.5,
        "in_channels": draw.randint(1, 9),
        "down_block_types": kinds,
        "up_block_types": [kind.replace("Down", "Up") for kind in reversed(kinds)],
    }
    side = 8 * 2 ** (levels - 1)
    return config, Image(height=side * draw.randint(1, 2), width=side * draw.randint(1, 2))


def _controlnet(draw: random.Random) -> tuple[Config, Image]:
    config, image = _unet(draw)
    narrowing = [draw.randint(1, 20) for _ in range(4)]
    steered = {
        "_class_name": "ControlNetModel",
        "conditioning_channels": draw.randint(1, 4),
        "conditioning_embedding_out_channels": narrowing,
    }
    return {key: value for key, value in config.items() if key not in ("sample_size", "up_block_types")} | steered, image


def _flux(draw: random.Random) -> tuple[Config, Image]:
    config = FLUX | {
        "in_channels": 4 * draw.randint(1, 6),
        "out_channels": 4 * draw.randint(1, 6),
        "num_layers": draw.randint(1, 3),
        "num_single_layers": draw.randint(1, 3),
        "num_attention_heads": draw.randint(1, 5),
        "joint_attention_dim": draw.randint(3, 40),
        "pooled_projection_dim": draw.randint(3, 40),
        "guidance_embeds": draw.random() < 0.5,
        "text_tokens": draw.randint(1, 30),
    }
    return config, Image(height=16 * draw.randint(1, 6), width=16 * draw.randint(1, 6))


def _sd3(draw: random.Random) -> tuple[Config, Image]:
    heads, layers, patch = draw.randint(1, 5), draw.randint(1, 4), draw.choice((1, 2, 4))
    config = SD3 | {
        "num_layers": layers,
        "patch_size": patch,
        "attention_head_dim": 8,
        "num_attention_heads": heads,
        "caption_projection_dim": 8 * heads,
        "in_channels": draw.randint(1, 16),
        "out_channels": draw.randint(1, 16),
        "joint_attention_dim": draw.randint(3, 40),
        "pooled_projection_dim": draw.randint(3, 40),
        "qk_norm": draw.choice((None, "rms_norm")),
        "dual_attention_layers": draw.sample(range(layers), draw.randint(0, layers)),
        "text_tokens": draw.randint(78, 99),
    }
    return config, Image(height=8 * patch * draw.randint(1, 4), width=8 * patch * draw.randint(1, 4))


def _qwen(draw: random.Random) -> tuple[Config, Image]:
    patch = draw.choice((1, 2, 3))
    config = QWEN | {
        "patch_size": patch,
        "in_channels": patch**2 * draw.randint(1, 6),
        "out_channels": draw.randint(1, 6),
        "num_layers": draw.randint(1, 3),
        "num_attention_heads": draw.randint(1, 5),
        "joint_attention_dim": draw.randint(3, 40),
        "text_tokens": draw.randint(1, 30),
    }
    return config, Image(height=8 * patch * draw.randint(1, 6), width=8 * patch * draw.randint(1, 6))


def _z_image(draw: random.Random) -> tuple[Config, Image]:
    heads, patch = draw.randint(1, 3), draw.choice((1, 2, 3))
    config = Z_IMAGE | {
        "all_patch_size": [patch],
        "all_f_patch_size": [1],
        "in_channels": draw.randint(1, 6),
        "dim": 24 * heads if draw.random() < 0.7 else 288,
        "n_layers": draw.randint(1, 3),
        "n_refiner_layers": draw.randint(0, 2),
        "qk_norm": draw.random() < 0.5,
        "cap_feat_dim": draw.randint(3, 40),
        "text_tokens": draw.randint(1, 70),
    }
    config["n_heads"] = config["n_kv_heads"] = config["dim"] // 24
    return config, Image(height=8 * patch * draw.randint(1, 6), width=8 * patch * draw.randint(1, 6))


def _ltx(draw: random.Random) -> tuple[Config, Clip]:
    heads = draw.randint(1, 4)
    config = LTX | {
        "num_attention_heads": heads,
        "cross_attention_dim": 12 * heads,
        "num_layers": draw.randint(1, 3),
        "in_channels": draw.randint(1, 16),
        "out_channels": draw.choice((None, draw.randint(1, 16))),
        "caption_channels": draw.randint(3, 40),
        "attention_bias": draw.random() < 0.5,
        "text_tokens": draw.randint(1, 30),
    }
    return config, Clip(image=Image(height=32 * draw.randint(1, 4), width=32 * draw.randint(1, 4)), frames=1 + 8 * draw.randint(0, 4))


def _hunyuan_video(draw: random.Random) -> tuple[Config, Clip]:
    patch = draw.choice((1, 2))
    config = HUNYUAN | {
        "patch_size": patch,
        "num_attention_heads": draw.randint(1, 4),
        "num_layers": draw.randint(1, 3),
        "num_single_layers": draw.randint(1, 3),
        "num_refiner_layers": draw.randint(1, 3),
        "in_channels": draw.randint(1, 16),
        "out_channels": draw.randint(1, 16),
        "text_embed_dim": draw.randint(3, 40),
        "pooled_projection_dim": draw.randint(3, 40),
        "guidance_embeds": draw.random() < 0.5,
        "text_tokens": draw.randint(1, 30),
    }
    sides = {key: 8 * patch * draw.randint(1, 4) for key in ("height", "width")}
    return config, Clip(image=Image(**sides), frames=1 + 4 * draw.randint(0, 4))


def _cogvideox(draw: random.Random) -> tuple[Config, Clip]:
    timed, together = draw.randint(3, 40), draw.choice((None, 1, 2, 3))
    config = COGVIDEOX | {
        "num_attention_heads": draw.randint(1, 6),
        "num_layers": draw.randint(1, 3),
        "in_channels": draw.randint(1, 16),
        "out_channels": draw.randint(1, 16),
        "time_embed_dim": timed,
        "ofs_embed_dim": draw.choice((None, timed)),
        "text_embed_dim": draw.randint(3, 40),
        "max_text_seq_length": draw.randint(1, 30),
        "patch_size_t": together,
        "patch_bias": draw.random() < 0.5,
        "attention_bias": draw.random() < 0.5,
        "norm_elementwise_affine": draw.random() < 0.5,
    }
    return config, Clip(image=Image(height=16 * draw.randint(1, 4), width=16 * draw.randint(1, 4)), frames=1 + 4 * draw.randint(0, 5))


def _pixart(draw: random.Random) -> tuple[Config, Image]:
    heads, patch, projects = draw.randint(1, 5), draw.choice((1, 2, 4)), draw.random() < 0.7
    config = PIXART | {
        "num_layers": draw.randint(1, 3),
        "patch_size": patch,
        "num_attention_heads": heads,
        "cross_attention_dim": 12 * heads if projects else draw.randint(3, 40),
        "caption_channels": draw.randint(3, 40) if projects else None,
        "in_channels": draw.randint(1, 16),
        "out_channels": draw.choice((None, draw.randint(1, 16))),
        "attention_bias": draw.random() < 0.5,
        "use_additional_conditions": draw.random() < 0.5,
        "text_tokens": draw.randint(1, 30),
    }
    return config, Image(height=8 * patch * draw.randint(1, 4), width=8 * patch * draw.randint(1, 4))


def _wan(draw: random.Random) -> tuple[Config, Clip]:
    config = WAN | {
        "num_layers": draw.randint(1, 3),
        "num_attention_heads": draw.randint(1, 4),
        "ffn_dim": draw.randint(3, 60),
        "text_dim": draw.randint(3, 40),
        "freq_dim": 2 * draw.randint(1, 20),
        "in_channels": draw.randint(1, 16),
        "out_channels": draw.randint(1, 16),
        "cross_attn_norm": draw.random() < 0.5,
        "text_tokens": draw.randint(1, 30),
    }
    return config, Clip(image=Image(height=16 * draw.randint(1, 4), width=16 * draw.randint(1, 4)), frames=1 + 4 * draw.randint(0, 5))


def _hunyuan_autoencoder(draw: random.Random) -> tuple[Config, Clip]:
    config = HUNYUAN_AUTOENCODER | {
        "block_out_channels": [4 * draw.randint(1, 5) for _ in range(4)],
        "layers_per_block": draw.randint(1, 2),
        "latent_channels": draw.randint(1, 6),
    }
    return config, Clip(image=Image(height=8 * draw.randint(1, 3), width=8 * draw.randint(1, 3)), frames=1 + 4 * draw.randint(0, 9))


def _cogvideox_autoencoder(draw: random.Random) -> tuple[Config, Clip]:
    config = COGVIDEOX_AUTOENCODER | {
        "block_out_channels": [4 * draw.randint(1, 5) for _ in range(4)],
        "layers_per_block": draw.randint(1, 2),
        "latent_channels": draw.randint(1, 6),
    }
    return config, Clip(image=Image(height=8 * draw.randint(1, 3), width=8 * draw.randint(1, 3)), frames=1 + 4 * draw.randint(0, 9))


def _wan_picture(draw: random.Random) -> tuple[Config, Clip]:
    config, clip = _wan(draw)
    heads = config["num_attention_heads"]
    seen = {"image_dim": draw.randint(3, 40), "added_kv_proj_dim": 12 * heads, "pos_embed_seq_len": draw.choice((None, 514))}
    return config | seen | {"text_tokens": 512}, clip


def _wan_small(draw: random.Random) -> tuple[Config, Clip]:
    config, clip = _wan(draw)
    image = Image(height=32 * draw.randint(1, 3), width=32 * draw.randint(1, 3))
    return config | {"in_channels": 48}, Clip(image=image, frames=clip.frames)


def _wan_autoencoder_2(draw: random.Random) -> tuple[Config, Clip]:
    halves = [True, True, False]
    draw.shuffle(halves)
    config = WAN_AUTOENCODER_2 | {
        "base_dim": draw.randint(1, 9),
        "decoder_base_dim": draw.choice((None, draw.randint(1, 9))),
        "z_dim": draw.randint(1, 9),
        "dim_mult": draw.choice(([1, 2, 4, 4], [1, 2, 2, 1], [2, 2, 4, 4])),
        "num_res_blocks": draw.randint(1, 2),
        "temperal_downsample": halves,
    }
    return config, Clip(image=Image(height=16 * draw.randint(1, 3), width=16 * draw.randint(1, 3)), frames=1 + 4 * draw.randint(0, 3))


def _wan_autoencoder(draw: random.Random) -> tuple[Config, Clip]:
    levels = draw.randint(3, 4)
    halves = [True, True, *[False] * (levels - 3)]
    draw.shuffle(halves)
    config = WAN_AUTOENCODER | {
        "base_dim": 2 * draw.randint(1, 6),
        "decoder_base_dim": draw.choice((None, 2 * draw.randint(1, 6))),
        "z_dim": draw.randint(1, 9),
        "dim_mult": [draw.randint(1, 4) for _ in range(levels)],
        "num_res_blocks": draw.randint(1, 2),
        "temperal_downsample": halves,
    }
    return config, Clip(image=Image(height=8 * draw.randint(1, 4), width=8 * draw.randint(1, 4)), frames=1 + 4 * draw.randint(0, 3))


DRAWN = {
    "unet": _unet,
    "controlnet": _controlnet,
    "flux": _flux,
    "sd3": _sd3,
    "qwen-image": _qwen,
    "z-image": _z_image,
    "ltx": _ltx,
    "hunyuan-video": _hunyuan_video,
    "hunyuan-autoencoder": _hunyuan_autoencoder,
    "cogvideox": _cogvideox,
    "cogvideox-autoencoder": _cogvideox_autoencoder,
    "pixart": _pixart,
    "wan": _wan,
    "wan-picture": _wan_picture,
    "wan-small": _wan_small,
    "wan-autoencoder": _wan_autoencoder,
    "wan-autoencoder-2.2": _wan_autoencoder_2,
}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(NUM_DRAWN))
@pytest.mark.parametrize("name", DRAWN)
def test_what_is_drawn_counts_as_diffusers_counts_it(name: str, seed: int) -> None:
    pytest.importorskip("diffusers")
    draw = random.Random(f"{name} {seed}")
    (config, image), batch = DRAWN[name](draw), draw.randint(1, 3)
    said = estimate(Case(model=ours(config, image), workload=Workload(phase="train", batch=batch)))
    assert (said.params, said.forward_flop, said.backward_flop) == counted(config, image, batch)
