"""Files of accelerate, DeepSpeed, torchtitan and Megatron-LM: how the devices share a fine-tuning.

Their keys have one owner, the launchers of `estimators.training.layouts`, which `plan` writes and reads; here stands what `fit` takes of
them, and what it prices that `plan` does not: states on the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from estimators.cost.layout import Layout
from estimators.errors import BadValueError
from estimators.frozen import as_dict
from estimators.training.layouts.emit import LAUNCHERS, complete, remark
from estimators.training.layouts.launchers import accelerate
from estimators.training.layouts.launchers.keys import turned_on, word
from estimators.tuning.readers import fsdp
from estimators.tuning.readers.reading import FileRead, Stated, Unread
from estimators.tuning.readers.rules import wrong
from estimators.tuning.settings import Value

NAMES = {"accelerate": "accelerate", "deepspeed": "DeepSpeed", "torchtitan": "torchtitan", "megatron": "Megatron-LM"}

_OFFLOADS = {
    "zero_optimization.offload_optimizer.device": "offload_optimizer",
    "zero_optimization.offload_param.device": "offload_parameters",
    f"{accelerate.DEEPSPEED_BLOCK}offload_optimizer_device": "offload_optimizer",
    f"{accelerate.DEEPSPEED_BLOCK}offload_param_device": "offload_parameters",
}
_BESIDE = {*_OFFLOADS, f"{fsdp.BLOCK}fsdp_offload_params", "dynamo_config.dynamo_backend", "optimizer.type"}
"""Keys that are refused or noted of a training at large, and read here."""

_OPTIMIZERS = {
    **dict.fromkeys(("adam", "adamw", "fusedadam", "torchadam", "deepspeedcpuadam"), "adamw_torch_fused"),
    "adagrad": "adagrad",
    "lion": "lion_32bit",
    "sgd": "sgd",
    **dict.fromkeys(("adam8bit", "adamw8bit", "adamw_8bit"), "adamw_8bit"),
}
"""What DeepSpeed's optimizer.type names, in lower case -> transformers' name of what is held alike."""

_NOT_SHARED = ("tp", "pp", "cp", "ep", "vp")
"""Ways to cut a model that a fine-tuning is not priced with."""

_KEYS_OF: dict[str, dict[str, str]] = {
    "accelerate": {"dp": "num_processes", "zero": "distributed_type", "recompute": f"{fsdp.BLOCK}fsdp_activation_checkpointing"},
    "deepspeed": {
        "dp": "train_batch_size",
        "zero": "zero_optimization.stage",
        "micro_batch": "train_micro_batch_size_per_gpu",
        "passes": "gradient_accumulation_steps",
    },
    "torchtitan": {
        "dp": "parallelism.data_parallel_shard_degree",
        "zero": "parallelism.data_parallel_shard_degree",
        "micro_batch": "training.local_batch_size",
        "passes": "training.global_batch_size",
        "recompute": "activation_checkpoint.mode",
    },
    "megatron": {
        "dp": "--global-batch-size",
        "zero": "--use-distributed-optimizer",
        "micro_batch": "--micro-batch-size",
        "passes": "--global-batch-size",
        "recompute": "--recompute-granularity",
    },
}
"""Launcher -> part of a layout -> the key that says it, or our own remark where none is named."""


def read(text: str, launcher: str, file: str) -> FileRead:
    """What a launcher's file says of a fine-tuning.

    Args:
        launcher: a key of LAUNCHERS.
        file: its name.

    Raises:
        BadValueError: a value that its key does not take, a model that is cut, or a key that would change the answer and is not priced.
        ValueError: no text of that launcher.
    """
    module = LAUNCHERS[launcher]
    values = module.values(text)
    rest = {key: value for key, value in values.items() if key not in _BESIDE}
    module.KEYS.refuse(launcher, rest)
    layout = {**module.fields(text), **remark(text)}
    complete(layout)
    if launcher == "accelerate" and _KEYS_OF[launcher]["recompute"] not in values and "recompute" not in remark(text):
        layout.pop("recompute", None)
    said = _of_layout(layout, launcher)
    if launcher == "accelerate":
        said |= _of_accelerate(values, layout)
    if launcher == "deepspeed":
        said |= _of_deepspeed(values)
    for key, setting in _OFFLOADS.items():
        if word(values.get(key)) not in ("none", "null", ""):
            said[key] = {setting: True}
    stated: dict[str, Stated] = {}
    for key, settings in said.items():
        for setting, value in settings.items():
            stated[setting] = Stated(setting=setting, value=value, key=key, file=file)
    notes = module.KEYS.unusual(launcher, rest)
    if layout.get("recompute") == "selective":
        notes += ("selective recomputation is priced as none, which keeps more",)
    return FileRead(
        file=file,
        format=NAMES[launcher],
        stated=tuple(stated.values()),
        unread=tuple(Unread(key=key, file=file) for key in module.KEYS.unknown(rest)),
        refers_to=accelerate.deepspeed_file(text) if launcher == "accelerate" else "",
        notes=notes,
    )


def _of_layout(layout: Mapping[str, Any], launcher: str) -> dict[str, dict[str, Value]]:
    """Devices, batch and stage of a layout, by the keys that they are from.

    Raises:
        BadValueError: it cuts the model, or holds it whole in several groups of devices.
    """
    for name in _NOT_SHARED:
        if (layout.get(name) or 1) > 1:
            raise BadValueError(
                f"the {launcher} file has {name} = {layout[name]}: a fine-tuning is priced whole on each device, or with "
                "ZeRO or FSDP; `plan` prices a model that is cut"
            )
    if 1 < (layout.get("shard") or 1) < (layout.get("dp") or 1):
        raise BadValueError(f"the {launcher} file shards in groups of {layout['shard']} of {layout['dp']} devices, which is not priced")
    key = {name: _KEYS_OF[launcher].get(name, f"sixnd.{name}") for name in as_dict(Layout())} | {"passes": _passes_key(launcher)}
    said: dict[str, dict[str, Value]] = {}
    dp, micro, whole = layout.get("dp"), layout.get("micro_batch"), layout.get("global_batch")
    passes = whole // (dp * micro) if dp and micro and whole and whole % (dp * micro) == 0 else layout.get("passes")
    for name, setting, size in (("dp", "num_gpus", dp), ("micro_batch", "micro_batch", micro), ("passes", "accumulation", passes)):
        if size:
            said.setdefault(key[name], {})[setting] = size
    if "zero" in layout:
        said.setdefault(key["zero"], {})["sharding"] = _sharing(layout["zero"], dp, is_fsdp=launcher == "torchtitan")
    if layout.get("recompute") in ("full", "none", "selective"):
        said.setdefault(key["recompute"], {})["checkpointing"] = "full" if layout["recompute"] == "full" else "none"
    return said


def _passes_key(launcher: str) -> str:
    return _KEYS_OF[launcher].get("passes", "sixnd.global_batch")


def _sharing(stage: int, devices: int | None, *, is_fsdp: bool) -> str:
    """What devices share by a stage of ZeRO; nothing where there is one device."""
    if devices == 1:
        return "none"
    if stage not in (0, 1, 2, 3):
        raise BadValueError(f"a ZeRO stage of {stage}; expected 0 to 3")
    return fsdp.SHARINGS.get(stage, f"zero-{stage}") if is_fsdp else "ddp" if stage == 0 else f"zero-{stage}"


def _of_accelerate(values: Mapping[str, Any], layout: Mapping[str, Any]) -> dict[str, dict[str, Value]]:
    """What accelerate's file says beside: whose sharding it is, the precision, whether layers are compiled."""
    said: dict[str, dict[str, Value]] = {}
    kind = accelerate.kind_of_run(values)
    if kind == "MEGATRON_LM":
        raise BadValueError("the accelerate file has distributed_type = MEGATRON_LM, which is not priced; `plan --from` prices it")
    if kind != "DEEPSPEED" and "zero" in layout:
        said["distributed_type"] = {"sharding": _sharing(layout["zero"], layout.get("dp"), is_fsdp=True)}
    precision = word(values.get("mixed_precision"))
    if precision in ("bf16", "fp16"):
        said["mixed_precision"] = {"autocast": precision}
    elif precision in ("no", "false"):
        said["mixed_precision"] = {"autocast": ""}
    elif "mixed_precision" in values:
        raise wrong("mixed_precision", values["mixed_precision"], "no, fp16 or bf16: products below 16 bits are not priced")
    if turned_on(values, f"{fsdp.BLOCK}fsdp_offload_params"):
        said[f"{fsdp.BLOCK}fsdp_offload_params"] = {"offload_parameters": True, "offload_optimizer": True}
    if word(values.get("dynamo_config.dynamo_backend")) not in ("no", "none", "false"):
        said["dynamo_config.dynamo_backend"] = {"compiled": True}
    return said


