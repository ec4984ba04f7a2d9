"""How records are shown: their tables, and on a page, in a picture and in json what stands around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.cli.output import Output
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
