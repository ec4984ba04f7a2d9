"""No reader asks a model or a part whether it has something: what one may lack, its base class has a value for."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from estimators.architectures.from_config import model_from_config
from estimators.facts.registry import model_entry, model_ids
from estimators.spec import Model
from tests.support.checkout import ROOT

TORCH = ("backend", "callbacks")
"""Rooms of bench whose models are torch's, which have no base class of ours."""
SOURCES = sorted(path for room in ("estimators", "bench", "reports", "tools") for path in (ROOT / room).rglob("*.py"))
OURS = [path for path in SOURCES if not any(path.is_relative_to(ROOT / "bench" / room) for room in TORCH)]
NOUNS = ("model", "base", "part", "decoder", "block")


def probes(source: str) -> list[str]:
    """Calls of getattr and hasattr with a name in quotes on what is called a model or a part, as they stand in a source text."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and len(node.args) >= 2)
    return [
        ast.unparse(call)
        for call in calls
        if ast.unparse(call.func) in ("getattr", "hasattr") and ast.unparse(call.args[0]).rpartition(".")[2] in NOUNS
    ]


@pytest.mark.parametrize("path", OURS, ids=[str(path.relative_to(ROOT)) for path in OURS])
def test_no_model_is_probed(path: Path) -> None:
    assert probes(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    ["x = getattr(model, 'runs', '')", "if hasattr(case.model, 'layers'): pass", "n = getattr(part, name, 0)"],
)
def test_a_probe_would_be_found(source: str) -> None:
    assert len(probes(source)) == 1


@pytest.mark.parametrize("source", ["x = model.runs", "getattr(layout, 'tp')", "getattr(node, 'model')", "isinstance(model, Decoder)"])
def test_what_is_no_probe_is_let_through(source: str) -> None:
    assert probes(source) == []


def test_every_shipped_model_is_a_model_and_says_what_it_takes() -> None:
    entries = [model_entry(name) for name in model_ids()]
    found = {entry.id: model_from_config(entry.config, entry.id, entry.source) for entry in entries}
    assert all(isinstance(model, Model) and model.base is model for model in found.values())
    assert {model.phases for model in found.values() if model.item == "sample"} == {("train", "forward")}
    assert all(model.max_positions == 1 and model.positions == 0 for model in found.values() if model.item == "sample")
    assert found["gpt2"].positions == found["gpt2"].max_positions == 1024  # Radford et al. 2019, section 2.3
    assert found["mlp"].runs == ""
    assert found["resnet-50"].runs == "ResNetForImageClassification"


def test_a_model_that_lists_no_operations_cannot_be_made() -> None:
    class Bare(Model):
        name, source = "bare", model_entry("gpt2").source

    with pytest.raises(TypeError, match="ops"):
        Bare()  # type: ignore[abstract]
