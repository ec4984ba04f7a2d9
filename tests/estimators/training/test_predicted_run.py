"""Predicted runs: days, energy and hours follow from the step by hand; batches, allowances, layouts and what they refuse."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from estimators.cost.divisibility import check_cuts
from estimators.cost.layout import Layout
from estimators.errors import BadValueError, DoesNotFitError
from estimators.facts import data
from estimators.facts.goodput import WHOLE_RUN_COLUMNS, goodput_loss, whole_run_from
from estimators.facts.registry import hardware
from estimators.facts.usual_batch import usual_batch, usual_batches
from estimators.frozen import replace
from estimators.training.layouts.deadline import device_counts, plan_on_fewest
from estimators.training.layouts.global_batch import FARTHEST, ROUNDING, Batch
from estimators.training.layouts.planned import plan
from estimators.training.layouts.search import search
from estimators.training.run import predicted_run
from estimators.training.sequence_cost import SequenceCost, sequence_cost_of
from estimators.training.supported import not_covered
from tests.support.planner_jobs import job, model

A100 = hardware("a100-sxm4-80gb")


LLAMA = job("llama-2-7b", seq_len=4096)
WORK = sequence_cost_of(model("llama-2-7b"), 4096)


class TestRun:
    def test_everything_follows_from_the_step_by_hand(self) -> None:
        # 2T tokens in steps of 1,024 x 4,096 are 476,837.2 steps.
        batch = Batch(tokens=1024 * 4096)
        run = predicted_run(LLAMA, tokens=2 * 10**12, num_devices=256, batch=batch, layout="zero=3,micro_batch=2")
        step_s = run.prediction.step_time_s
        assert run.num_steps == pytest.approx(476_837.158)
        assert run.wall_s == pytest.approx(476_837.158 * step_s)
        assert run.days == pytest.approx(run.wall_s / 86_400)
        assert run.gpu_hours == pytest.approx(run.wall_s * 256 / 3_600)
        assert run.energy_j(run.wall_s, 0.5) == pytest.approx(200 * 256 * run.wall_s)  # half of 400 W
        assert run.low_s < run.wall_s < run.high_s

    def test_a_prediction_that_has_not_seen_a_source_differs(self) -> None:
        runs = [predicted_run(replace(LLAMA, without=source), tokens=10**12, num_devices=256) for source in ("", "llm-foundry")]
        assert runs[0].wall_s != runs[1].wall_s

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("mamba-130m", ""),
            ("mlp", "not a decoder with a head"),
            ("llama-2-7b", ""),
            ("mixtral-8x7b", ""),
            ("llama-4-scout", ""),
        ],
    )
    def test_models_that_step_times_do_not_cover_are_refused(self, name: str, said: str) -> None:
        reason = not_covered(model(name), 1 if name == "mlp" else 2048)
        assert (said in reason) if said else not reason
        if said:
            with pytest.raises(BadValueError, match="no step of it is predicted"):
                job(name, seq_len=1 if name == "mlp" else 2048)


class TestBatch:
    # Brown et al. 2020 (arXiv 2005.14165), table 2.1; Grattafiori et al. 2024 (arXiv 2407.21783), table 4.
    @pytest.mark.parametrize(
        ("params", "tokens"),
        [
            (124_439_808, 500_000),
            (1_315_723_264, 1_000_000),
            (12_853_386_240, 2_000_000),
            (174_604_259_328, 3_200_000),
            (405_853_388_800, 16_000_000),
        ],
    )
    def test_the_usual_batch_is_that_of_the_paper(self, params: int, tokens: int) -> None:
        assert usual_batch(params).batch_tokens == tokens

    def test_the_nearest_in_size_is_by_ratio(self) -> None:
        # just above the geometric mean of two sizes the larger is nearer, though the smaller is by difference
        runs = usual_batches()
        for smaller, larger in itertools.pairwise(runs):
            if larger.params > 1.1 * smaller.params:
                assert usual_batch(int(1.001 * math.sqrt(smaller.params * larger.params))).params == larger.params

    @pytest.mark.parametrize(("taken_tokens", "moved"), [(2_080_000, False), (2_140_000, True), (1_860_000, True)])
    def test_a_published_batch_that_was_moved_far_says_so(self, taken_tokens: int, moved: bool) -> None:
        source = Batch().source(6_738_415_616, taken_tokens)  # GPT-3 6.7B's 2,000,000; 5 % is how people round
        assert source.startswith("as GPT-3 6.7B was trained: 2,000,000 tokens")
        assert ("moved to a number" in source) == moved

    def test_a_given_batch_is_nobody_elses(self) -> None:
        assert Batch(tokens=10**6).source(10**9, 10**6) == Batch(sequences=8).source(10**9, 10**6) == ""

    def test_four_million_is_what_people_call_4_194_304(self) -> None:
        assert Batch(tokens=4_000_000).for_layout(512, 512, params=1, seq_len=4096) * 4096 == 4_194_304

    def test_a_batch_that_would_be_moved_far_is_refused_with_the_nearest(self) -> None:
        with pytest.raises(BadValueError, match=r"no multiple of dp x micro_batch = 512; the nearest that works: 2,097,152 tokens"):
            Batch(tokens=1_000_000).for_layout(512, 512, params=1, seq_len=4096)
        small = usual_batches()[0].params  # 500,000 tokens are usual for it
        assert Batch().for_layout(512, 512, params=small, seq_len=4096) == 512

    def test_a_batch_of_sequences_is_never_moved(self) -> None:
        with pytest.raises(BadValueError, match=r"no multiple of dp x micro_batch = 512; the nearest that works: 4,194,304 tokens"):
            Batch(sequences=1000).for_layout(512, 512, params=1, seq_len=4096)

    @given(st.integers(1, 10**8), st.integers(1, 10**5), st.integers(1, 4096), st.integers(1, 4096))
    def test_a_batch_divides_and_a_given_one_stays_near(self, tokens: int, seq_len: int, unit: int, num_devices: int) -> None:
        assume(tokens >= seq_len)
        assert Batch().for_layout(unit, num_devices, params=10**9, seq_len=seq_len) % unit == 0
        try:
            taken = Batch(tokens=tokens).for_layout(unit, num_devices, params=10**9, seq_len=seq_len)
        except BadValueError:
            return
        assert taken % unit == 0
        # what the devices share may lie further off, as without a layout; a multiple of the unit may not
        assert abs(taken * seq_len - tokens) <= ROUNDING * tokens or taken <= FARTHEST * tokens / seq_len

    @given(st.integers(1, 4096), st.sampled_from([1, 2, 4, 8, 16]))
    def test_a_layout_that_can_share_the_batch_of_its_devices_has_that(self, num_devices: int, micro_batch: int) -> None:
        asked = {"params": 6_738_415_616, "seq_len": 4096}
        try:
            shared = Batch().on(num_devices, **asked)
        except BadValueError:
            return
        if shared % micro_batch == 0:
            assert Batch().for_layout(micro_batch, num_devices, **asked) == shared


class TestAllowance:
    def test_it_is_what_the_papers_say(self) -> None:
        # Gemini: goodput 97 % (arXiv 2312.11805). Llama 3: over 90 % (arXiv 2407.21783). OPT: 4.30e23 FLOP at 147 TFLOP/s on 992
        # devices are 34.1 days; it took 56. BLOOM: 104.5 s x 366e9 / 4,194,304 are 105.6 days; 1,082,990 h / 384 are 117.5.
        by = {run.name: run for run in goodput_loss().runs}
        assert by["OPT-175B"].effective_fraction == pytest.approx(4.30e23 / (992 * 147e12) / 86_400 / 56, rel=0.01)
        assert by["BLOOM-176B"].effective_fraction == pytest.approx(104.5 * 366e9 / 4_194_304 / 86_400 / (1_082_990 / 384 / 24), rel=0.01)
        assert by["Llama 3 405B"].at_least
        assert by["Gemini Ultra"].added_fraction == pytest.approx(3 / 97)
        loss = goodput_loss()
        assert (loss.low, loss.median, loss.high) == pytest.approx((1 / 0.97 - 1, 1 / 0.9 - 1, 56 / 34.1 - 1))

    def test_blooms_steady_step_is_its_rate_as_megatron_counts(self) -> None:
        # Narayanan et al. 2021, equation 3, at 150 TFLOP/s on 384: B 2,048, s 2,048, l 70, h 14,336, V 250,880.
        flop = 96 * 2048 * 2048 * 70 * 14_336**2 * (1 + 2048 / (6 * 14_336) + 250_880 / (16 * 70 * 14_336))
        assert flop / (384 * 150e12) == pytest.approx(104.5, abs=0.1)

    @pytest.mark.parametrize(
        "cells",
        [{"effective_fraction": "1.2"}, {"steady_days": "3"}, {"steady_days": "5", "whole_days": "4"}],
        ids=["above 1", "half", "more"],
    )
    def test_a_row_that_makes_no_share_is_refused(self, cells: dict[str, str]) -> None:
        row = data.Row("whole_runs.csv", 2, dict.fromkeys(WHOLE_RUN_COLUMNS, "") | {"name": "x", "source": "y", "url": "z"} | cells)
        with pytest.raises(BadValueError, match=r"line 2: effective_fraction is .*expected one up to 1"):
            whole_run_from(row)

    def test_a_run_that_lost_nothing_adds_nothing(self) -> None:
        cells = {"name": "x", "source": "y", "url": "z", "effective_fraction": "1"}
        assert whole_run_from(data.Row("whole_runs.csv", 2, dict.fromkeys(WHOLE_RUN_COLUMNS, "") | cells)).added_fraction == 0


class TestChosenLayout:
    @pytest.mark.parametrize(
        ("name", "device", "num_devices"),
        [
            ("gpt2", "l4-24gb", 1),
            ("phi-2", "a100-sxm4-80gb", 96),
            ("llama-2-7b", "a100-sxm4-80gb", 512),
            ("gpt-3-175b", "a100-sxm4-80gb", 1024),
            ("llama-3.1-405b", "h100-sxm5-80gb", 16_384),
            ("mixtral-8x7b", "h100-sxm5-80gb", 64),
            ("deepseek-v3", "h100-sxm5-80gb", 2048),
        ],
    )
    def test_it_multiplies_fits_and_can_be_cut(self, name: str, device: str, num_devices: int) -> None:
        asked = job(name, device, min(8192, model(name).max_positions))
        run = predicted_run(asked, tokens=10**12, num_devices=num_devices)
        layout = run.prediction.layout
        assert layout.num_devices == num_devices
        assert run.needed_bytes == asked.memory_bytes(layout) <= asked.machine.memory_bytes
        check_cuts(asked.work, layout)

    def test_it_is_the_plans(self) -> None:
        run, best = predicted_run(LLAMA, tokens=10**12, num_devices=64), plan(LLAMA, 64).best
        assert (run.prediction.layout, run.wall_s) == (best.layout, best.prediction.run_s(10**12))

    def test_a_model_that_fits_nowhere_is_told_so(self) -> None:
        with pytest.raises(DoesNotFitError, match=r"fits on 8 x a100-sxm4-80gb in no layout: .* the fewest that hold it: \d+"):
            predicted_run(job("gpt-3-175b"), tokens=10**12, num_devices=8)

    def test_a_layout_needs_its_number_of_devices(self) -> None:
        with pytest.raises(BadValueError, match=r"layout 'tp=2' is one of a number of devices; add --gpus"):
            predicted_run(LLAMA, tokens=10**12, layout="tp=2")


class TestFewestDevices:
    @settings(max_examples=12, deadline=None)
    @given(
        st.sampled_from(["gpt2", "phi-2", "llama-2-7b", "llama-3-70b", "mixtral-8x7b"]),
        st.sampled_from(["l4-24gb", "a100-sxm4-80gb", "mi300x-192gb"]),
    )
    def test_no_smaller_number_holds_it_without_paying_a_tenth_more(self, name: str, device: str) -> None:
        asked = job(name, device, 1024)
        chosen = plan_on_fewest(asked)
        for num in [num for num in device_counts(asked, chosen.num_devices) if num < chosen.num_devices]:
            found = search(asked, num, Batch().on(num, params=asked.work.params, seq_len=1024))
            if found.num_fitting:
                rates = [one.best.prediction.tokens_per_s_per_device for one in (plan(asked, num), chosen)]
                assert 1.1 * rates[0] < rates[1]

    def test_what_no_number_of_devices_holds_is_told_so(self) -> None:
        tiny = replace(hardware("l4-24gb"), memory_bytes=10**8)
        with pytest.raises(DoesNotFitError, match=r"not even 65,536 of them hold it"):
            plan_on_fewest(replace(job("gpt-3-175b"), hardware=tiny))


def cut(**fields: int) -> Layout:
    return Layout(**fields, global_batch=fields.get("dp", 1) * fields.get("pp", 1))  # type: ignore[arg-type]


class TestLegal:
    @pytest.mark.parametrize(
        ("layout", "said"),
        [
            (cut(tp=3), "tp=3 does not divide 32 heads; the nearest that does: tp=2"),
            (cut(pp=33), "pp=33 asks for more stages than the 32 layers there are; the most: pp=32"),
            (cut(pp=8, vp=8), "pp=8 x vp=8 asks for more stages than the 32 layers there are; the most: pp=8,vp=4"),
            (cut(vp=2), "vp=2 interleaves a pipeline, but pp=1 has none"),
            (cut(ep=2, dp=2), "ep=2 divides experts, but the model has none; expected ep=1"),
            (cut(cp=3), "cp=3 cuts a causal sequence into 6 parts, which do not divide 4,096 tokens; nearest: cp=2"),
        ],
    )
    def test_a_broken_rule_is_named_with_what_works(self, layout: Layout, said: str) -> None:
        with pytest.raises(BadValueError, match=said):
            check_cuts(WORK, layout)

    @pytest.mark.parametrize(
        ("name", "tp", "said"), [("llama-2-13b", 5, "13,824; the nearest that does: tp=4"), ("qwen2-7b", 28, "18,944")]
    )
    def test_the_feed_forward_must_be_divided_too(self, name: str, tp: int, said: str) -> None:
        """40 heads and 28 are divided, 13,824 and 18,944 are not: Megatron-LM and vLLM refuse to cut a matrix unevenly."""
        with pytest.raises(BadValueError, match=f"tp={tp} does not divide the feed-forward's width of {said}"):
            check_cuts(sequence_cost_of(model(name), 4096), cut(tp=tp))

    def test_experts_must_divide_the_devices_of_a_stage(self) -> None:
        with pytest.raises(BadValueError, match=r"ep=8 does not divide the 4 GPUs of a stage; the nearest that works: ep=4"):
            check_cuts(sequence_cost_of(model("mixtral-8x7b"), 4096), cut(ep=8, dp=4))

    @pytest.mark.parametrize(("name", "pp", "vp"), [("llama-3.1-405b", 16, 8), ("deepseek-v3", 16, 1), ("qwen3-235b-a22b", 16, 1)])
    def test_uneven_stages_are_legal(self, name: str, pp: int, vp: int) -> None:
        # 126, 61 and 94 layers are run on 16 stages.
        work: SequenceCost = sequence_cost_of(model(name), 4096)
        assert work.layers % pp
        check_cuts(work, cut(pp=pp, vp=vp))
