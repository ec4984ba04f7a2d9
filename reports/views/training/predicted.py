"""The answer of a training whose step is predicted: days, energy, CO2 and money with their interval; what runs add to that."""

from __future__ import annotations

from typing import Any

from estimators.facts.goodput import run_factor
from estimators.training.answer import PredictedAnswer
from estimators.training.interval import COVERAGE
from estimators.training.prediction import Prediction
from estimators.training.run import PredictedRun
from estimators.units import (
    DAY_S,
    HOUR_S,
    format_bytes,
    format_carbon,
    format_days,
    format_duration,
    format_energy,
    format_fraction,
    format_grouped,
    format_int,
    format_mass,
    format_money,
)
from reports.table import Column, Table, Value
from reports.views.training import at_utilization, track_record
from reports.views.training.conditions import conditions
from reports.views.training.step_ledger import rate_facts
from reports.views.training.tuning_job import job_lines

BOUNDS = ("low", "median", "high")


def figures(asked: PredictedAnswer, wall_s: float) -> dict[str, Value]:
    """Everything that follows from a wall time: device time, energy, CO2, money; None where a fact is missing."""
    run, price = asked.run, asked.training.price
    gpu_seconds = wall_s * run.prediction.layout.num_devices
    energy_j = run.energy_j(wall_s, asked.power.value)
    return {
        "wall_days": wall_s / DAY_S,
        "gpu_days": gpu_seconds / DAY_S,
        "gpu_hours": gpu_seconds / HOUR_S,
        "energy_j": energy_j,
        "co2_kg": None if energy_j is None else energy_j * asked.carbon.value,
        **{f"cost_usd_{bound}": getattr(price, bound) * gpu_seconds / HOUR_S if price else None for bound in BOUNDS},
    }


def _columns(asked: PredictedAnswer) -> list[Column]:
    price = asked.training.price
    one_price = price is not None and price.low == price.high
    costs = [("median", "cost")] if one_price else [("low", "cost, low"), ("median", "median"), ("high", "high")]
    return [
        Column(key="scenario", header=""),
        Column(key="step_time_s", header="step", format=format_duration, align="right"),
        Column(key="wall_days", header="wall time", format=format_days, align="right"),
        Column(key="gpu_days", header="GPU-days", format=format_grouped, align="right"),
        Column(key="gpu_hours", header="GPU-hours", format=format_grouped, align="right"),
        Column(key="energy_j", header="energy", format=format_energy, align="right"),
        Column(key="co2_kg", header="CO2", format=format_mass, align="right"),
        *(Column(key=f"cost_usd_{bound}", header=header, format=format_money, align="right") for bound, header in costs),
    ]


def _rows(asked: PredictedAnswer) -> list[dict[str, Value]]:
    run, p = asked.run, asked.run.prediction
    interval = f"{100 * COVERAGE:.0f} %"
    rows: list[tuple[str, float | None, float]] = [
        (f"{interval}, from", p.low_s, run.low_s),
        ("predicted", p.step_time_s, run.wall_s),
        (f"{interval}, to", p.high_s, run.high_s),
    ]
    if run.devices_chosen:
        rows.append((f"published runs, {format_fraction(asked.published.median)} of peak", None, asked.published_s))
    return [{"scenario": name, "step_time_s": step_s, **figures(asked, wall_s)} for name, step_s, wall_s in rows]


def _layout_lines(run: PredictedRun) -> list[str]:
    p = run.prediction
    layout = p.layout
    batch = f"{format_int(layout.global_batch)} sequences, {format_int(p.tokens_per_step)} tokens"
    fewest = "the fewest that hold the training without paying for it in recomputation; --gpus sets your own"
    devices = [f"{format_int(layout.num_devices)} devices (chosen: {fewest})"] if run.devices_chosen else []
    return [
        *devices,
        layout_line(run),
        f"batch of a step: {batch}{f', {run.batch_source}' if run.batch_source else ''}",
        *software_lines(p),
        track_record.line(p),
        *p.notes,
    ]


def software_lines(p: Prediction) -> list[str]:
    """What trains, and of a fine-tuning what it is."""
    return [f"software {p.stack.id}: {p.stack.name}", *(job_lines(p.tuning) if p.tuning else [])]


def layout_line(run: PredictedRun) -> str:
    """The layout, who chose it, and how full it makes a device."""
    p = run.prediction
    whose = " (chosen: the fastest found that fits; --layout sets your own)" if run.layout_chosen else ""
    how = "allocated on the fullest device" if p.tuning else "on the fullest device"
    held = f"{format_bytes(run.held_bytes)} of {format_bytes(p.hardware.memory_bytes)} {how}"
    return f"layout {p.layout}{whose}; {held}"


