"""Small models of images and text, one of each family."""

from __future__ import annotations

from tests.support.drawn_decoders import Config

CLIP, SIGLIP = ({"model_type": f"{kind}_vision_model"} for kind in ("clip", "siglip"))
IMAGES = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
QWEN_IMAGES = {"depth": 1, "hidden_size": 32, "num_heads": 2}
MROPE = {"rope_scaling": {"rope_type": "default", "mrope_section": [2, 1, 1]}}
TEXT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 50}
TEXT |= {"pad_token_id": 0}

GLM = {"rope_scaling": MROPE["rope_scaling"] | {"partial_rotary_factor": 1.0}}
MERGED_IMAGES = QWEN_IMAGES | {"out_hidden_size": 32, "intermediate_size": 32}
DELTA = {"head_dim": 8, "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8}
DELTA |= {"layer_types": ["linear_attention", "full_attention"], "rope_scaling": MROPE["rope_scaling"] | {"partial_rotary_factor": 1.0}}

VISION_LANGUAGE: dict[str, Config] = {
    "aya_vision": {"text_config": TEXT | {"sliding_window": 9}, "vision_config": IMAGES | SIGLIP},
    "gemma3": {"text_config": TEXT | {"model_type": "gemma3_text", "sliding_window": 9}, "vision_config": IMAGES},
    "gemma4": {
        "text_config": TEXT | {"model_type": "gemma4_text", "sliding_window": 9, "vocab_size_per_layer_input": 50},
        "vision_config": IMAGES | {"model_type": "gemma4_vision"},
        "audio_config": None,
    },
    "glm46v": {"text_config": TEXT | GLM | {"model_type": "glm4v_text"}, "vision_config": MERGED_IMAGES},
    "glm4v": {"text_config": TEXT | GLM, "vision_config": MERGED_IMAGES},
    "glm4v_moe": {
        "text_config": TEXT | GLM | {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
        "vision_config": MERGED_IMAGES,
    },
    "idefics3": {"text_config": TEXT | {"model_type": "llama"}, "vision_config": IMAGES},
    "internvl": {"text_config": TEXT | {"model_type": "qwen2"}, "vision_config": IMAGES | {"image_size": [28, 28], "patch_size": [14, 14]}},
    "llama4": {
        "text_config": TEXT | {"model_type": "llama4_text", "intermediate_size": 16, "intermediate_size_mlp": 24, "num_local_experts": 4},
        "vision_config": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 128},
    },
    "llava": {"text_config": TEXT | {"model_type": "llama", "tie_word_embeddings": True}, "vision_config": IMAGES | CLIP},
    "llava_next": {"text_config": TEXT | {"model_type": "mistral", "tie_word_embeddings": True}, "vision_config": IMAGES | CLIP},
    "llava_onevision": {"text_config": TEXT | {"model_type": "qwen2"}, "vision_config": IMAGES | SIGLIP},
    "mistral3": {"text_config": TEXT | {"model_type": "ministral3", "head_dim": 8}, "vision_config": IMAGES | {"model_type": "pixtral"}},
    "mllama": {
        "text_config": TEXT | {"num_hidden_layers": 5, "cross_attention_layers": [1, 3], "intermediate_size": 48},
        "vision_config": {"hidden_size": 32, "num_hidden_layers": 2, "num_global_layers": 1, "attention_heads": 2, "intermediate_size": 64}
        | {"image_size": 28, "vision_output_dim": 64, "intermediate_layers_indices": [0]},
    },
    "qwen2_5_vl": {"text_config": TEXT | MROPE, "vision_config": MERGED_IMAGES},
    "qwen2_vl": TEXT
    | MROPE
    | {"tie_word_embeddings": True, "vision_config": {"depth": 1, "embed_dim": 32, "hidden_size": 32, "num_heads": 2}},
    "qwen3_5": {"text_config": TEXT | DELTA, "vision_config": MERGED_IMAGES},
    "qwen3_5_moe": {
        "text_config": TEXT | DELTA | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
        "vision_config": MERGED_IMAGES,
    },
    "qwen3_vl": {
        "text_config": TEXT | MROPE | {"head_dim": 8},
        "vision_config": MERGED_IMAGES | {"deepstack_visual_indexes": [0]},
    },
    "qwen3_vl_moe": {
        "text_config": TEXT | MROPE | {"head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24},
        "vision_config": QWEN_IMAGES | {"out_hidden_size": 32, "intermediate_size": 32, "deepstack_visual_indexes": [0]},
    },
    "smolvlm": {"text_config": TEXT | {"model_type": "llama"}, "vision_config": IMAGES},
}

INSIDE_VISION_LANGUAGE = {
    "glm4v_moe_text",
    "glm4v_text",
    "mistral4",
    "qwen2_vl_text",
    "qwen2_5_omni_text",
    "qwen2_5_vl_text",
    "qwen3_omni_moe_text",
    "qwen3_vl_moe_text",
    "qwen3_vl_text",
}
"""Types of language parts that no class of transformers runs or trains by themselves."""
