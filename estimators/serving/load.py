"""Load: a deployment under requests one by one, simulated, with what was assumed."""

from __future__ import annotations

import math

from estimators.cost.machine import machine_of
from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.serving.budget import Budget, budget
from estimators.serving.deployment import Deployment
from estimators.serving.interval import interval
from estimators.serving.load_answer import LoadAnswer, load_answer
from estimators.serving.own_rows import Refitted
from estimators.serving.requests import Requests
from estimators.serving.schedule import Schedule, schedule_of
from estimators.serving.simulate import simulate, simulate_pools
from estimators.serving.step import StepLaw, slower, step_law
from estimators.units import format_bytes, format_duration, format_fraction, format_int


@frozen
class LoadQuestion:
    """Requests, and who answers them.

    Attributes:
        deployment: one replica; with a pool in front of it, the one that decodes.
        prefill: a replica that reads all prompts and hands their caches over; None where one replica does both.
        own: the deployment's constants after its own measured loads; None for the shipped ones.
    """

    deployment: Deployment
    requests: Requests
    prefill: Deployment | None = None
    own: Refitted | None = None

    @property
    def law(self) -> StepLaw:
        """Of the steps of the deployment, refitted where it was measured."""
        return step_law(self.deployment) if self.own is None else self.own.law()


def load(question: LoadQuestion, factor: float = 1.0) -> LoadAnswer:
    """A load on a deployment, simulated: the same for the same question.

    Args:
        factor: on the time of every step: an end of its interval, for that end of the answer.

    Raises:
        BadValueError: as `budget` and `step_law`; no request can ever be answered.
    """
    deployment, requests, pool = question.deployment, question.requests, question.prefill
    schedule = _schedule(deployment, requests)
    law = slower(question.law, factor)
    if pool is None:
        told = (*_first_wave(requests), *assumptions(deployment, schedule))
        return load_answer(simulate(law, schedule, requests), deployment.num_devices, told)
    if (pool.model, pool.kv) != (deployment.model, deployment.kv):
        raise BadValueError("a pool that reads prompts has another model or another cache than the one that decodes; expected the same")
    alone = replace(pool, speculation=None)
    reading = _schedule(alone, requests, output_tokens=1)
    transfer_s = transfer_s_per_token(alone, budget(alone))
    simulation = simulate_pools(slower(step_law(alone), factor), reading, law, schedule, requests, transfer_s)
    told = (*_pool_assumptions(alone, transfer_s), *_first_wave(requests), *assumptions(deployment, schedule))
    return load_answer(simulation, deployment.num_devices + pool.num_devices, told)


@frozen
class LoadInterval:
    """A load at both ends of the 80 % interval of a step: every step takes as much less, or more; a queue may grow by far more than that.

    Attributes:
        low_factor, high_factor: on the time of a step.
        low, high: the answers.
    """

    low_factor: float
    high_factor: float
    low: LoadAnswer
    high: LoadAnswer


def load_interval(question: LoadQuestion) -> LoadInterval:
    """Both ends. Raises BadValueError as `load`."""
    ends = interval(question.deployment, "itl_s", calibrated=question.own is not None)
    return LoadInterval(
        low_factor=ends.low, high_factor=ends.high, low=load(question, factor=ends.low), high=load(question, factor=ends.high)
    )


def _schedule(deployment: Deployment, requests: Requests, output_tokens: float | None = None) -> Schedule:
    """With as many blocks as the cache has room for sequences of these lengths: with windows or states, these are not their tokens'."""
    found = budget(deployment)
    schedule = schedule_of(deployment, max(1, found.kv_blocks))
    if found.cache.is_linear:
        return schedule
    tokens = math.ceil(requests.mean_input_tokens + (requests.mean_output_tokens if output_tokens is None else output_tokens))
    return replace(schedule, blocks=max(1, int(found.concurrency(tokens) * schedule.blocks_of(tokens))))


def transfer_s_per_token(deployment: Deployment, found: Budget) -> float:
    """Time in which a device sends its part of a token's cache over the network between nodes, at its rated bandwidth."""
    machine = machine_of(deployment.hardware, deployment.compute)
    return float(found.cache.token_bytes / machine.network_bytes_per_s)


def assumptions(deployment: Deployment, schedule: Schedule) -> tuple[str, ...]:
    """What a simulation of a deployment takes for granted, in words."""
    engine, speculation = deployment.engine, deployment.speculation
    order = "prompts are read beside decode steps" if schedule.mixed else "prompts are read before decode steps go on"
    pieces = f"in pieces of a step's {format_int(schedule.token_budget)} tokens" if schedule.chunked else "each in one step"
    ahead = "; each step is decided while one runs" if schedule.schedules_ahead else ""
    told = [f"{engine.id}: {order}, {pieces}, {format_int(schedule.max_num_seqs)} sequences at most{ahead}"]
    held = f"{format_int(schedule.blocks)} blocks of {schedule.block_tokens} tokens"
    measured = "as given" if deployment.kv_blocks else "as predicted from the memory"
    if schedule.reserved_output >= 1:
        told.append(f"{held}, {measured}; a request is let in when all its tokens have room")
    else:
        told.append(f"{held}, {measured}; where they run out the newest request gives way, and is read anew")
    if schedule.prefix_share:
        share = format_fraction(schedule.prefix_share)
        told.append(f"{share} of every prompt is found in the cache of prefixes; it takes room all the same, and is never thrown out")
    if speculation:
        told.append(
            f"speculation: every step verifies {speculation.draft_tokens} draft tokens of each sequence and yields "
            f"{speculation.accepted_len:g} tokens, the same for all ({speculation.basis})"
        )
    told.append("latencies are the server's own: no client, network or tokenizer")
    return tuple(told)


def _pool_assumptions(pool: Deployment, transfer_s: float) -> tuple[str, ...]:
    return (
        f"prompts are read by a pool of {pool.num_devices} x {pool.hardware.name}, which also writes the first token; a token's cache of "
        f"{format_bytes(budget(pool).cache.token_bytes)} on each device moves in {format_duration(transfer_s)} and delays nothing else",
    )


def _first_wave(requests: Requests) -> tuple[str, ...]:
    if requests.users is None:
        return ()
    share = min(1.0, requests.users / len(requests.input_tokens))
    return (f"all {format_int(requests.users)} users ask at once at the start: {format_fraction(share)} of the requests wait in that wave",)
