"""LLaMA-Factory's YAML, which takes every key of the Trainer beside its own.

Source: LLaMA-Factory 0.9, hparams (model_args.py, data_args.py, finetuning_args.py, parser.py), model/adapter.py,
model/model_utils/quantization.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from estimators.errors import BadValueError
from estimators.training.layouts.launchers.keys import NOT_PRICED, Refused, word
from estimators.tuning.readers import trainer_keys
from estimators.tuning.readers.rules import (
    FOUR_BITS,
    Format,
    Rule,
    count,
    is_on,
    names,
    number,
    one_word,
    saved_modules,
    switch,
    text,
    whole,
)
from estimators.tuning.recipes import recipe
from estimators.tuning.settings import Value

_OWN: dict[str, Rule] = {
    "model_name_or_path": text("model"),
    "finetuning_type": one_word("method", {"lora": "lora", "full": "full", "freeze": "freeze"}),
    "lora_rank": count("lora_rank"),
    "lora_target": names("lora_targets", all_of_them=("all",)),
    "lora_dropout": number("lora_dropout", maximum=0.99),
    "use_dora": switch({"dora": True}),
    "additional_target": saved_modules(),
    "cutoff_len": count("seq_len"),
    "flash_attn": one_word(
        "attention", {"auto": "sdpa", "disabled": "eager", "off": "eager", "false": "eager", "sdpa": "sdpa", "fa2": "flash", "fa3": "flash"}
    ),
    "enable_liger_kernel": switch({"loss": "liger-fused"}),
    "gradient_checkpointing": switch({"checkpointing": "full"}),  # off, it leaves LLaMA-Factory's own on
    "disable_gradient_checkpointing": switch({"checkpointing": "none"}, {"checkpointing": "full"}),
    "galore_rank": count("optimizer_rank"),
    "apollo_rank": count("optimizer_rank"),
}
RULES = {**trainer_keys.RULES, **_OWN}

_ALSO = (
    *("stage", "pref_loss", "ref_model", "quantization_bit", "quantization_method", "quantization_type", "double_quantization"),
    *("pure_bf16", "use_galore", "galore_layerwise", "use_apollo", "apollo_layerwise", "use_unsloth_gc"),
    *("freeze_trainable_layers", "freeze_trainable_modules", "packing", "neat_packing"),
)

_HARMLESS = (
    *("adapter_folder", "adapter_name_or_path", "add_special_tokens", "add_tokens", "additional_tokens", "apollo_*", "audio_*", "badam_*"),
    *("buffer_size", "cache_dir", "compute_accuracy", "create_new_adapter", "dataset", "dataset_dir", "disable_shuffling"),
    *("dpo_label_smoothing", "early_stopping_steps", "eval_*", "export_*", "freeze_multi_modal_projector", "freeze_vision_tower"),
    *("galore_*", "hf_hub_token", "ignore_pad_token_for_loss", "image_*", "infer_*", "init_special_tokens", "interleave_probs"),
    *("kto_*", "ld_alpha", "lora_alpha", "loraplus_*", "low_cpu_mem_usage", "mask_history", "max_samples", "media_dir", "mix_strategy"),
    *("model_revision", "moe_aux_loss_coef", "ms_hub_token", "new_special_tokens_config", "offload_folder", "om_hub_token"),
    *("overwrite_cache", "oft_*", "module_dropout", "pissa_*", "plot_loss", "pref_beta", "pref_bco_weight", "pref_ftx"),
    *("preprocessing_*", "print_param_status", "ray_*", "resize_vocab", "reward_model_*", "rope_scaling", "simpo_gamma"),
    *("split_special_tokens", "streaming", "swanlab_*", "template", "tokenized_path", "tool_format", "train_from_scratch"),
    *("train_on_prompt", "trust_remote_code", "use_dft_loss", "use_fast_tokenizer", "use_kv_cache", "use_reentrant_gc", "use_rslora"),
    *("use_swanlab", "val_size", "video_*", "vllm_*", "generation_*", "predict_with_generate", "crop_to_patches", "default_system"),
    *("enable_thinking", "do_sample", "temperature", "top_p", "top_k", "num_beams", "max_length", "max_new_tokens", "length_penalty"),
    *("repetition_penalty", "skip_special_tokens", "ref_model_adapters", "ppo_*", "use_audio_in_video", "fp8_*"),
)

_REFUSED = {
    "use_badam": Refused(why=NOT_PRICED),
    "use_adam_mini": Refused(why=NOT_PRICED),
    "use_muon": Refused(why=NOT_PRICED),
    "use_llama_pro": Refused(why=NOT_PRICED),
    "use_mca": Refused(why=NOT_PRICED),
    "mixture_of_depths": Refused(why=NOT_PRICED),
    "shift_attn": Refused(why=NOT_PRICED),
    "quantization_device_map": Refused(why=NOT_PRICED),
    "freeze_extra_modules": Refused(why=NOT_PRICED),
    "freeze_language_model": Refused(why=NOT_PRICED),
    "reward_model": Refused(why=NOT_PRICED),
}

_USUAL = {
    "upcast_layernorm": ("norms as they were loaded", "false"),
    "upcast_lmhead_output": ("logits as the recipe has them", "false"),
    "use_unsloth": ("transformers' own kernels", "false"),
    "use_v1_kernels": ("transformers' own kernels", "false"),
    "ref_model_quantization_bit": ("a reference in 16 bits",),
}

_STAGES = {"pt": "sft", "sft": "sft", "rm": "reward", "dpo": "dpo", "kto": "kto"}


def also(values: Mapping[str, Any]) -> dict[str, dict[str, Value | None]]:
    """What several keys mean together."""
    said = trainer_keys.together(values)
    if is_on("pure_bf16", values.get("pure_bf16")):
        said["pure_bf16"] = {"autocast": "", "weights_dtype": "bf16"}
    if is_on("use_unsloth_gc", values.get("use_unsloth_gc")):
        said["use_unsloth_gc"] = {"checkpointing": "offload"}
    for name in ("galore", "apollo"):
        if is_on(f"use_{name}", values.get(f"use_{name}")):
            is_layerwise = is_on(f"{name}_layerwise", values.get(f"{name}_layerwise"))
            said[f"use_{name}"] = {"optimizer": f"{name}_adamw{'_layerwise' if is_layerwise else ''}"}
            if f"{name}_rank" not in values:
                said[f"use_{name}"]["optimizer_rank"] = USUAL_PROJECTION
    if packed := [key for key in ("neat_packing", "packing") if is_on(key, values.get(key))]:
        said[packed[0]] = {"packing": "packed"}
    elif "packing" in values:
        said["packing"] = {"packing": "none"}
    return said | objective(values) | base(values) | frozen_layers(values)


USUAL_PROJECTION = 16
"""Rank of GaLore's and APOLLO's projections where the file does not say it. Source: hparams/finetuning_args.py."""


def objective(values: Mapping[str, Any]) -> dict[str, dict[str, Value | None]]:
    """The stage, with the loss of preferences and the reference beside it. Raises BadValueError."""
    stage = word(values.get("stage", "sft"))
    if stage not in _STAGES:
        raise BadValueError(f"stage is {stage[:40]!r}; expected one of: {', '.join(_STAGES)}; ppo is not priced")
    said: dict[str, dict[str, Value | None]] = {"stage": {"objective": _STAGES[stage]}} if "stage" in values else {}
    if stage == "dpo" and word(values.get("pref_loss")) in ("orpo", "simpo"):
        said["pref_loss"] = {"objective": "orpo"}
    if stage in ("dpo", "kto") and values.get("ref_model"):
        said["ref_model"] = {"reference": "copy"}
    return said


def base(values: Mapping[str, Any]) -> dict[str, dict[str, Value | None]]:
    """quantization_bit, in bitsandbytes' formats. Raises BadValueError for another number or method."""
    key = "quantization_bit"
    if key not in values:
        return {}
    bits, method = whole(key, values[key]), word(values.get("quantization_method", "bnb"))
    if method not in ("bnb", "bitsandbytes") or bits not in (4, 8):
        raise BadValueError(f"{key} is {bits} by {method[:20]}; expected 4 or 8 by bnb: no other on-the-fly quantisation is priced")
    if bits == 8:
        return {key: {"base_format": "int8"}}
    kind = word(values.get("quantization_type", "nf4"))
    if kind not in FOUR_BITS:
        raise BadValueError(f"quantization_type is {kind[:40]!r}; expected one of: {', '.join(FOUR_BITS)}")
    is_double = is_on("double_quantization", values.get("double_quantization", recipe("llama-factory").doubles_scales))
    return {
        "double_quantization" if "double_quantization" in values else key: {
            "base_format": f"{FOUR_BITS[kind]}-double" if is_double else FOUR_BITS[kind]
        }
    }


def frozen_layers(values: Mapping[str, Any]) -> dict[str, dict[str, Value | None]]:
    """How many of the last layers are trained under finetuning_type: freeze. Raises BadValueError."""
    if word(values.get("finetuning_type")) != "freeze":
        return {}
    key = "freeze_trainable_layers"
    layers = whole(key, values.get(key, 2))
    if layers < 1 or word(values.get("freeze_trainable_modules", "all")) != "all":
        raise BadValueError(f"{key} is {layers}; expected the last layers whole: a number from 1, and freeze_trainable_modules: all")
    return {key if key in values else "finetuning_type": {"trained_layers": layers}}


FORMAT = Format(
    name="LLaMA-Factory",
    framework="llama-factory",
    rules=RULES,
    keys=trainer_keys.keys_with(*_OWN, *_ALSO, harmless=_HARMLESS, refused=_REFUSED, usual=_USUAL),
    also=also,
    usual={"": {"method": ("lora", "finetuning_type"), "autocast": ("", "bf16")}},
)
