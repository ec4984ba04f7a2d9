"""One small model of every kind of layer that a builder has, as deep as is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Config = dict[str, Any]

VOCAB = 512
WIDTHS: Config = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 176,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
    "pad_token_id": 0,
}
GPT: Config = {"vocab_size": VOCAB, "n_embd": 64, "n_head": 4, "n_positions": 256, "bos_token_id": 0, "eos_token_id": 0}
HEADS: Config = {"head_dim": 16}
MIXTURE: Config = {"num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2}
ROUTED: Config = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48, "first_k_dense_replace": 0}
LATENT: Config = {
    "num_key_value_heads": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 48,
    "q_lora_rank": 24,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 12,
    "qk_rope_head_dim": 8,
    "v_head_dim": 12,
    "first_k_dense_replace": 0,
    "topk_group": 1,
}

COMPRESSED: Config = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "head_dim": 16,
    "q_lora_rank": 24,
    "o_groups": 2,
    "o_lora_rank": 12,
    "moe_intermediate_size": 48,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "sliding_window": 8,
    "index_n_heads": 2,
    "index_head_dim": 8,
    "index_topk": 5,
    "compress_rates": {"compressed_sparse_attention": 4, "heavily_compressed_attention": 8},
    "hc_sinkhorn_iters": 3,
}

INDEXED: Config = {"index_n_heads": 2, "index_head_dim": 8, "index_topk": 16}


ENCODER: Config = {key: WIDTHS[key] for key in ("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "pad_token_id")}
T5: Config = {
    "vocab_size": VOCAB,
    "d_model": 64,
    "d_kv": 16,
    "d_ff": 176,
    "num_heads": 4,
    "tie_word_embeddings": False,
    "decoder_start_token_id": 0,
}
BART: Config = {
    "vocab_size": VOCAB,
    "d_model": 64,
    "encoder_ffn_dim": 176,
    "decoder_ffn_dim": 176,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 0,
    "forced_eos_token_id": 2,
}
PATCHES: Config = {"hidden_size": 64, "intermediate_size": 176, "num_attention_heads": 4, "image_size": 32, "patch_size": 8}
CLIPS_TEXT: Config = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 176,
    "num_attention_heads": 4,
    "max_position_embeddings": 39,
    "eos_token_id": VOCAB - 1,
}

NAFLEX: Config = {key: value for key, value in PATCHES.items() if key != "image_size"} | {"num_patches": 16}
SIGLIPS_TEXT: Config = {key: value for key, value in CLIPS_TEXT.items() if key != "eos_token_id"}


WAVES: Config = {
    "hidden_size": 64,
    "intermediate_size": 176,
    "num_attention_heads": 4,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "conv_dim": [16, 16],
    "conv_kernel": [10, 3],
    "conv_stride": [800, 8],
    "apply_spec_augment": False,
}


MAMBA2: Config = {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_n_groups": 1, "mamba_d_state": 16, "mamba_chunk_size": 16}


def _full(depth: int) -> list[str]:
    return ["full_attention"] * depth


def _sparse(depth: int) -> list[str]:
    return ["sparse"] * depth


def _linear(depth: int) -> list[str]:
    return ["linear_attention"] * depth


DELTA_RULE = ("kimi_linear", "qwen3_5_moe_text", "qwen3_5_text", "qwen3_next")

BY_DEPTH: Mapping[str, Mapping[str, Callable[[int], Any]]] = {
    **{name: {"encoder_layers": int, "decoder_layers": int} for name in ("bart", "marian", "mbart", "pegasus", "whisper")},
    **{name: {"num_layers": int, "num_decoder_layers": int} for name in ("mt5", "t5")},
    "bamba": {"num_hidden_layers": int, "attn_layer_indices": lambda depth: []},
    "bloom": {"n_layer": int},
    "clip": {
        "text_config": lambda depth: CLIPS_TEXT | {"num_hidden_layers": depth},
        "vision_config": lambda depth: PATCHES | {"num_hidden_layers": depth},
    },
    "codegen": {"n_layer": int},
    "siglip": {
        "text_config": lambda depth: SIGLIPS_TEXT | {"num_hidden_layers": depth},
        "vision_config": lambda depth: PATCHES | {"num_hidden_layers": depth},
    },
    "dbrx": {"n_layers": int},
    "distilbert": {"n_layers": int},
    "cwm": {"num_hidden_layers": int, "layer_types": _full},
    "exaone4": {"num_hidden_layers": int, "layer_types": _full},
    "deepseek_v4": {"num_hidden_layers": int, "layer_types": lambda depth: ["compressed_sparse_attention"] * depth},
    "falcon": {"num_hidden_layers": int},
    "gemma3n_text": {
        "num_hidden_layers": int,
        "layer_types": _full,
        "activation_sparsity_pattern": lambda depth: [0.5] * depth,
    },
    "gemma4_text": {"num_hidden_layers": int, "layer_types": _full},
    "glm4_moe_lite": {"num_hidden_layers": int, "mlp_layer_types": _sparse},
    "gpt2": {"n_layer": int},
    "gpt_bigcode": {"n_layer": int},
    "gpt_neo": {"num_layers": int, "attention_types": lambda depth: [[["global"], depth]]},
    "gptj": {"n_layer": int},
    "exaone_moe": {"num_hidden_layers": int, "layer_types": _full},
    "llama4_text": {
        "num_hidden_layers": int,
        "layer_types": _full,
        "no_rope_layers": lambda depth: [1] * depth,
        "moe_layers": lambda depth: list(range(depth)),
    },
    "lfm2_moe": {"num_hidden_layers": int, "layer_types": _full},
    "lfm2": {"num_hidden_layers": int, "layer_types": lambda depth: ["conv"] * depth},
    "mpt": {"n_layers": int},
    "nemotron_h": {"layers_block_type": lambda depth: ["linear_attention"] * depth},
    "olmo3": {"num_hidden_layers": int, "layer_types": _full},
    **{name: {"num_hidden_layers": int, "layer_types": _linear} for name in DELTA_RULE},
    "siglip2": {
        "text_config": lambda depth: SIGLIPS_TEXT | {"num_hidden_layers": depth},
        "vision_config": lambda depth: NAFLEX | {"num_hidden_layers": depth},
    },
    "zamba2": {"num_hidden_layers": int, "layers_block_type": lambda depth: ["hybrid"] * depth},
    "segformer": {"depths": lambda depth: [depth]},
    "swin": {"depths": lambda depth: [depth]},
    "swinv2": {"depths": lambda depth: [depth]},
}
"""Fields that say how deep a model is, where that is not `num_hidden_layers` alone."""

DENSE: Mapping[str, Config] = {
    **dict.fromkeys(("apertus", "arcee", "bitnet", "exaone"), WIDTHS),
    **dict.fromkeys(("cohere", "granite", "internlm3", "llama", "nemotron", "olmo", "olmo2", "phi", "phi3"), WIDTHS),
    **dict.fromkeys(("qwen2", "smollm3", "stablelm", "starcoder2"), WIDTHS),
    **dict.fromkeys(("helium", "hunyuan_v1_dense", "iquestcoder"), WIDTHS | HEADS),
    **dict.fromkeys(("ernie4_5", "gemma", "glm", "glm4", "ministral3", "qwen3", "seed_oss"), WIDTHS | HEADS),
    **dict.fromkeys(("cohere2", "exaone4", "mistral", "olmo3"), WIDTHS | {"sliding_window": 4096}),
    "gemma3n_text": WIDTHS
    | HEADS
    | {"sliding_window": 4096, "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": VOCAB}
    | {"num_kv_shared_layers": 0, "laurel_rank": 4},
    "gemma4_text": WIDTHS
    | HEADS
    | {"sliding_window": 4096, "global_head_dim": 16, "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": VOCAB},
    **dict.fromkeys(("cwm", "gemma2", "gemma3_text", "ministral", "vaultgemma"), WIDTHS | HEADS | {"sliding_window": 4096}),
    "mllama_text_model": WIDTHS | {"cross_attention_layers": [], "architectures": ["MllamaForCausalLM"]},
    **dict.fromkeys(("gpt2", "gpt_bigcode"), GPT),
    **dict.fromkeys(("codegen", "gptj"), GPT | {"rotary_dim": 4}),
    "bloom": {"vocab_size": VOCAB, "hidden_size": 64, "n_head": 4, "tie_word_embeddings": False},
    "falcon": {
        "vocab_size": VOCAB,
        "hidden_size": 64,
        "num_attention_heads": 4,
        "ffn_hidden_size": 176,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
    "gpt_neo": {
        "vocab_size": VOCAB,
        "hidden_size": 64,
        "num_heads": 4,
        "max_position_embeddings": 256,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
    "gpt_neox": {key: value for key, value in WIDTHS.items() if key != "num_key_value_heads"},
    "mpt": {"vocab_size": VOCAB, "d_model": 64, "n_heads": 4, "max_seq_len": 256},
    "opt": WIDTHS | {"ffn_dim": 176, "word_embed_proj_dim": 64},
}
"""Decoders without experts: model_type -> its fields."""

EXPERTS: Mapping[str, Config] = {
    **dict.fromkeys(("granitemoe", "mixtral", "olmoe", "phimoe"), WIDTHS | MIXTURE),
    "dbrx": {
        "vocab_size": VOCAB,
        "d_model": 64,
        "n_heads": 4,
        "max_seq_len": 256,
        "attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8},
        "ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2, "hidden_size": 64},
    },
    "deepseek_v2": WIDTHS | LATENT | {"n_group": 1},
    "deepseek_v3": WIDTHS | LATENT | {"n_group": 2},
    "deepseek_v32": WIDTHS | LATENT | INDEXED | {"n_group": 2},
    "glm4_moe_lite": WIDTHS | LATENT | {"n_group": 1},
    "glm_moe_dsa": WIDTHS | LATENT | INDEXED | {"n_group": 1},
    "deepseek_v4": COMPRESSED,
    "dots1": WIDTHS | ROUTED | {"n_shared_experts": 1, "sliding_window": None},
    "ernie4_5_moe": WIDTHS | {"moe_intermediate_size": 48, "moe_num_experts": 4, "moe_k": 2, "moe_layer_start_index": 0},
    "exaone_moe": WIDTHS | ROUTED | {"num_experts": 4, "sliding_window": 4096},
    "glm4_moe": WIDTHS | HEADS | ROUTED,
    "gpt_oss": WIDTHS | HEADS | MIXTURE | {"sliding_window": 4096},
    "hunyuan_v1_moe": WIDTHS | HEADS | {"num_experts": 4, "moe_topk": 2},
    "llama4_text": WIDTHS
    | HEADS
    | {"intermediate_size_mlp": 112, "num_local_experts": 4, "num_experts_per_tok": 1, "attention_chunk_size": 4096},
    "lfm2_moe": WIDTHS | MIXTURE | {"moe_intermediate_size": 48, "num_dense_layers": 0},
    "minimax_m2": WIDTHS | HEADS | MIXTURE,
    "qwen2_moe": WIDTHS | MIXTURE | {"moe_intermediate_size": 48, "shared_expert_intermediate_size": 80},
    "qwen3_moe": WIDTHS | HEADS | MIXTURE | {"moe_intermediate_size": 48},
    "sarvam_mla": WIDTHS | LATENT,
}
"""Decoders with experts in every layer."""


DELTA: Config = {"linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 16, "linear_value_head_dim": 16}
DELTA_MIXTURE: Config = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48, "shared_expert_intermediate_size": 80}

MIXERS: Mapping[str, Config] = {
    "bamba": WIDTHS | MAMBA2 | {"mamba_expand": 2},
    "falcon_h1": WIDTHS | HEADS | MAMBA2 | {"mamba_d_ssm": 128},
    "falcon_mamba": {"vocab_size": VOCAB, "hidden_size": 64, "state_size": 8},
    "granitemoehybrid": WIDTHS | MAMBA2 | {"mamba_expand": 2, "num_local_experts": 0, "shared_intermediate_size": 80},
    "kimi_linear": {key: value for key, value in LATENT.items() if key not in ("n_routed_experts", "topk_group")}
    | WIDTHS
    | {"num_key_value_heads": 4, "num_experts": 4, "q_lora_rank": None, "linear_head_dim": 16, "linear_num_heads": 4},
    "lfm2": WIDTHS | {"block_auto_adjust_ff_dim": False},
    "nemotron_h": WIDTHS
    | HEADS
    | {"mamba_num_heads": 8, "mamba_head_dim": 16, "ssm_state_size": 16, "n_groups": 2, "chunk_size": 16}
    | {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48, "moe_shared_expert_intermediate_size": 80},
    "jamba": WIDTHS
    | {
        "num_experts": 2,
        "num_experts_per_tok": 1,
        "attn_layer_period": 1000,
        "attn_layer_offset": 999,
        "expert_layer_period": 1000,
        "expert_layer_offset": 999,
        "mamba_d_state": 8,
        "use_mamba_kernels": False,
    },
    "mamba": {"vocab_size": VOCAB, "hidden_size": 64, "state_size": 8},
    "zamba2": WIDTHS
    | {"num_key_value_heads": 4, "n_mamba_heads": 8, "mamba_d_state": 16, "chunk_size": 16, "adapter_rank": 4}
    | {"use_shared_attention_adapter": True, "use_mem_rope": True},
    "mamba2": {
        "vocab_size": VOCAB,
        "hidden_size": 64,
        "state_size": 16,
        "num_heads": 8,
        "head_dim": 16,
        "expand": 2,
        "n_groups": 1,
        "chunk_size": 16,
    },
    "qwen3_5_moe_text": WIDTHS | HEADS | DELTA | DELTA_MIXTURE,
    "qwen3_5_text": WIDTHS | HEADS | DELTA,
    "qwen3_next": WIDTHS | HEADS | DELTA | DELTA_MIXTURE,
}
"""State spaces and the delta rule: every layer has one, in Falcon-H1 beside attention."""

ENCODERS: Mapping[str, Config] = {
    "albert": ENCODER | {"embedding_size": 32, "architectures": ["AlbertForMaskedLM"]},
    "bert": ENCODER | {"architectures": ["BertForMaskedLM"]},
    "deberta-v2": ENCODER
    | {
        "relative_attention": True,
        "position_buckets": 16,
        "pos_att_type": "p2c|c2p",
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "position_biased_input": False,
        "architectures": ["DebertaV2ForMaskedLM"],
    },
    "distilbert": {"vocab_size": VOCAB, "dim": 64, "hidden_dim": 176, "n_heads": 4, "architectures": ["DistilBertForMaskedLM"]},
    "electra": ENCODER | {"embedding_size": 32, "architectures": ["ElectraForMaskedLM"]},
    "eurobert": ENCODER | {"num_key_value_heads": 2, "architectures": ["EuroBertForMaskedLM"]},
    "modernbert": ENCODER | {"local_attention": 4096, "architectures": ["ModernBertForMaskedLM"]},
    "mpnet": ENCODER | {"architectures": ["MPNetForMaskedLM"]},
    "nomic_bert": ENCODER | {"architectures": ["NomicBertForMaskedLM"]},
    "roberta": ENCODER | {"architectures": ["RobertaForMaskedLM"]},
    "xlm-roberta": ENCODER | {"architectures": ["XLMRobertaForMaskedLM"]},
}
"""Encoders with a head over their vocabulary."""

ENCODER_DECODERS: Mapping[str, Config] = {
    "bart": BART | {"architectures": ["BartForConditionalGeneration"]},
    "marian": BART | {"architectures": ["MarianMTModel"]},
    "mbart": BART | {"architectures": ["MBartForConditionalGeneration"]},
    "mt5": T5 | {"architectures": ["MT5ForConditionalGeneration"]},
    "pegasus": BART | {"architectures": ["PegasusForConditionalGeneration"]},
    "t5": T5 | {"architectures": ["T5ForConditionalGeneration"]},
    "whisper": {
        **{key: value for key, value in BART.items() if key not in ("max_position_embeddings", "forced_eos_token_id")},
        "max_source_positions": 36,
        "max_target_positions": 64,
        "num_mel_bins": 16,
        "suppress_tokens": None,
        "begin_suppress_tokens": None,
        "architectures": ["WhisperForConditionalGeneration"],
    },
}
"""An encoder and a decoder, as deep as each other."""

IMAGES: Mapping[str, Config] = {
    "clip": {"projection_dim": 16, "architectures": ["CLIPModel"]},
    "beit": PATCHES | {"num_labels": 10, "use_relative_position_bias": True, "architectures": ["BeitForImageClassification"]},
    "deit": PATCHES | {"num_labels": 10, "architectures": ["DeiTForImageClassification"]},
    "dinov2": {key: value for key, value in PATCHES.items() if key != "intermediate_size"}
    | {"num_labels": 10, "architectures": ["Dinov2ForImageClassification"]},
    "dinov2_with_registers": {key: value for key, value in PATCHES.items() if key != "intermediate_size"}
    | {"num_labels": 10, "architectures": ["Dinov2WithRegistersForImageClassification"]},
    "dinov3_vit": PATCHES | {"num_register_tokens": 4, "architectures": ["DINOv3ViTModel"]},
    "segformer": {
        "num_encoder_blocks": 1,
        "hidden_sizes": [32],
        "num_attention_heads": [2],
        "sr_ratios": [2],
        "patch_sizes": [7],
        "strides": [4],
        "mlp_ratios": [4],
        "image_size": 64,
        "drop_path_rate": 0.0,
        "num_labels": 10,
        "architectures": ["SegformerForImageClassification"],
    },
    "siglip": {"architectures": ["SiglipModel"]},
    "siglip2": {"architectures": ["Siglip2Model"]},
    "siglip_vision_model": PATCHES | {"architectures": ["SiglipVisionModel"]},
    "hubert": WAVES | {"architectures": ["HubertForSequenceClassification"]},
    "wav2vec2": WAVES | {"architectures": ["Wav2Vec2ForSequenceClassification"]},
    "wavlm": WAVES | {"architectures": ["WavLMForSequenceClassification"]},
    "swin": {
        "image_size": 64,
        "patch_size": 4,
        "embed_dim": 32,
        "num_heads": [2],
        "window_size": 8,
        "num_labels": 10,
        "architectures": ["SwinForImageClassification"],
    },
    "swinv2": {
        "image_size": 64,
        "patch_size": 4,
        "embed_dim": 32,
        "num_heads": [2],
        "window_size": 8,
        "num_labels": 10,
        "architectures": ["Swinv2ForImageClassification"],
    },
    "vit": PATCHES | {"num_labels": 10, "architectures": ["ViTForImageClassification"]},
}
"""Transformers over patches."""


IN_FP32: Mapping[str, Config] = {
    "deberta": ENCODER
    | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_biased_input": False, "architectures": ["DebertaForMaskedLM"]},
}
"""Encoders that transformers cannot run under autocast."""

MAPS: Mapping[str, Config] = {
    "convnext": {
        "hidden_sizes": [16, 32],
        "depths": [2, 1],
        "num_stages": 2,
        "image_size": 64,
        "patch_size": 4,
        "num_labels": 10,
        "architectures": ["ConvNextForImageClassification"],
    },
    "convnextv2": {
        "hidden_sizes": [16, 32],
        "depths": [2, 1],
        "num_stages": 2,
        "image_size": 64,
        "patch_size": 4,
        "num_labels": 10,
        "architectures": ["ConvNextV2ForImageClassification"],
    },
    "mobilenet_v2": {"image_size": 64, "num_labels": 10, "architectures": ["MobileNetV2ForImageClassification"]},
    "resnet": {
        "embedding_size": 16,
        "hidden_sizes": [16, 32],
        "depths": [2, 3],
        "num_labels": 10,
        "image_size": 64,
        "architectures": ["ResNetForImageClassification"],
    },
}
"""Networks over maps of an image, whose depth is a list of its own."""


def kind(model_type: str, fields: Mapping[str, Any], depth: int) -> Config:
    """The configuration of a family as deep as is said."""
    deep = BY_DEPTH.get(model_type, {"num_hidden_layers": int})
    return {"model_type": model_type, **fields} | {key: of_depth(depth) for key, of_depth in deep.items()}
