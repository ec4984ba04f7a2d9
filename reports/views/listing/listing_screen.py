"""A list on one screen: how many names there are, and as much of each as fits."""

from __future__ import annotations

from reports.screen import Screen, columns_kept
from reports.table import Table

FIRST = ("params", "memory_bytes", "bf16_flop_per_s", "memory_bytes_per_s", "description", "includes", "meaning")
"""Columns that people look for beside the name, the most important first; the others follow in their order."""


def listing_screen(table: Table) -> Screen:
    """Names and what one needs to choose among them.

    Args:
        table: the whole list; its first column holds the names.
    """
    name, *others = (column.key for column in table.shown)
    first = [key for key in FIRST if key in others]
    return Screen(
        answer=table.title,
        lead=table.conditions,
        table=columns_kept(table, name, *first, *(key for key in others if key not in first), always=1),
        notes=table.notes[:3],
        more=["--match TEXT (fewer names)"],
        is_list=True,
    )
