"""Figures of a deployment under a load that somebody may have measured: latencies by their definitions, energy, and what bounds them."""

from __future__ import annotations

import functools
from typing import Any

from estimators.cost.array_math import Lane
from estimators.errors import PhysicsError
from estimators.frozen import frozen
from estimators.serving.budget import budget
from estimators.serving.deployment import Deployment
from estimators.serving.energy import energy_j_per_token
from estimators.serving.first_token import FirstToken
from estimators.serving.mean_field import Steady, mean_field, room_of, terms_of
from estimators.serving.schedule import Law, Schedule, schedule_of
from estimators.serving.static_batch import static_batch
from estimators.serving.step import StepLaw
from estimators.serving.step_batch import StepBatch

ROUNDING = 0.97
"""Of the bound, what a measured figure may be for the digits that it is printed with and clocks above their rating."""

STATIC, CLOSED, SATURATED = "static", "closed", "saturated"
"""Loads: a batch that starts together, so many users in flight, and a replica that is always full."""


@frozen
class Asked:
    """A load of one kind of requests.

    Attributes:
        load: STATIC, CLOSED or SATURATED.
        sequences: of the batch, users in flight, or in the mean batch.
        input_tokens, output_tokens: of a request, in the mean.
        alike: whether all requests have these lengths.
    """

    load: str
    sequences: float
    input_tokens: float
    output_tokens: float
    alike: bool = False

    @property
    def context_tokens(self) -> float:
        """Of a sequence, in the middle of its answer."""
        return self.input_tokens + self.output_tokens / 2

    @property
    def longest(self) -> int:
        """Tokens of a request, one to spare."""
        return int(self.input_tokens + self.output_tokens) + 1


def schedule_for(deployment: Deployment, tokens: int) -> Schedule:
    """How the deployment schedules, with room for one sequence of so many tokens at least: what was measured has run.

    Raises:
        PhysicsError: weights that its devices have no room for.
    """
    weights_bytes, blocks = _room(deployment)
    if weights_bytes > deployment.hardware.memory_bytes:
        room = deployment.hardware.memory_bytes / 1e9
        raise PhysicsError(f"impossible: weights of {weights_bytes / 1e9:.0f} GB on a device that has {room:.0f}")
    one = -(-tokens // deployment.engine.block_tokens)
    return schedule_of(deployment, max(blocks, one + 1))


@functools.lru_cache(maxsize=2048)
def _room(deployment: Deployment) -> tuple[float, int]:
    """Bytes of weights on a device, and blocks of its group's cache."""
    found = budget(deployment)
    return found.weights_bytes, found.kv_tokens // deployment.dp // deployment.engine.block_tokens


def steady_of(deployment: Deployment, asked: Asked, law: Law, *, waves: bool = False) -> Steady:
    """The mean field of a closed loop or a saturated replica.

    Args:
        waves: whether the first wave of a closed loop is asked for.

    Raises:
        PhysicsError: as `schedule_for`.
    """
    input_tokens, output_tokens = max(1.0, asked.input_tokens), max(1.0, asked.output_tokens)
    terms = terms_of(deployment, room_of(schedule_for(deployment, asked.longest), input_tokens, output_tokens))
    return mean_field(
        law,
        terms,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        users=asked.sequences,
        alike=asked.alike,
        waves=waves,
    )


def figures(
    deployment: Deployment, asked: Asked, law: Law, first: FirstToken | None = None, *, with_energy: bool = False
) -> dict[str, Lane]:
    """Quantity -> what is predicted of it; of many laws side by side where the law has arrays.

    Args:
        first: what clients see of first tokens; None for what the steps alone take.
        with_energy: whether the energy of a token is asked for; a device without a published limit has none.

    Raises:
        PhysicsError: weights that the devices have no room for.
        BadValueError: energy of a device whose power limit is not published.
    """
    if asked.load == STATIC:
        schedule = schedule_for(deployment, asked.longest)
        batch = static_batch(law, schedule, asked.sequences, asked.input_tokens, asked.output_tokens)
        return {"prefill_s": batch.prefill_s, "decode_s": batch.decode_s, "generation_s": batch.generation_s}
    point = steady_of(deployment, asked, law, waves=first is not None and first.has_wave)
    ttft_s = first.seconds(point) if first else point.ttft_s
    e2e_s = ttft_s + max(0.0, asked.output_tokens - 1) * point.itl_s
    found = {"ttft_s": ttft_s, "itl_s": point.itl_s, "tpot_s": point.itl_s, "e2e_s": e2e_s}
    if with_energy:
        busy = busy_share(asked, law, point.running)
        found["energy_j_per_token"] = energy_j_per_token(deployment, point.output_tokens_per_s, busy)
    return found


def busy_share(asked: Asked, law: Law, running: Lane) -> Lane:
    """Share of a decode step in which the device works."""
    found: Any = law.time(StepBatch(decoding=running, context_tokens=asked.context_tokens))
    return 1 - (found.step_s + found.sequences_s + found.floor_s) / found.total_s


def least(deployment: Deployment, asked: Asked, law: StepLaw) -> dict[str, float]:
    """Quantity -> seconds that physics demands of it at least, without speculation.

    A step of a closed loop decodes one sequence at least, one of a saturated replica its mean batch.
    """

    def bound(batch: StepBatch) -> float:
        return float(law.time(batch).bound_s)

    if asked.load != STATIC:
        running = asked.sequences if asked.load == SATURATED else 1.0
        step_s = bound(StepBatch(decoding=running, context_tokens=asked.context_tokens))
        return {"tpot_s": step_s, "itl_s": step_s}
    tokens, prompts = asked.sequences * asked.input_tokens, max(1.0, asked.sequences)
    decode_s = bound(StepBatch(decoding=asked.sequences, context_tokens=asked.context_tokens))
    prefill_s = bound(StepBatch(prompt_tokens=tokens, prompt_context=asked.input_tokens / 2, prompts=prompts))
    prefill_s /= deployment.pp  # stages read pieces of a prompt side by side
    return {"prefill_s": prefill_s, "decode_s": decode_s, "generation_s": prefill_s + max(0.0, asked.output_tokens - 1) * decode_s}


def impossible(measured: dict[str, float], bounds: dict[str, float]) -> dict[str, str]:
    """Measured quantities below what physics allows, and what is said of each.

    >>> impossible({"tpot_s": 0.0036}, {"tpot_s": 0.0042})
    {'tpot_s': 'impossible: tpot_s of 3.6 ms, and no such device takes less than 4.2'}
    """
    return {
        name: f"impossible: {name} of {measured[name] * 1e3:.4g} ms, and no such device takes less than {bound * 1e3:.4g}"
        for name, bound in bounds.items()
        if name in measured and measured[name] < ROUNDING * bound
    }
