"""The search against what it must not miss: the published layouts, every legal layout priced one by one, and the rules it keeps to."""

from __future__ import annotations

import itertools

import pytest

from estimators.cost.divisibility import divisors, legal_tp
from estimators.cost.layout import Layout, parse_layout
from estimators.counting.estimate import estimate
from estimators.errors import BadValueError
from estimators.frozen import replace
from estimators.spec import Case, Workload
from estimators.training.layouts.candidates import candidates
from estimators.training.layouts.feasibility import check_layout
from estimators.training.layouts.global_batch import Batch
from estimators.training.layouts.planned import option, plan
from estimators.training.layouts.priced_lanes import priced_lanes
from estimators.training.layouts.restriction import Restriction
from estimators.training.sequence_cost import sequence_cost_of
from estimators.validation.model import shipped_model
from tests.support.planner_jobs import job

GPT3 = job("gpt-3")
PAPER = ("tp=8,pp=8,micro_batch=1", "tp=8,pp=16,micro_batch=1,recompute=full", "tp=8,pp=8,vp=12,micro_batch=1,sp=1")
"""GPT-3 175B: Korthikanti et al. 2022 (arXiv 2205.05198), table 3, tp 8 and pp 8, interleaved or not; Narayanan et al. 2021
(arXiv 2104.04473), table 1, tp 8 and pp 16 at 1,024 GPUs with all activations recomputed."""


@pytest.mark.parametrize("text", PAPER)
def test_gpt3_on_1024_gpus_is_planned_at_least_as_well_as_the_papers_did(text: str) -> None:
    found = plan(GPT3, 1024)
    paper = option(GPT3, parse_layout(text, num_devices=1024, global_batch=1536), found.best.prediction)
    assert found.global_batch == 1536  # the papers' batch, too
    assert found.best.prediction.step_time_s <= paper.prediction.step_time_s
    assert "+" in paper.why


def test_the_papers_layouts_are_legal_and_among_those_searched() -> None:
    lanes = priced_lanes(GPT3, 1024, 1536).lanes
    searched = {str(lanes.layout(i)) for i in range(len(lanes))}
    for text in ("tp=8,pp=8,sp=1", "tp=8,pp=16,sp=1,recompute=full", "tp=8,pp=8,vp=12,sp=1"):
        assert str(parse_layout(text, num_devices=1024, global_batch=1536)) in searched


