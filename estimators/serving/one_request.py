"""One generation on a deployment: the same step and memory that a load is predicted with, for requests that start and end together."""

from __future__ import annotations

from estimators.frozen import frozen
from estimators.serving.budget import Budget, budget
from estimators.serving.deployment import Deployment
from estimators.serving.interval import Interval, interval
from estimators.serving.schedule import schedule_of
from estimators.serving.static_batch import static_batch
from estimators.serving.step import StepLaw, step_law
from estimators.serving.step_batch import StepBatch


@frozen
class OneRequest:
    """A prompt's prefill and the decode steps after it, for so many rows side by side.

    Attributes:
        prompts, rows: prompts, and those times their beams.
        prefill_s, decode_step_s, generation_s: predicted; of one decode step in the mean.
        prefill_bound_s, generation_bound_s: what the deployment's devices cannot beat, in the formats that they hold.
        off: 80 % interval of the generation, as factors.
        budget: memory of a device.
    """

    deployment: Deployment
    prompts: int
    rows: int
    prompt_tokens: int
    new_tokens: int
    prefill_s: float
    decode_step_s: float
    generation_s: float
    prefill_bound_s: float
    generation_bound_s: float
    off: Interval
    budget: Budget

    @property
    def fits(self) -> bool:
        """Whether the cache has room for all rows to their end."""
        return self.budget.kv_bytes > 0 and self.budget.concurrency(self.prompt_tokens + self.new_tokens) >= self.rows

    @property
    def new_tokens_per_s(self) -> float:
        """Of all prompts together, over the whole generation; of the beams of each, one is kept."""
        return self.prompts * self.new_tokens / self.generation_s


def one_request(deployment: Deployment, *, prompt_tokens: int, new_tokens: int, prompts: int = 1, beams: int = 1) -> OneRequest:
    """A generation on a deployment.

    Raises:
        BadValueError: a cut or a format that the model or the device has not, a model that is no decoder.
    """
    rows = prompts * beams
    law, found = step_law(deployment), budget(deployment)
    blocks = max(found.blocks_at(prompt_tokens + new_tokens), -(-rows * (prompt_tokens + new_tokens) // deployment.engine.block_tokens))
    batch = static_batch(law, schedule_of(deployment, blocks), rows, prompt_tokens, new_tokens)
    prefill_bound_s, step_bound_s = _bounds(law, prompt_tokens, new_tokens, rows)
    return OneRequest(
        deployment=deployment,
        prompts=prompts,
        rows=rows,
        prompt_tokens=prompt_tokens,
        new_tokens=new_tokens,
        prefill_s=float(batch.prefill_s),
        decode_step_s=float(batch.decode_s),
        generation_s=float(batch.generation_s),
        prefill_bound_s=prefill_bound_s,
        generation_bound_s=prefill_bound_s + (new_tokens - 1) * step_bound_s,
        off=interval(deployment, "generation_s"),
        budget=found,
    )


def _bounds(law: StepLaw, prompt_tokens: int, new_tokens: int, rows: int) -> tuple[float, float]:
    """Of the prefill, and of one decode step in the mean."""
    prefill = law.time(StepBatch(prompt_tokens=rows * prompt_tokens, prompt_context=prompt_tokens / 2, prompts=rows))
    decode = law.time(StepBatch(decoding=rows, context_tokens=prompt_tokens + new_tokens / 2))
    return float(prefill.bound_s), float(decode.bound_s)
