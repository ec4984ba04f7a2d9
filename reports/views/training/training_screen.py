"""One screen of a training: what it takes, what to plan with, and what that rests on; and of the question put the other way round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from estimators.frozen import replace
from estimators.spec import Workload
from estimators.training.answer import PredictedAnswer, TrainingAnswer
from estimators.training.inverse import TrainingEstimate
from estimators.units import format_days, format_duration, format_flop, format_grouped, format_money
from reports.screen import Screen, columns_kept
from reports.table import Table
from reports.views.training import predicted
from reports.views.training.at_utilization import NO_DEVICES, WALL_TIME, how_sure, is_too_large, memory_note, rate_line
from reports.views.training.conditions import length_lines, price_line, scope_notes, utilization_line
from reports.views.training.tuning_job import job_lines

COST = {"cost_usd_median": "cost"}
"""The header of the middle price, where it stands alone."""

TRAINING_COLUMNS = ("scenario", "wall_days", "gpu_days", "cost_usd_median", "utilization_fraction", "gpu_hours", "step_time_s", "energy_j")
"""Of both ways to answer, the most important first; then what a wide terminal has room for."""


def estimate_screen(answer: TrainingEstimate, tables: Sequence[Table], *, more: Sequence[str], asked: Sequence[Table]) -> Screen:
    """The screen of what was asked: a claim, a deadline, a budget, else the training itself.

    Args:
        tables: of the answer; the first one answers the question.
        more, asked: as a screen has them.
    """
    first, inverse = tables[0], answer.inverse
    if answer.claim is not None:
        from reports.views.training.claim_screen import claim_screen  # deferred: most answers judge no claim

        screen = claim_screen(answer.claim, answer.training, first)
        said = [predicted.claim_note(answer.predicted.run, answer.claim.wall_s)] if answer.predicted else []
        return replace(screen, lead=[*screen.lead, *said], more=more, asked=asked)
    if inverse.deadline_s is not None:
        screen = _deadline_screen(answer, first)
    elif inverse.budget_usd is not None or inverse.budget_gpu_days is not None:
        screen = _budget_screen(answer, first)
    elif answer.predicted is not None:
        screen = _predicted_screen(answer.predicted, first)
    elif answer.training.hardware is None:
        screen = _flop_screen(answer.training, next(table for table in tables if table.key == "flop"))
    else:
        screen = _utilization_screen(answer.training, first)
    training = answer.training
    devices = [training.hardware] if training.hardware else []
    scope = scope_notes(training.model, Workload(phase="train", seq_len=training.seq_len), devices)
    return replace(screen, notes=[*scope, *screen.notes], more=more, asked=asked)


def _of(training: TrainingAnswer) -> str:
    return f"{training.model.name} on {training.items_text}"


def _length(training: TrainingAnswer) -> list[str]:
    return [] if training.item == "sample" else length_lines(training.seq_len, training.seq_len_source)


def _utilization(training: TrainingAnswer) -> str:
    return f"{utilization_line(training, 'peak').rstrip('.')}."


def _money(facts: dict[str, Any]) -> str:
    median = facts.get("cost_usd_median")
    if median is None:
        return ""
    return f", {'' if facts['cost_usd_low'] == facts['cost_usd_high'] else 'about '}{format_money(median)}"


def plan_with(facts: dict[str, Any]) -> str:
    """What to plan with, at worst, and what to sign for."""
    return (
        f"plan with {format_days(facts['plan_with_days'])}, at worst {format_days(facts['plan_at_worst_days'])}; "
        f"sign for {format_grouped(facts['sign_for_gpu_hours'])} GPU-hours"
    )


def _rests_on(asked: PredictedAnswer) -> list[str]:
    """The layout, the price, the length and what else was assumed of a predicted step."""
    training, p = asked.training, asked.run.prediction
    return [
        f"{predicted.layout_line(asked.run)}.",
        *([f"a step: {'; '.join(job_lines(p.tuning)[1:])}."] if p.tuning else []),
        *([price_line(training.price)] if training.price else []),
        *_length(training),
        *(f"{note}." for note in (*training.layout_notes, *p.notes)),
        f"plan: {predicted.factor_text()}.",
    ]


def _predicted_screen(asked: PredictedAnswer, table: Table) -> Screen:
    facts, training, run = dict(table.facts), asked.training, asked.run
    gpu_days = f"{format_grouped(facts['gpu_days'])} GPU-days"
    if run.devices_chosen:
        answer = f"{_of(training)}: {gpu_days} of {run.prediction.hardware.id}{_money(facts)}"
        on = f"{format_days(facts['wall_days'])} on {training.devices_text}, the fewest that hold it (--gpus sets yours); "
    else:
        answer = f"{_of(training)}: {format_days(facts['wall_days'])} on {training.devices_text}, {gpu_days}{_money(facts)}"
        on = ""
    return Screen(
        answer=answer,
        lead=[f"{on}{plan_with(facts)}"],
        table=columns_kept(table, *TRAINING_COLUMNS, "co2_kg", headers=COST),
        doubts=predicted.doubts(asked),
        notes=_rests_on(asked),
        failed=not run.fits,
    )


def _utilization_screen(training: TrainingAnswer, table: Table) -> Screen:
    facts, hardware = dict(table.facts), training.hardware
    assert hardware is not None
    gpu_days = f"{format_grouped(facts['gpu_days'])} GPU-days"
    about = how_sure(training)
    if training.num_devices is None:
        answer = f"{_of(training)}: {about}{gpu_days} of {hardware.id}{_money(facts)}"
    else:
        answer = f"{_of(training)}: {about}{format_days(facts['wall_days'])} on {training.devices_text}, {gpu_days}{_money(facts)}"
    memory = memory_note(training, hardware)
    return Screen(
        answer=answer,
        lead=[] if training.num_devices else [f"{NO_DEVICES}."],
        table=columns_kept(table, *TRAINING_COLUMNS, headers=COST),
        doubts=[memory] if is_too_large(training) else [],
        notes=[
            *([rate] if (rate := rate_line(training)) else []),
            _utilization(training),
            *([price_line(training.price)] if training.price else [f"{training.price_reason}."]),
            *_length(training),
            WALL_TIME,
            *([] if is_too_large(training) else [memory]),
        ],
    )


def _flop_screen(training: TrainingAnswer, flop: Table) -> Screen:
    return Screen(
        answer=f"{_of(training)}: {format_flop(training.flop)}",
        lead=["Name a device with --hardware for time, energy and money."],
        table=columns_kept(flop, "convention", "training_flop", f"{training.item}_flop", "ratio", "includes", always=2),
        notes=["One multiply-add is two FLOP.", *_length(training)],
    )


def _deadline_screen(answer: TrainingEstimate, table: Table) -> Screen:
    training, asked, deadline_s = answer.training, answer.in_time, answer.inverse.deadline_s
    assert deadline_s is not None
    assert training.hardware is not None
    kept = ("num_devices", "wall_days", "scenario", "cost_usd_median", "cost_usd", "num_nodes", "gpu_days", "mfu_fraction", "layout")
    devices = f"{table.facts['deadline_num_devices']:,} x {training.hardware.id}"
    within = f"{_of(training)} within {format_duration(deadline_s)}"
    shown = columns_kept(table, *kept, "utilization_fraction", headers=dict.fromkeys(("cost_usd_median", "cost_usd"), "cost"))
    if asked is None:
        about = "about " if len(table.rows) > 1 else ""
        notes = [*table.notes, _utilization(training), *_length(training)]
        return Screen(answer=f"{within}: {about}{devices}", table=shown, notes=notes)
    facts = predicted.facts(asked)
    return Screen(
        answer=f"{within}: {devices} take {format_days(facts['wall_days'])}{_money(facts)}",
        lead=[plan_with(facts)],
        table=shown,
        doubts=[*table.notes, *predicted.doubts(asked)],
        notes=_rests_on(asked),
    )


def _budget_screen(answer: TrainingEstimate, table: Table) -> Screen:
    training = answer.training
    what = table.title.removeprefix(f"What {training.model.name} can be trained on for ")
    return Screen(
        answer=f"{training.model.name} for {what}",
        table=columns_kept(table, "budget", "scenario", "tokens", "gpu_days", "wall_days", "tokens_per_param", "utilization_fraction"),
        notes=[*table.notes, *([_utilization(training)] if training.hardware else []), *_length(training)],
    )
