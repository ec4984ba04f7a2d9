"""axolotl's YAML.

Source: axolotl 0.13, utils/schemas (config.py, peft.py, training.py, trl.py, fsdp.py), loaders/model.py and adapter.py, utils/config.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from estimators.errors import BadValueError
from estimators.training.layouts.launchers.keys import NOT_PRICED, Keys, Refused, word
from estimators.tuning.readers import fsdp
from estimators.tuning.readers.rules import (
    Format,
    Rule,
    count,
    is_on,
    listed,
    names,
    number,
    one_word,
    saved_modules,
    switch,
    text,
    whole,
    words,
)
from estimators.tuning.readers.trainer_keys import sharded
from estimators.tuning.recipes import recipe
from estimators.tuning.settings import Value

_ATTENTION = one_word(
    "attention",
    {
        **dict.fromkeys(("flash", "flash_attention_2", "flash_attention_3", "flash_attention_4", "flash_attention_torch"), "flash"),
        **dict.fromkeys(("flex", "flex_attention", "sage", "kernels-community/flash-attn2", "kernels-community/flash-attn3"), "flash"),
        **dict.fromkeys(("sdpa", "xformers"), "sdpa"),  # whose kernel keeps no scores, as xformers' own
        "eager": "eager",
    },
)

RULES: dict[str, Rule] = {
    "base_model": text("model"),
    "adapter": words(
        "method",
        meanings={"lora": {"method": "lora"}, "qlora": {"method": "lora"}, "none": {"method": "full"}, "": {"method": "full"}},
    ),
    "lora_r": count("lora_rank"),
    "lora_target_modules": names("lora_targets", all_of_them=("all-linear",)),
    "lora_dropout": number("lora_dropout", maximum=0.99),
    "lora_modules_to_save": saved_modules(),
    "peft_use_dora": switch({"dora": True}),
    "sequence_len": count("seq_len"),
    "sample_packing": switch({"packing": "packed"}, {"packing": "none"}),
    "micro_batch_size": count("micro_batch"),
    "gradient_accumulation_steps": count("accumulation"),
    "num_epochs": number("epochs", maximum=10**6),
    "max_steps": count("max_steps", nothing=(-1, 0)),
    "optimizer": text("optimizer"),
    "flash_attention": switch({"attention": "flash"}),
    "sdp_attention": switch({"attention": "sdpa"}),
    "xformers_attention": switch({"attention": "sdpa"}),
    "flex_attention": switch({"attention": "flash"}),
    "eager_attention": switch({"attention": "eager"}),
    "attn_implementation": _ATTENTION,
    "attention": _ATTENTION,
    "rl": one_word(
        "objective", {"dpo": "dpo", "ipo": "dpo", "simpo": "orpo", "orpo": "orpo", "kto": "kto", "grpo": "grpo", "none": "sft", "": "sft"}
    ),
    "reward_model": switch({"objective": "reward"}),
    "trl.num_generations": count("num_generations"),
    "trl.max_completion_length": count("completion_len"),
    "precompute_ref_log_probs": switch({"reference": "precomputed"}),
    "torch_compile": one_word("compiled", {"true": True, "auto": True, "false": False}),
    "chunked_cross_entropy": switch({"loss": "chunked"}),
    "dpo_padding_free": switch({"packing": "padding-free"}),
    "dpo_use_liger_kernel": switch({"loss": "liger-fused"}),
    "layer_offloading": switch({"offload_parameters": True}),
    "unsloth_cross_entropy_loss": switch({"loss": "liger"}),
}

_ALSO = (
    *("load_in_4bit", "load_in_8bit", "bnb_config_kwargs.bnb_4bit_use_double_quant", "gptq", "peft.backend", "peft.weight_dtype"),
    *("lora_target_linear", "batch_size", "plugins", "liger_*", "cut_cross_entropy", "bf16", "bfloat16", "fp16", "float16", "float32"),
    *("gradient_checkpointing", "activation_offloading", "fsdp", "fsdp_version", "deepspeed", "trl.use_vllm"),
    *("trl.vllm_mode", "trl.vllm_gpu_memory_utilization", "vllm.gpu_memory_utilization", "trl.beta", "optim_args", "optim_args.rank"),
)

_HARMLESS = (
    *("accelerator_config*", "adam_*", "added_tokens_overrides*", "auto_resume_from_checkpoints", "axolotl_config_path"),
    *("base_model_config", "base_model_ignore_patterns", "bench_dataset", "bench_split", "bnb_config_kwargs.*"),
    *("center_rewards_coefficient", "chat_template*", "chunked_cross_entropy_num_chunks", "comet_*", "cosine_*", "cpo_alpha"),
    *("curriculum_sampling", "dataloader_*", "dataset_*", "datasets*", "ddp*", "debug", "deepcompile", "default_system_message"),
    *("device", "do_bench_eval", "do_causal_lm_eval", "dpo_beta", "dpo_label_smoothing", "dpo_loss_*", "dpo_use_weighting"),
    *("dynamic_checkpoint*", "eaft_*", "early_stopping_patience", "embedding_lr*", "eot_tokens", "eval_*", "evals_per_epoch"),
    *("excess_length_strategy", "experts_implementation", "export*", "fix_untrained_tokens", "flash_attn_fuse_*"),
    *("flash_attn_rms_norm", "flash_optimum", "flex_attn_*", "fp32_norm_classes", "freeze_mm_modules", "fsdp_final_state_dict_type"),
    *("fused_attn_kernel", "gc_*", "gemma4_*", "gpu_memory_limit", "gradient_checkpointing_kwargs.*", "greater_is_better"),
    *("group_by_length", "heads_k_stride", "hf_use_auth_token", "hub_*", "include_*", "is_*", "kto_*", "large_head_attention"),
    *("learning_rate", "llama4_*", "load_best_model_at_end", "local_rank", "logging_steps", "lora_alpha", "lora_fan_in_fan_out"),
    *("lora_model_dir", "lora_on_cpu", "loraplus_*", "loss_watchdog_*", "low_cpu_mem_usage", "lr_*", "max_grad_norm", "max_memory*"),
    *("max_prompt_len", "mean_resizing_*", "merge_lora", "metric_for_best_model", "min_sample_len", "mlflow_*", "model_type"),
    *("neftune_noise_alpha", "noisy_embedding_alpha", "num_dataset_shards_to_save", "num_labels", "opentelemetry*", "orpo_alpha"),
    *("output_dir", "overrides_of_model_config*", "pad_to_multiple_of", "pad_to_sequence_len", "peft_init_lora_weights"),
    *("peft_use_rslora", "pose_*", "pretrain*", "profiler_*", "push_dataset_to_hub", "qlora_sharded_model_loading", "ray_*"),
    *("reinit_weights", "remove_unused_columns", "resize_token_embeddings_to_32x", "resume_from_checkpoint", "revision_of_model"),
    *("ring_attn_func", "rl_beta", "rpo_alpha", "sample_packing_*", "save_*", "saves_per_epoch", "sdpa_varlen", "seed", "shuffle_*"),
    *("simpo_gamma", "skip_prepare_dataset", "special_tokens*", "streaming*", "strict", "swanlab_*", "test_datasets*", "tf32"),
    *("tiled_mlp_*", "tokenizer_*", "tokens", "torch_compile_*", "torch_empty_cache_steps", "torchdistx_path", "total_num_tokens"),
    *("trackio_*", "train_on_inputs", "trl.*", "trust_remote_code", "unsloth_r*", "use_*tensorboard", "use_dft", "use_eaft"),
    *("use_pose", "use_wandb", "val_set_size", "vllm.*", "wandb_*", "warmup_*", "weight_decay", "world_size", "xpos_rope"),
    *fsdp.HARMLESS,
)
"""What changes neither what a step does nor what it holds; `device` and `max_memory` are what `fit` is asked of."""

_REFUSED = {
    "unfrozen_parameters": Refused(why="which layers its patterns match is not read; take it out and give --frozen-layers"),
    "peft_layers_to_transform": Refused(why="adapters in every layer are priced; take it out"),
    "lora_target_parameters": Refused(why="adapters of matrices are priced; take it out"),
    "peft_trainable_token_indices": Refused(why=NOT_PRICED),
    "relora*": Refused(why=NOT_PRICED),
    "process_reward_model": Refused(why=NOT_PRICED),
    "fp8": Refused(why=NOT_PRICED),
    "auto_find_batch_size": Refused(why="the batch is then found when the run starts; give micro_batch_size"),
    "context_parallel_size": Refused(why=NOT_PRICED, unless=("1", "none")),
    "sequence_parallel_degree": Refused(why=NOT_PRICED, unless=("1", "none")),
    "tensor_parallel_size": Refused(why=NOT_PRICED, unless=("1", "none")),
    "dp_replicate_size": Refused(why=NOT_PRICED, unless=("1", "none")),
    "lisa_*": Refused(why=NOT_PRICED),
    "optim_target_modules": Refused(why=NOT_PRICED),
}

_LIGER = "liger_fused_linear_cross_entropy"
_WEIGHTS = {"nf4": "nf4-double", "int4": "nf4", "int8": "int8"}
"""What peft.weight_dtype names -> the format that is priced; torchao's int4 has scales of 16 bits for 128 weights."""


