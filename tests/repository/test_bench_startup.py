"""`estimate` and `show` answer in a blink: what the whole command costs beside a Python that does nothing.

Run with: python -m pytest tests/repository/test_bench_startup.py --benchmark-only
"""

from __future__ import annotations

import os
import resource
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkout import ROOT

NOTHING = ["-c", "pass"]
JSON = ["-c", "import json"]
FACE = ["-c", "import sixnd"]
ESTIMATE = shlex.split("-m bench estimate --model gpt-3 --tokens 300B --hardware a100-sxm4-80gb --gpus 1024 --utilization 0.45")
PREDICT = shlex.split("-m bench estimate --model llama-2-7b --tokens 2T --hardware a100-sxm4-80gb --gpus 512 --layout zero=3,micro_batch=2")
SEARCH = shlex.split("-m bench estimate --model gpt-3 --tokens 300B --hardware a100-sxm4-80gb --gpus 1024")
FIT = shlex.split("-m bench fit --model llama-3.1-8b --method qlora --seq-len 2048 --hardware rtx-4090-24gb --framework trl")
SERVE = shlex.split(
    "-m bench serve llama-3.1-70b --hardware h100-sxm5-80gb --gpus-per-replica 4 --weights fp8 --kv fp8 --concurrency 1..256"
)
SHOW = {
    "llama-3.1-405b": shlex.split("-m bench show --model llama-3.1-405b --seq-len 512 --format json"),
    "deepseek-v3": shlex.split("-m bench show --model deepseek-v3 --seq-len 512"),
    "resnet-50": shlex.split("-m bench show --model resnet-50"),
}
SECOND = {
    "estimate": "estimate qwen3.5-35b-a3b --tokens 1T --hardware h100 --gpus 256",
    "estimate of many layouts": "estimate glm-5 --tokens 1T --hardware h100 --gpus 256",
    "plan": "plan gemma-4-31b --hardware h100 --gpus 64",
    "plan of many layouts": "plan deepseek-v4-pro --hardware h100 --gpus 1024",
    "fit": "fit lfm2-8b-a1b --hardware h100",
    "fit of what is too large": "fit deepseek-v4-flash --hardware h100",
    "serve": "serve gemma-4-31b --hardware h100",
    "check-claim": "check-claim llama-4-scout --tokens 1T --hardware h100 --gpus 256 --days 30",
}
"""Questions that are asked a second time."""


def python_with(cache: str, bytecode: Path) -> Callable[[list[str]], float]:
    """Processor time in seconds of one Python process, its own and the system's for it.

    Args:
        cache: where its answers are kept.
        bytecode: compiled beforehand, as it is after an installation.
    """
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env |= {"PYTHONPYCACHEPREFIX": str(bytecode), "XDG_CACHE_HOME": cache}

    def run(words: list[str]) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        answered = subprocess.run([sys.executable, *words], cwd=ROOT, env=env, capture_output=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert answered.returncode in (0, 1)  # a fine-tuning that does not fit is an answer, too
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return run


@pytest.fixture
def python(tmp_path: Path) -> Callable[[list[str]], float]:
    """Where nothing can be kept, so that every question is asked for the first time."""
    return python_with(os.devnull, tmp_path)


@pytest.fixture
def python_again(tmp_path: Path) -> Callable[[list[str]], float]:
    """Where the answer to the same question is kept."""
    return python_with(str(tmp_path / "cache"), tmp_path / "bytecode")


def ratio_to_bare(benchmark: Any, python: Callable[[list[str]], float], words: list[str], bare: list[str] = NOTHING) -> float:
    """The least of many, of each: whatever else the machine does only ever adds time."""
    bare_s, command_s = [], []

    def pair() -> None:
        bare_s.append(python(bare))
        command_s.append(python(words))

    benchmark.pedantic(pair, rounds=30, warmup_rounds=2)
    benchmark.extra_info.update(bare_s=min(bare_s), command_s=min(command_s), ratio=min(command_s) / min(bare_s))
    return min(command_s) / min(bare_s)


def test_estimate_costs_at_most_four_bare_pythons(benchmark: Any, python: Callable[[list[str]], float]) -> None:
    assert ratio_to_bare(benchmark, python, ESTIMATE) <= 4


def test_fit_costs_at_most_four_bare_pythons(benchmark: Any, python: Callable[[list[str]], float]) -> None:
    assert ratio_to_bare(benchmark, python, FIT) <= 4


def test_a_curve_of_serve_costs_at_most_eight_bare_pythons(benchmark: Any, python: Callable[[list[str]], float]) -> None:
    assert ratio_to_bare(benchmark, python, SERVE) <= 8


def test_a_training_of_a_given_layout_costs_at_most_five_bare_pythons(benchmark: Any, python: Callable[[list[str]], float]) -> None:
    assert ratio_to_bare(benchmark, python, PREDICT) <= 5


def test_a_training_whose_layout_is_searched_costs_at_most_twelve_bare_pythons(
    benchmark: Any, python: Callable[[list[str]], float]
) -> None:
    assert ratio_to_bare(benchmark, python, SEARCH) <= 12


@pytest.mark.parametrize("model", SHOW)
def test_show_costs_at_most_five_bare_pythons(benchmark: Any, python: Callable[[list[str]], float], model: str) -> None:
    assert ratio_to_bare(benchmark, python, SHOW[model]) <= 5


def test_import_sixnd_costs_at_most_two_pythons_that_import_json(benchmark: Any, python: Callable[[list[str]], float]) -> None:
    assert ratio_to_bare(benchmark, python, FACE, JSON) <= 2


@pytest.mark.parametrize("question", SECOND)
def test_a_question_asked_again_costs_less_than_five_bare_pythons(
    benchmark: Any, python_again: Callable[[list[str]], float], question: str
) -> None:
    assert ratio_to_bare(benchmark, python_again, ["-m", "bench", *shlex.split(SECOND[question])]) < 5
