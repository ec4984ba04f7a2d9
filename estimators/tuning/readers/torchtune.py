"""torchtune's YAML, whose components name the model, the method, the optimizer and the loss.

Source: torchtune 0.6, recipes/configs, models/*/_model_builders.py, modules/loss, training/memory.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from estimators.errors import BadValueError
from estimators.training.layouts.launchers.keys import NOT_PRICED, Keys, Refused, word
from estimators.tuning.readers.rules import SEVERAL, Format, Rule, count, is_on, listed, number, one_word, switch
from estimators.tuning.recipes import recipe
from estimators.tuning.settings import Value

RULES: dict[str, Rule] = {
    "model.lora_rank": count("lora_rank"),
    "model.lora_dropout": number("lora_dropout", maximum=0.99),
    "model.use_dora": switch({"dora": True}),
    "tokenizer.max_seq_len": count("seq_len"),
    "dataset.packed": switch({"packing": "packed"}, {"packing": "none"}),
    "batch_size": count("micro_batch"),
    "gradient_accumulation_steps": count("accumulation"),
    "epochs": number("epochs", maximum=10**6),
    "optimizer_in_bwd": switch({"fuses_backward": True}, {"fuses_backward": False}),
    "dtype": one_word("weights_dtype", {"bf16": "bf16", "fp16": "fp16", "fp32": "fp32"}),
    "compile": switch({"compiled": True}, {"compiled": False}),
}

_ALSO = (
    *("model._component_", "model.lora_attn_modules", "model.apply_lora_to_mlp", "model.apply_lora_to_output", "optimizer._component_"),
    *(
        "optimizer.foreach",
        "optimizer.fused",
        "loss._component_",
        "loss",
        "enable_activation_checkpointing",
        "enable_activation_offloading",
        "fsdp_cpu_offload",
    ),
)

_HARMLESS = (
    *("adapter_*", "checkpointer.*", "clip_grad_norm", "cudnn_deterministic_mode", "custom_sharded_layers", "dataset.*", "dataset_val.*"),
    *("device", "enable_async_checkpointing", "fsdp_reshard_after_forward", "keep_last_n_checkpoints", "log_*", "lr_scheduler.*"),
    *("max_steps_per_epoch", "memory_efficient_fsdp_wrap", "metric_logger.*", "model.lora_alpha", "optimizer.*", "output_dir"),
    *("profiler.*", "resume_from_checkpoint", "run_val_every_n_steps", "batch_size_val", "save_*", "seed", "shuffle", "tokenizer.*"),
    *("loss.*", "collate_fn", "low_cpu_ram", "epochs_to_save", "model.max_seq_len", "model.quantize_base", "use_hf_loader"),
)

_REFUSED = {
    "tensor_parallel_dim": Refused(why=NOT_PRICED, unless=("1", "none")),
    "context_parallel_dim": Refused(why=NOT_PRICED, unless=("1", "none")),
    "data_parallel_replicate_dim": Refused(why=NOT_PRICED, unless=("1", "none")),
    "tensor_parallel_plan*": Refused(why=NOT_PRICED),
    "teacher_model*": Refused(why=NOT_PRICED),
    "ac_mode": Refused(why="a checkpoint of every layer is priced; give enable_activation_checkpointing", unless=("none", "full")),
    "fp8_training": Refused(why=NOT_PRICED),
    "enable_fp8_training": Refused(why=NOT_PRICED),
    "quantizer*": Refused(why=NOT_PRICED),
}

_OPTIMIZERS = {
    "torch.optim.adamw": "adamw_torch",
    "torch.optim.adam": "adamw_torch",
    "torch.optim.sgd": "sgd",
    "bitsandbytes.optim.adamw8bit": "adamw_8bit",
    "bitsandbytes.optim.adam8bit": "adamw_8bit",
    "bitsandbytes.optim.pagedadamw": "paged_adamw_32bit",
    "bitsandbytes.optim.pagedadamw8bit": "paged_adamw_8bit",
    "bitsandbytes.optim.lion8bit": "lion_8bit",
    "torchao.optim.adamw8bit": "adamw_torch_8bit",
    "torchao.optim.adamw4bit": "adamw_torch_4bit",
    "torchao.prototype.low_bit_optim.adamw8bit": "adamw_torch_8bit",
    "torchao.prototype.low_bit_optim.adamw4bit": "adamw_torch_4bit",
}
"""Component, in lower case -> transformers' name."""

