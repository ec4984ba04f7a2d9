"""One rollout step of GRPO by phases: answers are written, scored, and trained on; its gradient steps are counted apart.

A rollout step writes prompts x generations answers once. A gradient step is one update of the optimizer; a rollout step has
rollouts x reuse / samples of an update of them. Frameworks print the one or the other as "a step".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from estimators.architectures.decoder import Decoder
from estimators.cost.efficiency import efficiency
from estimators.cost.machine import SIXTEEN, machine_of
from estimators.errors import BadValueError
from estimators.facts.prices import PriceRange, rent
from estimators.frozen import field, frozen, replace
from estimators.serving.deployment import Deployment
from estimators.serving.engines import DEFAULT_ENGINE, engine
from estimators.serving.step import step_law
from estimators.serving.step_batch import StepBatch
from estimators.spec import Hardware, Model, Workload
from estimators.training.scoring import scoring_s
from estimators.training.step import gathered_s
from estimators.tuning.constants import tuning_constants
from estimators.tuning.fit import Fit, fit
from estimators.tuning.job import TuningJob
from estimators.tuning.software import tuning_software
from estimators.tuning.step import TuningStep, layout_of, reference_work, tuning_step
from estimators.units import HOUR_S

PHASES = {
    "generation": "writing the answers: what no engine can beat, weights and caches read for every token",
    "old_log_probs": "the policy's log-probabilities of its own answers, where an answer is trained on more than once",
    "reference": "the reference's log-probabilities",
    "update": "forward, backward and optimizer, all gradient steps",
    "sync": "the new weights to the engine",
}
"""What a rollout step consists of, in its order."""

ENGINE_SHARE = 0.9
"""Of a device's memory that an engine of its own takes where the job names no share. Source: vLLM, gpu_memory_utilization."""


@frozen
class Rollout:
    """The question: one rollout step.

    Attributes:
        job: of objective grpo: its micro-batch counts answers, `num_generations` answers belong to a prompt, `completion_len` tokens in
            the mean to an answer.
        prompts: of one rollout step, all devices together.
        prompt_tokens: of a prompt in the mean.
        reuse: times that every answer is trained on.
        update_samples: answers of one gradient step over all devices.
        engine_devices: that write one answer together, tensor-parallel.
    """

    job: TuningJob
    hardware: Hardware
    prompts: int
    prompt_tokens: int
    reuse: int = 1
    update_samples: int
    engine_devices: int = 1

    def __post_init__(self) -> None:
        if self.job.objective != "grpo" or self.job.completion_len < 1:
            raise BadValueError(f"objective {self.job.objective}, answers of {self.job.completion_len} tokens; expected grpo, and 1")
        for name in ("prompts", "prompt_tokens", "reuse", "update_samples", "engine_devices"):
            if getattr(self, name) < 1:
                raise BadValueError(f"{name} is {getattr(self, name)}; expected a whole number from 1")
        if self.job.num_gpus % self.engine_devices:
            raise BadValueError(f"{self.engine_devices} devices of an engine do not divide the {self.job.num_gpus} of the job")
        pass_samples = self.job.micro_batch * self.job.data_parallel
        if self.rollouts * self.reuse % self.update_samples or self.update_samples % pass_samples:
            raise BadValueError(
                f"{self.rollouts:,} answers used {self.reuse} times in updates of {self.update_samples:,}, {pass_samples} at a time: "
                "expected whole numbers of steps and of passes"
            )

    @property
    def rollouts(self) -> int:
        """Answers of one rollout step."""
        return self.prompts * self.job.num_generations

    @property
    def num_engines(self) -> int:
        """That write side by side."""
        return self.job.num_gpus // self.engine_devices

    @property
    def gradient_steps(self) -> int:
        """Updates of the optimizer in one rollout step."""
        return self.rollouts * self.reuse // self.update_samples

    @property
    def row_tokens(self) -> int:
        """Prompt and answer."""
        return self.prompt_tokens + self.job.completion_len


@frozen
class RolloutStep:
    """The answer.

    Attributes:
        phases: seconds by phase, see PHASES; devices do them one after the other. The generation is a bound: engines take longer.
        phase_flop: FLOP by phase under `full`; a phase that only moves bytes has 0.
        concurrent: answers that each engine writes at once, as its memory holds their keys and values.
        update: one gradient step.
    """

    question: Rollout
    phases: Mapping[str, float] = field(hash=False)
    phase_flop: Mapping[str, int] = field(hash=False)
    concurrent: int
    update: TuningStep

    @property
    def step_time_s(self) -> float:
        """One rollout step; no less than this."""
        return sum(self.phases.values())


