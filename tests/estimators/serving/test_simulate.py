"""The simulator beside an engine that is stepped one step at a time, by hand, and against the laws of queues."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estimators.errors import BadValueError
from estimators.frozen import replace
from estimators.lengths import lengths_of_count, uniform_lengths
from estimators.serving.load_answer import load_answer
from estimators.serving.requests import Requests, at_rate, closed_loop
from estimators.serving.schedule import Schedule
from estimators.serving.simulate import Simulation, simulate, simulate_pools
from estimators.serving.step_batch import StepBatch
from tests.support.stepped_serving import AffineLaw, stepped

LAW = AffineLaw()
WIDE = Schedule(blocks=10**6, block_tokens=16, token_budget=8192, max_num_seqs=256)
QUICK = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@st.composite
def drawn_requests(draw: st.DrawFn) -> Requests:
    number = draw(st.integers(1, 25))
    prompts = draw(st.lists(st.integers(1, 300), min_size=number, max_size=number))
    answers = draw(st.lists(st.integers(1, 80), min_size=number, max_size=number))
    if draw(st.booleans()):
        return Requests(input_tokens=tuple(prompts), output_tokens=tuple(answers), users=draw(st.integers(1, 12)))
    gaps = draw(st.lists(st.floats(0, 0.2), min_size=number, max_size=number))
    stamps = tuple(sum(gaps[: place + 1]) for place in range(number))
    return Requests(input_tokens=tuple(prompts), output_tokens=tuple(answers), arrival_s=stamps)


@st.composite
def drawn_schedules(draw: st.DrawFn) -> Schedule:
    side, sequences = draw(st.sampled_from([1, 4, 16])), draw(st.integers(1, 16))
    drafts = draw(st.sampled_from([0, 0, 1, 4]))
    return Schedule(
        blocks=draw(st.sampled_from([300, 400, 800, 3000])) // side + 1,
        block_tokens=side,
        token_budget=sequences * (1 + drafts) + draw(st.integers(0, 200)),
        max_num_seqs=sequences,
        mixed=draw(st.booleans()),
        chunked=draw(st.booleans()),
        reserved_output=draw(st.sampled_from([0.0, 0.1, 1.0])),
        schedules_ahead=draw(st.booleans()),
        prefix_share=draw(st.sampled_from([0.0, 0.5, 0.99])),
        draft_tokens=drafts,
        accepted_len=1 + drafts * draw(st.floats(0, 1)),
    )


def kept(simulation: Simulation) -> list[int]:
    return [request for request in range(len(simulation.stamps.lengths)) if request not in simulation.refused]


@QUICK
@given(drawn_requests(), drawn_schedules())
def test_every_stamp_is_that_of_an_engine_stepped_step_by_step(requests: Requests, drawn: Schedule) -> None:
    schedule = Schedule(
        blocks=drawn.blocks, block_tokens=drawn.block_tokens, token_budget=drawn.token_budget, max_num_seqs=drawn.max_num_seqs
    )
    if not any(schedule.can_hold(*pair) for pair in zip(requests.input_tokens, requests.output_tokens, strict=True)):
        return
    simulation = simulate(LAW, schedule, requests)
    sequences, pushed_out = stepped(LAW, schedule, requests)
    assert simulation.stamps.num_pushed_out == pushed_out
    for request in kept(simulation):
        found = (simulation.stamps.arrival_s[request], simulation.stamps.first_token_s[request], simulation.stamps.last_token_s[request])
        sequence = sequences[request]
        assert found == pytest.approx((sequence.arrival_s, sequence.first_s, sequence.last_s), abs=1e-9)


@QUICK
@given(drawn_requests(), drawn_schedules())
def test_all_that_fits_is_answered_in_order_and_no_token_or_block_is_lost(requests: Requests, schedule: Schedule) -> None:
    """That blocks are never fewer than none, and all free at the end, the simulator asserts itself."""
    pairs = list(zip(requests.input_tokens, requests.output_tokens, strict=True))
    if not any(schedule.can_hold(*pair) for pair in pairs):
        with pytest.raises(BadValueError, match="no request can be answered"):
            simulate(LAW, schedule, requests)
        return
    simulation = simulate(LAW, schedule, requests)
    stamps, answered = simulation.stamps, kept(simulation)
    assert [pair for place, pair in enumerate(pairs) if not schedule.can_hold(*pair)] == [pairs[place] for place in simulation.refused]
    for request in answered:
        assert stamps.written[request] == stamps.lengths[request][1]
        assert stamps.arrival_s[request] <= stamps.scheduled_s[request] < stamps.first_token_s[request] <= stamps.last_token_s[request]
    admitted = [stamps.scheduled_s[request] for request in answered]
    assert admitted == sorted(admitted)
    least = sum(stamps.lengths[request][0] - stamps.found_of(stamps.lengths[request][0]) for request in answered)
    assert stamps.read_tokens >= least
    assert (stamps.read_tokens == least) or stamps.num_pushed_out
    assert sum(stamps.gap_tokens) >= sum(stamps.lengths[request][1] - 1 for request in answered) - 1e-6
    assert max(stamps.step_decoding) <= schedule.max_num_seqs
    if schedule.reserved_output == 1:
        assert not stamps.num_pushed_out


@QUICK
@given(drawn_requests(), drawn_schedules())
def test_the_same_question_has_the_same_answer(requests: Requests, schedule: Schedule) -> None:
    if any(schedule.can_hold(*pair) for pair in zip(requests.input_tokens, requests.output_tokens, strict=True)):
        assert load_answer(simulate(LAW, schedule, requests), 1) == load_answer(simulate(LAW, schedule, requests), 1)


@QUICK
@given(drawn_requests(), drawn_schedules())
def test_littles_law_holds_and_throughput_times_latency_is_the_running_batch(requests: Requests, schedule: Schedule) -> None:
    """Requests in flight are integrated over the sorted stamps, the running batch over the steps: neither from the latencies."""
    roomy = replace(schedule, blocks=10**6, draft_tokens=0, accepted_len=1.0, mixed=True)
    simulation = simulate(LAW, roomy, requests)
    answer, stamps = load_answer(simulation, 1), simulation.stamps
    itl, e2e = answer.latencies["itl_s"], answer.latencies["e2e_s"]
    assert e2e is not None
    changes = sorted([(second, 1) for second in stamps.arrival_s] + [(second, -1) for second in stamps.last_token_s])
    present, area, before = 0, 0.0, changes[0][0]
    for second, change in changes:
        area += present * (second - before)
        present, before = present + change, second
    assert area / answer.duration_s == pytest.approx(answer.requests_per_s * e2e.mean)
    assert area / answer.duration_s == pytest.approx(answer.in_flight)
    if itl:
        running = sum(map(math.prod, zip(stamps.step_decoding, stamps.step_s, strict=True))) / answer.duration_s
        decoded_per_s = sum(output - 1 for _, output in stamps.lengths) / answer.duration_s
        assert decoded_per_s * itl.mean == pytest.approx(running)
        assert answer.running == pytest.approx(running)


def test_one_request_by_hand() -> None:
    """100 tokens are read in 5 + 100 x 0.02 + 100 x 50 x 1e-6 ms = 7.005 ms; then 9 decode steps at contexts 100 to 108."""
    alone = Requests(input_tokens=(100,), output_tokens=(10,), users=1)
    stamps = simulate(LAW, WIDE, alone).stamps
    decode_s = sum(5e-3 + 1e-5 + 1.5e-8 * context for context in range(100, 109))
    assert stamps.first_token_s[0] == pytest.approx(7.005e-3)
    assert stamps.last_token_s[0] == pytest.approx(7.005e-3 + decode_s)
    assert load_answer(simulate(LAW, WIDE, alone), 2).output_tokens_per_s_per_gpu == pytest.approx(5 / (7.005e-3 + decode_s))


class UnitLaw:
    """Every step takes a second."""

    def time(self, batch: StepBatch) -> Any:
        from tests.support.stepped_serving import Seconds

        return Seconds(total_s=1.0 + 0 * batch.decoding * batch.context_tokens)


def first_and_last(
    schedule: Schedule, arrivals: tuple[float, ...], prompts: tuple[int, ...], answers: tuple[int, ...]
) -> list[tuple[float, float]]:
    requests = Requests(input_tokens=prompts, output_tokens=answers, arrival_s=arrivals)
    stamps = simulate(UnitLaw(), schedule, requests).stamps
    return list(zip(stamps.first_token_s, stamps.last_token_s, strict=True))


def test_schedules_by_hand() -> None:
    """Two requests of 10 tokens and answers of 4; the second arrives in the second step, in steps of one second.

    Mixed: steps [A reads][A][A, none of B yet] ... B arrives at 1.5, is read in the step from 2 and decodes beside A.
    Ahead: the step from 2 was decided at 1; B is read in the one from 3.
    Prefill first: the step from 2 reads B alone, and A waits for it.
    """
    lengths = {"arrivals": (0.0, 1.5), "prompts": (10, 10), "answers": (4, 4)}
    assert first_and_last(WIDE, **lengths) == [(1, 4), (3, 6)]
    assert first_and_last(replace(WIDE, schedules_ahead=True), **lengths) == [(1, 4), (4, 7)]
    assert first_and_last(replace(WIDE, mixed=False), **lengths) == [(1, 5), (3, 6)]


def test_prompts_are_cut_where_the_engine_cuts_them_and_share_a_step_by_the_budget() -> None:
    """Steps of 8 tokens. In pieces: 8 of A; 2 of A and 6 of B; A decodes beside the last 4 of B. Whole: A alone; B alone, as neither
    fits beside the other, and A's last token is in B's step."""
    eight = replace(WIDE, token_budget=8, max_num_seqs=8)
    lengths = {"arrivals": (0.0, 0.0), "prompts": (10, 10), "answers": (2, 1)}
    assert first_and_last(eight, **lengths) == [(2, 3), (3, 3)]
    assert first_and_last(replace(eight, chunked=False), **lengths) == [(1, 2), (2, 2)]


def test_speculation_yields_whole_tokens_and_reaches_the_end_in_fewer_steps() -> None:
    """2.5 tokens a step: counts 2, 5, 7, 10; the 8 tokens after the first take four steps."""
    drafts = replace(WIDE, draft_tokens=3, accepted_len=2.5)
    assert first_and_last(drafts, (0.0,), (10,), (9,)) == [(1, 5)]


def test_the_newest_gives_way_and_is_read_anew_by_hand() -> None:
    """Four blocks of 4 tokens; two prompts of 7 take two each, and the first decode step fills their last. The second needs a fifth:
    B gives way, A goes on to its fifth token, then B's 7 tokens and its two of the answer are read anew."""
    narrow = Schedule(blocks=4, block_tokens=4, token_budget=64, max_num_seqs=8)
    requests = Requests(input_tokens=(7, 7), output_tokens=(5, 5), arrival_s=(0.0, 0.0))
    stamps = simulate(UnitLaw(), narrow, requests).stamps
    assert stamps.num_pushed_out == 1
    assert (stamps.first_token_s, stamps.last_token_s) == ([1, 1], [5, 8])
    assert stamps.read_tokens == 7 + 7 + 9
    reserved = simulate(UnitLaw(), replace(narrow, reserved_output=1.0), requests).stamps
    assert (reserved.num_pushed_out, reserved.first_token_s, reserved.last_token_s) == (0, [1, 6], [5, 10])


