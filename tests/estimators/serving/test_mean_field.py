"""The mean field beside the simulator, at no load, and against the laws of queues."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from estimators.errors import BadValueError
from estimators.facts.registry import hardware
from estimators.frozen import replace
from estimators.lengths import Lengths, lengths_of_count, uniform_lengths
from estimators.serving.deployment import Deployment, Speculation
from estimators.serving.engines import engine
from estimators.serving.mean_field import Steady, Terms, at_rate, mean_field, room_of, terms_of
from estimators.serving.requests import at_rate as requests_at_rate
from estimators.serving.requests import closed_loop
from estimators.serving.schedule import Schedule
from estimators.serving.simulate import simulate
from estimators.serving.step import StepLaw, step_law
from estimators.serving.step_batch import StepBatch
from estimators.validation.model import shipped_model

WIDE = Schedule(blocks=10**6, block_tokens=16, token_budget=8192, max_num_seqs=1024)
CHAT = {"input_tokens": 1000, "output_tokens": 300}


def closed(law: StepLaw, schedule: Schedule, users: Any, *, alike: bool = False, **traffic: int) -> Steady:
    traffic = traffic or CHAT
    terms = scheduled(schedule, room_of(schedule, **traffic))
    return mean_field(law, terms, users=users, alike=alike, waves=True, **traffic)


def scheduled(schedule: Schedule, room: float) -> Terms:
    names = ("token_budget", "mixed", "chunked", "schedules_ahead", "prefix_share", "draft_tokens", "accepted_len")
    return Terms(limit=min(room, schedule.max_num_seqs), **{name: getattr(schedule, name) for name in names})


@pytest.fixture(scope="module")
def law() -> StepLaw:
    """Of Llama 3.1 8B on one H100."""
    return step_law(Deployment(model=shipped_model("llama-3.1-8b"), hardware=hardware("h100-sxm5-80gb"), engine=engine("vllm")))


def spread(tokens: int, number: int) -> Lengths:
    return uniform_lengths(number, tokens // 2, 3 * tokens // 2)


def alike(tokens: int, number: int) -> Lengths:
    return lengths_of_count(tokens, number, source="alike")


def simulated(law: StepLaw, schedule: Schedule, users: int, *, lengths: Any = None, **traffic: int) -> tuple[float, float]:
    """Mean inter-token latency and time to first token of a simulation between its first and its last wave."""
    lengths, traffic, number = lengths or spread, traffic or CHAT, max(60, 10 * users)
    load = closed_loop(lengths(traffic["input_tokens"], number), lengths(traffic["output_tokens"], number), users)
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
@pytest.mark.parametrize("traffic", [CHAT, {"input_tokens": 4000, "output_tokens": 100}], ids=["chat", "long prompts"])
@pytest.mark.parametrize("lengths", [spread, alike])
def test_it_agrees_with_the_simulator(law: StepLaw, lengths: Any, traffic: dict[str, int], schedule: Schedule, users: int) -> None:
    """Inter-token latency within 8 %, time to first token within 25 %: it knows means alone, and of groups only how large they are."""
    state = closed(law, schedule, users, alike=lengths is alike, **traffic)
    itl_s, ttft_s = simulated(law, schedule, users, lengths=lengths, **traffic)
    assert state.itl_s == pytest.approx(itl_s, rel=0.08)
    assert state.ttft_s == pytest.approx(ttft_s, rel=0.25)


def test_where_prompts_fill_the_steps_and_where_blocks_run_out_requests_wait_as_long_as_in_the_simulator(law: StepLaw) -> None:
    for schedule, traffic in (
        (replace(WIDE, token_budget=2048), {"input_tokens": 4000, "output_tokens": 50}),
        (replace(WIDE, blocks=2600, reserved_output=1.0), CHAT),
        (replace(WIDE, max_num_seqs=16), CHAT),
    ):
        state = closed(law, schedule, 96, **traffic)
        itl_s, ttft_s = simulated(law, schedule, 96, **traffic)
        assert state.itl_s == pytest.approx(itl_s, rel=0.08)
        assert state.ttft_s == pytest.approx(ttft_s, rel=0.1)


def test_at_no_load_the_first_token_takes_the_prefill_and_a_token_a_decode_step(law: StepLaw) -> None:
    state = closed(law, WIDE, 1)
    assert state.ttft_s == pytest.approx(law.time(StepBatch(prompt_tokens=1000, prompt_context=500, prompts=1)).total_s, rel=0.02)
    assert state.itl_s == pytest.approx(law.time(StepBatch(decoding=1, context_tokens=1150)).total_s, rel=0.02)
    assert state.queue_s == 0


def test_a_curve_is_its_points_grows_and_keeps_littles_law(law: StepLaw) -> None:
    users = np.arange(1.0, 257.0)
    for schedule in (WIDE, replace(WIDE, mixed=False, schedules_ahead=True), replace(WIDE, blocks=4000)):
        curve = closed(law, schedule, users)
        for place in (0, 40, 255):
            alone = closed(law, schedule, float(users[place]))
            assert (alone.itl_s, alone.ttft_s) == pytest.approx((curve.itl_s[place], curve.ttft_s[place]))
        assert (np.diff(curve.itl_s) > -1e-6).all()
        assert (np.diff(curve.ttft_s) > -1e-6).all()
        assert (np.diff(curve.output_tokens_per_s) > -1e-6 * curve.output_tokens_per_s[1:]).all()
        assert curve.requests_per_s * curve.e2e_s == pytest.approx(users, rel=0.01)
        assert curve.requests_per_s * 299 * curve.itl_s == pytest.approx(curve.running, rel=0.01)
        assert curve.requests_per_s * curve.queue_s == pytest.approx(curve.waiting)
        assert (curve.prompt_share >= 0).all()


def test_terms_side_by_side_are_those_one_by_one(law: StepLaw) -> None:
    """As a search over deployments asks."""
    terms = Terms(limit=np.array([8.0, 64.0, 300.0]), token_budget=np.array([2048.0, 8192.0, 2048.0]), schedules_ahead=True)
    lanes = mean_field(law, terms, users=100.0, **CHAT)
    for place in range(3):
        one = replace(terms, limit=float(terms.limit[place]), token_budget=float(terms.token_budget[place]))
        alone = mean_field(law, one, users=100.0, **CHAT)
        assert (lanes.ttft_s[place], lanes.itl_s[place], lanes.waiting[place]) == pytest.approx((alone.ttft_s, alone.itl_s, alone.waiting))


def test_the_terms_of_a_deployment_are_its_engines() -> None:
    deployment = Deployment(model=shipped_model("llama-3.1-8b"), hardware=hardware("h100-sxm5-80gb"), engine=engine("sglang"), dp=2)
    terms = terms_of(deployment, 100.5)
    assert (terms.limit, terms.token_budget, terms.mixed, terms.schedules_ahead) == (100.5, 2 * 8192, False, True)
    assert terms_of(replace(deployment, max_num_seqs=64), 100.5).limit == 64
    drafts = replace(deployment, speculation=Speculation(draft_tokens=3, accepted_len=2.3), prefix_share=0.5)
    assert (terms_of(drafts, 9).draft_tokens, terms_of(drafts, 9).accepted_len, terms_of(drafts, 9).prefix_share) == (3, 2.3, 0.5)


def test_a_rate_has_the_batch_that_it_makes_and_no_queue_until_it_is_too_high(law: StepLaw) -> None:
    terms = Terms(limit=64, token_budget=8192)
    most = mean_field(law, terms, users=terms.limit, **CHAT).requests_per_s  # with all seats taken
    calm, busy, lost = (at_rate(law, terms, requests_per_s=share * most, **CHAT) for share in (0.3, 0.95, 1.01))
    assert calm.requests_per_s * 299 * calm.itl_s == pytest.approx(calm.running, rel=0.01)
    assert calm.queue_s < 1e-3 * calm.ttft_s
    assert calm.itl_s < busy.itl_s
    assert 0 < busy.queue_s < math.inf
    assert lost.queue_s == math.inf
    lanes = at_rate(law, terms, requests_per_s=np.array([0.3, 0.95]) * most, **CHAT)
    assert lanes.itl_s == pytest.approx([calm.itl_s, busy.itl_s], rel=1e-3)


def test_a_calm_rate_agrees_with_the_simulator(law: StepLaw) -> None:
    stamps = simulate(law, WIDE, requests_at_rate(spread(1000, 600), spread(300, 600), 4.0)).stamps
    state = at_rate(law, Terms(limit=1024, token_budget=8192), requests_per_s=4.0, **CHAT)
    ttft_s = sum(first - arrival for first, arrival in zip(stamps.first_token_s, stamps.arrival_s, strict=True)) / 600
    gaps = sum(last - first for last, first in zip(stamps.last_token_s, stamps.first_token_s, strict=True))
    assert state.ttft_s == pytest.approx(ttft_s, rel=0.2)
    assert state.itl_s == pytest.approx(gaps / sum(answer - 1 for _, answer in stamps.lengths), rel=0.05)


def test_more_blocks_and_longer_prefixes_never_hurt_and_drafts_that_are_taken_help_a_lone_user(law: StepLaw) -> None:
    by_blocks = [closed(law, replace(WIDE, blocks=blocks), 256).output_tokens_per_s for blocks in (500, 1000, 5000, 50000)]
    by_prefix = [closed(law, replace(WIDE, prefix_share=share), 64).ttft_s for share in (0.0, 0.5, 0.9)]
    assert all(less <= more for less, more in itertools.pairwise(by_blocks))
    assert all(more >= less for more, less in itertools.pairwise(by_prefix))
    drafts = replace(WIDE, draft_tokens=3, accepted_len=2.5)
    assert closed(law, drafts, 1).itl_s == pytest.approx(closed(law, WIDE, 1).itl_s / 2.5, rel=0.01)


def test_a_benchmark_begins_with_a_wave(law: StepLaw) -> None:
    state, number = closed(law, WIDE, 64), 640
    stamps = simulate(law, WIDE, closed_loop(spread(1000, number), spread(300, number), 64)).stamps
    ttft_s = sum(first - arrival for first, arrival in zip(stamps.first_token_s, stamps.arrival_s, strict=True)) / number
    ten_each_s = (state.first_wave_s + 9 * state.ttft_s) / 10
    assert ten_each_s == pytest.approx(ttft_s, rel=0.15)
    assert ten_each_s > 2 * state.ttft_s


def test_requests_that_never_fit_or_are_none_are_refused(law: StepLaw) -> None:
    with pytest.raises(BadValueError, match="requests of 1,300 tokens, and the cache has room for 1,280"):
        room_of(replace(WIDE, blocks=80), **CHAT)
    with pytest.raises(BadValueError, match="expected 1 at least"):
        mean_field(law, Terms(limit=8, token_budget=2048), input_tokens=0, output_tokens=1, users=1)
