"""Records on one screen: of a run its answer, where the time went and whether the checks hold; of many a row each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.records.record import Measurement
from bench.statistics.noise_floor import TASK
from estimators.frozen import replace
from estimators.units import plural
from reports.checks.crosscheck import crosscheck, failed
from reports.screen import Screen, columns_kept
from reports.table import Table
from reports.views.records.checks import checks_line, failed_lines
from reports.views.records.learner import learned_line, learner_lines
from reports.views.records.served import served_screen

MAX_TEXT = 100
"""Characters of generated text on a screen."""

ANSWER_ROWS = 3
"""Figures of a run beside its time: the rate, then parameters and FLOP, or the time of a decode step."""


JOURNEY_COLUMNS = (
    "model",
    "time_s",
    "what",
    "checks",
    "params",
    "heldout_loss",
    "tag",
    "items_per_s",
    "mfu_fraction",
    "matmul_ceiling_fraction",
    "flop",
)


def records_screen(records: Sequence[Measurement], tables: Sequence[Table], *, one: bool) -> Screen:
    """What `report` shows first.

    Args:
        tables: all of it.
        one: whether a record was named and not a folder of them.
    """
    if tables[0].key == "selftest":
        return selftest_screen([record for record in records if record.request.task == TASK][-1], tables)
    if one and records[0].request.task != "estimate":
        return one_screen(records[0], tables)
    return journey_screen([record for record in records if record.request.task != TASK], tables)


def one_screen(record: Measurement, tables: Sequence[Table]) -> Screen:
    """One record, of a step or of a server; its tables as `summary.details` makes them."""
    return served_screen(record, tables) if record.proof.served is not None else run_screen(record, tables)


def run_screen(record: Measurement, tables: Sequence[Table]) -> Screen:
    """One run.

    Args:
        tables: all of it, as `measured.tables` makes them.
    """
    answer, by_key = tables[0], {table.key: table for table in tables}
    went = by_key.get("tuning") or by_key.get("parts") or by_key.get("time")
    tuned = [*by_key["tuning"].conditions, *by_key["tuning"].notes] if "tuning" in by_key else []
    figures = [f"{row['what']}: {row['value']}" for row in answer.rows[1 : 1 + ANSWER_ROWS]]
    noted = str(answer.rows[0]["note"] or "") if answer.rows else ""
    return Screen(
        answer=answer.title,
        lead=[*filter(None, [noted, "; ".join(figures)]), *learned_line(record), *answer.conditions[:1], *answer.conditions[2:3], *tuned],
        table=went and _all_columns(went),
        doubts=[*failed_lines([record]), *(f"{finding.code}: {finding.text}" for finding in record.warnings)],
        notes=[checks_line([record]), *_text(record)],
        more=["report FOLDER (the records side by side)"],
        failed=record.status != "complete" or bool(failed(crosscheck(record))),
    )


def journey_screen(records: Sequence[Measurement], tables: Sequence[Table]) -> Screen:
    """One row for each record.

    Args:
        tables: all of it, as `summary.tables` makes them; the first has the rows.
    """
    journey = tables[0]
    varied = {record.run_id for record in records if record.request.train_days}
    steps = replace(journey, rows=[row for row in journey.rows if row["run_id"] not in varied]) if len(varied) < len(records) else journey
    bad = failed_lines(records)
    broken = [record for record in records if record.status != "complete" and record.request.task != "estimate"]
    said = [f"{record.request.model} ({record.run_id}): {record.status}, {record.status_reason}" for record in broken]
    return Screen(
        answer=f"{plural(len(journey.rows), 'record')}: {checks_line(records)}",
        lead=[*journey.conditions[:1], *learner_lines(records)],
        table=columns_kept(steps, *JOURNEY_COLUMNS),
        doubts=[*bad, *said],
        notes=journey.conditions[1:2],
        more=["report RECORD (one of them)"],
        failed=bool(bad),
    )


def selftest_screen(record: Measurement, tables: Sequence[Table]) -> Screen:
    """The noise floor of a machine, and whether the known truths were measured.

    Args:
        tables: all of it, as `selftest.tables` makes them; the first is the noise floor.
    """
    floor = tables[0]
    bad = failed_lines([record])
    return Screen(
        answer=floor.title,
        lead=floor.conditions,
        table=columns_kept(floor, "what", "value", "note") if floor.rows else None,
        doubts=bad,
        notes=[checks_line([record]), *floor.notes],
        failed=bool(bad),
    )


def _all_columns(table: Table) -> Table:
    """The table whose first two columns never give way, the last one first."""
    return columns_kept(table, *(column.key for column in table.shown))


def _text(record: Measurement) -> Iterator[str]:
    """What the model wrote, and how to get a real text where its weights are random."""
    if record.learning.sample:
        yield f"It wrote: {record.learning.sample[:MAX_TEXT]!r}"
    if record.learning.output_text:
        yield f"It wrote: {record.learning.output_text[:MAX_TEXT]!r}"
    if record.request.task != "generate" or record.request.weights_label != "random weights":
        return
    from estimators.errors import RequestError
    from estimators.facts.registry import model_entry  # deferred: most records write nothing

    try:
        checkpoint = model_entry(record.request.model).checkpoint
    except RequestError:  # of a config.json
        checkpoint = None
    get = f"hf download {checkpoint}, then run again; or " if checkpoint else ""
    yield f"The weights are random, so a text of theirs is noise; the time is real. For a real text: {get}--weights FOLDER"
