"""A whole generation: the work is the estimate's to the pass, and its parts make up the whole."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from bench.backend.models import random_language_model
from bench.records.asked import Asked
from bench.records.draft import Draft
from bench.records.record import Measurement
from bench.records.request import Request
from bench.records.run_estimate import predict
from bench.runs.decide import sized
from bench.runs.decisions.sizes import ARTICLE_PROMPT_TOKENS
from bench.workloads.language import generate
from bench.workloads.language.generate import ARTICLE_SAMPLING, generate_kwargs, planned_shapes
from estimators.architectures.from_config import model_from_config
from estimators.facts.registry import model_entry
from reports.checks.crosscheck import crosscheck, failed
from tests.support.quiet_machine import failed_by_itself
from tests.support.tiny_models import CONFIGS, decided

pytestmark = pytest.mark.usefixtures("quick")
Run = Callable[..., Measurement]


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize(("batch", "num_beams"), [(1, 1), (2, 3)])
def test_every_forward_pass_is_one_that_the_estimate_plans(family: str, batch: int, num_beams: int, measured: Run) -> None:
    record = measured(family, "generate", batch=batch, num_beams=num_beams, seq_len=9, new_tokens=6, steps=2)
    assert record.proof.forward_shapes_as_planned
    assert (record.proof.num_forward_passes, record.proof.num_new_tokens) == (6, 6)
    assert [phase.name for phase in record.phases] == ["load", "prefill", "decode", "between", "generate"]
    assert {phase.name: len(phase.samples_s) for phase in record.phases} == {
        "load": 1,
        "prefill": 2,
        "decode": 10,
        "between": 2,
        "generate": 2,
    }
    assert failed_by_itself(record) == ()


def test_a_generation_is_planned_as_one_prefill_of_all_rows_and_single_tokens_after_it() -> None:
    run = decided("phi", "generate", batch=2, num_beams=5, seq_len=10, new_tokens=4)
    assert planned_shapes(run) == [(10, 10), (10, 1), (10, 1), (10, 1)]


def test_planned_passes_are_the_estimates_decode_steps() -> None:
    model = model_from_config(CONFIGS["phi"], "phi")
    run = decided("phi", "generate")
    steps = predict(model, run, None).phases["decode"].steps
    assert len(planned_shapes(run)) == 1 + len(steps)
    assert [step.context_len for step in steps] == list(range(10, 49))  # max_length 50 with a prompt of 10


def test_the_call_is_the_articles() -> None:
    """model.generate(inputs, max_length=50, num_beams=5, no_repeat_ngram_size=2, top_k=50, top_p=0.95, temperature=0.7)."""
    entry = model_entry("microsoft/philosopher-2.0-large")
    run, _ = sized(Request(model=entry.id, config=dict(entry.config), task="generate"), None, dtype="bf16")
    kwargs = generate_kwargs(run)
    assert (kwargs["max_length"], kwargs["num_beams"]) == (50, 5)
    assert ARTICLE_SAMPLING == {"no_repeat_ngram_size": 2, "top_k": 50, "top_p": 0.95, "temperature": 0.7}
    assert ARTICLE_SAMPLING.items() <= kwargs.items()
    assert len([162, 115, 109, 41753, 99, 27764, 99, 20046, 254, 42468]) == ARTICLE_PROMPT_TOKENS


def test_an_end_of_text_token_cannot_shorten_the_work(measured: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every other token ends the text: without a least length, five in a row that do not are one chance in 32."""
    monkeypatch.setattr(
        "tests.support.tiny_models.CONFIGS", {name: {**config, "eos_token_id": list(range(1, 128, 2))} for name, config in CONFIGS.items()}
    )
    record = measured("phi", "generate", seq_len=9, new_tokens=6, steps=1)
    assert record.proof.num_new_tokens == 6
    monkeypatch.setattr(generate, "generate_kwargs", lambda run: generate_kwargs(run) | {"min_length": 0})
    shortened = measured("phi", "generate", seq_len=9, new_tokens=6, steps=1)
    assert shortened.proof.num_new_tokens < 6
    assert {"tokens generated", "forward passes as estimated"} <= {check.metric for check in failed(crosscheck(shortened))}


