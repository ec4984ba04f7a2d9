"""A measured fine-tuning as a job: columns of a row, and what its framework's recipe fills in; or why it cannot be compared."""

from __future__ import annotations

import re

from estimators.architectures.adapters import with_adapters
from estimators.architectures.decoder import Decoder
from estimators.errors import RequestError
from estimators.facts.model_names import entry_named
from estimators.facts.registry import hardware, model_entry
from estimators.frozen import frozen, replace
from estimators.memory.optimizers import optimizer
from estimators.method import FULL, TrainingMethod
from estimators.spec import Hardware
from estimators.tuning.job import Attention, Offload, Sharding, TuningJob
from estimators.tuning.recipes import Checkpointing, LossPath, Packing, Recipe, recipe
from estimators.units import GIBI
from estimators.validation.model import shipped_model
from estimators.validation.table import LeftOutError, Record
from estimators.validation.tuning_names import FRAMEWORKS, LAYERS_OF, MODELS
from estimators.weight_formats import PLAIN, weight_format

Meter = str
"""Which memory was read: allocated, reserved, nvidia-smi, or not stated."""

METHODS = ("full", "lora", "qlora", "dora")


@frozen
class TuningCase:
    """One measured fine-tuning.

    Attributes:
        source: the group that the row is of.
        meter: see the type.
        measured_bytes, measured_step_time_s: None where not measured.
        is_oom: whether it did not run.
        assumed: cells that a rule completed.
    """

    id: str
    source: str
    method: str
    job: TuningJob
    device: Hardware | None
    meter: Meter
    measured_bytes: float | None
    measured_step_time_s: float | None
    is_oom: bool
    assumed: tuple[str, ...] = ()


def tuning_case(record: Record) -> TuningCase:
    """The job of a row.

    Raises:
        LeftOutError: a method, a model, a layout or a length that is not known or not fixed.
    """
    if record.broken:
        raise LeftOutError(record.broken)
    try:
        return _case(record)
    except RequestError as error:
        raise LeftOutError(str(error)) from None


def _case(record: Record) -> TuningCase:
    kind = record.text("method").casefold()
    if kind not in METHODS:
        raise LeftOutError(f"method {record.text('method')[:40]!r} is not covered; expected one of: {', '.join(METHODS)}")
    assumed: list[str] = []
    chosen = _recipe(record, assumed)
    model_id = _model_id(record)
    model = shipped_model(model_id)
    if not isinstance(model, Decoder):
        raise LeftOutError(f"{model.name} is no decoder-only language model")
    low = _low_dtype(record)
    autocast = _autocast(record, chosen, low)
    seq_len = record.needed("seq_len")
    if "variable" in record.text("seq_kind") and "longest sample" not in record.text("seq_kind"):
        assumed.append("the longest sample is as long as the cut-off")
    job = TuningJob(
        model=model,
        method=_method(record, kind, chosen, model),
        recipe=chosen,
        is_recipe_assumed=chosen.id == "unknown",
        weights_dtype=_weights_dtype(kind, chosen, low),
        autocast=autocast,
        micro_batch=record.needed("micro_batch"),
        seq_len=seq_len,
        accumulation=record.whole("grad_accum", 1) or 1,
        packing=_packing(record),
        optimizer=_optimizer(record, chosen, assumed),
        checkpointing=_checkpointing(record, chosen, assumed),
        attention=_attention(record),
        loss=_loss(record, chosen),
        widens_logits=autocast != "" or _transformers(record) >= WIDENS_ALL or model_entry(model_id).config["model_type"] not in OWN_LOSS,
        compiled=record.text("compile").casefold() == "true",
        sharding=_sharding(record),
        num_gpus=record.whole("n_gpus", 1) or 1,
        offload=_offload(record),
    )
    device = _device(record)
    gib = record.number("memory_gib")
    return TuningCase(
        id=record.id,
        source=record.text("group"),
        method=kind,
        job=job,
        device=device,
        meter=_meter(record),
        measured_bytes=gib * GIBI if gib else None,
        measured_step_time_s=record.number("step_time_s"),
        is_oom=record.text("oom") == "1",
        assumed=tuple(assumed),
    )


