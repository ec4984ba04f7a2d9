"""What single steps of a model cost: forward, prefill, decode, training, and a whole generation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from estimators.counting.estimate import estimate
from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.inference.generation import Generation, generation
from estimators.spec import Case, Estimate, Hardware, Model, Recompute, Workload

if TYPE_CHECKING:
    from estimators.tuning.job import TuningJob

PROMPT_TOKENS, NEW_TOKENS = 512, 128
"""Of a generation, where only one of the two is given."""

Steps = Mapping[str, tuple[Workload, Estimate]]
"""Name of a step -> what it does and what it costs."""


@frozen
class StepsQuestion:
    """Single steps, and a generation where a prompt or new tokens are given.

    Attributes:
        seq_len: tokens of the steps that are of no generation.
        seq_len_source: who says so; empty where it was given.
        hardware: None leaves bounds of time out.
        batch: sequences, or prompts of a generation.
        convention: under which FLOP are counted; with `hardware` the training step recomputes its activations.
        tuning: what the training step is of a decoder that is trained in part: its memory is that job's. None for other models.
    """

    model: Model
    seq_len: int
    seq_len_source: str = ""
    hardware: Hardware | None = None
    batch: int = 1
    prompt_tokens: int | None = None
    new_tokens: int | None = None
    num_beams: int = 1
    dtype: str = "bf16"
    convention: str = "full"
    tuning: TuningJob | None = None

    @property
    def generates(self) -> bool:
        """Whether a generation is asked for."""
        return self.prompt_tokens is not None or self.new_tokens is not None

    @property
    def generation_alone(self) -> bool:
        """Whether a generation is all that is asked for: nobody said how long the sequences of a training would be."""
        return self.generates and bool(self.seq_len_source)


@frozen
class StepsAnswer:
    """The steps by name, and the generation where one was asked for."""

    question: StepsQuestion
    steps: Steps
    generation: Generation | None

    @property
    def held_bytes(self) -> int:
        """Weights and KV cache: at the end of the generation, else the most of a step that trains nothing."""
        if self.generation is not None:
            return sum(self.generation.peak_memory_bytes.values())
        return max(sum(cost.memory_bytes.values()) for workload, cost in self.steps.values() if workload.phase != "train")

    @property
    def activations_on_gpu_bytes(self) -> int | None:
        """Of a training step under a GPU's autocast, by its list of what runs in fp32; None where that is no more, or nothing trains."""
        if "training" not in self.steps or self.question.hardware is None or self.question.tuning is not None:
            return None
        from estimators.memory.kernels import AUTOCAST_ON_GPU  # deferred: other steps do without them
        from estimators.memory.single_device import kept_by_torch

        workload, cost = self.steps["training"]
        kept = kept_by_torch(self.question.model, workload, AUTOCAST_ON_GPU) if workload.dtype_bytes < 4 else None
        more = (kept or {}).get("activations", 0)
        return more if more > cost.memory_bytes.get("activations", 0) else None


def estimate_steps(question: StepsQuestion) -> StepsAnswer:
    """What every kind of step costs that the model has.

    Raises:
        BadValueError: a generation by a model that generates nothing, or one that is longer than its positions; a dtype without a peak.
    """

    def cost(workload: Workload) -> Estimate:
        cost = estimate(Case(model=question.model, workload=workload, hardware=question.hardware))
        if workload.phase != "train" or question.tuning is None:
            return cost
        from estimators.tuning.single_step import step_memory  # deferred: other steps do without it

        return replace(cost, memory_bytes=step_memory(question.tuning))

    generated = _generation(question) if question.generates else None
    steps = {name: (workload, cost(workload)) for name, workload in _workloads(question).items()}
    return StepsAnswer(question=question, steps=steps, generation=generated)


def _workloads(question: StepsQuestion) -> dict[str, Workload]:
    model, batch, seq_len, dtype = question.model, question.batch, question.seq_len, question.dtype
    alone = question.generation_alone
    workloads = {} if alone else {"forward": Workload(phase="forward", batch=batch, seq_len=seq_len, dtype=dtype)}
    if model.generates:
        rows = batch * question.num_beams
        prompt = question.prompt_tokens or (PROMPT_TOKENS if alone else None)
        context = prompt or max(0, seq_len - 1)
        workloads["prefill"] = Workload(phase="prefill", batch=rows, seq_len=prompt or seq_len, dtype=dtype)
        workloads["decode"] = Workload(phase="decode", batch=rows, context_len=context, dtype=dtype)
    if alone:
        return workloads
    recompute: Recompute = "full" if question.convention == "hardware" else "none"
    optimizer = "adamw" if model.item == "token" else "sgd"
    workloads["training"] = Workload(phase="train", batch=batch, seq_len=seq_len, dtype=dtype, optimizer=optimizer, recompute=recompute)
    return workloads


def _generation(question: StepsQuestion) -> Generation:
    model = question.model
    if not model.generates:
        raise BadValueError(f"{model.name} generates nothing: leave --prompt-tokens and --new-tokens out")
    prompt, new = question.prompt_tokens or PROMPT_TOKENS, question.new_tokens or NEW_TOKENS
    longest = model.max_positions
    if model.positions and prompt + new - 1 > longest:
        raise BadValueError(f"{prompt:,} prompt tokens and {new:,} new ones pass the {longest:,} positions that {model.name} has")
    return generation(
        model,
        prompt_tokens=prompt,
        new_tokens=new,
        batch=question.batch,
        beams=question.num_beams,
        dtype=question.dtype,
        hardware=question.hardware,
    )
