"""The laws of names: a count of operations is never called a plural, units are base units, files stay small."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkout import ROOT

SOURCES = [ROOT / "sixnd.py", *sorted(path for package in ("estimators", "bench", "reports") for path in (ROOT / package).rglob("*.py"))]
MAX_LINES = 350

# One reader takes it for a count, another for a rate, a third for multiply-adds.
AMBIGUOUS = re.compile(r"(^|_)[kmgtpe]?flops(_|$)", re.IGNORECASE)
# A scaled unit inside: scaling belongs to units.py, on the way in and on the way out.
SCALED = re.compile(r"_(kb|mb|gb|tb|kib|mib|gib|tib|ms|us|ns|minutes|kw|mw|kwh|wh|kj|mj|percent|pct|gflop|tflop|pflop|gbps)$")
# A quantity whose name ends without a unit.
UNITLESS = re.compile(r"(^|_)(bandwidth|latency|duration|elapsed|energy|throughput|frequency|ram|vram)$")
NUMERIC = {"int", "float", "int | None", "float | None"}
SCALES_ARE_ITS_BUSINESS = ROOT / "estimators" / "units.py"


def bound_names(tree: ast.AST) -> Iterator[tuple[str, str | None, int]]:
    """Every name that a module gives to something of its own: name, annotation, line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, ast.unparse(node.returns) if node.returns else None, node.lineno
        elif isinstance(node, ast.ClassDef):
            yield node.name, None, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, ast.unparse(node.annotation) if node.annotation else None, node.lineno
        elif isinstance(node, ast.AnnAssign):
            yield ast.unparse(node.target).split(".")[-1], ast.unparse(node.annotation), node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, None, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, None, node.lineno
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname, None, node.lineno


def complaints(source: str) -> list[str]:
    """What the laws of names hold against a source text; strings and comments are free."""
    found = []
    for name, annotation, line in bound_names(ast.parse(source)):
        if AMBIGUOUS.search(name):
            found.append(f"line {line}: {name} is a count to one reader and a rate to another; say _flop or _flop_per_s")
        if SCALED.search(name.lower()) and annotation != "str":
            found.append(f"line {line}: {name} has a scaled unit; keep base units inside")
        if annotation in NUMERIC and UNITLESS.search(name.lower()) and not name.startswith(("parse_", "format_")):
            found.append(f"line {line}: {name} is a quantity without a unit")
    return sorted(set(found))


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_names_keep_the_laws(path: Path) -> None:
    found = complaints(path.read_text(encoding="utf-8"))
    if path == SCALES_ARE_ITS_BUSINESS:
        found = [line for line in found if "scaled unit" not in line]
    assert found == []


@pytest.mark.parametrize(
    ("source", "about"),
    [
        ("flops = 3", "flops is a count"),
        ("def total_flops() -> int: ...", "total_flops is a count"),
        ("def f(flops: int) -> None: ...", "flops is a count"),
        ("class A:\n    peak_flops: float", "peak_flops is a count"),
        ("self.flops_per_step = 1", "flops_per_step is a count"),
        ("from a import b as flops", "flops is a count"),
        ("tflops = 1", "tflops is a count"),
        ("class A:\n    memory_gib: int", "memory_gib has a scaled unit"),
        ("step_ms = 1", "step_ms has a scaled unit"),
        ("def f(energy_kwh: float) -> None: ...", "energy_kwh has a scaled unit"),
        ("class A:\n    bandwidth: float", "bandwidth is a quantity without a unit"),
        ("def latency() -> float: ...", "latency is a quantity without a unit"),
    ],
)
def test_a_name_against_the_laws_would_be_found(source: str, about: str) -> None:
    assert any(about in line for line in complaints(source))


@pytest.mark.parametrize(
    "source",
    [
        "total_flop = 3",
        "peak_flop_per_s: float = 3",
        "# flops\nx = 'flops'",
        "x = counter.get_total_flops()",
        "def flop_table() -> None: ...",
        "memory_bytes_per_s: float = 1",
        "bandwidth: str = 'wide'",
        "def signed_percent(fraction: float) -> str: ...",
        "def parse_duration(text: str) -> float: ...",
        "alarms = params = programs = 1",
    ],
)
def test_a_name_within_the_laws_is_let_through(source: str) -> None:
    assert complaints(source) == []


def too_long(text: str) -> bool:
    return text.count("\n") > MAX_LINES


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_files_stay_small(path: Path) -> None:
    assert not too_long(path.read_text(encoding="utf-8")), f"more than {MAX_LINES} lines: give its parts rooms of their own"


def test_a_file_that_has_grown_would_be_found() -> None:
    assert too_long("\n" * (MAX_LINES + 1))
    assert not too_long("\n" * MAX_LINES)


def lines_on_training(source: str) -> list[str]:
    """Lines with the word in any form."""
    return [line.strip() for line in source.splitlines() if re.search("train", line, re.IGNORECASE)]


def test_what_an_operation_costs_on_a_device_knows_no_training() -> None:
    sources = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "estimators" / "cost").glob("*.py"))]
    assert [line for source in sources for line in lines_on_training(source)] == []


def test_a_cost_of_training_would_be_found() -> None:
    assert lines_on_training("x = 1\nrate = 2  # inside a training step\n") == ["rate = 2  # inside a training step"]