_SHOWN = ("torch.optim.AdamW", "torch.optim.SGD", "bitsandbytes.optim.PagedAdamW8bit", "torchao.optim.AdamW8bit")
_MLP = ("gate_proj", "up_proj", "down_proj")
_RENAMED = {"output_proj": "o_proj", "w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}
_BUILDER = re.compile(r"torchtune\.models\.(?P<family>\w+)\.(?:\w+\.)?(?P<kind>qlora_|lora_|dora_|qdora_)?(?P<name>\w+)")


def also(values: Mapping[str, Any]) -> dict[str, dict[str, Value | None]]:
    """What components and several keys mean together."""
    said = model(values) | optimizer(values) | loss(values)
    if "dtype" in values:
        said["dtype"] = {"weights_dtype": word(values["dtype"]), "autocast": ""}
    key, beside = "enable_activation_checkpointing", "enable_activation_offloading"
    if key in values or beside in values:
        is_kept = is_on(key, values.get(key))
        is_offloaded = is_on(beside, values.get(beside))
        said[beside if is_offloaded else key] = {"checkpointing": "offload" if is_kept and is_offloaded else "full" if is_kept else "none"}
        if is_offloaded and not is_kept:
            said[beside] = {"checkpointing": "none", "offload_activations": True}
    if is_on("fsdp_cpu_offload", values.get("fsdp_cpu_offload")):
        said["fsdp_cpu_offload"] = {"sharding": "fsdp", "offload_parameters": True, "offload_optimizer": True}
    return said


def model(values: Mapping[str, Any]) -> dict[str, dict[str, Value | None]]:
    """The model and the method that the builder's name gives, and the adapted matrices.

    >>> model({"model._component_": "torchtune.models.llama3_1.qlora_llama3_1_8b"})["model._component_"]
    {'model': 'llama3.1-8b', 'method': 'lora', 'base_format': 'nf4-double'}

    Raises:
        BadValueError: the component is no builder of torchtune's.
    """
    key = "model._component_"
    if key not in values:
        return {}
    found = _BUILDER.fullmatch(str(values[key]))
    if found is None:
        raise BadValueError(f"{key} is {str(values[key])[:60]!r}; expected a builder such as torchtune.models.llama3_1.lora_llama3_1_8b")
    size = re.sub(r"^(\d+)_(\d+)(?=b)", r"\1.\2", found["name"].removeprefix(found["family"]).lstrip("_"))
    name = "-".join(part for part in (found["family"].replace("_", "."), size.replace("_", "-")) if part)
    said: dict[str, Value | None] = {"model": name, "method": "lora" if found["kind"] else "full"}
    if (found["kind"] or "").startswith("q") or is_on("model.quantize_base", values.get("model.quantize_base")):
        said["base_format"] = "nf4-double" if recipe("torchtune").doubles_scales else "nf4"
    if (found["kind"] or "").endswith("dora_"):
        said["dora"] = True
    targets = [_RENAMED.get(part, part) for part in listed("model.lora_attn_modules", values.get("model.lora_attn_modules", []))]
    if is_on("model.apply_lora_to_mlp", values.get("model.apply_lora_to_mlp")):
        targets += _MLP
    if is_on("model.apply_lora_to_output", values.get("model.apply_lora_to_output")):
        targets.append("lm_head")
    adapted: dict[str, dict[str, Value | None]] = {"model.lora_attn_modules": {"lora_targets": tuple(dict.fromkeys(targets))}}
    return {key: said} | (adapted if targets and found["kind"] else {})


def optimizer(values: Mapping[str, Any]) -> dict[str, dict[str, Value | None]]:
    """The optimizer's component. Raises BadValueError for one that is not priced."""
    key = "optimizer._component_"
    if key not in values:
        return {}
    name = word(values[key])
    if name.endswith(".cpuoffloadoptimizer"):
        return {key: {"optimizer": "adamw_torch_fused", "offload_optimizer": True}}
    if name not in _OPTIMIZERS:
        raise BadValueError(f"{key} is {str(values[key])[:60]!r}, which is not priced; expected one such as {', '.join(_SHOWN)}")
    is_whole = is_on("optimizer.fused", values.get("optimizer.fused")) or word(values.get("optimizer.foreach")) == "false"
    is_fused = _OPTIMIZERS[name] == "adamw_torch" and is_whole  # neither fused nor tensor by tensor does a step hold a copy of all
    return {key: {"optimizer": f"{_OPTIMIZERS[name]}{'_fused' if is_fused else ''}"}}


def loss(values: Mapping[str, Any]) -> dict[str, dict[str, Value | None]]:
    """The loss's component: in chunks, or of preferences."""
    key = "loss._component_"
    name = str(values.get(key, "")).rpartition(".")[2].lower()
    if not name:
        return {}
    if "dpo" in name or "rso" in name:
        return {key: {"objective": "dpo"}}
    if "grpo" in name:
        return {key: {"objective": "grpo"}}
    return {key: {"loss": "chunked" if "chunked" in name or "linear" in name else "plain"}}


FORMAT = Format(
    name="torchtune",
    framework="torchtune",
    rules=RULES,
    keys=Keys(
        read=frozenset((*RULES, *_ALSO, "model.quantize_base")),
        harmless=frozenset(key for key in _HARMLESS if key != "model.quantize_base"),
        refused=_REFUSED,
    ),
    also=also,
    usual={"": {"method": ("full", "model._component_")}, SEVERAL: {"sharding": ("fsdp", "a distributed recipe's FSDP")}},
)
