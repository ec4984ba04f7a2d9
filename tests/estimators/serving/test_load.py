"""A deployment under requests: every option's assumption is told, and what it changes is as a law or a hand has it."""

from __future__ import annotations

import pytest

from estimators.errors import BadValueError
from estimators.facts.registry import hardware
from estimators.frozen import replace
from estimators.lengths import lengths_of_count, uniform_lengths
from estimators.serving.budget import budget
from estimators.serving.deployment import Deployment, Speculation
from estimators.serving.engines import engine, engines
from estimators.serving.interval import interval
from estimators.serving.load import LoadQuestion, load, load_interval, transfer_s_per_token
from estimators.serving.requests import at_once, closed_loop
from estimators.serving.step import step_law
from estimators.serving.step_batch import StepBatch
from estimators.validation.model import shipped_model

LLAMA = Deployment(
    model=shipped_model("llama-3.1-8b"), hardware=hardware("h100-sxm5-80gb"), engine=engine("vllm"), max_model_len=8192, max_num_seqs=256
)
CHAT = closed_loop(uniform_lengths(120, 500, 1500), uniform_lengths(120, 50, 250), 24)
ALONE = at_once(lengths_of_count(1000, 1, source="one"), lengths_of_count(2, 1, source="one"))


def test_a_lone_request_takes_a_prefill_and_a_decode_step() -> None:
    answer, law = load(LoadQuestion(deployment=LLAMA, requests=ALONE)), step_law(LLAMA)
    ttft, itl = answer.latencies["ttft_s"], answer.latencies["itl_s"]
    assert ttft is not None
    assert itl is not None
    assert ttft.mean == pytest.approx(law.time(StepBatch(prompt_tokens=1000, prompt_context=500, prompts=1)).total_s)
    assert itl.mean == pytest.approx(law.time(StepBatch(decoding=1, context_tokens=1000)).total_s, rel=1e-3)  # a line in pieces


def test_slower_steps_are_slower_answers() -> None:
    answer, slow = (load(LoadQuestion(deployment=LLAMA, requests=CHAT), factor) for factor in (1.0, 1.25))
    assert slow.duration_s == pytest.approx(1.25 * answer.duration_s)


def test_the_ends_are_those_of_a_step_and_hold_the_answer() -> None:
    """Of a closed loop: all scales with the step. Under open arrivals queues grow by more."""
    question = LoadQuestion(deployment=LLAMA, requests=CHAT)
    answer, ends, step = load(question), load_interval(question), interval(LLAMA, "itl_s")
    assert (ends.low_factor, ends.high_factor) == (step.low, step.high)
    assert ends.low.duration_s == pytest.approx(step.low * answer.duration_s)
    assert ends.high.duration_s == pytest.approx(step.high * answer.duration_s)


@pytest.mark.parametrize("name", sorted(engines()))
def test_every_engine_answers_and_says_how_it_schedules(name: str) -> None:
    answer = load(LoadQuestion(deployment=replace(LLAMA, engine=engine(name), max_num_seqs=8), requests=CHAT))
    assert answer.num_answered == 120
    assert name in answer.assumed[1]
    assert answer.assumed[0].startswith("all 24 users ask at once")
    assert 0 < answer.most_blocks_share <= 1


def test_options_that_assume_something_say_so() -> None:
    drafts = replace(LLAMA, speculation=Speculation(draft_tokens=3, accepted_len=2.3), prefix_share=0.5, kv_blocks=4000)
    told = "; ".join(load(LoadQuestion(deployment=drafts, requests=CHAT)).assumed)
    assert "yields 2.3 tokens, the same for all" in told
    assert "50.0 % of every prompt is found in the cache" in told
    assert "4,000 blocks of 16 tokens, as given" in told
    assert "no client" in told


def test_a_pool_for_prompts_keeps_decode_steps_even_and_says_what_moves() -> None:
    """Llama 3.1 8B has 131,072 bytes a token, which an H100's 50 GB/s of network move in 2.6 us."""
    together, apart = (
        load(LoadQuestion(deployment=LLAMA, requests=CHAT, prefill=pool)) for pool in (None, replace(LLAMA, engine=engine("sglang")))
    )
    assert transfer_s_per_token(LLAMA, budget(LLAMA)) == pytest.approx(131_072 / 50e9)
    assert apart.num_gpus == 2
    assert "128 KiB" in apart.assumed[0]
    both = together.latencies["itl_s"], apart.latencies["itl_s"]
    assert both[0] is not None
    assert both[1] is not None
    assert both[1].p99 < both[0].p99


def test_a_pool_of_another_model_is_refused() -> None:
    other = replace(LLAMA, model=shipped_model("llama-3.1-70b"), hardware=hardware("b200-sxm-180gb"))
    with pytest.raises(BadValueError, match="another model or another cache"):
        load(LoadQuestion(deployment=LLAMA, requests=CHAT, prefill=other))


def test_a_model_with_windows_has_the_room_of_its_sequences() -> None:
    """Of gpt-oss's layers every second one holds 128 tokens: 8 sequences take 8 of as many as the memory has room for."""
    windowed = replace(LLAMA, model=shipped_model("gpt-oss-20b"), max_model_len=16384)
    answer = load(LoadQuestion(deployment=windowed, requests=closed_loop(*[lengths_of_count(8000, 8, source="")] * 2, users=8)))
    assert answer.num_answered == 8
    assert answer.most_blocks_share == pytest.approx(
        8 / budget(windowed).concurrency(16000), rel=0.05
    )  # blocks are looked at as runs of steps begin
