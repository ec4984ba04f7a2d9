"""Flags and defaults of the article's models: what they change, what they refuse, and that asking costs no torch."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.records.request import Request
from bench.runs.decide import decide
from bench.runs.decisions.hyperparameters import configure, plan
from estimators.errors import BadValueError
from estimators.facts.registry import model_entry
from tests.support.checkout import ROOT


def request(model: str, **flags: Any) -> Request:
    return Request(model=model, config=dict(model_entry(model).config), task="train", **flags)


@pytest.mark.parametrize(
    ("flags", "widths"),
    [
        ({}, [7, 100, 100, 1]),
        ({"days": 28}, [28, 100, 100, 1]),
        ({"neurons": 50}, [7, 50, 50, 1]),
        ({"hidden_layers": 1}, [7, 100, 1]),
        ({"hidden_layers": 4, "neurons": 5, "days": 56}, [56, 5, 5, 5, 5, 1]),
    ],
)
def test_flags_change_the_widths_of_the_deep_network(flags: dict[str, int], widths: list[int]) -> None:
    asked = request("mlp", **flags)
    decided = configure(asked)
    assert decided["widths"] == widths
    assert decided["activation"] == "sigmoid"
    assert model_entry("mlp").config["widths"] == [7, 100, 100, 1], "the registry's entry must stay as it was"
    assert configure(dataclasses.replace(asked, config=decided)) == decided, "applied twice the flags change nothing more"


def test_a_sum_of_sigmoids_may_look_back_on_more_days() -> None:
    assert configure(request("sigmoid-10", days=28))["widths"] == [28, 10, 1]


def test_the_spam_classifier_takes_neurons_and_layers() -> None:
    assert configure(request("spam", neurons=8))["widths"] == [57, 8, 8, 2]
    assert configure(request("spam", hidden_layers=3))["widths"] == [57, 32, 32, 32, 2]


def test_days_that_the_model_has_already_change_nothing() -> None:
    assert configure(request("linreg-7d", days=7))["widths"] == [7, 1]


@pytest.mark.parametrize(
    ("model", "flags", "match"),
    [
        (
            "linreg-7d",
            {"neurons": 10},
            "--neurons cannot change linreg-7d, a linear regression over 7 days; use .* --model mlp --neurons 10",
        ),
        ("linreg-1d", {"days": 3, "hidden_layers": 2}, "--days and --hidden-layers cannot change linreg-1d"),
        ("sigmoid-100", {"neurons": 50}, "--neurons cannot change sigmoid-100, one sum of 100 sigmoids"),
        ("sigmoid-100", {"hidden_layers": 2}, "--hidden-layers cannot change sigmoid-100"),
        ("spam", {"days": 7}, "--days has no meaning for spam"),
        ("spam", {"train_days": 90}, "--train-days has no meaning for the training of spam; leave it out"),
        ("tiny-gpt", {"train_days": 90}, "--train-days has no meaning for the training of tiny-gpt"),
        ("mlp", {"train_days": 0}, "--train-days 0 is out of range"),
        ("tiny-gpt", {"neurons": 7}, "--neurons cannot change tiny-gpt, which is no dense network"),
        ("mlp", {"neurons": 0}, "--neurons 0 is out of range; expected a whole number from 1 to 16,384"),
        ("mlp", {"neurons": 10**9}, "--neurons 1000000000 is out of range"),
        ("mlp", {"hidden_layers": -1}, "--hidden-layers -1 is out of range"),
        ("mlp", {"days": 366}, "--days 366 is out of range; expected a whole number from 1 to 365"),
        ("mlp", {"epochs": 0}, "--epochs 0 is out of range"),
        ("mlp", {"batch": 0}, "--batch 0 is out of range"),
        ("mlp", {"steps": 0}, "--steps 0 is out of range"),
        ("mlp", {"learning_rate": 0.0}, "--learning-rate 0.0 is out of range; expected a number above 0"),
        ("mlp", {"learning_rate": float("nan")}, "--learning-rate nan is out of range"),
        ("mlp", {"learning_rate": 1e9}, "--learning-rate 1000000000.0 is out of range"),
        ("mlp", {"max_time_s": 0.0}, r"a time limit of 0\.0 s is out of range"),
        ("mlp", {"optimizer": "adagrad"}, "optimizer 'adagrad' is unknown; expected one of: sgd, adamw"),
        ("mlp", {"layers": 2}, "--layers has no meaning for the training of mlp"),
        ("mlp", {"weights": "w", "attn": "sdpa"}, "--attn and --weights has no meaning"),
        ("mlp", {"seq_len": 5}, "--seq-len has no meaning"),
        ("mlp", {"compile": True}, "--compile has no meaning"),
        ("mlp", {"trust_remote_code": True}, "--trust-remote-code has no meaning"),
        ("mlp", {"recompute": "full"}, "--recompute has no meaning"),
        ("mlp", {"prompt": "on"}, "--prompt has no meaning"),
        ("tiny-gpt", {"data": "mine.txt"}, "--data has no meaning for the training of tiny-gpt"),
        ("tiny-gpt", {"seq_len": 129}, "--seq-len 129 is out of range; expected 2 to 128, the positions of tiny-gpt"),
    ],
)
def test_a_flag_that_makes_no_sense_is_refused_in_one_line(model: str, flags: dict[str, Any], match: str) -> None:
    with pytest.raises(BadValueError, match=match) as refused:
        plan(request(model, **flags))
    assert "\n" not in str(refused.value)


def test_another_task_than_training_is_refused() -> None:
    with pytest.raises(BadValueError, match="mlp has no generate task; it is trained: leave --task out or say --task train"):
        plan(dataclasses.replace(request("mlp"), task="generate"))


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"model_type": "dense_network", "widths": [7, 5, 3]}, "maps 7 inputs to 3 outputs; expected 1 to 365 days to 1 number of views"),
        ({"model_type": "dense_network", "widths": [400, 1]}, "maps 400 inputs to 1 outputs"),
        ({"model_type": "dense_network", "widths": [7]}, "has no training here"),
        ({"model_type": "llama"}, "has no training here"),
    ],
)
def test_a_network_without_a_training_is_refused(config: dict[str, Any], match: str) -> None:
    with pytest.raises(BadValueError, match=match):
        plan(Request(model="own", config=config, task="train"))


def test_a_network_from_a_file_is_trained_by_what_it_maps() -> None:
    line = plan(Request(model="own", config={"model_type": "dense_network", "widths": [14, 1]}, task="train"))
    assert (line.subject, line.optimizer, line.learning_rate, line.epochs, line.batch) == ("views", "sgd", 0.01, 1000, None)
    deep = plan(Request(model="own", config={"model_type": "dense_network", "widths": [14, 5, 1]}, task="train"))
    assert (deep.subject, deep.optimizer) == ("views", "adamw")
    assert plan(Request(model="own", config={"model_type": "dense_network", "widths": [57, 5, 2]}, task="train")).subject == "mails"


@pytest.mark.parametrize("model", ["linreg-1d", "linreg-7d", "linreg-28d", "linreg-56d"])
def test_linear_regressions_train_as_the_article_does(model: str) -> None:
    # The article: learning_rate = 0.01, epochs = 1000, gradient descent on all the data; "other steps as above" for more days.
    decided = plan(request(model))
    assert (decided.optimizer, decided.learning_rate, decided.epochs, decided.batch) == ("sgd", 0.01, 1000, None)


def test_flags_go_before_defaults() -> None:
    decided = plan(request("mlp", batch=32, epochs=3, learning_rate=0.5, optimizer="sgd"))
    assert (decided.batch, decided.epochs, decided.learning_rate, decided.optimizer) == (32, 3, 0.5, "sgd")


@pytest.mark.parametrize(
    ("model", "flags", "batch"),
    [("linreg-7d", {}, 1405), ("mlp", {}, 64), ("mlp", {"batch": 10}, 10), ("spam", {}, 64), ("mlp", {"train_days": 30}, 30)],
)
def test_the_batch_is_known_before_anything_runs(model: str, flags: dict[str, int], batch: int) -> None:
    # 1,826 days, of them 365 held out and 56 only looked back on: 1,405 training days.
    assert decide(request(model, device="cpu", **flags)).batch == batch


def test_a_user_s_file_decides_the_batch_of_a_linear_regression(tmp_path: Path) -> None:
    (tmp_path / "views.csv").write_text("\n".join(str(t % 7) for t in range(200)))
    assert decide(request("linreg-7d", device="cpu", data=str(tmp_path / "views.csv"))).batch == 200 - 40 - 56


def test_a_plan_is_known_without_torch() -> None:
    program = (
        "import sys; from bench.records.request import Request\n"
        "from bench.runs.decisions.hyperparameters import plan\n"
        "asked = Request(model='mine', config={'model_type': 'dense_network', 'widths': [7, 1]}, task='train')\n"
        "plan(asked)\n"
        "print([name for name in ('torch', 'numpy', 'accelerate', 'rich', 'psutil') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
