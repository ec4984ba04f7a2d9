"""What else a plan is asked: days against devices, one change, the model that a budget is best spent on."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.facts.prices import PriceRange
from estimators.training.layouts.answer import Plans, Run
from estimators.training.layouts.scaling import WORTH_DOUBLING, Point
from estimators.training.layouts.sizing import BESIROGLU, Sizing
from estimators.training.layouts.what_if import WhatIf
from estimators.training.step import TUNING_PARTS
from estimators.units import (
    DAY_S,
    HOUR_S,
    format_bytes,
    format_count,
    format_days,
    format_duration,
    format_flop,
    format_grouped,
    format_int,
    format_money,
    format_rate,
    format_signed_duration,
    format_signed_fraction,
)
from reports.table import Column, Table, Value


def scaling_table(points: Sequence[Point], price: PriceRange | None, deadline_s: float | None = None) -> Table:
    """Days with their interval, GPU-hours and money on 1, 2, 4 ... times as many devices."""
    rows: list[dict[str, Value]] = []
    for point in points:
        hours = point.run_s * point.num_devices / HOUR_S if point.run_s is not None else None
        rows.append(
            {
                "num_devices": point.num_devices,
                "layout": str(point.plan.best.layout) if point.plan else None,
                "run_days": _in_days(point.run_s),
                "days_low": _in_days(point.low_s),
                "days_high": _in_days(point.high_s),
                "speedup_ratio": point.gain,
                "gpu_hours": hours,
                "cost_usd": price.median * hours if price and hours is not None else None,
                "remark": point.reason or (None if point.pays in (None, True) else "does not pay"),
            }
        )
    stops = next((point for point in points if point.pays is False), None)
    said = (
        f"Beyond {format_int(stops.num_devices // 2)} GPUs a doubling buys less than {WORTH_DOUBLING:g}x."
        if stops
        else f"Every doubling up to {format_int(points[-1].num_devices)} GPUs buys at least {WORTH_DOUBLING:g}x."
    )
    device = next((point.plan.job.hardware.id for point in points if point.plan), "")
    return Table(
        title=f"Days against GPUs of {device}, the best layout on each number",
        conditions=["global batch held; each number of GPUs is planned afresh"],
        columns=[
            Column(key="num_devices", header="GPUs", format=format_int, align="right"),
            Column(key="layout", header="layout"),
            Column(key="run_days", header="time", format=format_days, align="right"),
            Column(key="days_low", header="80 %, from", format=format_days, align="right"),
            Column(key="days_high", header="to", format=format_days, align="right"),
            Column(key="speedup_ratio", header="against half", format=lambda gain: f"{gain:.2f}x", align="right"),
            Column(key="gpu_hours", header="GPU-hours", format=format_grouped, align="right"),
            Column(key="cost_usd", header="cost", format=format_money, align="right"),
            Column(key="remark", header="", raw=not any(row["remark"] for row in rows)),
        ],
        rows=rows,
        notes=[said],
        facts={"scaling_stops_at_num_devices": stops.num_devices if stops else None, "deadline_days": _in_days(deadline_s)},
        key="scaling",
        kind="estimated",
    )


def _in_days(seconds: float | None) -> float | None:
    return None if seconds is None else seconds / DAY_S


def run_text(before: Run, after: Run) -> str:
    """Days and money of the whole run before and after a change."""
    days = f"{format_duration(before.run_s)} to {format_duration(after.run_s)}"
    if before.cost_usd is None or after.cost_usd is None:
        return days
    return f"{days}, {format_money(before.cost_usd)} to {format_money(after.cost_usd)}"


def what_if_table(change: WhatIf, before_run: Run | None, after_run: Run | None) -> Table:
    """Each part of the step before and after a change.

    Args:
        before_run, after_run: of the whole training; None where nobody said how long it is.
    """
    before, after = change.before, change.after
    parts = {name: (before.ledger.parts.get(name, 0.0), after.ledger.parts.get(name, 0.0)) for name in TUNING_PARTS}
    rows = [_change_row(TUNING_PARTS[name], float(old), float(new)) for name, (old, new) in parts.items() if old or new]
    rows.append(_change_row("whole step", before.step_time_s, after.step_time_s))
    held = f"{format_bytes(change.before_bytes)} to {format_bytes(change.after_bytes)} of {format_bytes(change.capacity_bytes)}"
    fits = "fits" if change.fits else f"does not fit, by {format_bytes(change.after_needed_bytes - change.capacity_bytes)}"
    per_device = after.tokens_per_s_per_device / before.tokens_per_s_per_device - 1
    whole = after.tokens_per_step / after.step_time_s / (before.tokens_per_step / before.step_time_s) - 1
    return Table(
        title=f"What if {change.change}: a step takes {format_signed_fraction(after.step_time_s / before.step_time_s - 1)}",
        conditions=[f"before: {before.layout}", f"after: {after.layout}", *([change.note] if change.note else [])],
        columns=[
            Column(key="part", header="part"),
            Column(key="before_s", header="before", format=format_duration, align="right"),
            Column(key="after_s", header="after", format=format_duration, align="right"),
            Column(key="change_s", header="change", format=format_signed_duration, align="right"),
        ],
        rows=rows,
        notes=[
            f"tokens/s of one GPU: {format_rate(before.tokens_per_s_per_device)} to {format_rate(after.tokens_per_s_per_device)} "
            f"({format_signed_fraction(per_device)}); of all: {format_signed_fraction(whole)}",
            f"memory: {held}: {fits}",
            *([f"run: {run_text(before_run, after_run)}, steady steps alone."] if before_run and after_run else []),
        ],
        facts={
            "before_step_time_s": before.step_time_s,
            "after_step_time_s": after.step_time_s,
            "after_memory_bytes": change.after_bytes,
            "after_fits": change.fits,
            **(_run_facts("before", before_run) if before_run else {}),
            **(_run_facts("after", after_run) if after_run else {}),
        },
        key="what_if",
        kind="estimated",
    )


def _run_facts(when: str, run: Run) -> dict[str, float | None]:
    return {f"{when}_run_s": run.run_s, f"{when}_cost_usd": run.cost_usd}


def _change_row(name: str, before: float, after: float) -> dict[str, Value]:
    return {"part": name, "before_s": before, "after_s": after, "change_s": after - before or None}


def sizing_table(sizings: Sequence[Sizing], flop: float, said: str) -> Table:
    """Model and tokens that a budget is best spent on."""
    return Table(
        title=f"The model that {format_flop(flop)} are best spent on: {format_count(sizings[0].params)} parameters, "
        f"{format_count(sizings[0].tokens)} tokens",
        conditions=[f"budget: {said}", "6 FLOP per parameter and token"],
        columns=[
            Column(key="name", header="by"),
            Column(key="params", header="parameters", format=format_count, align="right"),
            Column(key="tokens", header="tokens", format=format_count, align="right"),
            Column(key="tokens_per_param", header="per parameter", format=lambda ratio: f"{ratio:.1f}", align="right"),
            Column(key="loss_nats", header="loss", format=lambda loss: f"{loss:.3f}", align="right"),
            Column(key="source", header="source"),
        ],
        rows=[
            {
                "name": sizing.name,
                "params": sizing.params,
                "tokens": sizing.tokens,
                "tokens_per_param": sizing.tokens / sizing.params,
                "loss_nats": sizing.loss,
                "source": sizing.source,
            }
            for sizing in sizings
        ],
        notes=[
            f"loss: nats per token under {BESIROGLU.name}, on Hoffmann's data and tokenizer: for comparing rows, no forecast of yours.",
            "Compute-optimal for training alone: a model that serves many tokens is better smaller and trained longer.",
        ],
        facts={"budget_flop": flop},
        key="sizing",
        kind="estimated",
    )


def best_spent_table(answer: Plans) -> Table:
    """Model and tokens that the compute of a budget, or of the planned training, is best spent on."""
    spent, job, days = answer.best_spent, answer.best.job, answer.question.budget_gpu_days
    assert spent is not None
    params = format_count(spent.params)
    if spent.params < job.work.params:
        params += f" of {format_count(job.work.params)}"
    if days is None:
        budget = f"{params} parameters on {format_count(spent.tokens)} tokens, as planned"
    else:
        rate = f"{answer.best.best.prediction.tokens_per_s_per_device:.4g} tokens/s of {params} parameters"
        budget = f"{format_int(days)} GPU-days of {job.hardware.id} at this plan's {rate}"
    return sizing_table(spent.sizings, spent.flop, budget)
