"""A fine-tuning by named settings, as files and the command line state them: what is given, then what the framework's recipe has."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from estimators.architectures.decoder import Decoder
from estimators.errors import BadValueError
from estimators.frozen import replace
from estimators.memory.optimizers import optimizer
from estimators.method import FULL, TrainingMethod
from estimators.spec import Model
from estimators.tuning.job import Offload, TuningJob
from estimators.tuning.recipes import UNKNOWN, Recipe
from estimators.weight_formats import PLAIN

Value = str | int | float | bool | tuple[str, ...]

OF_JOB = (
    *("objective", "weights_dtype", "autocast", "micro_batch", "seq_len", "accumulation", "packing", "optimizer", "optimizer_rank"),
    *("checkpointing", "attention", "loss", "compiled", "sharding", "num_gpus", "lora_dropout", "saved_modules", "fuses_backward"),
    *("reference", "completion_len", "num_generations", "engine_share", "engine_sleeps"),
)
"""Settings that are fields of a TuningJob."""

OF_METHOD = ("method", "lora_rank", "lora_targets", "dora", "base_format", "trained_layers")
"""Settings of what is trained: method is full, lora or freeze; trained_layers are the last so many, under freeze."""

OF_OFFLOAD = ("offload_optimizer", "offload_parameters", "offload_activations")

OF_RUN = ("model", "framework", "epochs", "max_steps")
"""Settings that other nouns take: which model, whose recipe, how much is trained on."""

NAMES = (*OF_JOB, *OF_METHOD, *OF_OFFLOAD, *OF_RUN)

OF_ADAPTERS = ("lora_rank", "lora_targets", "lora_dropout", "dora", "saved_modules")
"""Those without effect where no adapters are trained."""


METHODS = ("full", "lora", "qlora")
"""What is trained, in the words that people use, of fine-tunings that `run` measures."""

PRECISIONS: dict[str, tuple[str, str]] = {
    "bf16": ("bf16", "bf16"),
    "fp16": ("fp16", "fp16"),
    "pure-bf16": ("bf16", ""),
    "pure-fp16": ("fp16", ""),
    "fp32-bf16": ("fp32", "bf16"),
    "fp32-fp16": ("fp32", "fp16"),
    "fp32": ("fp32", ""),
}
"""Name -> what weights are loaded in, and what autocast multiplies in; empty for no autocast."""

USUAL_TOKENS = 2048
"""Of the longest sample where neither the user nor the framework says."""

USUAL_RANK = 16
"""Of adapters where neither the user nor the framework says."""


TRANSFORMERS_NAMES = {"adamw": "adamw_torch_fused", "adamw-8bit": "adamw_bnb_8bit", "sgd-momentum": "sgd"}
"""What trainings call an optimizer -> transformers' name of it, where that is another."""


def transformers_name(name: str) -> str:
    """Transformers' name of an optimizer, by that or by what trainings call it. Raises UnknownNameError."""
    return optimizer(TRANSFORMERS_NAMES.get(name, name)).name


def usual_length(recipe: Recipe, model: Model) -> int:
    """Tokens of the longest sample where nobody says: the framework's, or USUAL_TOKENS; no more than the model was made for."""
    return min(recipe.seq_len or USUAL_TOKENS, max(1, model.max_positions))


def precision_settings(name: str | None, recipe: Recipe, method: str, dtypes: Collection[str] | None = None) -> dict[str, Value]:
    """What weights are loaded in and multiplied in; nothing where that is left to the framework.

    Args:
        name: one of PRECISIONS; None for the framework's.
        method: full, lora or freeze.
        dtypes: those that the device multiplies in, where it is known: without bf16 its fp16 takes that one's place.

    Raises:
        BadValueError: a name that is none of these.
    """
    if name is not None and name not in PRECISIONS:
        raise BadValueError(f"a fine-tuning in {name[:40]} is not priced; expected one of: {', '.join(PRECISIONS)}")
    if name is not None:
        weights, autocast = PRECISIONS[name]
        return {"weights_dtype": weights, "autocast": autocast}
    if dtypes is None or "bf16" in dtypes:
        return {}
    low = "fp16" if "fp16" in dtypes else "fp32"
    weights = "fp32" if method in ("full", "freeze") or recipe.frozen_dtype == "fp32" else low
    return {"weights_dtype": weights, "autocast": low if low == "fp16" and (recipe.autocast or weights == "fp32") else ""}


def adapter_settings(
    trained: str, recipe: Recipe, *, rank: int | None, targets: tuple[str, ...] | None, base_format: str
) -> dict[str, Value]:
    """What lora, qlora and dora are settings of; a rank and a format that nobody gave are the framework's, or usual."""
    if trained == "qlora" and base_format == PLAIN:
        base_format = "nf4-double" if recipe.doubles_scales else "nf4"
    given: dict[str, Value] = {"method": "lora", "base_format": base_format, "dora": trained == "dora"}
    given["lora_rank"] = rank or recipe.lora_rank or USUAL_RANK
    if targets is not None:
        given["lora_targets"] = targets
    return given


