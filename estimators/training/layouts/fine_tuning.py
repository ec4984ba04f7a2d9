"""Layouts of a fine-tuning: each is a job of a framework, of which the same functions say memory and time that `fit` asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from estimators.architectures.decoder import Decoder
from estimators.cost.layout import Layout
from estimators.cost.software import stack
from estimators.method import FULL
from estimators.training.prediction import Prediction
from estimators.training.step import OPTIMIZER_BYTES
from estimators.tuning.job import Sharding, TuningJob
from estimators.tuning.recipes import UNKNOWN, Recipe, recipe, recipe_of
from estimators.tuning.settings import Value, job_of, method_settings, precision_settings, transformers_name

if TYPE_CHECKING:
    from estimators.cost.machine import MeasuredRates
    from estimators.method import TrainingMethod
    from estimators.spec import Hardware, Model
    from estimators.tuning.fit import Fit
    from estimators.tuning.step import TuningStep


class Job(Protocol):
    """What is asked of the job of some layouts; its fields are those of `layouts.job.Job`."""

    @property
    def model(self) -> Model: ...
    @property
    def method(self) -> TrainingMethod: ...
    @property
    def hardware(self) -> Hardware: ...
    @property
    def seq_len(self) -> int: ...
    @property
    def dtype(self) -> str: ...
    @property
    def stack_id(self) -> str: ...
    @property
    def optimizer(self) -> str: ...
    @property
    def framework(self) -> str: ...
    @property
    def checkpointing(self) -> str: ...
    @property
    def cluster(self) -> str: ...
    @property
    def without(self) -> str: ...
    @property
    def network_bytes_per_s(self) -> float | None: ...
    @property
    def own(self) -> MeasuredRates | None: ...


SOFTWARE: Mapping[str, tuple[str, Mapping[str, Value]]] = {
    "": (UNKNOWN, {}),
    "transformers": ("transformers", {"checkpointing": "full"}),
    "transformers-2023": ("transformers", {"checkpointing": "full"}),
    "transformers-qlora": ("transformers", {"checkpointing": "full"}),
    "deepspeed-zero": ("transformers", {"checkpointing": "full"}),
    "deepspeed-liger": ("transformers", {"checkpointing": "full", "loss": "liger-fused"}),
    "pytorch-fsdp2": ("torchtune", {"compiled": True}),
    "pytorch-fsdp2-eager": ("torchtune", {}),
}
"""Software of stacks.json that leaves a fine-tuned model whole -> the recipe of its habits, and what it has otherwise. Where nobody names
one, transformers. All other software cuts matrices and layers, which no framework of fine-tuning here does."""

DEEPSPEED = ("deepspeed-zero", "deepspeed-liger", "transformers-2023", "transformers-qlora")
"""Those of it that share states out by DeepSpeed's ZeRO."""

DTYPES = ("bf16", "fp16", "fp32")
"""Of products that they run."""

BY_STAGE: Mapping[int, Sharding] = {0: "ddp", 1: "zero-1", 2: "zero-2", 3: "fsdp"}
"""What devices share by ZeRO stage; stage 3 is DeepSpeed's where that is the software."""


def leaves_whole(job: Job) -> bool:
    """Whether a job is a fine-tuning by software that leaves the model whole."""
    return job.method != FULL and isinstance(job.model, Decoder) and job.stack_id in SOFTWARE and job.dtype in DTYPES


def demand(job: Job) -> None:
    """Demand that its words are known ones. Raises UnknownNameError, BadValueError."""
    habits_of(job)
    transformers_name(job.optimizer)


def optimizer_kind(name: str) -> str:
    """Which of the optimizers of trainings one is, by transformers' name or by theirs. Raises UnknownNameError."""
    if name in OPTIMIZER_BYTES:
        return name
    from estimators.tuning.software import optimizer_kind as kind_of  # deferred, as those below: most trainings are of whole models

    return kind_of(transformers_name(name))


