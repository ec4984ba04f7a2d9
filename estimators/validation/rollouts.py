"""Measured steps of reinforcement learning: a step is the sum of its phases where those are printed, and no faster than what is said."""

from __future__ import annotations

import re

from estimators.architectures.decoder import Decoder
from estimators.architectures.feed_forward import Experts
from estimators.errors import RequestError
from estimators.facts.model_names import entry_named
from estimators.facts.registry import hardware
from estimators.frozen import frozen
from estimators.tuning.job import TuningJob
from estimators.tuning.recipes import recipe
from estimators.tuning.rollout import Rollout, rollout_step
from estimators.validation.model import shipped_model
from estimators.validation.score import STRICT
from estimators.validation.table import LeftOutError, Record

PRINTED = ("gen_s", "old_log_prob_s", "ref_log_prob_s", "update_s")
"""Columns of phases that a colocated step goes through one after the other."""

ALSO_CALLED = {"llama3.1_8b": "llama-3.1-8b", "qwen3-30b3a": "qwen3-30b-a3b", "qwen3-235b": "qwen3-235b-a22b"}
"""What tables call models that ship under another name."""

PROMPT_TOKENS = 120
"""Of NeMo RL's prompts: its rates of tokens, devices and steps say 107 to 132 beside the mean answer, which excludes the prompt."""

REST = 0.075
"""Share of a step that lies outside its phases at most: 0 to 7 % in verl's tables."""

TIMES_LEAST = 2.7
"""What published colocated steps of dense models took at most over what is said at least. Source: NeMo RL's rows of the shipped table."""

BY_PHASES, AT_LEAST = "the sum of its printed phases", "what is said at least"


@frozen
class ScoredRollout:
    """One step.

    Attributes:
        basis: BY_PHASES or AT_LEAST; empty where the row is left out.
        framework: what people call the software.
        predicted_s: the sum of the phases as printed; or of those that are predicted, generation as a bound.
        high_s: what a step may take, by what is known to lie outside its phases.
        assumed: what rules put where the row leaves cells out.
        skipped: why nothing is predicted; empty where something is.
    """

    id: str
    basis: str = ""
    framework: str = ""
    predicted_s: float | None = None
    high_s: float | None = None
    measured_s: float | None = None
    assumed: tuple[str, ...] = ()
    skipped: str = ""

    @property
    def ratio(self) -> float | None:
        """Measured over predicted."""
        return self.measured_s / self.predicted_s if self.measured_s and self.predicted_s else None


def scored_rollout(record: Record, *, strict: bool = False) -> ScoredRollout:
    """A step beside what its phases add up to, or why it is left out.

    Args:
        strict: whether a row that a rule completed is left out.
    """
    try:
        if record.broken:
            raise LeftOutError(record.broken)
        found = _scored(record)
        if strict and found.assumed:
            raise LeftOutError(f"{STRICT}: {'; '.join(found.assumed)}")
    except (LeftOutError, RequestError) as reason:
        return ScoredRollout(id=record.id, skipped=str(reason))
    return found


def _scored(record: Record) -> ScoredRollout:
    if not record.text("placement").casefold().startswith("colocate"):
        raise LeftOutError("phases on devices of their own run beside each other: a step is not their sum")
    seconds, framework = record.number("step_time_s"), record.text("framework") or record.text("group")
    if not seconds:
        raise LeftOutError("no step is timed in the row")
    if record.number("gen_s") and record.number("update_s"):
        total = sum(record.number(column) or 0.0 for column in PRINTED)
        return ScoredRollout(
            id=record.id,
            basis=BY_PHASES,
            framework=framework,
            predicted_s=total,
            high_s=total / (1 - REST),
            measured_s=seconds,
        )
    least = rollout_step(_question(record)).step_time_s
    return ScoredRollout(
        id=record.id,
        basis=AT_LEAST,
        framework=framework,
        predicted_s=least,
        high_s=least * TIMES_LEAST,
        measured_s=seconds,
        assumed=(f"prompts of {PROMPT_TOKENS} tokens", "FSDP with checkpointing, one answer a pass"),
    )


def _question(record: Record) -> Rollout:
    """The step as the rollout model sees it. Raises LeftOutError."""
    model = shipped_model(_model_id(record.text("model")))
    if not isinstance(model, Decoder) or any(isinstance(part, Experts) for block in model.blocks for _, part in block.parts):
        raise LeftOutError("a mixture of experts, whose tokens every layer sends to other devices")
    tokens, rollouts = record.text("mean_seq_len"), record.whole("rollouts_per_step")
    if not re.fullmatch(r"\d+", tokens) or rollouts is None:
        raise LeftOutError("how long answers are in the mean is not printed")
    job = TuningJob(
        model=model,
        objective="grpo",
        recipe=recipe("trl"),
        seq_len=1,
        completion_len=int(tokens),
        checkpointing="full",
        sharding="fsdp",
        num_gpus=record.needed("n_gpus"),
    )
    return Rollout(
        job=job,
        hardware=hardware(record.text("hardware_id")),
        prompts=rollouts,
        prompt_tokens=PROMPT_TOKENS,
        update_samples=record.needed("train_batch"),
        engine_devices=record.needed("gen_tp"),
    )


def _model_id(name: str) -> str:
    try:
        return entry_named(ALSO_CALLED.get(name.casefold(), name)).id
    except RequestError:
        raise LeftOutError(f"model {name[:60]!r} does not ship") from None
