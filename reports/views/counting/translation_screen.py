"""One screen of a translated figure: what it is elsewhere, and whether a machine can have done it."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.counting.translate import Translation
from reports.screen import Screen, columns_kept
from reports.table import Table
from reports.views.counting.translation import WITHOUT_DEVICE, figure_text

COLUMNS = ("convention", "utilization_fraction", "device_flop_per_s", "flop_ratio", "peak_ratio", "peak", "flop_per_token")
MANY = 8
"""Rows beyond which what each convention counts is left to -v."""

OURS = {"full": "counted full", "causal": "causal"}
"""What a figure is said in first, where every tool's is asked for."""


def translation_screen(
    translations: Sequence[Translation], table: Table, *, scope: Sequence[str], physics: Sequence[str], possible: bool | None
) -> Screen:
    """The figure in the convention that was asked for, or in those of the textbooks.

    Args:
        table: a row for each convention.
        scope: what the counts leave out.
        physics: whether a machine can do it, and why some figures pass the peak.
        possible: None where nothing tells.
    """
    given = translations[0].given
    said = [f"{figure_text(t.translated)} {OURS[t.translated.tool.id]}" for t in translations if t.translated.tool.id in OURS]
    all_of_them = f"{given.tool.name} {figure_text(given)} is {' and '.join(said)}"
    columns = COLUMNS if len(translations) > MANY else (*COLUMNS, "includes")
    without = [] if given.peak else [f"{WITHOUT_DEVICE}."]
    return Screen(
        answer=table.title if len(translations) == 1 or not said else all_of_them,
        table=columns_kept(table, *columns, always=3),
        doubts=physics[:1] if possible is False else [],
        notes=[*scope, *(physics[1:] if possible is False else physics), *without],
        failed=possible is False,
    )