def is_whole(layout: Any) -> Any:
    """Whether a layout cuts samples alone; an array for an array of them."""
    cut = (layout.tp > 1) | (layout.pp > 1) | (layout.cp > 1) | (layout.ep > 1) | (layout.vp > 1)
    return (cut | layout.selective | (layout.shard > 0)) == 0


def usual_layouts(job: Job, lanes: Any) -> Any:
    """Which layouts are looked at where nobody gives one: those that are whole, share all or nothing, and keep what the framework keeps."""
    habits, deepspeed = habits_of(job), job.stack_id in DEEPSPEED
    shared = (lanes.dp == 1) | (lanes.zero > 0) if deepspeed else (lanes.zero == 0) | (lanes.zero == 3)
    kept = is_whole(lanes) & shared & (lanes.full == (_checkpointing(job, habits) != "none"))
    if job.framework and habits.micro_batch:
        at_a_time = lanes.micro_batch == habits.micro_batch
        return kept & at_a_time if (kept & at_a_time).any() else kept
    return kept


def habits_of(job: Job) -> Recipe:
    """The recipe of a job: of the framework that was named, else of its software."""
    return recipe_of(job.framework) if job.framework else recipe(SOFTWARE[job.stack_id][0])


def _checkpointing(job: Job, habits: Recipe) -> str:
    usual = {} if job.framework else SOFTWARE[job.stack_id][1]
    return job.checkpointing or str(usual.get("checkpointing", habits.checkpointing))


def usual_sequences(job: Job, num_devices: int) -> int:
    """Samples of one step where nobody says."""
    from estimators.tuning.usual_batch import usual_samples

    return usual_samples(habits_of(job), num_devices, assumed=not job.framework)


def batch_source(job: Job) -> str:
    """Whose batch that is."""
    return f"as {habits_of(job).framework} has it" if job.framework and habits_of(job).micro_batch else "what most fine-tunings take"


def tuning_job(job: Job, layout: Layout) -> TuningJob:
    """A job under a layout that leaves the model whole.

    Raises:
        BadValueError, UnknownNameError: what no job is made of.
    """
    habits = habits_of(job)
    given = method_settings(job.model, job.method)
    given |= precision_settings(None if job.dtype == "bf16" else job.dtype, habits, str(given["method"]))
    given |= {} if job.framework else dict(SOFTWARE[job.stack_id][1])
    kept = _checkpointing(job, habits)
    again = "none" if not layout.full else kept if kept != "none" else "full"
    sharding = "none" if layout.dp == 1 else BY_STAGE[layout.zero]
    if sharding == "fsdp" and job.stack_id in DEEPSPEED:
        sharding = "zero-3"
    return job_of(
        job.model,
        habits,
        given
        | {"num_gpus": layout.dp, "sharding": sharding, "seq_len": job.seq_len, "optimizer": transformers_name(job.optimizer)}
        | {"micro_batch": layout.micro_batch, "accumulation": layout.num_micro_batches, "checkpointing": again},
    )


def fit_of(job: Job, layout: Layout) -> Fit:
    """Memory of a layout, and whether it fits."""
    from estimators.tuning.fit import fit

    return fit(tuning_job(job, layout), job.hardware)


def step_of(job: Job, layout: Layout) -> TuningStep:
    """The step of a layout."""
    from estimators.tuning.step import tuning_step

    return tuning_step(tuning_job(job, layout), job.hardware, own=job.own, network_bytes_per_s=job.network_bytes_per_s, cluster=job.cluster)


def predicted(job: Job, layout: Layout) -> Prediction:
    """The step of a layout with its interval."""
    from estimators.tuning.interval import interval, step_class
    from estimators.tuning.software import stack_of

    step = step_of(job, layout)
    below, above = interval(step.job)
    return Prediction(
        work=step.work,
        layout=layout,
        hardware=job.hardware,
        machine=step.machine,
        stack=stack(stack_of(step.job)),
        dtype=job.dtype,
        case_class=step_class(step.job),
        ledger=step.ledger,
        low_s=step.step_time_s * below,
        high_s=step.step_time_s * above,
        notes=step.notes,
        tuning=step.job,
    )
