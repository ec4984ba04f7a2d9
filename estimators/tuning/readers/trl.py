"""Training arguments as JSON or YAML: of transformers' Trainer, and of TRL, whose configurations are the same keys and more.

Source: transformers 5.24, training_args.py; TRL 1.16, trainer/{sft,dpo,kto,reward,grpo,model}_config.py, and names of TRL 0.9 to 0.29.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from estimators.training.layouts.launchers.keys import NOT_PRICED, Refused, word
from estimators.tuning.readers import adapter, trainer_keys
from estimators.tuning.readers.rules import (
    FOUR_BITS,
    OWN_REFERENCE,
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

_DTYPES = one_word(
    "weights_dtype",
    {"bfloat16": "bf16", "bf16": "bf16", "float16": "fp16", "fp16": "fp16", "float32": "fp32", "fp32": "fp32", "auto": "bf16"},
)
_ATTENTION = one_word(
    "attention",
    {
        "sdpa": "sdpa",
        "eager": "eager",
        "flash_attention_2": "flash",
        "flash_attention_3": "flash",
        "flex_attention": "flash",
        "kernels-community/flash-attn2": "flash",
        "kernels-community/flash-attn3": "flash",
        "kernels-community/vllm-flash-attn3": "flash",
    },
)
PEFT = "peft_config."
QUANTISED = "model_init_kwargs.quantization_config."

_OWN: dict[str, Rule] = {
    "model_name_or_path": text("model"),
    "use_peft": switch({"method": "lora"}, {"method": "full"}),
    "lora_r": count("lora_rank"),
    "lora_target_modules": names("lora_targets", all_of_them=("all-linear",)),
    "lora_dropout": number("lora_dropout", maximum=0.99),
    "lora_modules_to_save": saved_modules(),
    "use_dora": switch({"dora": True}),
    "dtype": _DTYPES,
    "torch_dtype": _DTYPES,
    "model_init_kwargs.dtype": _DTYPES,
    "model_init_kwargs.torch_dtype": _DTYPES,
    "attn_implementation": _ATTENTION,
    "model_init_kwargs.attn_implementation": _ATTENTION,
    "max_length": count("seq_len"),
    "max_seq_length": count("seq_len"),
    "use_liger_loss": switch({"loss": "liger-fused"}),
    "precompute_ref_log_probs": switch({"reference": "precomputed"}),
    "num_generations": count("num_generations"),
    "max_completion_length": count("completion_len"),
    "vllm_enable_sleep_mode": switch({"engine_sleeps": True}),
    **{f"{PEFT}{key}": rule for key, rule in adapter.RULES.items()},
}
RULES = {**trainer_keys.RULES, **_OWN}

_OF_GRPO = (
    *("cast_lm_head_to_fp32", "delta", "ds3_gather_for_generation", "entropy_*", "epsilon", "epsilon_high", "generation_batch_size"),
    *("generation_kwargs*", "importance_sampling_level", "mask_truncated_completions", "max_tool_calling_iterations", "min_p"),
    *("multi_objective_aggregation", "num_generations_eval", "num_iterations", "off_policy_mask_threshold", "repetition_penalty"),
    *("reward_weights", "sapo_*", "scale_rewards", "steps_per_generation", "temperature", "top_entropy_quantile", "top_k", "top_p"),
    *("normalize_advantages", "reward_clip_range", "use_bias_correction_kl", "use_transformers_*", "use_vllm", "vespo_*", "vllm_*"),
)
_OF_DPO = (
    *("precompute_ref_batch_size", "precompute_ref_log_probs", "f_alpha_divergence_coef", "f_divergence_type", "ld_alpha"),
    *("discopop_tau", "label_smoothing", "loss_weights", "rpo_alpha", "use_weighting", "reference_free", "simpo_gamma", "cpo_alpha"),
)
_OF_KTO = ("desirable_weight", "undesirable_weight")
_OF_ALL = (
    *(
        "activation_offloading",
        "assistant_only_loss",
        "center_rewards_coefficient",
        "cache_implementation",
        "chat_template_*",
        "completion_only_loss",
        "dataset_*",
    ),
    *("disable_dropout", "eos_token", "eval_packing", "log_completions*", "log_multimodal", "log_unique_prompts", "lora_alpha"),
    *("lora_task_type", "max_prompt_length", "model_init_kwargs.*", "model_revision", "num_completions_to_print", "packing_strategy"),
    *("pad_to_multiple_of", "pad_token", "router_aux_loss_coef", "shuffle_dataset", "sync_ref_model", "ref_model_*"),
    *("trust_remote_code", "truncation_mode", "use_adaptive_entropy", "use_rslora", "bnb_4bit_quant_storage", "config", "max_tokens"),
)
_ALSO = (
    *("activation_offloading", "beta", "bnb_4bit_quant_type", "load_in_4bit", "load_in_8bit", "loss_type", "max_prompt_length", "packing"),
    *(f"{QUANTISED}{name}" for name in ("load_in_4bit", "load_in_8bit", "bnb_4bit_quant_type", "bnb_4bit_use_double_quant")),
    *("padding_free", "ref_model", "use_bnb_nested_quant", "use_vllm", "vllm_gpu_memory_utilization", "vllm_mode"),
)
_READ = frozenset((*_OWN, *_ALSO))
_REFUSED = {
    "lora_target_parameters": Refused(why="adapters of matrices are priced; take it out"),
    "teacher_model_name_or_path": Refused(why=NOT_PRICED),
    **{f"{PEFT}{key}": refused for key, refused in adapter.REFUSED.items()},
}
_USUAL = {
    "cast_lm_head_to_fp32": ("a head as the recipe has it", "false"),
    "use_transformers_*": ("generation by transformers alone", "false"),
    "sync_ref_model": ("false",),
    f"{QUANTISED}quant_method": ("bitsandbytes",),
}
_HARMLESS = (*_OF_ALL, *_OF_GRPO, *_OF_DPO, *_OF_KTO, *(f"{PEFT}{key}" for key in adapter.HARMLESS))

_SFT_LOSSES = ("nll", "dft", "chunked_nll")
_GRPO_LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "vespo", "luspo")
_KTO_LOSSES = ("kto", "apo_zero_unpaired")


def also(values: Mapping[str, Any]) -> dict[str, dict[str, Value | None]]:
    """What several keys mean together."""
    said = trainer_keys.together(values)
    said |= objective(values) | base(values) | packing(values) | engine(values)
    if any(key.startswith(PEFT) for key in values) and "use_peft" not in values:
        said["peft_config"] = {"method": "lora"}
    if is_on("activation_offloading", values.get("activation_offloading")):
        checkpointed = [values[key] for key in ("activation_checkpointing", "gradient_checkpointing") if key in values]
        is_off = bool(checkpointed) and not is_on("gradient_checkpointing", checkpointed[0])
        said["activation_offloading"] = {"offload_activations": True} if is_off else {"checkpointing": "offload"}
    return said


def objective(values: Mapping[str, Any]) -> dict[str, dict[str, Value | None]]:
    """What is trained for, which no key names: each of TRL's trainers has keys that the others lack."""
    kinds = {"grpo": ("num_generations", "max_completion_length", *_plain(_OF_GRPO)), "dpo": _plain(_OF_DPO), "kto": _OF_KTO}
    loss = word(values.get("loss_type"))
    if loss in _GRPO_LOSSES:
        found = ("loss_type", "grpo")
    elif loss in _KTO_LOSSES:
        found = ("loss_type", "kto")
    elif "loss_type" in values and loss not in _SFT_LOSSES:
        found = ("loss_type", "dpo")
    else:
        named = ((key, kind) for kind, keys in kinds.items() for key in keys if key in values)
        found = next(named, ("beta", "dpo") if "beta" in values else ("", ""))
    key, kind = found
    said: dict[str, dict[str, Value | None]] = {key: {"objective": kind}} if key else {}
    if values.get("ref_model"):
        said["ref_model"] = {"reference": "copy"}
    if kind == "grpo" and "beta" in values:
        is_none = number("beta", maximum=10**6).meaning("beta", values["beta"])["beta"] == 0
        said["beta"] = {"reference": "none" if is_none else OWN_REFERENCE}
    if kind == "grpo" and "max_prompt_length" in values:
        prompt = whole("max_prompt_length", values["max_prompt_length"])
        answer = whole("max_completion_length", values.get("max_completion_length", COMPLETION))
        said["max_prompt_length"] = {"seq_len": prompt + answer}
    return said


