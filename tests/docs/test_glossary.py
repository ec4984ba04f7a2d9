"""The glossary: one term for one thing, each with its definition, in order."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.support.checkout import ROOT

PAGE = ROOT / "docs" / "conventions.md"
MIN_TERMS = 40


def glossary(page: str) -> list[tuple[str, str]]:
    """Term and definition of every row of the table under the heading Glossary."""
    section = page.partition("\n## Glossary\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [(cells[0].strip(), "|".join(cells[1:]).strip()) for cells in rows[2:]]


def complaints(rows: list[tuple[str, str]]) -> list[str]:
    """What is wrong with a glossary's rows."""
    terms = [term.casefold() for term, _ in rows]
    wrong = [f"{term!r} has no definition" for term, definition in rows if not definition]
    wrong += [f"{after!r} is out of order" for before, after in pairwise(terms) if after <= before]
    return wrong if len(rows) >= MIN_TERMS else [*wrong, f"{len(rows)} terms, fewer than {MIN_TERMS}"]


def test_the_glossary_is_long_enough_defined_and_sorted() -> None:
    assert complaints(glossary(PAGE.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_the_glossary_is_linked(name: str) -> None:
    assert "(docs/conventions.md#glossary)" in (ROOT / name).read_text(encoding="utf-8")


ROWS = [(f"term {number:02}", "a definition") for number in range(MIN_TERMS)]


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (ROWS[1:], "39 terms, fewer than 40"),
        ([*ROWS, ("unit", "")], "'unit' has no definition"),
        ([*ROWS, ("step", "out of its place")], "'step' is out of order"),
        ([*ROWS, ROWS[-1]], "'term 39' is out of order"),
    ],
)
def test_a_fault_of_the_glossary_would_be_found(rows: list[tuple[str, str]], complaint: str) -> None:
    assert complaints(rows) == [complaint]


def test_a_row_without_definition_is_read_as_one() -> None:
    page = "# Page\n\n## Glossary\n\n| term | definition |\n|---|---|\n| step |  |\n\n## Next\n\n| other | table |\n"
    assert glossary(page) == [("step", "")]
