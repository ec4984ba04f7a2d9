"""Keys of transformers' TrainingArguments, which the Trainer, TRL and LLaMA-Factory take alike.

Source: transformers 5.24, training_args.py, and names of earlier versions that it took until 5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from estimators.errors import BadValueError
from estimators.training.layouts.launchers.keys import NOT_PRICED, Keys, Refused
from estimators.tuning.readers import fsdp
from estimators.tuning.readers.rules import Rule, count, is_on, listed, number, switch, text
from estimators.tuning.settings import Value

_CHECKPOINTED = switch({"checkpointing": "full"}, {"checkpointing": "none"})

RULES: dict[str, Rule] = {
    "per_device_train_batch_size": count("micro_batch"),
    "per_gpu_train_batch_size": count("micro_batch"),
    "gradient_accumulation_steps": count("accumulation"),
    "num_train_epochs": number("epochs", maximum=10**6),
    "max_steps": count("max_steps", nothing=(-1, 0)),
    "optim": text("optimizer"),
    "adafactor": switch({"optimizer": "adafactor"}),
    "gradient_checkpointing": _CHECKPOINTED,
    "activation_checkpointing": _CHECKPOINTED,
    "use_liger_kernel": switch({"loss": "liger-fused"}),
    "torch_compile": switch({"compiled": True}, {"compiled": False}),
}

ALSO = frozenset(
    (
        "bf16",
        "fp16",
        "fsdp",
        "optim_args",
        "gradient_checkpointing_kwargs.offload",
        "activation_checkpointing_kwargs.offload",
        "deepspeed",
        *fsdp.READ,
    )
)

HARMLESS = frozenset(
    (
        *("accelerator_config*", "adam_*", "average_tokens_across_devices", "batch_eval_metrics", "bf16_full_eval"),
        *("data_seed", "dataloader_*", "ddp_*", "debug", "disable_tqdm", "do_eval", "do_predict", "do_train", "enable_jit_checkpoint"),
        *("eval_*", "evaluation_strategy", "fp16_backend", "fp16_full_eval", "fp16_opt_level", "full_determinism", "greater_is_better"),
        *("group_by_length", "half_precision_backend", "hub_*", "ignore_data_skip", "include_*", "jit_mode_eval", "label_names"),
        *("learning_rate", "length_column_name", "liger_kernel_config*", "load_best_model_at_end", "local_rank"),
        *("log_*", "logging_*", "lr_scheduler_*", "max_grad_norm", "metric_for_best_model", "mp_parameters", "neftune_noise_alpha"),
        *("no_cuda", "optim_target_modules", "output_dir", "overwrite_output_dir", "past_index", "per_device_eval_batch_size"),
        *("per_gpu_eval_batch_size", "prediction_loss_only", "project", "push_to_hub*", "ray_scope", "remove_unused_columns", "report_to"),
        *("restore_callback_states_from_checkpoint", "resume_from_checkpoint", "run_name", "save_*", "seed", "skip_memory_metrics"),
        *("split_batches", "tf32", "torch_compile_*", "torch_empty_cache_steps", "torchdynamo", "tpu_*", "trackio_*", "use_cache"),
        *("train_sampling_strategy", "tokenizers_parallelism", "use_legacy_prediction_loop", "use_mps_device", "use_ipex"),
        *("warmup_ratio", "warmup_steps", "weight_decay", "xpu_backend", "ddp_timeout", "fsdp_min_num_params"),
        *("fsdp_transformer_layer_cls_to_wrap", "gradient_checkpointing_kwargs.*", "activation_checkpointing_kwargs.*"),
        *fsdp.HARMLESS,
    )
)
"""What changes neither what a step does nor what it holds: rates, seeds, logs, checkpoints; evaluation, which is not priced."""

REFUSED = {
    "use_cpu": Refused(why="training on CPUs is not priced; take it out of the file"),
    "fsdp_config": Refused(why="the block itself is read; write it in place of the path"),
    "auto_find_batch_size": Refused(why="the batch is then found when the run starts; give the one that is meant in its place"),
    "fp8": Refused(why=NOT_PRICED),
    "gradient_checkpointing_kwargs.every_n_layers": Refused(why="a checkpoint of every layer is priced", unless=("1", "none")),
    "activation_checkpointing_kwargs.every_n_layers": Refused(why="a checkpoint of every layer is priced", unless=("1", "none")),
    "parallelism_config.*": Refused(why=NOT_PRICED, unless=("1", "none", "null", "false")),
}


USUAL = {"label_smoothing_factor": ("0", "0.0")}
"""Smoothed labels take the logarithms of all probabilities, beside the loss that is priced."""


def keys_with(*read: str, harmless: tuple[str, ...] = (), refused: Mapping[str, Refused], usual: Mapping[str, tuple[str, ...]]) -> Keys:
    """What the keys of a format are that takes all of these and some of its own."""
    return Keys(
        read=frozenset((*RULES, *ALSO, *read)),
        harmless=frozenset(key for key in (*HARMLESS, *harmless) if key not in (*refused, *read, *usual, *USUAL)),
        refused={key: why for key, why in {**REFUSED, **refused}.items() if key not in read},
        usual={**USUAL, **usual},
    )


def together(values: Mapping[str, Any]) -> dict[str, dict[str, Value | None]]:
    """What several of these keys mean together. Raises BadValueError as its parts do."""
    said = precision(values)
    for name in ("activation_checkpointing", "gradient_checkpointing"):
        if is_on(f"{name}_kwargs.offload", values.get(f"{name}_kwargs.offload")) and is_on(name, values.get(name)):
            said[f"{name}_kwargs.offload"] = {"checkpointing": "offload"}
    if rank := re.search(r"(?:^|[,\s])rank\s*=\s*(\d{1,9})\b", str(values.get("optim_args", ""))):
        said["optim_args"] = {"optimizer_rank": int(rank[1])}
    return said | sharded(values)


def precision(values: Mapping[str, Any]) -> dict[str, dict[str, Value | None]]:
    """bf16 and fp16: what products run in under autocast; weights stay as they were loaded."""
    for key in ("bf16", "fp16"):
        if is_on(key, values.get(key)):
            return {key: {"autocast": key}}
    return {"bf16": {"autocast": ""}} if "bf16" in values else {}


def sharded(values: Mapping[str, Any]) -> dict[str, dict[str, Value | None]]:
    """The list, text or switch `fsdp`, with the block beside it, which alone turns nothing on. Raises BadValueError."""
    said = values.get("fsdp")
    if said in (None, "", [], False):
        return {}
    words = () if said is True or str(said).lower() == "true" else listed("fsdp", said.replace(" ", ",") if isinstance(said, str) else said)
    unknown = [name for name in words if name.lower() not in FSDP_WORDS]
    if unknown:
        raise BadValueError(f"fsdp has {unknown[0][:40]!r}; expected some of: {', '.join(FSDP_WORDS)}")
    return fsdp.settings(values, words)


FSDP_WORDS = ("full_shard", "shard_grad_op", "no_shard", "hybrid_shard", "hybrid_shard_zero2", "offload", "auto_wrap")
"""What the list holds: a strategy, and whether parameters lie on the host and layers are wrapped."""
