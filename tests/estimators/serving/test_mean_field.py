"""The mean field beside the simulator, at no load, and against the laws of queues."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from estimators.errors import BadValueError
from estimators.facts.registry import hardware
from estimators.frozen import replace
from estimators.lengths import Lengths, lengths_of_count, uniform_lengths
from estimators.serving.deployment import Deployment
from estimators.serving.engines import engine
from estimators.serving.mean_field import MeanField, Traffic, users_within
from estimators.serving.requests import at_rate, closed_loop
from estimators.serving.schedule import Schedule
from estimators.serving.simulate import simulate
from estimators.serving.step import StepLaw, step_law
from estimators.serving.step_batch import StepBatch
from estimators.validation.model import shipped_model

WIDE = Schedule(blocks=10**6, block_tokens=16, token_budget=8192, max_num_seqs=1024)
CHAT = Traffic(input_tokens=1000, output_tokens=300)


@pytest.fixture(scope="module")
def law() -> StepLaw:
    """Of Llama 3.1 8B on one H100."""
    return step_law(Deployment(model=shipped_model("llama-3.1-8b"), hardware=hardware("h100-sxm5-80gb"), engine=engine("vllm")))


def spread(tokens: int, number: int) -> Lengths:
    return uniform_lengths(number, tokens // 2, 3 * tokens // 2)


def alike(tokens: int, number: int) -> Lengths:
    return lengths_of_count(tokens, number, source="alike")


def steady(law: StepLaw, schedule: Schedule, traffic: Traffic, users: int) -> tuple[float, float]:
    """Mean inter-token latency and time to first token of a simulation between its first and its last wave."""
    lengths = alike if traffic.alike else spread
    number = max(60, 10 * users)
    load = closed_loop(lengths(int(traffic.input_tokens), number), lengths(int(traffic.output_tokens), number), users)
    stamps = simulate(law, schedule, load).stamps
    kept = range(2 * users, number - users)
    gaps = sum(stamps.last_token_s[request] - stamps.first_token_s[request] for request in kept)
    tokens = sum(stamps.lengths[request][1] - 1 for request in kept)
    return gaps / tokens, sum(stamps.first_token_s[request] - stamps.arrival_s[request] for request in kept) / len(kept)


@pytest.mark.parametrize("users", [1, 16, 64])
@pytest.mark.parametrize(
    "schedule",
    [WIDE, replace(WIDE, schedules_ahead=True), replace(WIDE, mixed=False), replace(WIDE, token_budget=2048, schedules_ahead=True)],
    ids=["mixed", "ahead", "prefill first", "small steps"],
)
@pytest.mark.parametrize("traffic", [CHAT, replace(CHAT, alike=True), Traffic(input_tokens=4000, output_tokens=100)], ids=str)
def test_it_agrees_with_the_simulator(law: StepLaw, traffic: Traffic, schedule: Schedule, users: int) -> None:
    """Inter-token latency within 8 %, time to first token within 25 %: it knows means alone, and of groups only how large they are."""
    point = MeanField(law, schedule, traffic).closed(users)
    itl_s, ttft_s = steady(law, schedule, traffic, users)
    assert point.itl_s == pytest.approx(itl_s, rel=0.08)
    assert point.ttft_s == pytest.approx(ttft_s, rel=0.25)


def test_where_prompts_fill_the_steps_and_where_blocks_run_out_requests_wait_as_long_as_in_the_simulator(law: StepLaw) -> None:
    for schedule, traffic in (
        (replace(WIDE, token_budget=2048), Traffic(input_tokens=4000, output_tokens=50)),
        (replace(WIDE, blocks=2600, reserved_output=1.0), CHAT),
        (replace(WIDE, max_num_seqs=16), CHAT),
    ):
        point = MeanField(law, schedule, traffic).closed(96)
        itl_s, ttft_s = steady(law, schedule, traffic, 96)
        assert point.itl_s == pytest.approx(itl_s, rel=0.08)
        assert point.ttft_s == pytest.approx(ttft_s, rel=0.1)


def test_at_no_load_the_first_token_takes_the_prefill_and_a_token_a_decode_step(law: StepLaw) -> None:
    point = MeanField(law, WIDE, CHAT).closed(1)
    assert point.ttft_s == pytest.approx(law.time(StepBatch(prompt_tokens=1000, prompt_context=500, prompts=1)).total_s, rel=0.02)
    assert point.itl_s == pytest.approx(law.time(StepBatch(decoding=1, context_tokens=1150)).total_s, rel=0.02)
    assert point.queue_s == 0


def test_a_curve_is_its_points_grows_and_keeps_littles_law(law: StepLaw) -> None:
    users = np.arange(1.0, 257.0)
    for schedule in (WIDE, replace(WIDE, mixed=False, schedules_ahead=True), replace(WIDE, blocks=4000)):
        field = MeanField(law, schedule, CHAT)
        curve = field.closed(users)
        for place in (0, 40, 255):
            alone = field.closed(float(users[place]))
            assert (alone.itl_s, alone.ttft_s) == pytest.approx((curve.itl_s[place], curve.ttft_s[place]))
        assert (np.diff(curve.itl_s) > -1e-6).all()
        assert (np.diff(curve.ttft_s) > -1e-6).all()
        assert (np.diff(curve.output_tokens_per_s) > -1e-6 * curve.output_tokens_per_s[1:]).all()
        assert curve.requests_per_s * curve.e2e_s == pytest.approx(users, rel=0.01)
        decoded_per_s = curve.requests_per_s * 299
        assert decoded_per_s * curve.itl_s == pytest.approx(curve.running, rel=0.01)
        assert (curve.reading_share >= 0).all()


def test_a_rate_has_the_batch_that_it_makes_and_no_queue_until_it_is_too_high(law: StepLaw) -> None:
    field = MeanField(law, replace(WIDE, max_num_seqs=64), CHAT)
    most = field.most_requests_per_s
    calm, busy, lost = (field.at_rate(share * most) for share in (0.3, 0.95, 1.01))
    assert calm.requests_per_s * 299 * calm.itl_s == pytest.approx(calm.running, rel=0.01)
    assert calm.queue_s < 1e-3 * calm.ttft_s
    assert calm.itl_s < busy.itl_s
    assert 0 < busy.queue_s < math.inf
    assert lost.queue_s == math.inf
    lanes = field.at_rate(np.array([0.3, 0.95]) * most)
    assert lanes.itl_s == pytest.approx([calm.itl_s, busy.itl_s], rel=1e-3)


def test_a_calm_rate_agrees_with_the_simulator(law: StepLaw) -> None:
    simulation = simulate(law, WIDE, at_rate(spread(1000, 600), spread(300, 600), 4.0))
    stamps, point = simulation.stamps, MeanField(law, WIDE, CHAT).at_rate(4.0)
    ttft_s = sum(first - arrival for first, arrival in zip(stamps.first_token_s, stamps.arrival_s, strict=True)) / 600
    gaps = sum(last - first for last, first in zip(stamps.last_token_s, stamps.first_token_s, strict=True))
    assert point.ttft_s == pytest.approx(ttft_s, rel=0.2)
    assert point.itl_s == pytest.approx(gaps / sum(answer - 1 for _, answer in stamps.lengths), rel=0.05)


@pytest.mark.parametrize(("ttft_s", "itl_s"), [(0.05, math.inf), (math.inf, 0.015), (0.2, 0.02), (1e-4, 1.0)])
def test_users_within_limits_are_the_last_that_are(law: StepLaw, ttft_s: float, itl_s: float) -> None:
    field = MeanField(law, replace(WIDE, blocks=4000), CHAT)
    users = users_within(field, ttft_s=ttft_s, itl_s=itl_s)
    beyond = field.closed(users + 1)
    assert beyond.ttft_s > ttft_s or beyond.itl_s > itl_s
    if users:
        within = field.closed(users)
        assert within.ttft_s <= ttft_s
        assert within.itl_s <= itl_s


def test_more_blocks_and_longer_prefixes_never_hurt_and_drafts_that_are_taken_help_a_lone_user(law: StepLaw) -> None:
    by_blocks = [MeanField(law, replace(WIDE, blocks=blocks), CHAT).closed(256).output_tokens_per_s for blocks in (500, 1000, 5000, 50000)]
    by_prefix = [MeanField(law, replace(WIDE, prefix_share=share), CHAT).closed(64).ttft_s for share in (0.0, 0.5, 0.9)]
    assert all(less <= more for less, more in itertools.pairwise(by_blocks))
    assert all(more >= less for more, less in itertools.pairwise(by_prefix))
    drafts = replace(WIDE, draft_tokens=3, accepted_len=2.5)
    assert MeanField(law, drafts, CHAT).closed(1).itl_s == pytest.approx(MeanField(law, WIDE, CHAT).closed(1).itl_s / 2.5, rel=0.01)


def test_a_benchmark_begins_with_a_wave(law: StepLaw) -> None:
    point = MeanField(law, WIDE, CHAT).closed(64)
    number = 640
    stamps = simulate(law, WIDE, closed_loop(spread(1000, number), spread(300, number), 64)).stamps
    ttft_s = sum(first - arrival for first, arrival in zip(stamps.first_token_s, stamps.arrival_s, strict=True)) / number
    assert point.ttft_of_run_s(10) == pytest.approx(ttft_s, rel=0.15)
    assert point.ttft_of_run_s(10) > 2 * point.ttft_s


def test_requests_that_never_fit_and_traffic_that_is_none_are_refused(law: StepLaw) -> None:
    with pytest.raises(BadValueError, match="requests of 1,300 tokens, and the cache has room for 1,280"):
        MeanField(law, replace(WIDE, blocks=80), CHAT)
    with pytest.raises(BadValueError, match="expected 1 at least"):
        Traffic(input_tokens=0, output_tokens=1)
