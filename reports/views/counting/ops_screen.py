"""A model's counts on one screen: parameters and FLOP in a sentence, then its operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from estimators.frozen import replace
from reports.screen import Screen, columns_kept
from reports.table import Table, Value

TOTAL = "total"
ASSUMED_FROM = 3
"""Conditions of the operations before those that were assumed: the step, the convention, the configuration."""


def ops_screen(tables: Sequence[Table]) -> Screen:
    """The operations of one phase.

    Args:
        tables: all of it, as `phases_tables` makes them: operations, every phase by convention, parameters.
    """
    ops, by_phase = tables[0], tables[1]
    rows = [row for row in ops.rows if row["op"] != TOTAL]
    others = "; ".join(f"{row['step']} {_cell(by_phase, row, 'full_flop')}" for row in by_phase.rows)
    return Screen(
        answer=ops.title,
        lead=[ops.conditions[0], f"FLOP of one step: {others}", *tables[2].conditions],
        table=replace(
            columns_kept(ops, "op", "flop", "flop_fraction", "params", "params_fraction", "count", "m_n_k", "weight_bytes"), rows=rows
        ),
        notes=[*ops.conditions[1:2], *ops.conditions[ASSUMED_FROM:]],
        more=["--phase train|prefill|decode", "--convention all (every tool's count)"],
    )


def whole_screen(tables: Sequence[Table]) -> Screen:
    """An answer whose first table says it: its title, its columns, the last one giving way first."""
    first = tables[0]
    unseen = [note for note in first.notes if note.startswith("NOT SEEN")]
    return Screen(
        answer=first.title,
        lead=first.conditions,
        table=columns_kept(first, *(column.key for column in first.shown)),
        doubts=unseen,
        notes=[note for note in first.notes if note not in unseen][:3],
    )


def _cell(table: Table, row: Mapping[str, Value], key: str) -> str:
    return next(column.text(row[key]) for column in table.columns if column.key == key)