def test_tokens_of_the_prefix_cache_need_no_reading() -> None:
    requests = Requests(input_tokens=(100, 100), output_tokens=(1, 1), users=1)
    assert simulate(LAW, replace(WIDE, prefix_share=0.5), requests).stamps.read_tokens == 100
    assert (
        simulate(LAW, replace(WIDE, prefix_share=0.999), Requests(input_tokens=(1,), output_tokens=(1,), users=1)).stamps.read_tokens == 1
    )


def test_a_request_that_never_fits_is_refused_and_its_user_goes_on() -> None:
    short = replace(WIDE, blocks=7)  # 112 tokens
    requests = Requests(input_tokens=(100, 100, 100), output_tokens=(13, 14, 13), users=1)
    simulation = simulate(LAW, short, requests)
    assert (simulation.refused, load_answer(simulation, 1).num_answered) == ((1,), 2)
    with pytest.raises(BadValueError, match="the shortest has 113 tokens, and the cache has room for 96"):
        simulate(LAW, replace(short, blocks=6), requests)
    with pytest.raises(BadValueError, match="sequences of 100 at most"):
        simulate(LAW, replace(short, max_model_len=100), requests)


def test_a_law_that_is_twice_as_fast_halves_every_latency() -> None:
    load = closed_loop(uniform_lengths(60, 50, 400), uniform_lengths(60, 5, 60), 12)
    tight = replace(WIDE, blocks=150)

    class Faster(AffineLaw):
        def time(self, batch: StepBatch) -> Any:
            return type("Half", (), {"total_s": super().time(batch).total_s / 2})

    slow, fast = load_answer(simulate(LAW, tight, load), 1), load_answer(simulate(Faster(), tight, load), 1)
    assert fast.duration_s == pytest.approx(slow.duration_s / 2)
    assert fast.num_pushed_out == slow.num_pushed_out > 0


