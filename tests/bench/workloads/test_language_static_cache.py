"""A static cache: the same tokens from one shape, made once, compiled once; refused where it has no meaning."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from bench.backend import kv_cache
from bench.backend.models import random_language_model
from bench.cli.main import main
from bench.records.record import Measurement
from bench.records.request import Request
from bench.runs.suites import SUITES
from bench.workloads.language import steps
from estimators.errors import UnavailableError
from tests.support.error_lines import complaint
from tests.support.quiet_machine import failed_by_itself
from tests.support.tiny_models import CONFIGS, config, decided

Run = Callable[..., Measurement]


def random_model(family: str) -> nn.Module:
    return random_language_model(config(family), attn="sdpa", dtype=torch.float32, device=torch.device("cpu"), seed=0).eval()


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("task", ["prefill", "decode", "generate"])
def test_every_inference_task_passes_its_own_checks(family: str, task: str, measured: Run) -> None:
    sizes: dict[str, Any] = {"new_tokens": 5} if task != "prefill" else {}
    record = measured(family, task, seq_len=9, steps=2, cache="static", **sizes)
    assert failed_by_itself(record) == ()
    assert record.request.cache == "static"


@pytest.mark.parametrize("family", CONFIGS)
def test_its_tokens_are_those_of_a_cache_that_grows(family: str) -> None:
    def fed(cache: str) -> list[list[list[int]]]:
        model, ids, seen = random_model(family), torch.arange(6).view(1, 6), []
        model.register_forward_pre_hook(lambda _, args, kwargs: seen.append(kwargs["input_ids"].tolist()), with_kwargs=True)
        steps.decode(model, ids, decided(family, "decode", seq_len=6, new_tokens=9, cache=cache))
        return seen

    assert fed("static") == fed("dynamic")


def test_it_is_made_once_and_holds_prompt_and_new_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = []
    new_cache = kv_cache.new_cache

    def noted(model: nn.Module, *, static_len: int | None = None) -> Any:
        lengths.append(static_len)
        return new_cache(model, static_len=static_len)

    monkeypatch.setattr(steps, "new_cache", noted)
    steps.decode(random_model("llama"), torch.arange(6).view(1, 6), decided("llama", "decode", seq_len=6, new_tokens=9, cache="static"))
    assert lengths == [15], "made anew for the second pass it would have another address, which no CUDA graph survives"


@pytest.mark.parametrize(
    ("cache", "kind", "expected"),
    [
        ("static", "cuda", {"dynamic": False, "mode": "reduce-overhead"}),
        ("static", "cpu", {"dynamic": False, "mode": None}),
        (None, "cuda", {"dynamic": True}),
    ],
)
def test_a_static_shape_is_compiled_as_such_and_into_a_graph_on_cuda(
    cache: str | None, kind: str, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(torch, "compile", lambda model, **how: given.update(how) or model)
    run = decided("phi", "decode", cache=cache, compile=True)
    steps._forward(random_model("phi"), dataclasses.replace(run, device=dataclasses.replace(run.device, kind=kind)))
    assert given == expected


@pytest.mark.slow
def test_one_compiled_graph_does_for_all_steps() -> None:
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    run = decided("llama", "decode", seq_len=6, new_tokens=9, cache="static", compile=True)
    timed = steps.decode(random_model("llama"), torch.arange(6).view(1, 6), run)
    assert counters["stats"]["unique_graphs"] == 1
    assert timed.proof.num_new_tokens == 9


@pytest.mark.parametrize("name", ["cache", "cache_params", "past_key_values"])
def test_a_cache_goes_by_the_name_that_the_models_forward_has_for_it(name: str) -> None:
    """Before transformers 5.24 there were two names; from then on one, and a decorator that still takes the old ones, with a warning."""
    forwards = {
        "cache": lambda input_ids, cache=None, **old: None,
        "cache_params": lambda input_ids, cache_params=None: None,
        "past_key_values": lambda input_ids, past_key_values=None: None,
    }
    model: Any = SimpleNamespace(forward=forwards[name])
    assert kv_cache.with_cache(model, "filled") == {name: "filled", "use_cache": True}


def test_a_model_without_one_is_refused_in_one_line() -> None:
    model = SimpleNamespace(config=SimpleNamespace(model_type="mamba"), _can_compile_fullgraph=False)
    with pytest.raises(UnavailableError, match="no static cache for 'mamba' that compiles to one graph; leave --cache static out"):
        kv_cache.demand_static(model)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "gpt2", "--task", "train", "--cache", "static"], "--cache has no meaning for --task train; leave it out"),
        (["--model", "mlp", "--cache", "static"], "--cache has no meaning for the training of mlp"),
        (["--model", "gpt2", "--task", "decode", "--cache", "paged"], "cache 'paged' is unknown; expected dynamic or static"),
    ],
)
def test_where_it_has_no_meaning_it_is_refused(words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in complaint(["run", *words, "--out", str(tmp_path)], capsys)


def test_a_table_says_how_a_step_was_driven(measured: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured("phi", "decode", seq_len=9, new_tokens=4, cache="static")
    measured("phi", "decode", seq_len=9, new_tokens=4)
    assert main(["report", str(tmp_path / "runs"), "--format", "json"]) in (0, 1)
    assert "decode step, static cache" in capsys.readouterr().out


def test_what_a_gpu_can_reach_stands_beside_the_plain_settings() -> None:
    runs = SUITES["reach"].runs
    fields = {field.name for field in dataclasses.fields(Request)}
    for plain, best in zip(runs[::2], runs[1::2], strict=True):
        assert plain.model == best.model
        assert plain.changes.items() < best.changes.items()
        assert {*best.changes} <= fields
        assert {*best.changes} - {*plain.changes} <= {"cache", "compile"}, "the same work, driven in another way"