def _recipe(record: Record, assumed: list[str]) -> Recipe:
    said = f"{record.text('framework')} {record.text('framework_version')}".casefold()
    for word, name in FRAMEWORKS.items():
        if word in record.text("framework").casefold():
            found = recipe("trl-0" if "baseline-peft" in record.text("notes") else name)
            version = re.search(rf"{re.escape(found.framework)} (\d+(?:\.\d+)*)", said)
            return recipe(found.framework, version[1]) if version and found.id == found.framework else found
    assumed.append("framework, transformers with peft")
    return recipe("unknown")


def _model_id(record: Record) -> str:
    names = [record.text("hf_id"), record.text("model")]
    tried = [name.removesuffix("-GPTQ") for name in names if name]
    tried += [MODELS[name.casefold()] for name in tried if name.casefold() in MODELS]
    for name in reversed(tried):
        try:
            return entry_named(name).id
        except RequestError:
            continue
    raise LeftOutError(f"model {record.text('model')[:60]!r} does not ship")


def _low_dtype(record: Record) -> str:
    said = f"{record.text('compute_dtype')} {record.text('weight_format')}".casefold()
    return "fp16" if "fp16" in said or "float16" in said.replace("bfloat16", "") else "bf16"


def _flag(record: Record, name: str) -> bool | None:
    """A flag of mixed precision that the notes state; None where they state none."""
    found = re.search(rf"\b{name}=(\w*)", record.text("notes"))
    return None if not found else found[1].casefold() == "true"


def _autocast(record: Record, chosen: Recipe, low: str) -> str:
    flags = [_flag(record, name) for name in ("bf16", "fp16", "use_amp")]
    if any(flag is not None for flag in flags):
        return low if any(flags) else ""
    said = record.text("compute_dtype").casefold()
    if "autocast" in said or said == "amp":
        return low
    if "true" in said:
        return ""
    return low if chosen.autocast else ""


def _weights_dtype(kind: str, chosen: Recipe, low: str) -> str:
    return "fp32" if kind == "full" and chosen.weights_dtype == "fp32" else low


def _method(record: Record, kind: str, chosen: Recipe, model: Decoder) -> TrainingMethod:
    if kind == "full":
        return FULL
    stated = record.number("lora_rank") or chosen.lora_rank
    if not stated:
        raise LeftOutError("no rank of the adapters")
    base = weight_format(record.text("weight_format")) if kind == "qlora" or "gptq" in record.text("weight_format") else PLAIN
    base = "nf4-double" if base == "nf4" and chosen.doubles_scales else base
    return TrainingMethod(
        rank=int(stated),
        targets=_targets(record, chosen, model),
        dora=kind == "dora",
        base_format=base,
        quantises_experts=chosen.quantises_experts,
    )


def _targets(record: Record, chosen: Recipe, model: Decoder) -> tuple[str, ...]:
    said = record.text("lora_targets")
    if "trained" in said or "[" in said:
        raise LeftOutError(f"adapters on {said[:60]!r} are not covered")
    if not said or ("default" in said.casefold() and "linear" not in said.casefold()):
        return tuple(chosen.lora_targets.split(",")) if chosen.lora_targets else ()
    if "linear" in said.casefold() or said == "ALL":
        return ("all-linear",)
    words = re.split(r"[ ,]+", said)
    words = [name for word in words for name in ((word,) if _has(model, word) else LAYERS_OF.get(word, ()))]
    return tuple(dict.fromkeys(word for word in words if _has(model, word)))


def _has(model: Decoder, target: str) -> bool:
    """Whether a model has a matrix of that name: tables name those of several models at once."""
    try:
        with_adapters(model, 1, (target,))
    except RequestError:
        return False
    return True


def _packing(record: Record) -> Packing:
    kind = record.text("seq_kind")
    return "padding-free" if "padding-free" in record.text("notes") else "packed" if kind.startswith("packed") else "none"