def test_passes_of_other_shapes_are_found(measured: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "generate_kwargs", lambda run: generate_kwargs(run) | {"use_cache": False})
    record = measured("phi", "generate", seq_len=9, new_tokens=4, steps=1)
    assert [check.metric for check in failed(crosscheck(record))] == ["forward passes as estimated"]


def test_the_parts_sum_to_the_whole_and_contexts_grow_by_one(measured: Run) -> None:
    record = measured("llama", "generate", seq_len=7, new_tokens=4, num_beams=2, steps=2)
    phases = {phase.name: phase for phase in record.phases}
    parts = sum(math.fsum(phases[name].samples_s) for name in ("prefill", "decode", "between"))
    assert math.isclose(parts, math.fsum(phases["generate"].samples_s), rel_tol=1e-9)
    assert all(seconds > 0 for name in ("prefill", "decode", "between") for seconds in phases[name].samples_s)
    assert phases["decode"].context_lens == (7, 8, 9, 7, 8, 9)
    assert (phases["generate"].items_per_sample, phases["decode"].items_per_sample, phases["prefill"].items_per_sample) == (4, 2, 14)


def test_a_single_new_token_is_a_prefill_and_nothing_more(measured: Run) -> None:
    record = measured("gpt2", "generate", seq_len=9, new_tokens=1, steps=1)
    assert record.phase("decode") is None
    assert record.proof.num_forward_passes == 1
    assert failed_by_itself(record) == ()


def test_the_same_seed_generates_the_same_tokens(measured: Run) -> None:
    first, again, other = (measured("phi", "generate", steps=1, seed=seed) for seed in (0, 0, 1))
    assert first.learning.output_ids == again.learning.output_ids != other.learning.output_ids


def test_the_time_limit_stops_after_the_generation_at_hand(measured: Run) -> None:
    record = measured("phi", "generate", steps=1000, max_time_s=1e-6)
    phase = record.phase("generate")
    assert phase is not None
    assert (len(phase.samples_s), phase.stopped_by) == (1, "time")
    assert failed_by_itself(record) == ()


def run_with_decode_times(times_s: list[float], tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Draft:
    """A generation whose decode steps took so long, by the stamps."""
    run = decided("phi", "generate", batch=1, num_beams=1, seq_len=4, new_tokens=len(times_s) + 1, steps=1)
    model = random_language_model(run.config, attn="sdpa", dtype=torch.float32, device=torch.device("cpu"), seed=0).eval()
    monkeypatch.setattr(generate.ForwardTimer, "forward_s", lambda _: (0.0, *times_s))
    draft = Draft(model="tiny-phi", task="generate", request=Asked(model="tiny-phi", task="generate"), out=tmp_path)
    generate.generate(model, torch.ones(1, 4, dtype=torch.long), run, draft)
    return draft


def test_decode_steps_that_spread_widely_are_reported(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    steady = run_with_decode_times([1.0, 1.01, 0.99, 1.0, 1.0], tmp_path, monkeypatch)
    assert not [finding for finding in steady.warnings if finding.text.startswith("decode: the samples spread")]
    # deviations from the median 2: 1, 1, 0, 1, 2, so 1.4826 · 1 / 2 = 74 %
    spread = run_with_decode_times([1.0, 3.0, 2.0, 1.0, 4.0], tmp_path, monkeypatch)
    unstable = [finding.text for finding in spread.warnings if finding.code == "Unstable"]
    assert unstable[0] == "decode: the samples spread by 74 % of their median"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("task", ["generate", "decode", "prefill", "train"])
def test_progress_is_drawn_on_a_terminal_and_nowhere_else(task: str, measured: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for stream, drawn in ((io.StringIO(), False), (Terminal(), True)):
        monkeypatch.setattr(sys, "stderr", stream)
        measured("gpt2", task, steps=2, seq_len=8)
        assert bool(stream.getvalue()) is drawn