def _of_deepspeed(values: Mapping[str, Any]) -> dict[str, dict[str, Value]]:
    """What DeepSpeed's file says beside: the dtype that it holds weights in, and computes in without autocast; the optimizer."""
    said: dict[str, dict[str, Value]] = {}
    on = [kind for kind in ("bf16", "fp16") if turned_on(values, f"{kind}.enabled")]
    if on:
        said[f"{on[0]}.enabled"] = {"weights_dtype": on[0]}
    elif all(values.get(f"{kind}.enabled") is False for kind in ("bf16", "fp16")):
        said["bf16.enabled"] = {"weights_dtype": "fp32"}
    if (name := values.get("optimizer.type")) is not None:
        if word(name) not in _OPTIMIZERS:
            raise wrong("optimizer.type", name, f"one of: {', '.join(_OPTIMIZERS)}")
        said["optimizer.type"] = {"optimizer": _OPTIMIZERS[word(name)]}
    return said


_BOTH = {"offload_optimizer": True, "offload_parameters": True}
SHIPPED: dict[str, dict[str, Value]] = {
    **{key: {"sharding": "zero-1"} for key in ("zero1.json", "zero1_torch_compile.json")},
    **{key: {"sharding": "zero-2"} for key in ("zero2.json", "zero2_torch_compile.json", "ds_z2_config.json")},
    **{key: {"sharding": "zero-3"} for key in ("zero3.json", "zero3_bf16.json", "ds_z3_config.json")},
    "zero3_bf16_cpuoffload_params.json": {"sharding": "zero-3", "offload_parameters": True},
    **{key: {"sharding": "zero-3", **_BOTH} for key in ("zero3_bf16_cpuoffload_all.json", "ds_z3_offload_config.json")},
    "ds_z2_offload_config.json": {"sharding": "zero-2", "offload_optimizer": True},
    "ds_z0_config.json": {"sharding": "ddp"},
}
"""DeepSpeed's configurations that axolotl and LLaMA-Factory bring, which their own examples name -> what each says.

Source: axolotl 0.13, deepspeed_configs; LLaMA-Factory 0.9, examples/deepspeed."""


def shipped(path: str, file: str) -> FileRead | None:
    """What a configuration says that is not there and has the name of one that a framework brings; None for any other name.

    Args:
        file: that names it.
    """
    name = path.replace("\\", "/").rpartition("/")[2]
    if name not in SHIPPED:
        return None
    return FileRead(
        file=name,
        format=NAMES["deepspeed"],
        stated=tuple(Stated(setting=setting, value=value, key=f"deepspeed: {name}", file=file) for setting, value in SHIPPED[name].items()),
        notes=(f"{path[:80]} is not there, and is taken for the {name} that axolotl or LLaMA-Factory brings; add --from FILE for another",),
    )
