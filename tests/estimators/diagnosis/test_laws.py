"""What holds of every diagnosis: scope changes nothing, nothing over the bound is normal, the interval is `estimate`'s."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimators.diagnosis.answer import Diagnosis, diagnose
from estimators.diagnosis.observed import Figure, Observed, Quantity, Scope, Setting
from estimators.diagnosis.question import question_of
from estimators.facts.registry import hardware
from estimators.frozen import replace
from estimators.training.layouts.global_batch import Batch
from estimators.training.layouts.job import Job
from estimators.training.run import predicted_run
from estimators.validation.model import shipped_model

RUN = Setting(
    model="llama-2-7b", hardware="a100-sxm4-80gb", num_devices=8, seq_len=4096, micro_batch=2, accumulation=4, zero=3, recompute="none"
)
DECIDED = replace(RUN, software="pytorch-fsdp2")
ORDER = {"IMPOSSIBLE": 4, "MISCOUNTED": 3, "FAST BUT POSSIBLE": 2, "NORMAL": 1, "SLOW": 0}


def at(rate: float, scope: str = "device", setting: Setting = DECIDED) -> Diagnosis:
    figure = Figure(quantity="tokens_per_s", value=rate, scope=scope)  # type: ignore[arg-type]
    return diagnose(question_of(Observed(figures=(figure,), setting=setting)))


@settings(max_examples=25, deadline=None)
@given(st.floats(min_value=50, max_value=50_000))
def test_scope_changes_nothing(rate: float) -> None:
    """The same run per GPU and in all: the verdict but for slips that only one of the labels can have, the rates to the last digit."""
    one, whole = at(rate), at(8 * rate, "job")
    assert whole.items_per_s == pytest.approx(one.items_per_s, rel=1e-12)
    assert [whole.least, whole.mfu, whole.ratio] == pytest.approx([one.least, one.mfu, one.ratio])
    assert (one.verdict == "NORMAL") == (whole.verdict == "NORMAL")
    assert (one.verdict == "IMPOSSIBLE") == (whole.verdict == "IMPOSSIBLE")


@settings(max_examples=25, deadline=None)
@given(st.floats(min_value=50, max_value=200_000))
def test_nothing_over_the_bound_is_normal_and_nothing_below_it_impossible(rate: float) -> None:
    found = at(rate)
    assert found.least is not None
    assert (found.verdict == "IMPOSSIBLE") == (found.least > 1)


@settings(max_examples=15, deadline=None)
@given(st.floats(min_value=100, max_value=20_000), st.floats(min_value=1.01, max_value=20))
def test_a_faster_run_is_never_called_slower(rate: float, factor: float) -> None:
    """Of a rate per device on which no slip makes a figure smaller: slow, normal, fast, impossible, in this order."""
    plain = replace(DECIDED, accumulation=1)
    slower, faster = at(rate, setting=plain), at(factor * rate, setting=plain)
    assert ORDER[slower.verdict] <= ORDER[faster.verdict] or faster.verdict == "FAST BUT POSSIBLE"
    assert faster.ratio is not None
    assert slower.ratio is not None
    assert faster.ratio > slower.ratio


def test_the_interval_of_a_decided_run_is_that_of_estimate_to_the_last_digit() -> None:
    job = Job(model=shipped_model("llama-2-7b"), hardware=hardware("a100-sxm4-80gb"), seq_len=4096, stack_id="pytorch-fsdp2")
    run = predicted_run(job, tokens=4096, num_devices=8, batch=Batch(sequences=64), layout="zero=3,micro_batch=2").prediction
    found = at(3700).expected
    assert found is not None
    assert found.predictions[0].ledger.parts == run.ledger.parts
    tokens = run.tokens_per_step / 8
    assert (found.low, found.middle, found.high) == (tokens / run.high_s, tokens / run.step_time_s, tokens / run.low_s)


def test_what_is_not_decided_widens_the_interval_and_never_narrows_it() -> None:
    decided, open_ = at(3700).expected, at(3700, setting=RUN).expected
    assert decided is not None
    assert open_ is not None
    assert open_.low <= decided.low < decided.high <= open_.high


@pytest.mark.parametrize("rate", [27.9, 60.0])
def test_a_generation_over_bytes_over_bandwidth_is_impossible(rate: float) -> None:
    """vllm#7567: 141.1 GB over 2 x 1,935 GB/s are 36.5 ms, so 27.4 tokens/s; the table of embeddings is looked up: 139.0 GB, 27.8."""
    setting = Setting(model="llama-3-70b", hardware="a100-pcie-80gb", num_devices=2, precision="bf16", phase="decode")
    figure = Figure(quantity="decode_tokens_per_s", value=rate, scope="request")
    found = diagnose(question_of(Observed(figures=(figure,), setting=setting)))
    assert (found.verdict, found.cause_ids[0]) == ("IMPOSSIBLE", "above_bandwidth_bound")
    assert found.decode is not None
    assert found.decode.bound == pytest.approx(27.4, rel=0.02)
    slower = diagnose(question_of(Observed(figures=(replace(figure, value=17.0),), setting=setting)))
    assert slower.verdict == "NORMAL"


