"""decide(request): everything open is decided once, before anything else sees it, and the record says what was decided."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.backend.faster_dtype import FasterDtype
from bench.calibration import step_operators
from bench.cli.verbs import verb_parser
from bench.records.request import LANGUAGE, Request
from bench.runs import decide as deciding
from bench.runs.decide import decide, usual_runs
from bench.runs.decisions import dtypes, hyperparameters
from bench.runs.decisions.flags import flag
from bench.runs.measure import measure
from bench.workloads.article import mails, text, views
from bench.workloads.article.run import ArticleRun
from bench.workloads.language import inputs, loading
from bench.workloads.language.run import LanguageRun
from estimators.errors import BadValueError
from estimators.facts.registry import model_entry
from tests.support.tiny_models import asked

DECISIONS = (
    (hyperparameters, "plan"),
    (views, "load"),
    (mails, "load"),
    (text, "generate"),
    (deciding, "sizes"),
    (dtypes, "decide"),
    (loading, "find_checkpoint"),
    (loading, "load_tokenizer"),
    (inputs, "label"),
)
"""What decides, and what draws or reads data."""

ONCE = {
    "linreg-1d": {"hyperparameters.plan", "views.load"},
    "spam": {"hyperparameters.plan", "mails.load"},
    "tiny-gpt": {"hyperparameters.plan", "text.generate"},
    "generate": {"decide.sizes", "dtypes.decide", "loading.find_checkpoint", "loading.load_tokenizer", "inputs.label"},
    "train": {"decide.sizes", "dtypes.decide", "loading.find_checkpoint", "inputs.label"},
}


def article(model: str, **fields: Any) -> Request:
    return Request(model=model, config=dict(model_entry(model).config), task="train", device="cpu", **fields)


def request_of(name: str) -> Request:
    if name in LANGUAGE:
        return asked("gpt2", name, seq_len=8, steps=1, device="cpu", preset="quick")
    return article(name, steps=1, preset="quick", **({"new_tokens": 2} if name == "tiny-gpt" else {}))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, quick: None) -> Counter[str]:
    """How often each of DECISIONS was called."""
    counted: Counter[str] = Counter()

    def count(place: Any, name: str) -> None:
        real: Callable[..., Any] = getattr(place, name)

        def called(*args: Any, **kwargs: Any) -> Any:
            counted[f"{place.__name__.rpartition('.')[2]}.{name}"] += 1
            return real(*args, **kwargs)

        monkeypatch.setattr(place, name, called)

    for place, name in DECISIONS:
        count(place, name)
    return counted


ONE_RUN_EACH = [pytest.param(name, marks=pytest.mark.slow) if name == "tiny-gpt" else name for name in ONCE]


@pytest.mark.parametrize("name", ONE_RUN_EACH)
def test_every_decision_of_a_measured_run_is_made_once_and_its_data_are_drawn_once(name: str, calls: Counter[str], tmp_path: Path) -> None:
    measure(request_of(name), hub_id=None, out=tmp_path, say=lambda _: None)
    assert calls == dict.fromkeys(ONCE[name], 1)


def test_a_second_decision_would_be_counted(calls: Counter[str]) -> None:
    for _ in range(2):
        decide(request_of("linreg-1d"))
    assert calls == dict.fromkeys(ONCE["linreg-1d"], 2)


def test_the_operators_of_a_step_are_traced_without_a_decision_or_new_data(calls: Counter[str]) -> None:
    runs = [decide(request_of(name)) for name in ("linreg-1d", "train")]
    calls.clear()
    for run in runs:
        step_operators.work(run, 0)
    assert calls == {}


NONE_MEANS = {
    ArticleRun: {"job", "warmup_fraction", "steps", "max_time_s"},
    LanguageRun: {"job", "layers", "checkpoint", "tokenizer", "prompt_ids"},
}
"""Fields in which None is itself a decision: no fine-tuning, no warm-up, no limit, the whole model, random weights, random tokens."""


@pytest.mark.parametrize("kind", NONE_MEANS)
def test_no_field_of_a_run_is_open_and_where_none_is_a_decision_its_docstring_says_which(kind: type[Any]) -> None:
    assert {field.name for field in dataclasses.fields(kind) if "None" in str(field.type)} == NONE_MEANS[kind]
    assert all(field.default is field.default_factory is dataclasses.MISSING for field in dataclasses.fields(kind))
    lines = (kind.__doc__ or "").splitlines()
    for name in NONE_MEANS[kind]:
        (said,) = (line for line in lines if name in line.partition(":")[0].replace(",", " ").split())
        assert "None " in said, name


@pytest.mark.parametrize("name", [*LANGUAGE, "linreg-1d", "mlp", "spam", "tiny-gpt"])
def test_the_records_block_is_what_was_asked_with_what_was_decided_in_its_place(name: str, quick: None) -> None:
    request = request_of(name)
    run = decide(request)
    block = run.request.stated()
    assert list(block)[: len(request.to_dict())] == list(request.to_dict())
    changed = {key for key, value in request.to_dict().items() if block[key] != value}
    decided = {key: str(run.device.torch_device) if key == "device" else getattr(run, key) for key in changed}
    assert {key: block[key] for key in changed} == decided
    assert all(getattr(request, key) is None for key in changed - {"config"}), "only what was open is decided"


def test_a_run_is_frozen() -> None:
    run = decide(article("linreg-1d"))
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'batch'"):
        run.batch = 1  # type: ignore[misc]


def test_the_launchers_precision_is_that_of_a_training_whose_request_leaves_it_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert decide(article("linreg-1d")).dtype == "bf16"
    assert decide(article("linreg-1d", dtype="fp32")).dtype == "fp32"
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp8")
    with pytest.raises(BadValueError, match="dtype 'fp8' cannot be trained in here; expected one of: fp32, bf16, fp16"):
        decide(article("linreg-1d"))


def test_a_launcher_that_was_told_to_keep_off_the_gpu_decides_the_device(monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    for request in (article("linreg-1d"), asked("gpt2", "train", seq_len=8)):
        assert decide(dataclasses.replace(request, device=None)).device.kind == "cpu"


def test_an_optimizer_that_a_language_model_is_not_trained_with_is_refused() -> None:
    with pytest.raises(BadValueError, match="optimizer 'sgd' does not train tiny-gpt2; expected adamw"):
        decide(asked("gpt2", "train", optimizer="sgd"))


def named(model: str) -> tuple[str, Mapping[str, Any]]:
    entry = model_entry(model)
    return entry.id, entry.config


def test_a_models_usual_runs_are_prefill_and_decode_in_two_dtypes_and_a_training_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dtypes, "faster_dtype_cpu", lambda *_: FasterDtype(winner="fp32", samples_s={}, shape=""))
    device = decide(article("linreg-1d")).device
    # far more than fits here: its operators are timed one by one
    said = [(run.task, run.dtype, run.batch, run.seq_len) for run in usual_runs(*named("gpt-3-175b"), device)]
    assert said == [
        ("prefill", "fp32", 1, 512),
        ("decode", "fp32", 1, 128),
        ("prefill", "bf16", 1, 512),
        ("decode", "bf16", 1, 128),
        ("train", "fp32", 1, 512),
    ]
    (mlp,) = usual_runs(*named("mlp"), device)
    assert (mlp.task, mlp.batch, mlp.optimizer) == ("train", 64, "adamw")


def test_a_model_that_is_no_decoder_has_a_forward_pass_and_a_training_step() -> None:
    device = decide(article("linreg-1d")).device
    runs = usual_runs(*named("bert-base-uncased"), device)
    assert [(run.task, run.dtype) for run in runs] == [("forward", "fp32"), ("train", "fp32")]


def test_an_attribute_of_a_request_is_called_as_its_option_is() -> None:
    of_repeats = {"repeat", "num_repeats", "repeat_group"}
    called = {field.name: flag(field.name) for field in dataclasses.fields(Request) if field.name not in of_repeats}
    assert set(called.values()) <= set(verb_parser("run").actions_by_option)
    assert (called["num_requests"], called["request_rate"]) == ("--requests", "--rate")
