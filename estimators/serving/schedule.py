"""Schedule: what bounds the steps of an engine: blocks, sequences, tokens of a step, and what goes first."""

from __future__ import annotations

from typing import Protocol

from estimators.cost.array_math import Lane
from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.serving.deployment import Deployment
from estimators.serving.step_batch import StepBatch


class StepSeconds(Protocol):
    """What a step takes."""

    @property
    def total_s(self) -> Lane:
        """The whole step."""


class Law(Protocol):
    """What times the steps of a deployment: see `step.StepLaw`."""

    def time(self, batch: StepBatch) -> StepSeconds:
        """One step, or many side by side."""


@frozen
class Schedule:
    """How the engine of one replica picks what a step works on.

    Attributes:
        blocks: of the KV cache, all groups of attention together.
        block_tokens: of a block.
        token_budget: prompt and decoded tokens of one step at most.
        max_num_seqs: sequences in flight at most.
        max_model_len: tokens of a prompt and its answer at most; None for what the blocks hold.
        mixed, chunked, reserved_output, schedules_ahead: as the engine does; see `engines.Engine`.
        prefix_share: of the tokens of a prompt, those that need no reading; they take room of their own all the same.
        draft_tokens, accepted_len: of speculation: tokens that a step verifies beside its own, and that it yields.
    """

    blocks: int
    block_tokens: int
    token_budget: int
    max_num_seqs: int
    max_model_len: int | None = None
    mixed: bool = True
    chunked: bool = True
    reserved_output: float = 0.0
    schedules_ahead: bool = False
    prefix_share: float = 0.0
    draft_tokens: int = 0
    accepted_len: float = 1.0

    def __post_init__(self) -> None:
        for name in ("blocks", "block_tokens", "token_budget", "max_num_seqs"):
            if getattr(self, name) < 1:
                raise BadValueError(f"{name} is {getattr(self, name)}; expected a whole number from 1")
        if self.max_num_seqs * (1 + self.draft_tokens) > self.token_budget and self.mixed:
            raise BadValueError(
                f"{self.max_num_seqs:,} sequences of {1 + self.draft_tokens} tokens in steps of {self.token_budget:,} tokens; "
                "expected as many tokens as all sequences decode at least"
            )

    def blocks_of(self, tokens: int) -> int:
        """That so many tokens of one sequence take."""
        return -(-tokens // self.block_tokens)

    def most_tokens(self, input_tokens: int, output_tokens: int) -> int:
        """In the cache just before the last token of an answer; a draft may reach beyond it."""
        return input_tokens + output_tokens - 1 + self.draft_tokens

    def can_hold(self, input_tokens: int, output_tokens: int) -> bool:
        """Whether such a request can be answered, with nothing else in flight."""
        within = self.max_model_len is None or input_tokens + output_tokens <= self.max_model_len
        return within and self.blocks_of(self.most_tokens(input_tokens, output_tokens)) <= self.blocks


def schedule_of(deployment: Deployment, kv_blocks: int) -> Schedule:
    """How a deployment's engine schedules.

    Args:
        kv_blocks: of each device.
    """
    engine, speculation = deployment.engine, deployment.speculation
    drafted = speculation.draft_tokens if speculation else 0
    budget = deployment.tokens_a_step * deployment.dp
    sequences = deployment.sequences_at_most
    return Schedule(
        blocks=kv_blocks * deployment.dp,
        block_tokens=engine.block_tokens,
        token_budget=budget,
        max_num_seqs=min(sequences, budget // (1 + drafted)) if engine.mixed else sequences,
        max_model_len=deployment.max_model_len,
        mixed=engine.mixed,
        chunked=engine.chunked,
        reserved_output=engine.reserved_output,
        schedules_ahead=engine.schedules_ahead,
        prefix_share=deployment.prefix_share,
        draft_tokens=drafted,
        accepted_len=speculation.accepted_len if speculation else 1.0,
    )
