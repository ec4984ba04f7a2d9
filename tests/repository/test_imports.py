"""The flow runs one way: facts and formulas, then measurement, then reports; the command line and the library alone see all three."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.checkout import ROOT
from tools.module_imports import PACKAGES, between_modules, imported, is_in, modules

HEAVY = {"torch", "transformers", "accelerate", "fvcore"}
MEASURED_BY = (
    "bench.backend",
    "bench.callbacks",
    "bench.workloads",
    "bench.calibration",
    "bench.runs.observer_overhead",
    "bench.machine.ranks",
)
"""The only rooms where HEAVY packages may be named, at any level."""

VECTORISED = ("estimators.cost.array_math", "estimators.training.layouts", "estimators.serving", "estimators.diagnosis.traces")
"""Where thousands of layouts, steps or requests are priced at once, or a million kernels are read, with numpy."""

READS_YAML = ("estimators.strict_text",)
"""The only module that imports yaml, where a file in it is read."""

READ_BY_REPORTS = ("bench.records", "bench.statistics")
"""What reports may know of measurement: the records, and the statistics and verdicts that are computed when some are read."""


SEE_ALL = ("bench.cli", "bench.library", "sixnd")
"""What may import all three packages: the command line, the verbs as functions, and their face."""


def violations(name: str, source: str) -> list[str]:
    """The imports that a module of that name must not have."""
    wrong = []
    for module in sorted(imported(source)):
        top = module.split(".")[0]
        if is_in(name, "estimators"):
            beside = (top == "numpy" and is_in(name, *VECTORISED)) or (top == "yaml" and is_in(name, *READS_YAML))
            allowed = top == "estimators" or top in sys.stdlib_module_names or beside
        elif is_in(name, "reports"):
            allowed = top not in HEAVY and (top != "bench" or is_in(module, *READ_BY_REPORTS))
        else:
            allowed = (top not in HEAVY or is_in(name, *MEASURED_BY)) and (top != "reports" or is_in(name, *SEE_ALL))
        if not allowed:
            wrong.append(f"{name} imports {module}")
    return wrong


@pytest.mark.parametrize(("name", "path"), list(modules(ROOT)), ids=[name for name, _ in modules(ROOT)])
def test_no_module_imports_against_the_flow(name: str, path: Path) -> None:
    assert violations(name, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("estimators.units", "import torch"),
        ("estimators.units", "from bench.records import record"),
        ("estimators.units", "from reports.table import Table"),
        ("estimators.units", "def f():\n    import numpy as np"),
        ("estimators.tuning.readers.axolotl", "def f():\n    import yaml"),
        ("estimators.facts.data", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas"),
        ("reports.table", "import torch.nn"),
        ("reports.table", "from bench.runs import measure"),
        ("reports.views.counting.ops", "from bench.cli.main import main"),
        ("reports.views.counting.ops", "def f():\n    from transformers import PhiConfig"),
        ("bench.runs.measure", "class A:\n    def f(self):\n        import torch"),
        ("bench.cli.estimate", "from accelerate import Accelerator"),
        ("bench.machine.meters.nvml", "import fvcore"),
        ("bench.runs.measure", "from reports.checks.crosscheck import crosscheck"),
        ("bench.workloads.language", "from reports import table"),
        ("bench.callbacks.to_record", "from reports.checks.crosscheck import crosscheck"),
        ("sixnd", "def f():\n    import torch"),
        ("bench.library.measurements", "from torch import nn"),
    ],
)
def test_a_module_against_the_flow_would_be_found(name: str, source: str) -> None:
    assert len(violations(name, source)) == 1


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("estimators.units", "import math\nfrom estimators.errors import BadValueError"),
        ("estimators.strict_text", "def f():\n    import yaml"),
        ("reports.table", "import pandas\nfrom bench.records.record import Measurement\nfrom estimators import units"),
        ("bench.backend.counting.meta", "import torch, fvcore\nfrom transformers import PhiConfig"),
        ("bench.workloads.language.task", "def f():\n    import torch"),
        ("bench.callbacks.trainer", "from transformers import TrainerCallback"),
        ("bench.cli.report", "from reports.summary import tables\nfrom bench.runs.measure import measure"),
        ("sixnd", "from bench.callbacks import watch\nfrom reports.render import render\nfrom estimators import units"),
    ],
)
def test_a_module_with_the_flow_is_let_through(name: str, source: str) -> None:
    assert violations(name, source) == []


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import one another in a loop, each sorted; Tarjan's strongly connected components."""
    numbers: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    groups = []

    def visit(name: str) -> None:
        numbers[name] = lowest[name] = len(numbers)
        stack.append(name)
        for other in sorted(imports[name]):
            if other not in numbers:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], numbers[other])
        if lowest[name] == numbers[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                groups.append(sorted(group))

    for name in sorted(imports):
        if name not in numbers:
            visit(name)
    return groups


def test_no_modules_import_one_another_in_a_circle() -> None:
    assert circles(between_modules({name: path.read_text(encoding="utf-8") for name, path in modules(ROOT)})) == []


def test_a_circle_would_be_found() -> None:
    sources = {"a.x": "from a.y import f", "a.y": "def f():\n    import a.z", "a.z": "from a import x", "a.w": "import a.x"}
    assert circles(between_modules(sources)) == [["a.x", "a.y", "a.z"]]


def test_a_relative_import_would_be_found() -> None:
    with pytest.raises(AssertionError, match="relative imports hide"):
        imported("from . import record")


def test_every_package_is_listed_to_be_shipped_and_tests_are_not() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    there = {".".join(path.parent.relative_to(ROOT).parts) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert listed == there


LIGHT = [
    "estimate --model gpt-3 --tokens 300B --hardware a100-sxm4-80gb --gpus 1024 --utilization 0.45",
    "estimate --model gpt-3 --tokens 300B --hardware a100-sxm4-80gb --gpus 1024 --layout tp=8,pp=8,zero=1",
    "estimate --model phi-2 --hardware a100-sxm4-80gb --explain",
    "estimate --model llama-3-8b --method qlora --examples 50k --mean-tokens 400 --p95-tokens 1100 --hardware rtx-4090-24gb",
    "serve llama-3.1-70b --hardware h100-sxm5-80gb --gpus-per-replica 4 --weights fp8 --kv fp8 --input 1000 --output 300",
    "check-claim --model phi-2 --tokens 1.4T --hardware a100-sxm4-80gb --gpus 96 --days 14",
    "diagnose llama-3-70b --phase decode --tokens-per-s 17 --hardware a100-pcie-80gb --gpus 2 --weights bf16",
    "compare-hardware --model gpt-3 --tokens 300B --hardware a100-sxm4-80gb,h100-sxm5-80gb --utilization 0.4",
    "show --model phi-2",
    "list models",
    "list hardware",
    "run --help",
    "selftest --help",
]
SEARCHING = [
    "estimate --model gpt-3 --tokens 300B --hardware a100-sxm4-80gb --gpus 1024",
    "compare-hardware --model gpt-3 --tokens 300B --hardware a100-sxm4-80gb,h100-sxm5-80gb",
    "plan --model llama-2-7b --hardware a100-sxm4-80gb --gpus 64",
    "diagnose llama-2-7b --tokens-per-s 3700 --per gpu --hardware a100-sxm4-80gb --gpus 8 --seq-len 4096",
    "serve llama-3.1-8b --hardware h100-sxm5-80gb --search",
]
"""Verbs that price thousands of layouts at once, with numpy and nothing else."""

OF_RECORDS = ["compare results/cpu-amd-epyc results/cpu-amd-epyc", "report results/cpu-amd-epyc"]
"""Verbs that compute the statistics of records, with numpy and nothing else."""


@pytest.mark.parametrize("command", [*LIGHT, *SEARCHING, *OF_RECORDS])
def test_a_verb_that_computes_never_loads_what_measures(command: str) -> None:
    allowed = {"numpy"} if command in (*SEARCHING, *OF_RECORDS) else set()
    unwanted = sorted({*HEAVY, "numpy", "pandas", "rich", "tabulate", "yaml", "psutil", "pynvml"} - allowed)
    program = (
        "import sys\nfrom bench.cli.main import main\n"
        f"try:\n    code = main({command.split()!r})\nexcept SystemExit as leave:\n    code = leave.code\n"
        f"loaded = [name for name in {unwanted!r} if name in sys.modules]\n"
        "sys.exit(f'loaded {loaded}' if loaded else code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr.removeprefix("· the paper has eight sizes; this is the largest, gpt-3-175b\n")) == (0, "")