def facts(asked: PredictedAnswer) -> dict[str, Any]:
    """The answer as single values, the names that an assumed utilisation has among them."""
    run, p = asked.run, asked.run.prediction
    low, middle, high, *published = _rows(asked)
    best_s, plan_s, worst_s = run.planned_s
    values = at_utilization.facts(asked.training) | {key: value for key, value in middle.items() if key != "scenario"}
    values["energy_limit_j"] = run.energy_j(run.wall_s, 1.0)
    for name, row in (("low", low), ("high", high)):
        values |= {
            f"step_time_{name}_s": row["step_time_s"],
            f"days_{name}": row["wall_days"],
            f"gpu_days_{name}": row["gpu_days"],
            f"gpu_hours_{name}": row["gpu_hours"],
            f"energy_{name}_j": row["energy_j"],
            f"co2_{name}_kg": row["co2_kg"],
        }
    for row in published:
        values |= {
            "published_utilization_fraction": asked.published.median,
            "days_published": row["wall_days"],
            "gpu_days_published": row["gpu_days"],
        }
    return values | {
        "days": run.days,
        "devices_chosen": run.devices_chosen,
        "interval_fraction": COVERAGE,
        "num_steps": run.num_steps,
        "ledger": dict(p.ledger.parts),
        **rate_facts(p),
        "layout": str(p.layout),
        "layout_chosen": run.layout_chosen,
        "global_batch": p.layout.global_batch,
        "global_batch_tokens": p.tokens_per_step,
        "software": p.stack.id,
        **track_record.facts(p),
        "needed_bytes": run.needed_bytes,
        **({"allocated_bytes": run.held_bytes, "framework": p.tuning.recipe.id} if p.tuning else {}),
        "fits": run.fits,
        "in_margin": run.in_margin,
        "power_share_fraction": asked.power.value,
        "carbon_kg_per_j": asked.carbon.value,
        **{f"allowance_{bound}_fraction": getattr(run.goodput_loss, bound) for bound in BOUNDS},
        "plan_with_days": plan_s / DAY_S,
        "plan_at_best_days": best_s / DAY_S,
        "plan_at_worst_days": worst_s / DAY_S,
        "sign_for_gpu_hours": worst_s * p.layout.num_devices / HOUR_S,
    }


def _notes(asked: PredictedAnswer, claimed_s: float | None) -> list[str]:
    run, training = asked.run, asked.training
    notes = [plan_note(run), *([claim_note(run, claimed_s)] if claimed_s is not None else [])]
    notes += [*track_record.doubts(run.prediction), *_memory_notes(run)]
    if run.devices_chosen:
        notes.append(
            f"published runs: at {format_fraction(asked.published.median)} of peak, the median of whole runs of dense "
            f"language models on {asked.published.scope}, from {format_fraction(asked.published.low)} to "
            f"{format_fraction(asked.published.high)}; {asked.published.source.title}."
        )
    notes += _pace_doubts(asked)
    missing = at_utilization.missing(training)
    notes += [f"{figure}: none, {reason}." for figure, reason in missing.items()]
    if "energy_j" not in missing:
        share = f"energy: the boards alone at {format_fraction(asked.power.value, 2)} of their power limit"
        notes.append(f"{share} ({asked.power.source.title}); no hosts, network or cooling.")
        notes.append(f"CO2: {format_carbon(asked.carbon.value)}, {asked.carbon.source.title}.")
    notes.append('wall time: steady steps from first to last. What whole runs take beyond them is in "plan with", and apart, below.')
    return notes


def doubts(asked: PredictedAnswer) -> list[str]:
    """Why not to trust the prediction, a sentence each."""
    return [*_memory_notes(asked.run), *track_record.doubts(asked.run.prediction), *_pace_doubts(asked)]


def _memory_notes(run: PredictedRun) -> list[str]:
    if not run.fits:
        if run.prediction.tuning:
            return ["memory: this layout does not fit; `python -m bench fit` says what would make it."]
        return ["memory: this layout does not fit, by this project's estimate; more tp, pp, zero or recompute=full holds less."]
    if not run.in_margin:
        return []
    held = run.needed_bytes / float(run.prediction.machine.memory_bytes)
    return [f"memory: this layout fills {format_fraction(held)} of a device, more than chosen layouts do (--memory-margin)."]


def _pace_doubts(asked: PredictedAnswer) -> list[str]:
    notes = []
    if asked.run.num_steps < 1:
        notes.append("A single step takes more tokens than the whole training has: fewer devices or a smaller --global-batch do.")
    mfu = asked.run.prediction.mfu
    if mfu is not None and mfu > asked.published.high:
        notes.append(
            f"Doubt it: {format_fraction(mfu)} of peak is above every published run of a dense language model on {asked.published.scope}; "
            f"the highest has {format_fraction(asked.published.high)}. Those cover whole runs, or other layouts and software."
        )
    return notes