@pytest.mark.parametrize("mixed", [True, False])
def test_more_blocks_and_more_bandwidth_do_not_hurt(mixed: bool) -> None:
    """Of one order of requests a schedule may be a little unlucky: 2 % are let through."""
    load = closed_loop(uniform_lengths(300, 200, 1000), uniform_lengths(300, 20, 200), 48)
    by_blocks = [load_answer(simulate(LAW, replace(WIDE, mixed=mixed, blocks=blocks), load), 1) for blocks in (200, 400, 800, 1600, 3200)]
    rates = [answer.output_tokens_per_s for answer in by_blocks]
    assert all(more >= 0.98 * less for less, more in itertools.pairwise(rates))
    assert rates[-1] > 1.5 * rates[0]
    narrow = load_answer(simulate(AffineLaw(key_s=3e-8), replace(WIDE, mixed=mixed), load), 1)
    assert narrow.output_tokens_per_s < rates[-1]


def test_pools_by_hand() -> None:
    """One pool reads in a second; the cache of 10 tokens takes 0.5 s to move; three tokens are decoded in three seconds."""
    requests = Requests(input_tokens=(10, 10), output_tokens=(4, 1), arrival_s=(0.0, 0.0))
    stamps = simulate_pools(UnitLaw(), replace(WIDE, mixed=False), UnitLaw(), WIDE, requests, transfer_s_per_token=0.05).stamps
    assert (stamps.first_token_s, stamps.last_token_s) == ([1, 1], [4.5, 1])
    exact = replace(WIDE, blocks=4, block_tokens=4)  # 13 prompt tokens and the first three of the answer: the last one is not kept
    full = Requests(input_tokens=(13,), output_tokens=(4,), users=1)
    assert simulate_pools(UnitLaw(), WIDE, UnitLaw(), exact, full).stamps.last_token_s == [4]
    with pytest.raises(BadValueError, match="expected 0 or more"):
        simulate_pools(UnitLaw(), WIDE, UnitLaw(), WIDE, requests, transfer_s_per_token=-1)