def also(values: Mapping[str, Any]) -> dict[str, dict[str, Value | None]]:
    """What several keys mean together."""
    said = precision(values) | base(values)
    if is_on("lora_target_linear", values.get("lora_target_linear")):
        said["lora_target_linear"] = {"lora_targets": ("all-linear",)}
    if "batch_size" in values and "gradient_accumulation_steps" not in values and "micro_batch_size" in values:
        passes = whole("batch_size", values["batch_size"]) // max(1, whole("micro_batch_size", values["micro_batch_size"]))
        said["batch_size"] = {"accumulation": max(1, passes)}
    said |= checkpointing(values) | losses(values)
    if values.get("fsdp") or any(key.startswith(fsdp.BLOCK) for key in values):
        said |= sharded(values) or fsdp.settings(values)
    if is_on("trl.use_vllm", values.get("trl.use_vllm")) and word(values.get("trl.vllm_mode")) == "colocate":
        key = next((name for name in ("vllm.gpu_memory_utilization", "trl.vllm_gpu_memory_utilization") if name in values), "")
        if key:
            said[key] = dict(number("engine_share", maximum=0.99).meaning(key, values[key]))
    return said


def precision(values: Mapping[str, Any]) -> dict[str, dict[str, Value | None]]:
    """bf16 and fp16 run under autocast, bfloat16 and float16 without it; where all are off, weights are fp32."""
    if word(values.get("bf16")) == "auto" or is_on("bf16", values.get("bf16")):
        return {"bf16": {"autocast": "bf16"}}
    for key, dtype in (("fp16", "fp16"), ("bfloat16", "bf16"), ("float16", "fp16")):
        if is_on(key, values.get(key)):
            return {key: {"autocast": "fp16" if key == "fp16" else "", "weights_dtype": dtype}}
    return {"bf16": {"autocast": "", "weights_dtype": "fp32"}} if "bf16" in values else {}