def method_under(method: TrainingMethod, recipe: Recipe) -> TrainingMethod:
    """A method with what a framework has of it where nobody said: the matrices that have adapters, whether experts are quantised."""
    if not method.rank:
        return method
    targets = method.targets or (tuple(recipe.lora_targets.split(",")) if recipe.lora_targets else ())
    return replace(method, targets=targets, quantises_experts=recipe.quantises_experts and method.base_format != PLAIN)


def method_settings(model: Model, method: TrainingMethod) -> dict[str, Value]:
    """The settings that state a method."""
    if method.rank:
        given: dict[str, Value] = {"method": "lora", "lora_rank": method.rank, "dora": method.dora, "base_format": method.base_format}
        return given | ({"lora_targets": method.targets} if method.targets else {})
    if method.frozen_layers is None:
        return {"method": "full", **({} if method.base_format == PLAIN else {"base_format": method.base_format})}
    return {"method": "freeze", "trained_layers": trained_layers(model, method.frozen_layers)}


def trained_layers(model: Model, frozen_layers: int) -> int:
    """The layers that are trained where so many first ones are not; a model that is no decoder has none."""
    return (model.layers if isinstance(model, Decoder) else 0) - frozen_layers


def defaults(recipe: Recipe, given: Mapping[str, Value]) -> dict[str, Value]:
    """What a recipe has of the settings that are not given and that the job has: none of adapters where none are trained.

    Args:
        given: by name; `method` decides what applies, full where it is not given.
    """
    method = given.get("method", "full")
    rows: dict[str, Value | None] = {
        "checkpointing": recipe.checkpointing,
        "loss": recipe.loss,
        "packing": recipe.packing,
        "optimizer": recipe.optimizer,
        "weights_dtype": recipe.weights_dtype if method != "lora" else "fp32" if recipe.frozen_dtype == "fp32" else None,
        "autocast": ("fp16" if given.get("weights_dtype") == "fp16" else "bf16") if recipe.autocast else "",
        "micro_batch": recipe.micro_batch,
        "accumulation": recipe.accumulation,
        "seq_len": recipe.seq_len,
        "epochs": recipe.epochs,
        "lora_rank": recipe.lora_rank if method == "lora" else None,
        "lora_targets": tuple(recipe.lora_targets.split(",")) if recipe.lora_targets and method == "lora" else None,
    }
    return {name: value for name, value in rows.items() if value is not None and name not in given}


def job_of(model: Model, recipe: Recipe, given: Mapping[str, Value]) -> TuningJob:
    """The job of some settings, filled in by a recipe.

    Args:
        given: by the names of NAMES; those of OF_RUN are not looked at.

    Raises:
        BadValueError: a name that is none, a length that nothing states, or what no job is made of.
    """
    if strange := set(given) - set(NAMES):
        raise BadValueError(f"settings {', '.join(sorted(strange))[:80]} are unknown; expected some of: {', '.join(NAMES)}")
    said = {**defaults(recipe, given), **given}
    if "seq_len" not in said:
        raise BadValueError("nothing says how long the longest sample is; give --seq-len")
    method = _method(model, recipe, said)
    rest = {name: said[name] for name in OF_JOB if name in said}
    num_gpus = int(str(said.get("num_gpus", 1)))
    rest.setdefault("sharding", "none" if num_gpus == 1 else "ddp")
    rest.setdefault("weights_dtype", "fp16" if said.get("autocast") == "fp16" else "bf16")
    rest.setdefault("reference", _reference(str(said.get("objective", "sft")), method))
    rest.setdefault("fuses_backward", optimizer(str(said["optimizer"])).is_in_backward)
    offload = Offload(**{name.removeprefix("offload_"): bool(said.get(name)) for name in OF_OFFLOAD})
    return TuningJob(model=model, method=method, recipe=recipe, is_recipe_assumed=recipe.id == UNKNOWN, offload=offload, **rest)  # type: ignore[arg-type]


def _method(model: Model, recipe: Recipe, said: Mapping[str, Value]) -> TrainingMethod:
    """What is trained. Raises BadValueError for more layers than there are, or a method that is none."""
    kind, base = said.get("method", "full"), str(said.get("base_format", PLAIN))
    if kind == "lora":
        targets = said.get("lora_targets", ())
        assert isinstance(targets, tuple)
        plain = TrainingMethod(rank=int(str(said["lora_rank"])), targets=targets, dora=bool(said.get("dora")), base_format=base)
        return method_under(plain, recipe)
    if kind == "freeze":
        layers, trained = trained_layers(model, 0), int(str(said["trained_layers"]))
        if not 0 <= trained <= layers:
            raise BadValueError(f"{trained} layers of {model.name} are trained; expected 0 to {layers}")
        return TrainingMethod(frozen_layers=layers - trained)
    if kind != "full":
        raise BadValueError(f"method is {str(kind)[:40]!r}; expected full, lora or freeze")
    return FULL if base == PLAIN else TrainingMethod(base_format=base)


def _reference(objective: str, method: TrainingMethod) -> str:
    """Where a reference's log-probabilities come from where nothing says it: GRPO has none unless beta is set."""
    if objective not in ("dpo", "kto"):
        return "none"
    return "adapters-off" if method.rank else "copy"