@QUICK
@given(drawn_requests(), drawn_schedules())
def test_pools_answer_all_that_fits_and_keep_decode_steps_free_of_prompts(requests: Requests, schedule: Schedule) -> None:
    reader = replace(WIDE, mixed=False, draft_tokens=0, accepted_len=1.0)
    if not any(schedule.can_hold(*pair) for pair in zip(requests.input_tokens, requests.output_tokens, strict=True)):
        return
    simulation = simulate_pools(LAW, reader, LAW, schedule, requests, 1e-6)
    stamps = simulation.stamps
    for request in kept(simulation):
        assert stamps.written[request] == stamps.lengths[request][1]
        assert stamps.first_token_s[request] <= stamps.last_token_s[request]
    if not stamps.num_pushed_out:
        assert sum(stamps.step_read) == 0


def test_runs_of_steps_are_passed_at_once() -> None:
    """1,000 requests of 300 tokens, 64 at a time, are 4,800 decode steps at least; the law is asked far less often."""
    counted = []

    class Counting(AffineLaw):
        def time(self, batch: StepBatch) -> Any:
            counted.append(batch)
            return super().time(batch)

    load = closed_loop(lengths_of_count(1000, 1000, source=""), lengths_of_count(300, 1000, source=""), 64)
    stamps = simulate(Counting(), WIDE, load).stamps
    assert sum(stamps.step_count) > 4800
    assert len(counted) < 600


@pytest.mark.parametrize(("load", "tolerance"), [(0.3, 0.05), (0.7, 0.08)])
def test_poisson_arrivals_wait_as_long_as_queueing_theory_says(load: float, tolerance: float) -> None:
    """One at a time, each a step of one second: a queue M/D/1, whose mean wait is load / (2 (1 - load)) (Pollaczek and Khinchine).

    Of 15,000 requests the mean wait scatters by a few percent.
    """
    single = replace(WIDE, max_num_seqs=1)
    requests = at_rate(lengths_of_count(10, 15_000, source=""), lengths_of_count(1, 15_000, source=""), load)
    waits = load_answer(simulate(UnitLaw(), single, requests), 1).latencies["ttft_s"]
    assert waits is not None
    assert waits.mean - 1.0 == pytest.approx(load / (2 * (1 - load)), rel=tolerance)


def test_open_arrivals_beyond_what_a_replica_can_do_queue_up() -> None:
    many = lengths_of_count(200, 400, source="")
    slow, fast = (load_answer(simulate(LAW, WIDE, at_rate(many, many, rate)), 1).latencies["queue_s"] for rate in (1.0, 1000.0))
    assert slow is not None
    assert fast is not None
    assert fast.mean > 20 * slow.mean


@pytest.mark.parametrize(
    ("wrong", "about"),
    [({"blocks": 0}, "blocks is 0"), ({"max_num_seqs": 9000}, "as many tokens as"), ({"draft_tokens": 40}, "of 41 tokens in steps")],
)
def test_a_schedule_that_cannot_be_is_refused(wrong: dict[str, int], about: str) -> None:
    with pytest.raises(BadValueError, match=about):
        replace(WIDE, **wrong)
