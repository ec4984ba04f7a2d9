"""How records are shown: their tables, and on a page, in a picture and in json what stands around them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.output import Output
from bench.machine.ranks import say
from estimators.frozen import replace

if TYPE_CHECKING:
    from bench.records.record import Measurement
    from reports.screen import Screen
    from reports.table import Table


def emit(
    out: Output, records: Sequence[Measurement], tables: Sequence[Table], screen: Screen, *, one: bool = True, has_waterfall: bool = False
) -> None:
    """Emit the tables; where pictures are looked at, with what to fix first, the waterfall, the roofline, the memory and every sample.

    Args:
        records: that the tables are of.
        one: whether one was asked for, and not a folder of them.
        has_waterfall: whether the tables have their waterfall already.

    Raises:
        UnavailableError, BadValueError: as Output.emit.
    """
    if not (out.draws or (one and out.format == "json")):
        out.emit(tables, screen)
        return
    from reports.pages.learner import learner_pictures  # deferred, as the others: a screen does without
    from reports.pages.running import running_pictures
    from reports.views.records.engineer import around

    beside = around(records, one=one, has_waterfall=has_waterfall)
    shown = [tables[0], *beside.tables, *tables[1:]]
    pictures = running_pictures([*shown, *beside.data]) if one or beside.tables else learner_pictures(shown)
    out.emit(shown, replace(screen, lead=[*beside.lines, *screen.lead]), pictures, data=beside.data)


def emit_one(out: Output, record: Measurement, *, waterfall: bool = False) -> None:
    """Emit all of one run.

    Args:
        waterfall: whether its step is explained part by part, on a screen too.

    Raises:
        UnavailableError, BadValueError: as Output.emit.
    """
    from reports.summary import details
    from reports.views.records.records_screen import one_screen
    from reports.views.records.waterfall import waterfall_tables

    shown, asked = details(record), waterfall_tables([record]) if waterfall else []
    emit(out, [record], [*shown, *asked], replace(one_screen(record, shown), asked=asked), has_waterfall=waterfall)


def emit_kept(out: Output, records: Sequence[Measurement], folder: Path) -> int:
    """Emit what a load found of a server, and say which files hold it.

    Args:
        folder: where the records are.

    Returns:
        1 where a check failed, else 0.

    Raises:
        UnavailableError, BadValueError: as Output.emit.
    """
    from reports.summary import details, num_failed, tables
    from reports.views.records.records_screen import records_screen

    one = len(records) == 1
    shown = details(records[0]) if one else tables(records)
    out.emit(shown, records_screen(records, shown, one=one))
    for record in records:
        say(f"record: {folder / record.run_id}.json")
    return 1 if num_failed(records) else 0