GENERATION = Setting(model="llama-3-8b", hardware="rtx-4090-24gb", num_devices=2, global_batch=8, precision="bf16", phase="decode")


@pytest.mark.parametrize(
    ("quantity", "scope", "per"),
    [
        ("decode_tokens_per_s", "request", 1 / 8),
        ("decode_tokens_per_s", "device", 1 / 2),
        ("decode_tokens_per_s", "job", 1.0),
        ("steps_per_s", "job", 1 / 8),
    ],
)
@pytest.mark.parametrize(("together", "verdict"), [(100.0, "SLOW"), (600.0, "NORMAL"), (1100.0, "IMPOSSIBLE")])
def test_what_a_rate_of_a_server_is_of_changes_nothing(quantity: Quantity, scope: Scope, per: float, together: float, verdict: str) -> None:
    """8 requests read 15.0 GB of weights (8.03e9 less the table's 0.53e9 that is looked up, 2 bytes each) a step, from two memories of
    1,008 GB/s: at most 8 x 2,016 / 15.0 = 1,074 tokens/s of all of them, 134 of each, 537 of a device, at 134 steps/s."""
    figure = Figure(quantity=quantity, value=together * per, scope=scope)
    found = diagnose(question_of(Observed(figures=(figure,), setting=GENERATION)))
    assert found.decode is not None
    assert found.decode.bound == pytest.approx(1074, rel=0.01)
    assert found.decoded == pytest.approx(together)
    assert found.verdict == verdict


def test_a_share_of_peak_that_no_generation_can_reach_is_impossible() -> None:
    """One request makes 2 FLOP of each weight that it reads, 2 bytes: 1,008e9 FLOP/s are 0.6 % of a 4090's 165e12."""
    setting = replace(GENERATION, num_devices=1, global_batch=1)
    for share, verdict in ((0.005, "NORMAL"), (0.0065, "IMPOSSIBLE"), (0.3, "IMPOSSIBLE")):
        figure = Figure(quantity="mfu_fraction", value=share, scope="device")
        assert diagnose(question_of(Observed(figures=(figure,), setting=setting))).verdict == verdict


def test_a_generation_whose_weights_nobody_said_is_impossible_where_one_bit_each_is_too_much() -> None:
    """67 tokens/s are the bound of 16 bits, so 16 x 67 = 1,075 that of one bit."""
    setting = replace(GENERATION, num_devices=1, global_batch=1, precision="")
    for rate, verdict in ((900.0, "FAST BUT POSSIBLE"), (1200.0, "IMPOSSIBLE")):
        figure = Figure(quantity="decode_tokens_per_s", value=rate, scope="request")
        assert diagnose(question_of(Observed(figures=(figure,), setting=setting))).verdict == verdict
