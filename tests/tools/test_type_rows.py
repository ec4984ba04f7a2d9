"""docs/types.csv and the part of docs/exactness.md that is made of it, without torch; and the limits of the processes that count."""

from __future__ import annotations

import time

import pytest

from tests.support.checkout import ROOT
from tools import type_rows
from tools.type_rows import KEPT, OUTCOMES, Row, in_its_own_process, read
from tools.type_table import types_table

ROWS = read(KEPT)


def test_every_row_says_what_became_of_its_type_or_why_not() -> None:
    assert len(ROWS) > 800
    for row in ROWS.values():
        assert {row.outcome, row.before} <= OUTCOMES.keys(), row.model_type
        assert bool(row.params) is (row.outcome not in ("refused", "not built")), row.model_type
        assert bool(row.forward_flop) is row.outcome.startswith(("op table", "traced", "one size")), row.model_type
        assert row.reason or row.outcome in ("op table", "traced", "one size"), row.model_type


def test_the_page_is_made_of_the_rows() -> None:
    assert f"### {types_table().title}" in (ROOT / "docs" / "exactness.md").read_text(encoding="utf-8")


def test_outcomes_are_counted_by_hand() -> None:
    rows = [
        Row(model_type="a", outcome="op table", before="op table", params="1", forward_flop="2"),
        Row(model_type="b", outcome="traced", before="refused", params="1", forward_flop="2"),
        Row(model_type="c", outcome="parameters", before="refused", params="1", reason="its forward looks at values of tensors (item)"),
        Row(model_type="d", outcome="not built", before="not built"),
    ]
    table = types_table({row.model_type: row for row in rows})
    assert table.title == "Of 3 types that transformers builds, 3 have their parameters, 2 their FLOP"
    by_outcome = {row["outcome"]: (row["before"], row["now"]) for row in table.rows}
    assert by_outcome[OUTCOMES["refused"]] == (2, 0)
    assert by_outcome[OUTCOMES["traced"]] == (0, 1)
    assert table.notes == ["looks at values that meta has none of: c."]


def spins(model_type: str) -> Row:
    until = time.process_time() + 30
    while time.process_time() < until:
        pass
    return Row(model_type=model_type, outcome="traced")


def hoards(model_type: str) -> Row:
    return Row(model_type=model_type, outcome="traced", params=str(len(bytearray(1 << 30))))


@pytest.mark.parametrize(("work", "match"), [(spins, "over the limit of time"), (hoards, "over the limit of memory")])
def test_what_takes_too_much_is_ended_and_said(work: type_rows.Callable[[str], Row], match: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type_rows, "LIMIT_S", 1)
    monkeypatch.setattr(type_rows, "LIMIT_BYTES", 1 << 28)
    row = in_its_own_process(work, "mine")
    assert (row.outcome, row.reason[: len(match)]) == ("refused", match)
