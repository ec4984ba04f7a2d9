"""A measured share of peak of a model with windows: by what its queries see, in records, checks and a watched training's line."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from bench.callbacks.flop_source import FlopSource
from bench.callbacks.guard import Guard
from bench.callbacks.passes import Event, Forward
from bench.callbacks.rates import RateBounds, figures
from bench.callbacks.steps import Step
from bench.records.estimated import EstimatedPhase
from bench.records.record import Measurement
from bench.records.run_estimate import predict
from bench.statistics.rates import all_rates
from estimators.architectures.from_config import model_from_config
from estimators.facts.registry import hardware
from reports.checks.crosscheck import crosscheck, failed
from reports.summary import tables
from reports.views.records.measured_time import time_table
from tests.support.changed_records import A100, with_phase
from tests.support.tiny_models import config, estimated, record

PEAK_FLOP_PER_S = 19.5e12
"""Of an A100 in fp32."""

T, WINDOW, LAYERS, WIDTH = 96, 16, 4, 32
UNSEEN_FLOP = LAYERS * 6 * WIDTH * (2 * T**2 - (2 * WINDOW * T - WINDOW**2))
"""Of a training step: what lies ahead of a query, or behind its window; by hand."""


def measured(task: str = "train", share: float = 0.5) -> Measurement:
    """A record of a tiny Mistral on 96 tokens that reaches a share of peak, counted `causal`."""
    run = dataclasses.replace(estimated("mistral", task), seq_len=T)
    said = predict(model_from_config(run.config, run.model), run, A100)
    ((name, phase),) = ((name, phase) for name, phase in said.phases.items())
    seconds = (phase.flop.causal or 0) / PEAK_FLOP_PER_S / share
    made = dataclasses.replace(record(task, family="mistral", hardware=A100), estimate=said, ceilings=())
    return with_phase(made, name, samples_s=(seconds, seconds))


def phase_of(made: Measurement) -> EstimatedPhase:
    (phase,) = made.estimate.phases.values()
    return phase


@pytest.mark.parametrize("task", ["train", "prefill"])
def test_mfu_counts_what_is_seen(task: str) -> None:
    made = measured(task)
    (reached,) = all_rates(made)
    assert phase_of(made).convention == "causal"
    assert reached.mfu == pytest.approx(0.5)
    assert reached.work.flop == phase_of(made).flop.causal
    passes = 3 if task == "train" else 1
    assert phase_of(made).flop.full - reached.work.flop == UNSEEN_FLOP * passes // 3


def test_the_gate_takes_what_is_seen_and_fails_above_the_peak() -> None:
    def mfu_holds(share: float) -> bool:
        return "train_step: MFU" not in {check.metric for check in failed(crosscheck(measured(share=share)))}

    square = phase_of(measured()).flop.full / (phase_of(measured()).flop.causal or 1)
    assert 0.99 * square > 1.1
    assert mfu_holds(0.99)
    assert not mfu_holds(1.01)


def test_the_page_says_how_it_counts() -> None:
    notes = " ".join(time_table(measured()).notes)
    assert "FLOP/s and MFU count the attention that a query may see" in notes
    assert "a query may see" not in " ".join(time_table(record("train", hardware=A100)).notes)
    (journey,) = tables([measured()])
    assert "MFU of models with windows: by the attention that a query may see" in journey.conditions


def test_a_window_as_long_as_the_text_is_none() -> None:
    made = record("train", family="mistral", hardware=A100)  # 8 tokens
    assert phase_of(made).convention == "full"
    assert "convention" not in phase_of(made)
    (reached,) = all_rates(made)
    assert reached.work.flop == phase_of(made).flop.full


def test_the_line_of_a_watched_training_counts_what_is_seen() -> None:
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_config(transformers.MistralConfig(**config("mistral")))
    source = FlopSource(model, "tiny-mistral", Guard())
    ids = torch.zeros(2, T, dtype=torch.long)
    number = source.passes.number("two rows", Forward(model, (), {}, {"input_ids": ids}, is_text=True, trains_all=True))
    work = source.work_of(((Event("forward", number, None), 1), (Event("backward", number, None), 1)))
    assert work is not None
    flop = work.model_and_hardware_flop
    assert flop[0] == flop[1] == 2 * (phase_of(measured()).flop.causal or 0)
    step = Step(host_s=1.0, device_s=None, wait_s=0.0, exposed_wait_s=0.0, shapes=((2, T),), num_padding=0, loss=None, work=work)
    peak = hardware("a100-sxm4-80gb").peak("fp32")
    shown = figures([step], bounds=RateBounds(peak_flop_per_s=peak), item="token", memory_bytes=None, energy_j=None)
    assert shown["mfu_fraction"] == pytest.approx(flop[0] / peak)