def _plain(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Those that are names; generation has keys whose beginnings others share."""
    return tuple(name for name in patterns if "*" not in name)


COMPLETION = 512
"""New tokens of an answer where GRPO's file does not say it. Source: TRL 1.16, trainer/grpo_config.py."""

ENGINE_SHARE = 0.3
"""Of the device, vLLM's where the file does not say it. Source: as above."""


def base(values: Mapping[str, Any]) -> dict[str, dict[str, Value | None]]:
    """What the frozen matrices are held in: as ModelConfig of TRL's scripts has it, or a BitsAndBytesConfig among model_init_kwargs.

    Source: TRL 1.16, trainer/model_config.py (nf4); transformers 5.24, utils/quantization_config.py (fp4, scales quantised once).
    """
    for prefix, usual, double in (("", "nf4", "use_bnb_nested_quant"), (QUANTISED, "fp4", "bnb_4bit_use_double_quant")):
        eight, four, kind = (f"{prefix}{name}" for name in ("load_in_8bit", "load_in_4bit", "bnb_4bit_quant_type"))
        if is_on(eight, values.get(eight)):
            return {eight: {"base_format": "int8"}}
        if is_on(four, values.get(four)):
            found = one_word("base_format", FOUR_BITS).meaning(kind, values.get(kind, usual))["base_format"]
            is_double = is_on(double, values.get(f"{prefix}{double}", not prefix and recipe("trl").doubles_scales))
            return {four: {"base_format": f"{found}{'-double' if is_double else ''}"}}
    return {}


def packing(values: Mapping[str, Any]) -> dict[str, dict[str, Value | None]]:
    """packing, and padding_free beside it or alone."""
    for key, kind in (("packing", "packed"), ("padding_free", "padding-free")):
        if is_on(key, values.get(key)):
            return {key: {"packing": kind}}
    return {"packing": {"packing": "none"}} if "packing" in values else {}


def engine(values: Mapping[str, Any]) -> dict[str, dict[str, Value | None]]:
    """vLLM on the same devices, which takes a share of the whole of each."""
    if not is_on("use_vllm", values.get("use_vllm")) or word(values.get("vllm_mode", "colocate")) != "colocate":
        return {}
    key = "vllm_gpu_memory_utilization"
    if key not in values:
        return {"use_vllm": {"engine_share": ENGINE_SHARE}}
    return {key: dict(number("engine_share", maximum=0.99).meaning(key, values[key]))}


TRL = Format(
    name="TRL",
    framework="trl",
    rules=RULES,
    keys=trainer_keys.keys_with(*_READ, harmless=_HARMLESS, refused=_REFUSED, usual=_USUAL),
    also=also,
    present={"center_rewards_coefficient": ("objective", "reward")},
    usual={
        "": {"method": ("full", "use_peft")},
        "grpo": {
            "num_generations": (8, "num_generations"),
            "completion_len": (COMPLETION, "max_completion_length"),
            "reference": ("none", "beta"),
        },
    },
)

TRAINER = Format(
    name="transformers",
    framework="transformers",
    rules=trainer_keys.RULES,
    keys=trainer_keys.keys_with(harmless=(), refused={}, usual={}),
    also=trainer_keys.together,
    usual={"": {"method": ("full", "peft"), "autocast": ("", "bf16")}},
)
