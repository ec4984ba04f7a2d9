"""GRPO by phases: FLOP are those of the op tables, rollout and gradient steps are told apart, and printed phases agree in proportion."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from estimators.errors import BadValueError
from estimators.facts.registry import hardware
from estimators.method import TrainingMethod
from estimators.spec import Workload
from estimators.tuning.job import TuningJob
from estimators.tuning.recipes import recipe
from estimators.tuning.rollout import PHASES, Rollout, RolloutStep, rollout_step
from estimators.validation.model import shipped_model

SMALL = {"prompts": 6, "prompt_tokens": 20, "update_samples": 12}


def question(name: str = "qwen2.5-0.5b", device: str = "a100-sxm4-80gb", *, job: dict[str, Any] | None = None, **fields: Any) -> Rollout:
    made = TuningJob(
        model=shipped_model(name),
        recipe=recipe("trl"),
        **{"objective": "grpo", "seq_len": 1, "micro_batch": 4, "num_generations": 4, "completion_len": 9} | (job or {}),
    )
    return Rollout(job=made, hardware=hardware(device), **SMALL | fields)


@functools.cache
def long_answers(device: str = "h20-96gb", **fields: Any) -> RolloutStep:
    """512 prompts x 16 answers of 8,192 tokens on 32 devices, FSDP with checkpointing: the shape of verl's published steps."""
    job = {"sharding": "fsdp", "num_gpus": 32, "micro_batch": 1, "num_generations": 16, "completion_len": 8192, "checkpointing": "full"}
    whole = {"prompts": 512, "prompt_tokens": 200, "update_samples": 512, "reuse": 2}
    return rollout_step(question("qwen2.5-math-7b", device, job=job, **whole | fields))


def counted(workload: Workload) -> tuple[int, int]:
    ops = shipped_model("qwen2.5-0.5b").ops(workload)
    return sum(op.count * op.flop for op in ops), sum(op.count * op.backward_flop for op in ops)


@pytest.mark.parametrize("reuse", [1, 2])
def test_flop_of_every_phase_are_those_of_the_op_tables(reuse: int) -> None:
    """24 answers of 9 tokens: 6 prompts read once each, 8 decode steps an answer after the first token, all rows forward and backward."""
    found = rollout_step(question(reuse=reuse, job={"reference": "copy"}))
    prefill = counted(Workload(phase="prefill", batch=6, seq_len=20))[0]
    steps = sum(counted(Workload(phase="decode", batch=1, context_len=20 + i))[0] for i in range(8))
    forward, backward = counted(Workload(phase="train", batch=1, seq_len=29))
    assert found.phase_flop == {
        "generation": prefill + 24 * steps,
        "old_log_probs": 24 * forward if reuse > 1 else 0,
        "reference": 24 * forward,
        "update": reuse * 24 * (forward + backward),
        "sync": 0,
    }


def test_generation_counts_every_token_of_a_model_with_windows_too() -> None:
    """Layers with a window read no more than it: FLOP of a decode step bend where the context passes it."""
    model = shipped_model("gemma-2-2b")
    found = rollout_step(question("gemma-2-2b", job={"completion_len": 300}, prompt_tokens=4000)).phase_flop["generation"]

    def flop(workload: Workload) -> int:
        return sum(op.count * op.flop for op in model.ops(workload))

    steps = sum(flop(Workload(phase="decode", batch=1, context_len=4000 + i)) for i in range(299))
    assert found == flop(Workload(phase="prefill", batch=6, seq_len=4000)) + 24 * steps


def test_rollout_steps_and_gradient_steps_are_two_things() -> None:
    """24 answers used twice in updates of 12: four gradient steps in one rollout step."""
    asked = question(reuse=2)
    assert (asked.rollouts, asked.gradient_steps) == (24, 4)
    found = rollout_step(asked)
    assert found.phases["update"] == pytest.approx(4 * found.update.step_time_s)
    assert found.update.layout.global_batch == 12


def test_phases_follow_their_mechanism() -> None:
    once, twice = rollout_step(question()), rollout_step(question(reuse=2, job={"reference": "copy"}))
    assert tuple(once.phases) == tuple(PHASES)
    assert (once.phases["old_log_probs"], once.phases["reference"]) == (0, 0)
    assert twice.phases["old_log_probs"] == pytest.approx(twice.phases["reference"])
    assert twice.phases["generation"] == once.phases["generation"]
    assert once.step_time_s == sum(once.phases.values())
    longer = rollout_step(question(job={"completion_len": 90}))
    assert longer.phases["generation"] > 8 * once.phases["generation"]
    tuned = rollout_step(question(reuse=2, job={"reference": "adapters-off", "method": TrainingMethod(rank=8)}))
    assert tuned.phases["reference"] < tuned.phases["old_log_probs"]  # the reference runs without its adapters


def test_more_memory_for_the_engine_writes_more_answers_at_once() -> None:
    few, many = long_answers(), long_answers("h200-sxm-141gb")
    assert few.concurrent < many.concurrent <= 256  # 8,192 answers on 32 devices


def test_printed_phases_agree_in_proportion() -> None:
    """verl's colocated steps of Qwen2.5-Math-7B on H20s print 269.8 s of update beside 107.7 s of log-probabilities (2.5 times), 113.8
    beside 53.9 (2.1), 286 beside 88 (3.3), 344 beside 119 (2.9) and, of a 7B model with tools, 111.8 beside 35.2 (3.2); the lengths of
    answers are not printed. Each answer is trained on once there: a backward pass of two forwards, one run again, one scored."""
    found = long_answers(reuse=2)
    ratio = found.phases["update"] / 2 / found.phases["old_log_probs"]
    assert 2.1 <= ratio <= 4.3
    assert found.phase_flop["update"] / 2 == pytest.approx(3 * found.phase_flop["old_log_probs"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"engine_devices": 2}, "2 devices of an engine do not divide the 1 of the job"),
        ({"prompts": 0}, "prompts is 0"),
        ({"update_samples": 7}, "expected whole numbers of steps and of passes"),
        ({"update_samples": 6}, "expected whole numbers of steps and of passes"),
        ({"job": {"objective": "dpo"}}, "objective dpo"),
        ({"job": {"completion_len": 0}}, "answers of 0 tokens"),
    ],
)
def test_what_is_no_rollout_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadValueError, match=said):
        question(**changes)


def test_weights_that_leave_the_engine_no_room_are_refused() -> None:
    with pytest.raises(BadValueError, match="has no room for the weights and one answer"):
        rollout_step(question("qwen2.5-14b", "rtx-4090-24gb"))