def base(values: Mapping[str, Any]) -> dict[str, dict[str, Value | None]]:
    """What the frozen matrices are held in.

    Raises:
        BadValueError: what axolotl itself refuses: 4 or 8 bits without an adapter, qlora without 4 bits.
    """
    adapter = word(values.get("adapter"))
    bits = [key for key in ("load_in_4bit", "load_in_8bit", "gptq") if is_on(key, values.get(key))]
    if weights := values.get("peft.weight_dtype"):
        if word(weights) not in _WEIGHTS:
            raise BadValueError(f"peft.weight_dtype is {str(weights)[:40]!r}; expected one of: {', '.join(_WEIGHTS)}")
        return {"peft.weight_dtype": {"base_format": _WEIGHTS[word(weights)]}}
    if len(bits) > 1:
        raise BadValueError(f"{bits[0]} and {bits[1]} exclude each other; leave one out")
    if bits and adapter in ("none", ""):
        raise BadValueError(f"{bits[0]} needs an adapter: quantised weights are not trained; give adapter: qlora")
    if adapter == "qlora" and bits != ["load_in_4bit"]:
        raise BadValueError("adapter is 'qlora'; expected load_in_4bit: true beside it, or adapter: lora")
    if not bits:
        return {}
    double = "bnb_config_kwargs.bnb_4bit_use_double_quant"
    if bits[0] == "load_in_4bit":
        is_double = is_on(double, values[double]) if double in values else recipe("axolotl").doubles_scales
        return {double if double in values else "load_in_4bit": {"base_format": "nf4-double" if is_double else "nf4"}}
    return {bits[0]: {"base_format": "int8" if bits[0] == "load_in_8bit" else "gptq"}}


