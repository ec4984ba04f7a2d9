"""Within a package too the imports run one way: a module knows those of its own layer and of the layers below."""

from __future__ import annotations

import ast

import pytest

from tests.support.checkout import ROOT
from tools.module_imports import PACKAGES, between_modules, is_in, modules

LAYERS = {
    "bench": [
        ("bench.library",),
        ("bench.cli.web",),
        ("bench.web",),
        ("bench.cli", "bench.__main__"),
        ("bench.callbacks", "bench.calibration.check"),
        ("bench.runs",),
        ("bench.calibration",),
        ("bench.workloads.article.task", "bench.workloads.language.task", "bench.workloads.samples.task"),
        ("bench.calibration.traced_step",),
        ("bench.workloads",),
        ("bench.runs.observer_overhead",),
        ("bench.backend",),
        ("bench.machine",),
        ("bench.sampling",),
        ("bench.statistics",),
        ("bench.records",),
        ("bench.statistics.robust", "bench.streams", "bench.end_signals", "bench.terminal"),
        ("bench.program",),
    ],
    "estimators": [
        ("estimators.validation",),
        ("estimators.diagnosis", "estimators.disclosure"),
        ("estimators.tuning",),
        ("estimators.serving",),
        ("estimators.inference",),
        (
            "estimators.training.answer",
            "estimators.training.example_rates",
            "estimators.training.inverse",
            "estimators.training.layouts",
            "estimators.training.on_devices",
            "estimators.training.question",
            "estimators.training.run",
        ),
        ("estimators.tuning.usual_batch",),
        ("estimators.tuning.interval", "estimators.tuning.software", "estimators.tuning.step"),
        ("estimators.training",),
        ("estimators.counting.estimate", "estimators.counting.phases", "estimators.counting.rules_of_thumb"),
        (
            "estimators.tuning.activations",
            "estimators.tuning.coverage",
            "estimators.tuning.fit",
            "estimators.tuning.job",
            "estimators.tuning.loss",
            "estimators.tuning.memory",
            "estimators.tuning.recipes",
            "estimators.tuning.settings",
            "estimators.tuning.single_step",
            "estimators.tuning.state",
            "estimators.tuning.weights",
        ),
        ("estimators.memory",),
        ("estimators.training.sequence_cost",),
        ("estimators.cost", "estimators.profile"),
        ("estimators.tuning.constants",),
        ("estimators.facts",),
        ("estimators.counting",),
        ("estimators.facts.data", "estimators.facts.entries", "estimators.facts.tool_conventions"),
        ("estimators.architectures",),
        ("estimators.spec",),
        ("estimators.method",),
        (
            "estimators.advice",
            "estimators.extras",
            "estimators.lengths",
            "estimators.parsing",
            "estimators.roles",
            "estimators.samples",
            "estimators.stack",
            "estimators.strict_text",
            "estimators.units",
            "estimators.weight_formats",
        ),
        ("estimators.errors", "estimators.frozen"),
        ("estimators.own_cache", "estimators.printable", "estimators.remembered", "estimators.text_file"),
    ],
}
"""The layers of a package, the highest first. A module belongs to the longest name here that it lies in, so that one which
stands higher or lower than its room is named by itself."""


def layer_of(module: str) -> int:
    """Place of a module's layer in LAYERS, 0 the highest.

    Raises:
        LookupError: the module lies in no layer.
    """
    layers = LAYERS[module.split(".")[0]]
    matches = [(len(name), place) for place, layer in enumerate(layers) for name in layer if is_in(module, name)]
    if not matches:
        raise LookupError(f"{module} is in no layer")
    return max(matches)[1]


def upward(sources: dict[str, str]) -> list[str]:
    """Imports of a module in a higher layer of the same package; the package's own __init__ is in none."""
    return [
        f"{name} imports {other}"
        for name, others in sorted(between_modules(sources).items())
        for other in sorted(others)
        if name not in PACKAGES and other not in PACKAGES
        if name.split(".")[0] == other.split(".")[0] and layer_of(other) < layer_of(name)
    ]


@pytest.mark.parametrize("package", LAYERS)
def test_no_module_imports_a_higher_layer(package: str) -> None:
    assert upward({name: path.read_text(encoding="utf-8") for name, path in modules(ROOT) if is_in(name, package)}) == []


@pytest.mark.parametrize("package", LAYERS)
def test_every_module_is_in_a_layer_and_every_layer_has_a_module(package: str) -> None:
    names = [name for name, _ in modules(ROOT) if is_in(name, package) and name != package]
    assert {layer_of(name) for name in names} == set(range(len(LAYERS[package])))


@pytest.mark.parametrize("package", LAYERS)
def test_every_name_of_a_layer_exists(package: str) -> None:
    there = {name for name, _ in modules(ROOT)}
    assert [name for layer in LAYERS[package] for name in layer if name not in there] == []


@pytest.mark.parametrize(
    ("name", "source", "other"),
    [
        ("bench.backend.device", "from bench.workloads.language.inputs import f", "bench.workloads.language.inputs"),
        ("bench.records.record", "def f():\n    import bench.machine.environment", "bench.machine.environment"),
        ("bench.runs.measure", "from bench.cli import main", "bench.cli.main"),
        ("bench.statistics.robust", "from bench.statistics.comparison import f", "bench.statistics.comparison"),
        ("estimators.cost.matmul", "from estimators.training.step import f", "estimators.training.step"),
        ("estimators.cost.matmul", "def f():\n    from estimators.inference import generation", "estimators.inference.generation"),
        ("estimators.memory.fit", "from estimators.counting import estimate", "estimators.counting.estimate"),
        ("estimators.architectures.rows", "from estimators.facts.registry import f", "estimators.facts.registry"),
    ],
)
def test_an_import_of_a_higher_layer_would_be_found(name: str, source: str, other: str) -> None:
    assert upward({name: source, other: ""}) == [f"{name} imports {other}"]


def test_imports_of_the_same_and_of_lower_layers_are_let_through() -> None:
    source = "from bench.workloads.language.inputs import f\nfrom bench.backend import device"
    assert upward({"bench.workloads.preparation": source, "bench.workloads.language.inputs": "", "bench.backend.device": ""}) == []


def test_a_module_in_no_layer_would_be_found() -> None:
    with pytest.raises(LookupError, match=r"bench\.attic\.old is in no layer"):
        layer_of("bench.attic.old")


MAY_ASK = ("bench.cli", "bench.library", "bench.runs", "bench.callbacks.context", "bench.calibration.check")
"""Modules that may know a request: they make one, decide it, or run it again; all others see what was decided."""


def undecided(sources: dict[str, str]) -> list[str]:
    """Modules of bench that import Request and may not."""
    return [
        name
        for name, source in sorted(sources.items())
        if is_in(name, "bench") and not any(is_in(name, place) for place in MAY_ASK)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and "Request" in {alias.name for alias in node.names}
    ]


def test_only_what_asks_and_what_decides_knows_a_request() -> None:
    assert undecided({name: path.read_text(encoding="utf-8") for name, path in modules(ROOT)}) == []


@pytest.mark.parametrize("name", ["bench.workloads.language.train", "bench.calibration.predict", "bench.records.run_estimate"])
def test_a_request_behind_the_decision_would_be_found(name: str) -> None:
    assert undecided({name: "def f():\n    from bench.records.request import TASKS, Request"}) == [name]
    assert (
        undecided({name: "from bench.records.request import TASKS", "bench.runs.decide": "from bench.records.request import Request"}) == []
    )
