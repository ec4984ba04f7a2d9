"""The name of an op-table row is for display: what a row is and how it is divided is in `role`, `part` and `cut`."""

from __future__ import annotations

import ast

import pytest

from tests.support.checkout import ROOT

SOURCES = sorted(path for package in ("estimators", "bench", "reports", "tools") for path in (ROOT / package).rglob("*.py"))
ROWS = ("Op", "Product")
TABLES = ("ops", "products")
READS_TEXT = frozenset(
    ("startswith", "endswith", "split", "rsplit", "partition", "rpartition", "removeprefix", "removesuffix", "find", "index", "count")
)


def rows_in(tree: ast.AST) -> set[str]:
    """Variables that hold a row: arguments so annotated, and what runs over something called ops or products."""
    found = {"op"}
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and node.annotation and ast.unparse(node.annotation) in ROWS:
            found.add(node.arg)
        elif isinstance(node, ast.For | ast.comprehension) and isinstance(node.target, ast.Name):
            ends = {part.attr if isinstance(part, ast.Attribute) else part.id for part in ast.walk(node.iter) if _named(part)}
            if any(end.lower().endswith(TABLES) for end in ends):
                found.add(node.target.id)
    return found


def _named(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute | ast.Name)


def parsed_names(source: str) -> list[int]:
    """Lines that read a meaning out of a row's name: by a method of text, by place, or by comparing it."""
    tree = ast.parse(source)
    rows = rows_in(tree)

    def is_row_name(node: ast.AST) -> bool:
        return isinstance(node, ast.Attribute) and node.attr == "name" and isinstance(node.value, ast.Name) and node.value.id in rows

    def parses(node: ast.AST) -> bool:
        if isinstance(node, ast.Compare):
            return any(map(is_row_name, (node.left, *node.comparators)))
        by_text = isinstance(node, ast.Attribute) and node.attr in READS_TEXT
        return (by_text or isinstance(node, ast.Subscript)) and is_row_name(node.value)

    return sorted(node.lineno for node in ast.walk(tree) if isinstance(node, ast.expr) and parses(node))


def test_no_meaning_is_read_out_of_a_row_name() -> None:
    found = {str(path.relative_to(ROOT)): parsed_names(path.read_text(encoding="utf-8")) for path in SOURCES}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line",
    [
        'scores = [op for op in table if op.name.endswith("scores")]',
        'last = op.name.rpartition(".")[2]',
        'is_head = op.name == "head"',
        'is_position = "position" in op.name',
        "first = op.name[0]",
        'widths = [row.width for row in model.ops(w) if row.name == "head"]',
        'def cut(row: Op) -> str: return "head" if row.name in HEADS else ""',
    ],
)
def test_a_parsed_row_name_would_be_found(line: str) -> None:
    assert parsed_names(line) == [1]


@pytest.mark.parametrize("line", ['print(f"{op.name}")', "row = linear(w, op.name, role)", 'named = sorted(path.name.split("."))'])
def test_a_row_name_that_is_shown_or_handed_on_is_no_complaint(line: str) -> None:
    assert parsed_names(line) == []