@frozen
class RolloutTraining:
    """Rollout steps on a set of prompts.

    Attributes:
        step: one of them.
        num_prompts: of the set.
        epochs: passes over it.
        fit: whether an update fits, the engine asleep or elsewhere.
        price: None where the device has none.
    """

    step: RolloutStep
    fit: Fit
    num_prompts: int
    epochs: float
    price: PriceRange | None

    @property
    def num_rollout_steps(self) -> int:
        """Rounds of generation; a last, smaller one is a whole one."""
        return math.ceil(-(-self.num_prompts // self.step.question.prompts) * self.epochs)

    @property
    def num_gradient_steps(self) -> int:
        """Updates of the optimizer."""
        return self.num_rollout_steps * self.step.question.gradient_steps

    @property
    def wall_s(self) -> float:
        """At least: generation is a bound."""
        return self.num_rollout_steps * self.step.step_time_s

    @property
    def gpu_hours(self) -> float:
        """Device time of that."""
        return self.wall_s * self.step.question.job.num_gpus / HOUR_S


def rollout_training(question: Rollout, num_prompts: int, *, epochs: float = 1.0, usd_per_gpu_hour: float | None = None) -> RolloutTraining:
    """A GRPO training on so many prompts. Raises BadValueError as `rollout_step`."""
    price = rent(question.hardware.id, usd_per_gpu_hour)
    alone = replace(question.job, seq_len=question.row_tokens, engine_share=0.0)
    return RolloutTraining(
        step=rollout_step(question), fit=fit(alone, question.hardware), num_prompts=num_prompts, epochs=epochs, price=price
    )


def rollout_step(question: Rollout) -> RolloutStep:
    """One rollout step by phases, on devices that generate and train by turns.

    Raises:
        BadValueError: as `tuning_step` and `step_law`; weights that leave an engine no room.
    """
    job, hardware = replace(question.job, seq_len=question.row_tokens, reference="none"), question.hardware
    samples = question.rollouts
    accumulation = question.update_samples // (job.micro_batch * job.data_parallel)
    update = tuning_step(replace(job, accumulation=accumulation), hardware)
    scored = samples // (job.micro_batch * job.data_parallel)
    layout = layout_of(replace(job, accumulation=max(1, scored)))
    machine, e = machine_of(hardware, job.dtype), efficiency()
    kernels = tuning_software(job, hardware.architecture, e, tuning_constants())
    has_reference = question.job.reference in ("adapters-off", "copy")
    base = reference_work(job)
    concurrent = min(-(-samples // question.num_engines), _room(question))
    phases = {
        "generation": _generation_s(question, concurrent),
        "old_log_probs": scoring_s(update.work, layout, machine, kernels, e) if question.reuse > 1 else 0.0,
        "reference": scoring_s(base, layout, machine, kernels, e) if has_reference else 0.0,
        "update": question.gradient_steps * update.step_time_s,
        "sync": float(gathered_s(update.work, layout, machine, kernels, e)) if job.data_parallel > 1 else 0.0,
    }
    forward = update.work.forward_flop(causal=False)
    flop = {
        "generation": _generation_flop(job.model, question),
        "old_log_probs": samples * forward if question.reuse > 1 else 0,
        "reference": samples * base.forward_flop(causal=False) if has_reference else 0,
        "update": question.gradient_steps * update.flop,
        "sync": 0,
    }
    return RolloutStep(question=question, phases=phases, phase_flop=flop, concurrent=concurrent, update=update)


def _room(question: Rollout) -> int:
    """Answers whose keys and values an engine holds beside its 16-bit weights.

    Raises:
        BadValueError: none.
    """
    job, work = question.job, reference_work(replace(question.job, seq_len=question.row_tokens))
    memory_bytes = question.engine_devices * question.hardware.memory_bytes
    held = memory_bytes * (job.engine_share or ENGINE_SHARE) - 2 * work.params
    room = int(held // (2 * work.kv_elements * question.row_tokens))
    if room < 1:
        share = f"{job.engine_share or ENGINE_SHARE:.0%}"
        raise BadValueError(
            f"an engine with {share} of {question.hardware.id} has no room for the weights and one answer of {job.model.name}"
        )
    return room


def _generation_s(question: Rollout, concurrent: int) -> float:
    """Bound of writing all answers: each prompt is read once for its group, and every token of an answer in the mean context."""
    job, hardware = question.job, question.hardware
    law = step_law(
        Deployment(
            model=job.model,
            hardware=hardware,
            engine=engine(DEFAULT_ENGINE),
            tp=question.engine_devices,
            compute=job.dtype if job.dtype in SIXTEEN else "bf16",
        )
    )
    prompts = -(-question.prompts // question.num_engines)
    read = StepBatch(prompt_tokens=prompts * question.prompt_tokens, prompt_context=question.prompt_tokens / 2, prompts=prompts)
    token = StepBatch(decoding=concurrent, context_tokens=question.prompt_tokens + job.completion_len // 2)
    waves = -(-question.rollouts // question.num_engines) / concurrent
    return float(law.time(read).bound_s + waves * job.completion_len * law.time(token).bound_s)


def _generation_flop(model: Model, question: Rollout) -> int:
    """Prefill of every prompt, once for its group, and a decode step for every further token of every answer."""
    if not isinstance(model.base, Decoder):
        raise BadValueError(f"{model.name} writes no answers")

    def counted(workload: Workload) -> int:
        return sum(op.count * op.flop for op in model.ops(workload))

    def step(context: int) -> int:
        return counted(Workload(phase="decode", batch=1, context_len=context))

    first = question.prompt_tokens
    read = counted(Workload(phase="prefill", batch=question.prompts, seq_len=first))
    return read + question.rollouts * _summed(step, first, first + question.job.completion_len - 2)


def _summed(value: Callable[[int], int], first: int, last: int) -> int:
    """The sum over all whole numbers from the first to the last of a function that is straight in pieces and bends one way.

    Where the middle of a piece lies on the line between its ends all of it does.

    >>> _summed(lambda n: min(n, 10) * 3, 1, 100) == sum(min(n, 10) * 3 for n in range(1, 101))
    True
    """
    if last < first:
        return 0
    if last - first < 4:
        return sum(map(value, range(first, last + 1)))
    middle = (first + last) // 2
    low, high = value(first), value(last)
    if (value(middle) - low) * (last - first) == (high - low) * (middle - first):
        return (low + high) * (last - first + 1) // 2
    return _summed(value, first, middle) + _summed(value, middle + 1, last)
