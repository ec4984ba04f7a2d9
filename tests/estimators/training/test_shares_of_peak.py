"""A predicted share of peak is at most 1, of every shipped model, and is counted by a rule that can be said in a sentence."""

from __future__ import annotations

import functools
from itertools import cycle

import pytest

from estimators.architectures.from_config import model_from_config
from estimators.cost.layout import parse_layout
from estimators.counting.conventions import usual_convention
from estimators.errors import RequestError
from estimators.facts.registry import hardware, model_entry, model_ids
from estimators.frozen import replace
from estimators.spec import Model, Workload
from estimators.training.answer import PredictedAnswer, predict
from estimators.training.prediction import predict as predict_step
from estimators.training.question import Question
from estimators.training.supported import why_not_predicted

DEVICES = ("h100-sxm5-80gb", "a100-sxm4-80gb", "b200-sxm-180gb", "mi300x-192gb")
LONGEST = 131_072


@functools.cache
def shipped(name: str) -> Model:
    return model_from_config(model_entry(name).config, name)


def predicted_models() -> list[str]:
    return [name for name in model_ids() if not why_not_predicted(shipped(name), min(shipped(name).max_positions, 4096))]


def shares_hold(name: str, device: str, seq_len: int) -> PredictedAnswer | None:
    """The prediction on the fewest devices, its shares looked at; None where nothing holds it."""
    question = Question(model=shipped(name), hardware=hardware(device), seq_len=seq_len, tokens=10**11)
    try:
        found = predict(question)
    except RequestError:
        return None
    p = found.run.prediction
    (run,) = found.training.runs
    peak_s = p.step_time_s * p.hardware.peak("bf16") * p.layout.num_devices
    assert p.mfu is not None
    assert p.hfu is not None
    assert run.utilization == pytest.approx(p.mfu)
    assert 0 < p.mfu <= p.hfu <= 1
    assert found.training.convention == p.convention
    assert p.mfu == p.model_flop(p.convention) / peak_s
    unseen = p.model_flop("full") - p.model_flop("causal")
    if p.convention == "full":
        assert usual_convention(shipped(name).ops(Workload(phase="train", seq_len=seq_len))) == "full"
        assert unseen <= 0.2 * p.model_flop("full")
    return found


@pytest.mark.parametrize(("name", "device"), list(zip(predicted_models(), cycle(DEVICES), strict=False)))
def test_no_shipped_model_passes_the_peak_at_its_longest(name: str, device: str) -> None:
    shares_hold(name, device, min(shipped(name).max_positions, LONGEST))


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", predicted_models())
def test_no_shipped_model_passes_the_peak_on_any_device(name: str, device: str) -> None:
    longest = min(shipped(name).max_positions, LONGEST)
    for seq_len in {min(4096, longest), longest}:
        shares_hold(name, device, seq_len)


def test_most_of_the_models_are_looked_at() -> None:
    assert sum(shares_hold(name, "h100-sxm5-80gb", 2048) is not None for name in predicted_models()[::4]) > 15


def test_a_share_of_whole_squares_passes_the_peak() -> None:
    """The twin: by `full` the windows of Mistral would be 107 % of peak, and those of Gemma 3 far more."""
    for name, least in (("mistral-7b", 1.0), ("gemma-3-4b", 1.8)):
        found = shares_hold(name, "h100-sxm5-80gb", shipped(name).max_positions)
        assert found is not None
        assert (found.run.prediction.utilization("full") or 0) > least


def test_a_square_that_is_recomputed_past_the_peak_is_no_share() -> None:
    """Where a machine of one's own is fast enough, a dense model too is counted by what is seen."""
    layout = parse_layout("dp=8,zero=3,micro_batch=1,recompute=full", num_devices=8, global_batch=8)
    p = predict_step(shipped("llama-3-8b"), 8192, layout, hardware("h100-sxm5-80gb"))
    assert p.convention == "full"
    assert p.hfu == pytest.approx(p.utilization("hardware"))
    slower = replace(p.hardware, peak_flop_per_s={"bf16": 0.5 * p.hardware.peak("bf16")})
    faster = replace(p, hardware=slower)
    assert (faster.utilization("hardware") or 0) > 1
    assert faster.convention == "causal"
    assert faster.mfu == faster.utilization("causal")
    assert (faster.hfu or 2) < (faster.utilization("hardware") or 0)