def test_an_exhaustive_search_by_hand_finds_nothing_faster() -> None:
    """Every combination of keys on 16 GPUs, priced one at a time as floats."""
    small = job("llama-2-7b", seq_len=4096)
    best = plan(small, 16, Batch(sequences=64)).best.prediction.step_time_s
    for tp, pp, micro, zero, recompute, vp in itertools.product(
        (1, 2, 4, 8), (1, 2, 4, 8, 16), (1, 2, 4), range(4), ("none", "full"), (1, 2)
    ):
        if 16 % (tp * pp) or (64 * tp * pp // 16) % micro:
            continue
        layout = Layout(
            tp=tp,
            pp=pp,
            vp=vp,
            dp=16 // (tp * pp),
            zero=zero,
            micro_batch=micro,
            global_batch=64,
            recompute=recompute,
            sequence_parallel=tp > 1,
        )
        if (zero == 2 and pp > 1) or (vp > 1 and (pp == 1 or layout.num_micro_batches % pp)):
            continue
        if small.memory_bytes(layout) > 0.95 * small.machine.memory_bytes:
            continue
        assert best <= small.ledger(layout).step_time_s * (1 + 1e-9)


@pytest.mark.parametrize(
    ("name", "hardware_id", "seq_len", "num_devices"),
    [("gpt-3", "a100-sxm4-80gb", 2048, 1024), ("deepseek-v3", "h100-sxm5-80gb", 4096, 256), ("llama-3-8b", "h200-sxm-141gb", 131072, 64)],
)
def test_lanes_and_single_layouts_agree(name: str, hardware_id: str, seq_len: int, num_devices: int) -> None:
    one = job(name, hardware_id, seq_len)
    found = priced_lanes(one, num_devices, Batch().on(num_devices, params=one.work.params, seq_len=seq_len))
    assert len(found.lanes) > 500
    for lane in range(0, len(found.lanes), len(found.lanes) // 200):
        layout = found.lanes.layout(lane)
        assert layout.num_devices == num_devices
        assert one.ledger(layout).step_time_s == pytest.approx(found.step_time_s[lane], rel=1e-9)
        assert one.memory_bytes(layout) == pytest.approx(found.memory_bytes[lane], rel=1e-9)


def test_every_layout_that_is_searched_keeps_the_rules_that_users_are_told() -> None:
    for one, num in ((job("mixtral-8x7b", seq_len=4096), 32), (job("llama-3-70b", seq_len=8192), 128)):
        roomy = replace(one, hardware=replace(one.hardware, memory_bytes=10**15))
        lanes = priced_lanes(roomy, num, 256).lanes
        for lane in range(0, len(lanes), 7):
            check_layout(roomy, lanes.layout(lane))


def test_uneven_stages_are_searched() -> None:
    """Llama 3.1 405B has 126 layers and ran on 16 stages (arXiv 2407.21783, section 3.3); Qwen3 235B has 94."""
    lanes = candidates(job("llama-3.1-405b", "h100-sxm5-80gb", 8192).work, 16384, 2048, domain=8)
    assert 16 in lanes.pp
    assert 126 % 16


def test_key_value_heads_are_shared_or_copied() -> None:
    work = job("llama-3-70b", seq_len=8192).work  # 64 heads, 8 key-value heads
    assert [tp for tp in range(1, 65) if legal_tp(work, tp)] == [1, 2, 4, 8, 16, 32, 64]


def test_feed_forwards_that_are_not_divided_evenly_are_not_searched() -> None:
    """Llama 2 13B: 40 heads, a feed-forward of 13,824, which is no multiple of 5."""
    lanes = candidates(job("llama-2-13b", seq_len=4096).work, 40, 40, domain=8)
    assert {*lanes.tp.tolist()} == {1, 2, 4, 8}


def test_tensor_parallelism_stays_within_a_node_unless_asked() -> None:
    assert priced_lanes(GPT3, 64, 64).lanes.tp.max() == 8
    assert priced_lanes(GPT3, 64, 64, Restriction(max_tp=16)).lanes.tp.max() == 16


def test_contexts_are_cut_down_to_2048_tokens_a_device() -> None:
    assert priced_lanes(job("llama-3-8b", "h200-sxm-141gb", 131072), 64, 64).lanes.cp.max() == 64
    assert priced_lanes(job("llama-3-8b", "h200-sxm-141gb", 8192), 64, 64).lanes.cp.max() == 4
    assert priced_lanes(job("llama-3-8b", "h200-sxm-141gb", 2048), 64, 64).lanes.cp.max() == 1


def test_options_differ_in_kind() -> None:
    options = plan(GPT3, 1024, num_options=8).options
    kinds = {(o.layout.tp, o.layout.pp, o.layout.cp, o.layout.ep, o.layout.zero == 3, o.layout.full) for o in options}
    assert len(options) == len(kinds) == 8
    assert [o.prediction.step_time_s for o in options] == sorted(o.prediction.step_time_s for o in options)
    assert not options[0].why
    assert all(o.why for o in options[1:])


def test_equal_times_go_to_the_simpler_layout() -> None:
    """On one device nothing is sharded and nothing communicates: any ZeRO stage takes as long, and 0 is simplest."""
    assert plan(job("gpt2"), 1, Batch(sequences=1)).best.layout == Layout(zero=0, global_batch=1, micro_batch=1)


def test_the_fastest_that_does_not_fit_is_named() -> None:
    found = plan(GPT3, 1024)
    assert found.too_large is not None
    layout, seconds, needed = found.too_large
    assert seconds < found.best.prediction.step_time_s
    assert needed == GPT3.memory_bytes(layout) > found.capacity_bytes


def test_progress_is_reported_up_to_the_whole() -> None:
    seen: list[tuple[int, int]] = []
    found = priced_lanes(job("deepseek-v3", "h100-sxm5-80gb", 4096), 2048, 4096, on_progress=lambda done, whole: seen.append((done, whole)))
    assert len(seen) > 1
    assert seen[-1] == (len(found.lanes), len(found.lanes))


def test_divisors_are_all_there() -> None:
    for number in (1, 2, 36, 97, 1536):
        assert divisors(number) == [d for d in range(1, number + 1) if number % d == 0]


@pytest.mark.parametrize(
    ("name", "seq_len", "num_devices", "sequences"),
    [
        ("gpt-3", 2048, 1024, 1536),  # Narayanan et al. 2021, table 1; Brown et al. 2020, table 2.1: 3.2 M tokens
        ("llama-3.1-405b", 8192, 16384, 2048),  # arXiv 2407.21783, table 4: 16 M tokens
        ("gpt2", 1024, 8, 512),  # Brown et al. 2020, table 2.1, 125M: 0.5 M tokens
    ],
)
def test_the_batch_nobody_gave_is_that_of_the_papers(name: str, seq_len: int, num_devices: int, sequences: int) -> None:
    assert Batch().on(num_devices, params=job(name, seq_len=seq_len).work.params, seq_len=seq_len) == sequences


def test_a_batch_of_tokens_is_kept_where_it_is_whole_and_made_shareable_where_not() -> None:
    assert Batch(tokens=96 * 2048).on(1000, params=10**9, seq_len=2048) == 96
    assert Batch(tokens=4 * 10**6).on(1000, params=10**9, seq_len=4096) == 1000
    assert Batch(most_tokens=10**6).on(1024, params=175 * 10**9, seq_len=2048) == 384


@pytest.mark.parametrize("batch", [Batch(tokens=100), Batch(most_tokens=2047)])
def test_a_batch_of_less_than_a_sequence_is_refused(batch: Batch) -> None:
    with pytest.raises(BadValueError, match="less than one sequence of 2,048"):
        batch.on(8, params=10**9, seq_len=2048)


def test_a_batch_beyond_its_own_limit_is_refused() -> None:
    with pytest.raises(BadValueError, match="more than the 10 of --max-global-batch"):
        Batch(sequences=64, most_tokens=20480).on(8, params=10**9, seq_len=2048)


def test_devices_that_no_such_batch_divides_over_are_refused_with_some_that_work() -> None:
    with pytest.raises(
        BadValueError, match=r"near the 1,562 sequences .* over 10,000,000 GPUs: the smallest is 78,125; take 9,994,240 GPUs"
    ):
        Batch().on(10**7, params=175 * 10**9, seq_len=2048)
    assert Batch().on(9_994_240, params=175 * 10**9, seq_len=2048) < 4 * 1562


@pytest.mark.parametrize("name", ["mamba2-2.7b", "bamba-9b", "jamba-v0.1", "qwen3.5-35b-a3b"])
def test_layers_with_scans_are_planned_whole_and_said_to_be_unmeasured(name: str) -> None:
    asked = job(name, "h100-sxm5-80gb", 4096)
    found = priced_lanes(asked, 64, 512)
    best = found.best(1)[0]
    assert (best.tp, best.cp) == (1, 1)
    predicted = asked.predict(best)
    assert predicted.case_class == "unmeasured-device"
    assert any("no measured step has them" in note for note in predicted.notes)


@pytest.mark.parametrize("degree", ["tp", "cp"])
def test_a_layout_that_would_cut_a_scan_is_refused_by_name(degree: str) -> None:
    asked = job("qwen3.5-35b-a3b", "h100-sxm5-80gb", 4096)
    with pytest.raises(BadValueError, match=f"{degree}=2 would cut the scans of 30 layers, which are planned whole: expected {degree}=1"):
        asked.check(Layout(global_batch=8, dp=4, **{degree: 2}))


def test_what_a_step_multiplies_is_what_the_op_table_has_where_layers_scan() -> None:
    model, step = shipped_model("qwen3.5-35b-a3b"), Workload(phase="train", seq_len=256)
    cost, counted = sequence_cost_of(model, 256), estimate(Case(model=model, workload=step))
    assert cost.forward_flop(causal=False) == counted.forward_flop


@pytest.mark.parametrize("name", ["gemma-2b", "falcon-7b", "gpt-oss-20b", "deepseek-v2-lite"])
def test_every_kind_of_language_model_is_planned(name: str) -> None:
    one = job(name, "h100-sxm5-80gb", 4096)
    assert plan(one, 128, Batch(sequences=128)).best.memory_bytes < one.machine.memory_bytes


def test_sequence_parallelism_is_optional_and_pays() -> None:
    lanes = priced_lanes(GPT3, 64, 64).lanes
    assert set(lanes.sequence_parallel[lanes.tp > 1]) == {True, False}
    assert not lanes.sequence_parallel[lanes.tp == 1].any()
    assert plan(GPT3, 1024).best.layout.sequence_parallel
