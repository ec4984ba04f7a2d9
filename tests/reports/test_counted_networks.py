"""What a report says of a network without an op table: it was counted, by what, and it is held against nothing of its own."""

from __future__ import annotations

import dataclasses

import pytest

from bench.records.record import Count, Measurement
from reports.checks.crosscheck import crosscheck
from reports.table import Table
from reports.views.records.measured import tables
from tests.support.tiny_models import record as measured

DISPATCHER = "torch's dispatcher on meta"


def counted(tag: str = "counted") -> Measurement:
    """As a watched network leaves its record."""
    counts = (
        Count(quantity="forward_flop", route=DISPATCHER, value=128, tag=tag),
        Count(quantity="backward_flop", route=DISPATCHER, value=256, tag=tag),
    )
    return dataclasses.replace(measured("train"), counts=counts)


def shown(record: Measurement, key: str) -> Table:
    return next(table for table in tables(record) if table.key == key)


def answer(record: Measurement, figure: str) -> tuple[object, object]:
    (row,) = (row for row in shown(record, "answer").rows if row["figure"] == figure)
    return row["tag"], row["note"]


def test_its_parameters_and_flop_are_counted_and_say_by_what() -> None:
    record = counted()
    assert answer(record, "params") == ("counted", "by torch's dispatcher on meta; there is no op table")
    assert answer(record, "train_step_flop")[0] == "counted"


def test_the_table_of_counts_shows_the_one_route_and_no_comparison() -> None:
    table = shown(counted(), "counts")
    assert [column.header for column in table.columns] == ["Quantity", DISPATCHER]
    assert [row["torch_dispatcher"] for row in table.rows] == [128, 256]
    assert table.notes == []


def test_the_models_parameters_are_not_held_against_themselves() -> None:
    assert not any(check.metric == "params, the model that ran" for check in crosscheck(counted()))
    assert any(check.metric == "params, the model that ran" for check in crosscheck(measured("train")))


def test_an_op_table_is_counted_again_only_where_it_was() -> None:
    record = measured("train")
    assert answer(record, "params") == ("derived", "op table; counted again below")
    alone = dataclasses.replace(record, counts=tuple(count for count in record.counts if count.route == "op table"))
    assert answer(alone, "params") == ("derived", "op table")
    assert "Equal" not in [column.header for column in shown(alone, "counts").columns]


@pytest.mark.parametrize("broken", [0, 1])
def test_an_estimate_of_other_parameters_is_still_found(broken: int) -> None:
    record = measured("train")
    proof = record.proof.replaced(num_params=record.proof.num_params + broken)
    (check,) = (c for c in crosscheck(dataclasses.replace(record, proof=proof)) if c.metric == "params, the model that ran")
    assert check.ok is (broken == 0)
