"""Predicted runs: days, energy and hours follow from the step by hand; batches, allowances, layouts and what they refuse."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimators.architectures.from_config import model_from_config
from estimators.cost.divisibility import check_cuts
from estimators.cost.efficiency import efficiency
from estimators.cost.layout import Layout
from estimators.cost.machine import Machine, machine_of
from estimators.cost.software import software, stack
from estimators.errors import BadValueError, DoesNotFitError
from estimators.facts import data
from estimators.facts.goodput import WHOLE_RUN_COLUMNS, allowance, whole_run_from
from estimators.facts.registry import hardware, model_entry
from estimators.memory.device import device_memory
from estimators.memory.kernels import BY_STACK
from estimators.memory.layer_memory import Holding, holding_of
from estimators.spec import Model
from estimators.training.layouts.default_layout import default_layout
from estimators.training.layouts.global_batch import Batch
from estimators.training.layouts.job import Job
from estimators.training.layouts.planned import plan
from estimators.training.layouts.usual_batch import ROUNDING, UsualBatch, usual_batch, usual_batches, whole_batch
from estimators.training.run import Setup, _batch_source, not_covered, predicted_run
from estimators.training.sequence_cost import Work, work_of
from estimators.training.step import step_time

A100 = hardware("a100-sxm4-80gb")


def model(name: str) -> Model:
    entry = model_entry(name)
    return model_from_config(entry.config, entry.id, entry.source)


LLAMA = model("llama-2-7b")
WORK = work_of(LLAMA, 4096)


def held(name: str, seq_len: int) -> Holding:
    return holding_of(model(name), seq_len, BY_STACK["megatron-core"])


def timer(work: Work, machine: Machine) -> Callable[[Layout], float]:
    e = efficiency()
    runs_on = software(stack("megatron-core"), "Ampere", e)
    return lambda layout: float(step_time(work, layout, machine, runs_on, e).step_time_s)


HELD = held("llama-2-7b", 4096)


class TestRun:
    def test_everything_follows_from_the_step_by_hand(self) -> None:
        # 2T tokens in steps of 1,024 x 4,096 are 476,837.2 steps.
        setup = Setup(layout="zero=3,micro_batch=2", batch_tokens=1024 * 4096)
        run = predicted_run(LLAMA, tokens=2 * 10**12, seq_len=4096, hardware=A100, num_devices=256, setup=setup)
        step_s = run.prediction.step_time_s
        assert run.num_steps == pytest.approx(476_837.158)
        assert run.wall_s == pytest.approx(476_837.158 * step_s)
        assert run.days == pytest.approx(run.wall_s / 86_400)
        assert run.gpu_hours == pytest.approx(run.wall_s * 256 / 3_600)
        assert run.energy_j(run.wall_s, 0.5) == pytest.approx(200 * 256 * run.wall_s)  # half of 400 W
        assert run.low_s < run.wall_s < run.high_s

    def test_the_allowance_is_in_no_figure_but_its_own(self) -> None:
        run = predicted_run(LLAMA, tokens=10**12, seq_len=4096, hardware=A100, num_devices=256)
        low, whole, high = run.whole_s
        assert (low / run.low_s, whole / run.wall_s, high / run.high_s) == pytest.approx((1 / 0.97, 1 / 0.9, 56 / 34.1))

    def test_a_prediction_that_has_not_seen_a_source_differs(self) -> None:
        runs = [
            predicted_run(LLAMA, tokens=10**12, seq_len=4096, hardware=A100, num_devices=256, setup=Setup(without=source))
            for source in ("", "llm-foundry")
        ]
        assert runs[0].wall_s != runs[1].wall_s

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("mamba-130m", "state-space scans"),
            ("llama-4-scout", "experts that run on every token"),
            ("mlp", "no decoder with a head"),
            ("llama-2-7b", ""),
            ("mixtral-8x7b", ""),
        ],
    )
    def test_models_that_step_times_do_not_cover_are_refused(self, name: str, said: str) -> None:
        reason = not_covered(model(name), 1 if name == "mlp" else 2048)
        assert (said in reason) if said else not reason
        if said:
            with pytest.raises(BadValueError, match="no step of it is predicted"):
                predicted_run(model(name), tokens=10**9, seq_len=1 if name == "mlp" else 2048, hardware=A100, num_devices=8)


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

    @pytest.mark.parametrize(("taken_tokens", "moved"), [(1_040_000, False), (1_070_000, True), (930_000, True)])
    def test_a_published_batch_that_was_moved_far_says_so(self, taken_tokens: int, moved: bool) -> None:
        usual = UsualBatch(model="m", params=1, batch_tokens=1_000_000, source="s")
        assert ("moved to a whole number" in _batch_source(usual, taken_tokens)) == moved  # 5 % is how people round

    def test_four_million_is_what_people_call_4_194_304(self) -> None:
        assert whole_batch(4_000_000, seq_len=4096, unit=512, given=True) * 4096 == 4_194_304

    def test_a_batch_that_would_be_moved_far_is_refused_with_the_nearest(self) -> None:
        with pytest.raises(BadValueError, match=r"no multiple of dp x micro_batch = 512; the nearest that works: 2,097,152 tokens"):
            whole_batch(1_000_000, seq_len=4096, unit=512, given=True)
        assert whole_batch(1_000_000, seq_len=4096, unit=512, given=False) == 512

    @given(st.integers(1, 10**8), st.integers(1, 10**5), st.integers(1, 4096))
    def test_a_batch_divides_and_a_given_one_stays_near(self, tokens: int, seq_len: int, unit: int) -> None:
        assert whole_batch(tokens, seq_len=seq_len, unit=unit, given=False) % unit == 0
        try:
            taken = whole_batch(tokens, seq_len=seq_len, unit=unit, given=True)
        except BadValueError:
            return
        assert abs(taken * seq_len - tokens) <= ROUNDING * tokens


class TestAllowance:
    def test_it_is_what_the_papers_say(self) -> None:
        # Gemini: goodput 97 % (arXiv 2312.11805). Llama 3: over 90 % (arXiv 2407.21783). OPT: 4.30e23 FLOP at 147 TFLOP/s on 992
        # devices are 34.1 days; it took 56. BLOOM: 104.5 s x 366e9 / 4,194,304 are 105.6 days; 1,082,990 h / 384 are 117.5.
        by = {run.name: run for run in allowance().runs}
        assert by["OPT-175B"].effective_fraction == pytest.approx(4.30e23 / (992 * 147e12) / 86_400 / 56, rel=0.01)
        assert by["BLOOM-176B"].effective_fraction == pytest.approx(104.5 * 366e9 / 4_194_304 / 86_400 / (1_082_990 / 384 / 24), rel=0.01)
        assert by["Llama 3 405B"].at_least
        assert by["Gemini Ultra"].added_fraction == pytest.approx(3 / 97)
        assert allowance().low <= allowance().median <= allowance().high

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


class TestDefaultLayout:
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
        holding, machine = held(name, min(8192, getattr(model(name), "max_positions", 2048))), machine_of(hardware(device))
        layout = default_layout(holding, machine, num_devices, 1024, step_time_s=timer(holding.work, machine))
        assert layout.num_devices == num_devices
        assert device_memory(holding, layout).total_bytes <= machine.memory_bytes
        check_cuts(holding.work, layout)

    @settings(max_examples=30)
    @given(st.integers(2, 5000), st.integers(1, 4096))
    def test_from_two_devices_on_any_number_gives_a_layout_that_multiplies_and_fits(self, num_devices: int, global_batch: int) -> None:
        # 6.74e9 parameters at 18 bytes are 113 GiB: 56 on each of two, and full recomputation keeps under 4 more.
        layout = default_layout(HELD, machine_of(A100), num_devices, global_batch, step_time_s=timer(WORK, machine_of(A100)))
        assert layout.num_devices == num_devices
        assert device_memory(HELD, layout).total_bytes <= A100.memory_bytes

    @pytest.mark.parametrize(
        ("name", "device", "num_devices", "seq_len"),
        [
            ("llama-3-8b", "h100-sxm5-80gb", 256, 8192),
            ("gpt-3-175b", "a100-sxm4-80gb", 1024, 2048),
            ("llama-3.1-405b", "h100-sxm5-80gb", 16_384, 8192),
            ("mixtral-8x7b", "h100-sxm5-80gb", 64, 4096),
        ],
    )
    def test_it_is_within_a_tenth_of_the_best_of_every_legal_layout(self, name: str, device: str, num_devices: int, seq_len: int) -> None:
        job = Job(model=model(name), hardware=hardware(device), seq_len=seq_len)
        best = plan(job, num_devices, Batch()).best.layout
        ours = default_layout(job.holding, job.machine, num_devices, best.global_batch, step_time_s=lambda x: job.predict(x).step_time_s)
        per_sequence = [job.predict(layout).step_time_s / layout.global_batch for layout in (ours, best)]
        assert per_sequence[0] <= 1.1 * per_sequence[1]

    def test_a_model_that_fits_nowhere_is_told_so(self) -> None:
        with pytest.raises(DoesNotFitError, match=r"no layout of 8 devices .* per device of 79\.2 GiB; give more --gpus"):
            default_layout(held("gpt-3-175b", 2048), machine_of(A100), 8, 1536, step_time_s=timer(WORK, machine_of(A100)))


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

    def test_experts_must_divide_the_devices_of_a_stage(self) -> None:
        with pytest.raises(BadValueError, match=r"ep=8 does not divide the 4 GPUs of a stage; the nearest that works: ep=4"):
            check_cuts(work_of(model("mixtral-8x7b"), 4096), cut(ep=8, dp=4))

    @pytest.mark.parametrize(("name", "pp", "vp"), [("llama-3.1-405b", 16, 8), ("deepseek-v3", 16, 1), ("qwen3-235b-a22b", 16, 1)])
    def test_uneven_stages_are_legal(self, name: str, pp: int, vp: int) -> None:
        # 126, 61 and 94 layers are run on 16 stages.
        work: Work = work_of(model(name), 4096)
        assert work.layers % pp
        check_cuts(work, cut(pp=pp, vp=vp))
