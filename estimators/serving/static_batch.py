"""A static batch: prompts that are read together and answers that are written together, as offline benchmarks run them."""

from __future__ import annotations

import math

from estimators.cost.array_math import Lane
from estimators.frozen import frozen
from estimators.serving.schedule import Law, Schedule
from estimators.serving.step_batch import StepBatch


@frozen
class StaticBatch:
    """A batch that no request joins.

    Attributes:
        prefill_s: until all prompts are read and the first tokens are there.
        decode_s: of one decode step, mean over the answers.
        generation_s: until the last token of the last sequence; in rounds where the cache has no room for all of them.
    """

    prefill_s: Lane
    decode_s: Lane
    generation_s: Lane


def prefill_s(law: Law, schedule: Schedule, batch: float, input_tokens: float) -> Lane:
    """Seconds that reading `batch` prompts takes, in steps of the engine's token budget where it reads prompts in pieces or packs them."""
    tokens = batch * input_tokens
    steps = max(1, math.ceil(tokens / schedule.token_budget))
    if not schedule.chunked:
        steps = min(steps, math.ceil(batch))
    step = StepBatch(prompt_tokens=tokens / steps, prompt_context=input_tokens / 2, prompts=max(1.0, batch / steps))
    return steps * law.time(step).total_s


def decode_s(law: Law, batch: float, input_tokens: float, output_tokens: float) -> Lane:
    """Seconds of the mean decode step: contexts grow evenly, and a step's time with them."""
    return law.time(StepBatch(decoding=batch, context_tokens=input_tokens + output_tokens / 2)).total_s


def static_batch(law: Law, schedule: Schedule, batch: float, input_tokens: float, output_tokens: float) -> StaticBatch:
    """A batch of equal requests from the first prompt token to the last answer.

    Args:
        batch: sequences, all groups of attention together.
        input_tokens, output_tokens: of each.
    """
    seats = min(float(batch), max(1.0, schedule.blocks * schedule.block_tokens / (input_tokens + output_tokens)), schedule.max_num_seqs)
    read_s, step_s = prefill_s(law, schedule, seats, input_tokens), decode_s(law, seats, input_tokens, output_tokens)
    answers_s = max(0.0, output_tokens - 1) / schedule.accepted_len * step_s
    return StaticBatch(prefill_s=read_s, decode_s=step_s, generation_s=batch / seats * (read_s + answers_s))
