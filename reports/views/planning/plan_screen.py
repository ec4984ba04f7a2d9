"""One screen of a plan: the layout to take and what it takes, or the answer to what else was asked of it."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.frozen import replace
from estimators.spec import Workload
from estimators.training.layouts.answer import Plans
from estimators.training.layouts.what_if import WhatIf
from estimators.units import format_count, format_duration, format_fraction, format_grouped, format_money, format_rate
from reports.screen import Screen, columns_kept
from reports.table import Table
from reports.views.planning.marks import BEST_VALUE, BEST_VALUE_NOTE, best_rows, marked, marks_text
from reports.views.planning.plan import STEADY, lost_reasons, own_lines
from reports.views.planning.plan_questions import run_text
from reports.views.training import track_record
from reports.views.training.conditions import length_lines, price_line, scope_notes
from reports.views.training.tuning_job import job_lines

PLAN_COLUMNS = ("rank", "layout", "run_days", "step_time_s", "memory_bytes", "mfu_fraction", "tokens_per_s_per_device")
DEVICE_COLUMNS = (
    "hardware",
    "mark",
    "run_days",
    "cost_usd",
    "num_devices",
    "gpu_hours",
    "reason",
    "mfu_fraction",
    "layout",
    "track_record",
)


def plan_screen(answer: Plans, tables: Sequence[Table]) -> Screen:
    """The screen of what was asked: one change, more devices, the best spent compute, kinds of device, else the plan itself.

    Args:
        tables: of the answer.
    """
    by_key = {table.key: table for table in tables}
    if answer.changed is not None:
        return _changed_screen(answer, answer.changed, by_key["what_if"])
    if answer.points:
        scaling = by_key["scaling"]
        shown = columns_kept(scaling, *SCALING_COLUMNS)
        return replace(_plan_screen(answer, by_key["plan"]), table=shown, notes=[*scaling.notes, *_assumed(answer)])
    if answer.best_spent is not None:
        sizing = by_key["sizing"]
        return Screen(
            answer=f"{format_count(answer.best_spent.sizings[0].params)} parameters on {format_count(answer.best_spent.sizings[0].tokens)} "
            f"tokens: what {sizing.conditions[0].removeprefix('budget: ')} are best spent on",
            table=columns_kept(sizing, "name", "params", "tokens", "tokens_per_param", "loss_nats", "source", always=3),
            notes=sizing.notes,
        )
    if "devices" in by_key:
        return _devices_screen(answer, by_key["devices"])
    return _plan_screen(answer, by_key["plan"])


SCALING_COLUMNS = ("num_devices", "run_days", "cost_usd", "speedup_ratio", "gpu_hours", "remark", "layout")


def _what(answer: Plans) -> str:
    tokens = answer.question.tokens
    name = answer.best.job.trained.name
    return name if tokens is None else f"{name} on {format_count(tokens)} tokens"


def _assumed(answer: Plans) -> list[str]:
    """What the plan rests on."""
    price, job, tuning = answer.choices[0].price, answer.best.job, answer.best.best.prediction.tuning
    return [
        *([f"{'; '.join(job_lines(tuning)[1:])}."] if tuning else []),
        *scope_notes(job.trained, Workload(phase="train", seq_len=job.seq_len), [job.hardware]),
        *([price_line(price)] if price and answer.question.tokens is not None else []),
        *length_lines(job.seq_len, answer.question.seq_len_source),
        *(f"{note}." for note in (*answer.own_notes, *answer.best.best.prediction.notes)),
        *([STEADY] if answer.question.tokens is not None else ["Add --tokens for days and money."]),
    ]


def _plan_screen(answer: Plans, table: Table) -> Screen:
    plan, tokens = answer.best, answer.question.tokens
    best, run = plan.best.prediction, answer.run_of(plan.best.prediction)
    on = f"{plan.num_devices:,} x {plan.job.hardware.id}"
    if tokens is None or run is None:
        rate = f"{format_rate(best.tokens_per_s_per_device)} tokens/s per GPU"
        said = f"{format_duration(best.step_time_s)} a step on {on}, {rate}"
    else:
        money = f", about {format_money(run.cost_usd)}" if run.cost_usd is not None else ""
        said = f"{format_duration(run.run_s)} on {on}, {format_grouped(plan.gpu_days(tokens))} GPU-days{money}"
    share = best.utilization(best.convention)
    mfu = f", {format_fraction(share)} of peak" if share is not None else ""
    return Screen(
        answer=f"{_what(answer)}: {said}",
        lead=[f"layout: {best.layout}{mfu}", *own_lines(plan, tokens, answer.own)],
        table=columns_kept(table, *PLAN_COLUMNS),
        doubts=track_record.doubts(best),
        notes=[*lost_reasons(plan, answer.own)[:1], *_assumed(answer)],
    )


def _devices_screen(answer: Plans, table: Table) -> Screen:
    marks, job = best_rows(table, time="run_days", cost="cost_usd"), answer.best.job
    return Screen(
        answer=f"{_what(answer)}: {answer.choices[0].hardware.id} is the one to take",
        lead=[marks_text(marks, time="run_days", cost="cost_usd")],
        table=columns_kept(marked(table, marks), *DEVICE_COLUMNS, always=3),
        doubts=track_record.doubts(answer.best.best.prediction),
        notes=[
            *(f"{choice.hardware.id}: {choice.reason}." for choice in answer.choices if choice.reason),
            *([BEST_VALUE_NOTE] if BEST_VALUE in marks else []),
            *table.notes,
            *scope_notes(job.trained, Workload(phase="train", seq_len=job.seq_len)),
            *length_lines(job.seq_len, answer.question.seq_len_source),
        ],
    )


def _changed_screen(answer: Plans, change: WhatIf, table: Table) -> Screen:
    before, after = answer.run_of(change.before), answer.run_of(change.after)
    step = f"a step takes {format_duration(change.before.step_time_s)} to {format_duration(change.after.step_time_s)}"
    fits = bool(table.facts["after_fits"])
    said = f"{run_text(before, after)} for {_what(answer)}" if before and after else f"{step} for {_what(answer)}"
    return Screen(
        answer=f"With {change.change}: {said}{'' if fits else ', and it does not fit'}",
        lead=[table.title.split(": ")[-1].capitalize() + "."],
        table=columns_kept(table, "part", "change_s", "before_s", "after_s"),
        notes=[*table.notes[:2], *table.conditions, *_assumed(answer)[:2]],
        failed=not fits,
    )