def plan_note(run: PredictedRun) -> str:
    """What to plan with: the days of a whole run, at worst, and the device hours of the worst."""
    _, middle_s, worst_s = run.planned_s
    hours = worst_s * run.prediction.layout.num_devices / HOUR_S
    return (
        f"plan with: {format_duration(middle_s)}, at worst {format_duration(worst_s)}; sign for {format_grouped(hours)} GPU-hours. "
        f"{factor_text()}."
    )


def factor_text() -> str:
    """What whole runs took, as a sentence without its stop."""
    f = run_factor()
    return (
        f"{format_int(f.num_runs)} published runs took {f.median:.2f} times the steady steps predicted of them, 80 % of them "
        f"{f.low:.2f} to {f.high:.2f}"
    )


def claim_note(run: PredictedRun, claimed_s: float) -> str:
    """Whether a claimed wall time lies within what is planned with."""
    best_s, _, worst_s = run.planned_s
    span = f"the whole run {format_duration(best_s)} at best to {format_duration(worst_s)} at worst"
    claim = f"The claimed {format_duration(claimed_s)}"
    steady = (
        f"steady steps are predicted to take {format_duration(run.wall_s)} ({format_duration(run.low_s)} to {format_duration(run.high_s)})"
    )
    if claimed_s < best_s:
        return f"{claim} are less than the prediction allows, and it disagrees: {steady}, {span}."
    if claimed_s > worst_s:
        return f"{claim} are more than the prediction allows, and it disagrees: {steady}, {span}."
    return f"{claim} agree with the prediction: {steady}, {span}."


def answer_table(asked: PredictedAnswer, claimed_s: float | None = None) -> Table:
    """Days, device time, energy, CO2 and money: predicted, and the ends of the interval.

    Args:
        claimed_s: a claimed wall time, to be judged.
    """
    training, run = asked.training, asked.run
    p = run.prediction
    rows = _rows(asked)
    span = f"{100 * COVERAGE:.0f} %: {format_duration(run.low_s)} to {format_duration(run.high_s)}"
    price = training.price
    money = f", {'' if price.low == price.high else 'about '}{format_money(price.median * run.gpu_hours)}" if price else ""
    gpu_days = format_grouped(run.gpu_hours / 24)
    took = f"{format_duration(run.wall_s)} predicted on {training.devices_text}"
    if run.devices_chosen:
        num_devices = p.layout.num_devices
        low, high = (format_grouped(wall_s * num_devices / DAY_S) for wall_s in (run.low_s, run.high_s))
        answer = f"{gpu_days} GPU-days of {p.hardware.id} predicted (80 %: {low} to {high}{money}); {took}"
    else:
        answer = f"{took} ({span}; {gpu_days} GPU-days{money})"
    return Table(
        title=f"Training {training.model.name} on {training.work_text}: {answer}",
        conditions=[*conditions(training), *_layout_lines(run), *training.layout_notes],
        columns=_columns(asked),
        rows=rows,
        notes=_notes(asked, claimed_s),
        facts=facts(asked),
        key="training",
        kind="estimated",
    )


def goodput_table(asked: PredictedAnswer) -> Table:
    """What each published run added over its steady steps, and what that would make of this one."""
    run = asked.run
    added = run.goodput_loss
    rows: list[dict[str, Value]] = [
        {
            "run": published.name,
            "num_devices": published.num_devices,
            "effective_fraction": published.effective_fraction,
            "bound": "at least" if published.at_least else "",
            "added_fraction": published.added_fraction,
            **figures(asked, run.wall_s * (1 + published.added_fraction)),
            "source": str(published.source),
        }
        for published in added.runs
    ]
    span = f"{format_fraction(added.low, 2)} to {format_fraction(added.high, 2)}"
    return Table(
        title=f"What {len(added.runs)} runs say that they lost beside their steps: {span} more",
        conditions=[
            'restarts, lost work, evaluation, checkpoints, waiting for machines; of the figures above, "plan with" alone holds them'
        ],
        columns=[
            Column(key="run", header="published run"),
            Column(key="num_devices", header="GPUs", format=format_int, align="right", kind="published"),
            Column(key="bound", header=""),
            Column(key="effective_fraction", header="effective", format=format_fraction, align="right", kind="published"),
            Column(key="added_fraction", header="adds", format=lambda share: format_fraction(share, 2), align="right"),
            Column(key="wall_days", header="would take", format=format_days, align="right"),
            Column(key="gpu_hours", header="GPU-hours", format=format_grouped, align="right"),
            Column(key="cost_usd_median", header="cost", format=format_money, align="right"),
            Column(key="source", header="source", raw=True),
        ],
        rows=rows,
        notes=["effective: time in steps that counted, of the whole; csv and json have each source."],
        key="allowance",
        kind="estimated",
    )
