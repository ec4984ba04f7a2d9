"""What a page of a run, or of several, has beside their own tables: what to fix first, the waterfall, the roofline, the memory."""

from __future__ import annotations

from collections.abc import Sequence

from bench.records.record import Measurement
from bench.statistics.noise_floor import TASK
from estimators.frozen import frozen
from reports.table import Table
from reports.views.records.fix_first import fix_first_line, fix_first_table
from reports.views.records.roofline import roofline_table
from reports.views.records.samples import samples_table
from reports.views.records.step_memory import step_memory_table
from reports.views.records.waterfall import waterfall_tables


@frozen
class Around:
    """What stands around the tables of an answer.

    Attributes:
        lines: what to fix first, in a sentence; for the head of a page.
        tables: below the answer's own.
        data: what pictures show and nobody reads.
    """

    lines: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    data: tuple[Table, ...] = ()


def around(records: Sequence[Measurement], *, one: bool, has_waterfall: bool = False) -> Around:
    """Of a run, or of a folder of them; nothing of servers, self-tests, what was only estimated, and a learner's suite.

    Args:
        records: at least one.
        one: whether one was asked for.
        has_waterfall: whether the answer has its waterfall, or its predictions, already.
    """
    if not one and any(record.request.train_days for record in records):
        return Around()
    steps = [record for record in records if record.phases and record.proof.served is None and record.request.task != TASK]
    if not steps:
        return Around()
    line = fix_first_line(steps)
    lines = (line,) if line else ()
    if not one:
        predicted = [] if has_waterfall else [table for table in waterfall_tables(steps) if table.key == "check"]
        return Around(lines=lines, tables=_with_rows([fix_first_table(steps), *predicted]))
    (record,) = steps
    waterfall = [] if has_waterfall else waterfall_tables([record])
    tables = [fix_first_table([record]), *waterfall, roofline_table(record), step_memory_table(record)]
    return Around(lines=lines, tables=_with_rows(tables), data=_with_rows([samples_table(record)]))


def _with_rows(tables: Sequence[Table]) -> tuple[Table, ...]:
    return tuple(table for table in tables if table.rows)
