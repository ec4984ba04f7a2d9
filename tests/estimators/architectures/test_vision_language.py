"""Vision-language models: the language part counts like torch, and what was left out is said."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText

from bench.backend.counting import meta
from bench.backend.models import hf_config
from estimators.architectures import FAMILIES
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.spec import Workload
from tests.support.drawn_decoders import agree

Config = dict[str, Any]
CLIP, SIGLIP = ({"model_type": f"{kind}_vision_model"} for kind in ("clip", "siglip"))
IMAGES = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
QWEN_IMAGES = {"depth": 1, "hidden_size": 32, "num_heads": 2}
MROPE = {"rope_scaling": {"rope_type": "default", "mrope_section": [2, 1, 1]}}
TEXT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 50}
TEXT |= {"pad_token_id": 0}

VISION_LANGUAGE: dict[str, Config] = {
    "aya_vision": {"text_config": TEXT | {"sliding_window": 9}, "vision_config": IMAGES | SIGLIP},
    "gemma3": {"text_config": TEXT | {"model_type": "gemma3_text", "sliding_window": 9}, "vision_config": IMAGES},
    "idefics3": {"text_config": TEXT | {"model_type": "llama"}, "vision_config": IMAGES},
    "internvl": {"text_config": TEXT | {"model_type": "qwen2"}, "vision_config": IMAGES | {"image_size": [28, 28], "patch_size": [14, 14]}},
    "llava": {"text_config": TEXT | {"model_type": "llama", "tie_word_embeddings": True}, "vision_config": IMAGES | CLIP},
    "llava_next": {"text_config": TEXT | {"model_type": "mistral", "tie_word_embeddings": True}, "vision_config": IMAGES | CLIP},
    "llava_onevision": {"text_config": TEXT | {"model_type": "qwen2"}, "vision_config": IMAGES | SIGLIP},
    "mistral3": {"text_config": TEXT | {"model_type": "ministral3", "head_dim": 8}, "vision_config": IMAGES | {"model_type": "pixtral"}},
    "qwen2_5_vl": {"text_config": TEXT | MROPE, "vision_config": QWEN_IMAGES | {"out_hidden_size": 32, "intermediate_size": 32}},
    "qwen2_vl": TEXT
    | MROPE
    | {"tie_word_embeddings": True, "vision_config": {"depth": 1, "embed_dim": 32, "hidden_size": 32, "num_heads": 2}},
    "qwen3_vl": {
        "text_config": TEXT | MROPE | {"head_dim": 8},
        "vision_config": QWEN_IMAGES | {"out_hidden_size": 32, "intermediate_size": 32, "deepstack_visual_indexes": [0]},
    },
    "smolvlm": {"text_config": TEXT | {"model_type": "llama"}, "vision_config": IMAGES},
}


def test_no_vision_language_family_is_without_a_test() -> None:
    assert {model_type for model_type, where in FAMILIES.items() if where == "vision.language_part"} == VISION_LANGUAGE.keys()


@pytest.mark.parametrize("model_type", VISION_LANGUAGE)
def test_the_language_part_of_a_vision_language_model_counts_like_torch(model_type: str) -> None:
    config = VISION_LANGUAGE[model_type] | {"model_type": model_type}
    with torch.device("meta"):
        module = AutoModelForImageTextToText.from_config(hf_config(config), attn_implementation="eager").eval()
    parts = [part for name, part in module.named_modules() if name in ("model.language_model", "model.text_model", "lm_head")]
    params = sum({id(p): p.numel() for part in parts for p in part.parameters()}.values())
    model = model_from_config(config, model_type)
    for workload in (Workload(phase="train", batch=2, seq_len=12), Workload(phase="decode", batch=3, context_len=14)):
        agree(model, module, workload, params)
    assert isinstance(model, Decoder)
    assert model.left_out.startswith("the vision encoder")
    assert params < meta.params_of(module)


def test_nothing_is_left_out_of_a_model_of_text() -> None:
    model = model_from_config({"model_type": "gemma3_text"}, "text")
    assert isinstance(model, Decoder)
    assert model.left_out == ""