def checkpointing(values: Mapping[str, Any]) -> dict[str, dict[str, Value | None]]:
    """gradient_checkpointing, which may be a word, and activation_offloading beside it. Raises BadValueError."""
    key = "gradient_checkpointing"
    kind = word(values.get(key))
    if kind in ("offload", "unsloth", "offload_disk"):
        return {key: {"checkpointing": "offload"}}
    if key in values and kind not in ("true", "false"):
        raise BadValueError(f"{key} is {str(values[key])[:40]!r}; expected true, false, offload")
    said: dict[str, dict[str, Value | None]] = {key: {"checkpointing": "full" if kind == "true" else "none"}} if key in values else {}
    if word(values.get("activation_offloading")) in ("true", "legacy", "disk"):
        said["activation_offloading"] = {"checkpointing": "offload"} if kind == "true" else {"offload_activations": True}
    return said


def losses(values: Mapping[str, Any]) -> dict[str, dict[str, Value | None]]:
    """Liger's and Apple's cross entropies, which plugins bring."""
    plugins = ",".join(listed("plugins", values["plugins"])).lower() if "plugins" in values else ""
    if "cutcrossentropy" in plugins and word(values.get("cut_cross_entropy", True)) == "true":
        return {"plugins": {"loss": "cut-cross-entropy"}}
    if "liger" in plugins and is_on(_LIGER, values.get(_LIGER)):
        return {_LIGER: {"loss": "liger-fused"}}
    if "liger" in plugins and is_on("liger_cross_entropy", values.get("liger_cross_entropy")):
        return {"liger_cross_entropy": {"loss": "liger"}}
    return {}


_USUAL = {
    "lora_*_kernel": ("adapters as peft runs them", "false"),
    "unsloth_lora_*": ("adapters as peft runs them", "false"),
    "quantize_moe_experts": ("experts in 16 bits", "false"),
    "embeddings_skip_upcast": ("embeddings as the recipe has them", "false"),
    "peft_autocast_adapter_dtype": ("adapters as the recipe has them", "true"),
    "batch_flattening": ("off", "false"),
    "device_map": ("one device for each process",),
    "fp32_norms": ("norms as the recipe has them", "false"),
    "ple_cpu_offload": ("tables on the device", "false"),
    "qat.*": ("training without quantisation",),
    "selective_checkpointing": ("false",),
    "selective_checkpointing.*": ("none of it",),
    "tiled_mlp": ("false",),
    "trainer_cls": ("axolotl's own trainer",),
}

FORMAT = Format(
    name="axolotl",
    framework="axolotl",
    rules=RULES,
    keys=Keys(read=frozenset((*RULES, *_ALSO, *fsdp.READ)), harmless=frozenset(_HARMLESS), refused=_REFUSED, usual=_USUAL),
    also=also,
    usual={"": {"method": ("full", "adapter")}},
)
