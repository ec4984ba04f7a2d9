"""Small whole vision-language models, run by torch on the CPU: what their op tables are held to."""

from __future__ import annotations

from typing import Any

import torch

from bench.backend.counting import meta
from bench.backend.sample_networks import SampleNetwork, network_of
from estimators.architectures.builders.whole import whole
from estimators.architectures.fields import Fields
from estimators.architectures.vision_language import VisionLanguage
from estimators.samples import Example, Image
from estimators.spec import Source, Workload
from tests.support.drawn_decoders import Config

IMAGE_TOKEN = 45
TEXT: Config = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 50}
TEXT |= {"pad_token_id": 0, "intermediate_size": 48, "max_position_embeddings": 4096}
LLAMA, QWEN = TEXT | {"model_type": "llama"}, TEXT | {"model_type": "qwen2"}
MROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}}
TOWER: Config = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 2, "patch_size": 14}
CLIP = TOWER | {"model_type": "clip_vision_model", "image_size": 56}
SIGLIP = TOWER | {"model_type": "siglip_vision_model", "image_size": 56, "vision_use_head": False}
POOLED = SIGLIP | {"vision_use_head": True}
PIXTRAL = TOWER | {"model_type": "pixtral", "image_size": 112}
QWEN_TOWER: Config = {"depth": 3, "num_heads": 2, "patch_size": 14, "out_hidden_size": 32, "hidden_size": 24, "intermediate_size": 40}
VISION_TOKENS = {"vision_start_token_id": 40, "vision_end_token_id": 41, "video_token_id": 42}

