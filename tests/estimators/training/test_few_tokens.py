"""A training of few tokens: no step takes more of it than a hundredth, as far as devices share it, in every verb."""

from __future__ import annotations

import pytest

import sixnd
from estimators.errors import BadValueError
from estimators.training.layouts.global_batch import FEWEST_STEPS, Batch

SIZE = {"params": 8_030_261_248, "seq_len": 8192}  # GPT-3 6.7B's batch is the usual one: 2,000,000 tokens (its paper, table 2.1)


@pytest.mark.parametrize(
    ("tokens", "num_devices", "sequences"),
    [
        (10_000_000, 8, 12),  # a hundredth is 12.2 sequences; 2^k or 3·2^k times what is odd in 8
        (10_000_000, 64, 12),
        (1_000_000, 8, 1),
        (100_000_000, 8, 96),  # 122.07 sequences; 128 would leave 95 steps
        (200_000_000, 8, 192),  # exactly 100 steps of 2,000,000 tokens, that is 244.1 sequences
        (1_000_000_000, 8, 256),  # 500 steps of the usual batch
        (10_000_000, 48, 12),
        (10_000_000, 1000, 125),  # 12 sequences divide over no 1,000 devices: the fewest that do
    ],
)
def test_a_short_training_has_a_hundred_steps_where_its_devices_share_them(tokens: int, num_devices: int, sequences: int) -> None:
    assert Batch(training_tokens=tokens).on(num_devices, **SIZE) == sequences
    if sequences != 125:
        assert tokens / (sequences * SIZE["seq_len"]) >= FEWEST_STEPS or sequences == 1


@pytest.mark.parametrize(("unit", "sequences"), [(8, 8), (3, 12), (4, 12), (64, 64)])
def test_a_layout_of_ones_own_has_a_hundred_steps_where_its_replicas_share_them(unit: int, sequences: int) -> None:
    assert Batch(training_tokens=10**7).for_layout(unit, 64, **SIZE) == sequences  # a hundredth is 12.2 sequences


def test_a_batch_that_was_given_is_as_it_was_given() -> None:
    assert Batch(sequences=256, training_tokens=10**7).on(8, **SIZE) == 256
    assert Batch(tokens=2**21, training_tokens=10**7).on(8, **SIZE) == 256
    assert Batch(most_tokens=65_536, training_tokens=10**7).on(8, **SIZE) == 8


def test_a_training_of_open_length_takes_the_usual_batch() -> None:
    assert Batch().on(8, **SIZE) == Batch(training_tokens=10**12).on(8, **SIZE) == 256


def test_devices_that_share_no_batch_near_the_usual_one_are_still_refused() -> None:
    with pytest.raises(BadValueError, match="divides over 1,999 GPUs"):
        Batch(training_tokens=10**7).on(1_999, **SIZE)


def test_every_verb_takes_the_smaller_batch_and_says_so() -> None:
    training = {"model": "llama-3-8b", "tokens": "10M", "hardware": "h100-sxm5-80gb", "gpus": 8}
    answers = {"estimate": sixnd.estimate(**training), "plan": sixnd.plan(**training), "compare": sixnd.compare_hardware(**training)}
    for verb, answer in answers.items():
        said = str(answer.tables()[0].conditions)
        assert "a 100th of the training" in said, verb
        assert "GPT-3 6.7B's 2,000,000 tokens would leave fewer than 100 steps" in said, verb
    assert answers["estimate"].global_batch == answers["plan"].global_batch == 12
    assert sixnd.estimate(**training).num_steps == pytest.approx(10**7 / (12 * 8192))


def test_every_verb_takes_a_batch_of_sequences() -> None:
    training = {"model": "llama-3-8b", "tokens": "1T", "hardware": "h100-sxm5-80gb", "gpus": 64, "global_batch": "15360seq"}
    assert sixnd.estimate(**training).global_batch == sixnd.plan(**training).global_batch == 15360


def test_a_sequence_longer_than_a_usual_step_is_said_to_be_so() -> None:
    """1e9 tokens beside the 2e6 of a usual step of 8.03e9 parameters, times 500: no number of devices mends that."""
    with pytest.raises(BadValueError, match=r"one sequence is 500 times a usual step.*--global-batch 1seq"):
        Batch().on(1, params=8_030_000_000, seq_len=10**9)
