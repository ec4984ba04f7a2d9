"""Measured steps of reinforcement learning: printed phases add up to a colocated step, and none is faster than what is said at least."""

from __future__ import annotations

import functools

import pytest

from estimators.frozen import replace
from estimators.validation.compared import compared_rollout
from estimators.validation.rollouts import AT_LEAST, BY_PHASES, REST, TIMES_LEAST, ScoredRollout, scored_rollout
from estimators.validation.table import Record, read_table, shipped_rollouts


def records() -> dict[str, Record]:
    return {record.id: record for record in read_table(shipped_rollouts())}


@functools.cache
def rows() -> tuple[ScoredRollout, ...]:
    return tuple(map(scored_rollout, records().values()))


def test_a_colocated_step_is_the_sum_of_its_phases_within_7_percent() -> None:
    """verl's tables: generation, old log-probabilities and update; the rest is rewards, the weights' way to the engine, and waiting."""
    ratios = [row.ratio for row in rows() if row.basis == BY_PHASES]
    assert len(ratios) == 6
    assert all(ratio is not None and 1 <= ratio <= 1 / (1 - REST) for ratio in ratios)


def test_no_published_step_is_faster_than_what_is_said_at_least() -> None:
    """NeMo RL's colocated steps of dense models: generation is a bound, weights are moved and answers judged besides."""
    ratios = [row.ratio for row in rows() if row.basis == AT_LEAST]
    assert len(ratios) == 5
    assert all(ratio is not None and 2.2 < ratio < TIMES_LEAST for ratio in ratios)


def test_the_contract_of_a_step_holds_its_least() -> None:
    found = compared_rollout(next(row for row in rows() if row.basis == AT_LEAST))
    assert found.quantity == "step_time_s"
    assert found.predicted == found.low
    assert found.high == TIMES_LEAST * (found.low or 0)
    assert "prompts of 120 tokens" in found.assumed


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"placement": "fully async"}, "a step is not their sum"),
        ({"step_time_s": ""}, "no step is timed"),
        ({"gen_s": "", "model": "nobody/nothing"}, "does not ship"),
        ({"gen_s": "", "model": "qwen3-30b3a"}, "a mixture of experts"),
        ({"gen_s": "", "mean_seq_len": "response 1960"}, "how long answers are in the mean is not printed"),
        ({"gen_s": "long"}, "gen_s is 'long'; expected a number"),
    ],
)
def test_a_step_that_is_not_compared_says_why(cells: dict[str, str], said: str) -> None:
    record = records()["L0053"]
    assert said in scored_rollout(replace(record, cells={**record.cells, **cells})).skipped


def test_strict_leaves_out_what_a_rule_completed() -> None:
    found = records()
    assert "prompts of 120 tokens" in scored_rollout(found["L0009"], strict=True).skipped
    assert scored_rollout(found["L0053"], strict=True).ratio