SMALL: dict[str, tuple[Config, Example]] = {
    "gemma3": (
        {
            "text_config": TEXT | {"model_type": "gemma3_text", "head_dim": 8, "sliding_window": 512},
            "vision_config": SIGLIP,
            "mm_tokens_per_image": 4,
            "boi_token_index": 40,
            "eoi_token_index": 41,
        },
        Example(image=Image(height=100, width=50), images=2, text_tokens=11),
    ),
    "idefics3": (
        {"text_config": LLAMA, "vision_config": TOWER | {"image_size": 56}, "scale_factor": 2},
        Example(image=Image(height=100, width=60), images=2, text_tokens=5),
    ),
    "internvl": (
        {"text_config": QWEN, "vision_config": TOWER | {"image_size": [56, 56], "patch_size": [14, 14]}},
        Example(image=Image(height=56, width=112), images=2, text_tokens=7),
    ),
    "llama4": (
        {
            "text_config": TEXT | {"intermediate_size": 16, "intermediate_size_mlp": 24, "num_local_experts": 4},
            "vision_config": TOWER
            | {"image_size": 56, "intermediate_size": 96, "projector_input_dim": 20}
            | {"projector_output_dim": 20, "vision_output_dim": 20},
        },
        Example(image=Image(height=50, width=120), images=2, text_tokens=7),
    ),
    "llava": (
        {"text_config": LLAMA, "vision_config": CLIP},
        Example(image=Image(height=30, width=90), images=2, text_tokens=7),
    ),
    "llava-joined": (
        {"text_config": LLAMA, "vision_config": CLIP, "vision_feature_layer": [-2, 1]},
        Example(image=Image(height=30, width=90), images=2, text_tokens=7),
    ),
    "llava-pooled": (
        {"text_config": LLAMA, "vision_config": POOLED, "vision_feature_layer": -2, "vision_feature_select_strategy": "full"},
        Example(image=Image(height=30, width=90), images=2, text_tokens=7),
    ),
    "llava_onevision-pooled": (
        {"text_config": QWEN, "vision_config": POOLED, "image_grid_pinpoints": [[56, 112], [112, 56], [112, 112]]},
        Example(image=Image(height=110, width=112), images=2, text_tokens=7),
    ),
    "llava-pixtral": (
        {"text_config": LLAMA, "vision_config": PIXTRAL, "vision_feature_layer": -1, "vision_feature_select_strategy": "full"},
        Example(image=Image(height=90, width=60), images=1, text_tokens=7),
    ),
    "llava_next": (
        {"text_config": LLAMA, "vision_config": CLIP, "image_grid_pinpoints": [[56, 112], [112, 56], [112, 112]]},
        Example(image=Image(height=50, width=120), images=2, text_tokens=7),
    ),
    "llava_onevision": (
        {"text_config": QWEN, "vision_config": SIGLIP, "image_grid_pinpoints": [[56, 112], [112, 56], [112, 112]]},
        Example(image=Image(height=110, width=112), images=2, text_tokens=7),
    ),
    "mistral3": (
        {"text_config": TEXT | {"model_type": "mistral", "head_dim": 8, "tie_word_embeddings": False}, "vision_config": PIXTRAL}
        | {
            "spatial_merge_size": 2,
            "tie_word_embeddings": False,
        },  # said: unsaid, transformers ties what the checkpoint has untied
        Example(image=Image(height=90, width=60), images=1, text_tokens=7),
    ),
    "mllama": (
        {
            "text_config": TEXT | {"num_hidden_layers": 5, "cross_attention_layers": [1, 3]},
            "vision_config": {"hidden_size": 24, "num_hidden_layers": 3, "num_global_layers": 2, "attention_heads": 2}
            | {"intermediate_size": 40, "image_size": 42, "patch_size": 14, "vision_output_dim": 72, "intermediate_layers_indices": [0, 2]},
        },
        Example(image=Image(height=50, width=70), images=2, text_tokens=7),
    ),
    "qwen2_5_vl": (
        {"text_config": TEXT | MROPE, "vision_config": QWEN_TOWER | {"fullatt_block_indexes": [1], "window_size": 56}} | VISION_TOKENS,
        Example(image=Image(height=140, width=196), images=2, text_tokens=9),
    ),
    "qwen2_vl": (
        {
            "text_config": TEXT | MROPE,
            "vision_config": {"depth": 2, "embed_dim": 24, "num_heads": 2, "hidden_size": 32, "mlp_ratio": 2},
        }
        | VISION_TOKENS,
        Example(image=Image(height=140, width=84), images=2, text_tokens=9),
    ),
    "qwen3_vl": (
        {
            "text_config": TEXT | MROPE | {"head_dim": 8},
            "vision_config": QWEN_TOWER | {"patch_size": 16, "deepstack_visual_indexes": [0, 1], "num_position_embeddings": 64},
        }
        | VISION_TOKENS,
        Example(image=Image(height=256, width=320), images=2, text_tokens=9),
    ),
    "smolvlm": (
        {"text_config": LLAMA, "vision_config": TOWER | {"image_size": 56}, "scale_factor": 2},
        Example(image=Image(height=100, width=60), images=2, text_tokens=5),
    ),
}
"""One of each family, and of each tower."""


def config_of(name: str) -> Config:
    family, image = name.partition("-")[0], "image_token_id" if "qwen" in name or name.startswith(("idefics", "smol", "intern")) else ""
    return SMALL[name][0] | {"model_type": family, image or "image_token_index": IMAGE_TOKEN}


def built(name: str) -> VisionLanguage:
    return whole(Fields(config_of(name), name), name, Source(title=name), SMALL[name][1])


def _network(name: str, model: VisionLanguage, batch: int) -> SampleNetwork:
    return network_of(config_of(name), model, Workload(phase="train", batch=batch))


def torchs(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return _network(name, built(name), batch=1).build("eager", torch.float32).train()


def inputs(name: str, model: VisionLanguage, batch: int) -> dict[str, torch.Tensor]:
    """One step's inputs, as a run of the model makes them."""
    return _network(name, model, batch).drawn(0)


def counted(module: torch.nn.Module, given: dict[str, Any], *, train: bool) -> tuple[int, int]:
    """FLOP forward and backward by torch's counter, on the CPU: the sizes of windows are data."""
    counter = meta.flop_counter()
    with torch.set_grad_enabled(train), counter:
        loss = module(**given).loss
    forward = counter.get_total_flops()
    if not train:
        return forward, 0
    with counter:
        loss.backward()
    return forward, counter.get_total_flops()