OPTIMIZERS = {
    "adamw (fp32 states)": "adamw_torch",
    "adamw": "adamw_torch",
    "adamw or cpuadam": "adamw_torch",
    "pagedadamw": "paged_adamw_32bit",
}
"""What tables call some optimizers."""


def _optimizer(record: Record, chosen: Recipe, assumed: list[str]) -> str:
    said = record.text("optimizer").partition(",")[0].casefold()
    if not said:
        assumed.append(f"optimizer, {chosen.optimizer}")
        return chosen.optimizer
    return optimizer(OPTIMIZERS.get(said, said)).name


def _checkpointing(record: Record, chosen: Recipe, assumed: list[str]) -> Checkpointing:
    said = record.text("checkpointing").casefold()
    if not said:
        assumed.append(f"checkpointing, {chosen.checkpointing}")
        return chosen.checkpointing
    if "offload" in said:
        return "offload"
    return "full" if said.startswith("full") else "none"


def _attention(record: Record) -> Attention:
    said = record.text("attention").casefold()
    return "flash" if "fla" in said or said.startswith("fa") else "eager" if said == "eager" else "sdpa"


def _loss(record: Record, chosen: Recipe) -> LossPath:
    said, notes = record.text("loss_kernel").casefold(), record.text("notes")
    if "liger" in said:
        return "liger-fused"
    keeps = _transformers(record) >= KEEPS_LOGITS
    if "cut cross entropy" in said:
        return "cut-cross-entropy"
    if "chunked" in said or said == "unsloth":
        return "chunked"
    if "foak" in notes:
        return "fused-16-bit-kept" if keeps else "fused-16-bit"
    return ("plain-kept" if keeps else "plain") if said.startswith("plain") else chosen.loss


KEEPS_LOGITS, WIDENS_ALL = (4, 46), (4, 50)
"""Versions of transformers from which the caller of a loss keeps the logits that it was given in 16 bits, and in which no class of a
model has a loss of its own any more.

Source: transformers, loss/loss_utils.py (ForCausalLMLoss), models/gpt_bigcode/modeling_gpt_bigcode.py.
"""

OWN_LOSS = ("gpt_bigcode",)
"""Families whose loss was made in the logits' own dtype until then: those of measured rows."""


def _transformers(record: Record) -> tuple[int, ...]:
    """The version that a row states; later than all where it states none."""
    found = re.search(r"transformers (\d+)\.(\d+)", record.text("framework_version"))
    return (int(found[1]), int(found[2])) if found else (99,)


def _sharding(record: Record) -> Sharding:
    said, devices = record.text("parallel").casefold(), record.whole("n_gpus", 1) or 1
    if "context" in said or "sequence" in said:
        raise LeftOutError(f"parallel {said[:40]!r} is not covered")
    if devices == 1 and not said.startswith("zero"):
        return "none"
    if "fsdp" in said:
        return "fsdp"
    if "zero" in said:
        return "zero-3" if "3" in said else "zero-2"
    if "pipeline" in said or "device_map" in said:
        return "device-map"
    if said.startswith("ddp"):
        return "ddp"
    raise LeftOutError(f"{devices} devices, parallel {said[:40]!r}: not covered")


def _offload(record: Record) -> Offload:
    said = record.text("offload").casefold()
    return Offload(optimizer="optimizer" in said, parameters="parameters" in said, activations="activations" in said)


def _meter(record: Record) -> Meter:
    said = record.text("memory_meter").casefold()
    if "capacity" in said:
        return "capacity"
    if "not stated" in said or " or " in said or not said:
        return "not stated"
    if "allocated" in said or "cache emptied" in said:  # what an emptied cache leaves is what is allocated
        return "allocated"
    return "reserved" if "reserved" in said else "nvidia-smi" if "nvidia-smi" in said else "not stated"


def _device(record: Record) -> Hardware | None:
    return hardware(record.text("hardware_id")) if record.text("hardware_id") else None


def without_recipe(case: TuningCase) -> TuningCase:
    """The same case where nobody named the framework."""
    return replace(case, job=replace(case.job, recipe=recipe("unknown"), is_recipe_assumed=True))
