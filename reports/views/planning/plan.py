"""A plan: what it takes on each kind of device, the layouts that were ranked, and where the seconds of the best one go."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.facts.prices import PriceRange
from estimators.spec import Workload
from estimators.training.layouts.answer import Choice, Plans
from estimators.training.layouts.planned import Option, Plan
from estimators.units import (
    DAY_S,
    format_bytes,
    format_count,
    format_days,
    format_duration,
    format_fraction,
    format_grouped,
    format_int,
    format_money,
    format_rate,
)
from reports.table import Column, Table, Value
from reports.views.planning.marks import BEATEN_BY, with_beaten
from reports.views.planning.plan_questions import best_spent_table, scaling_table, what_if_table
from reports.views.training import track_record
from reports.views.training.conditions import device_lines, length_source, scope_lines
from reports.views.training.step_ledger import plan_ledger_table
from reports.views.training.tuning_job import job_lines

STEADY = "Steady steps alone: restarts, evaluation and checkpoints come on top."


def plan_tables(answer: Plans) -> list[Table]:
    """Every table of the answer: the kinds of device, the plan to take and where its seconds go, and what else was asked."""
    question, best, price = answer.question, answer.best, answer.choices[0].price
    tables = []
    if len(answer.choices) > 1 and question.tokens is not None:
        tables.append(choices_table(answer.choices, question.tokens))
    tables.append(
        plan_table(
            best,
            question.tokens,
            price,
            seq_len_source=question.seq_len_source,
            batch_source=answer.batch_source,
            own=answer.own,
            own_notes=answer.own_notes,
        )
    )
    tables.append(plan_ledger_table(best.best.prediction))
    if answer.points:
        tables.append(scaling_table(answer.points, price, question.deadline_s))
    if answer.changed is not None:
        tables.append(what_if_table(answer.changed, answer.run_of(answer.changed.before), answer.run_of(answer.changed.after)))
    if answer.best_spent is not None:
        tables.append(best_spent_table(answer))
    return tables


def choices_table(choices: Sequence[Choice], tokens: int) -> Table:
    """One row per kind of device."""
    convention = _convention([choice.answer.best for choice in choices if choice.answer is not None])
    rows = with_beaten([_choice_row(choice, tokens, convention) for choice in choices], time="run_days", cost="cost_usd")
    first = choices[0].answer
    assert first is not None
    return Table(
        title=(
            f"{first.job.trained.name} on {format_count(tokens)} tokens in sequences of {first.job.seq_len:,}, by device: "
            f"{choices[0].hardware.id} is the one to take"
        ),
        columns=[
            Column(key="hardware", header="device"),
            Column(key="num_devices", header="GPUs", format=format_int, align="right"),
            Column(key="layout", header="layout"),
            _mfu_column(convention),
            Column(key="tokens_per_s_per_device", header="tokens/s/GPU", format=format_rate, align="right"),
            Column(key="run_days", header="time", format=format_days, align="right"),
            Column(key="gpu_hours", header="GPU-hours", format=format_grouped, align="right"),
            Column(key="cost_usd", header="cost", format=format_money, align="right"),
            *track_record.COLUMNS,
            BEATEN_BY,
            Column(key="reason", header="", raw=not any(choice.reason for choice in choices)),
        ],
        rows=rows,
        notes=[STEADY, "cost: at the median quote, no discount.", *device_lines(choice.hardware for choice in choices)],
        key="devices",
        kind="estimated",
    )


def _choice_row(choice: Choice, tokens: int, convention: str) -> dict[str, Value]:
    if choice.answer is None:
        return {"hardware": choice.hardware.id, "reason": choice.reason}
    best, hours = choice.answer.best.prediction, choice.answer.gpu_hours(tokens)
    return {
        "hardware": choice.hardware.id,
        "num_devices": choice.answer.num_devices,
        "layout": str(best.layout),
        "mfu_fraction": best.utilization(convention),
        "tokens_per_s_per_device": best.tokens_per_s_per_device,
        "run_days": choice.answer.run_s(tokens) / DAY_S,
        "gpu_hours": hours,
        "cost_usd": choice.price.median * hours if choice.price else None,
        **track_record.cells("device", choice.hardware.id),
        "reason": None,
    }


def plan_table(
    plan: Plan,
    tokens: int | None,
    price: PriceRange | None,
    *,
    seq_len_source: str,
    batch_source: str,
    own: Option | None = None,
    own_notes: Sequence[str] = (),
) -> Table:
    """The ranked layouts, each with why it lost; the user's own last."""
    best = plan.best.prediction
    options = [(f"{rank}", option) for rank, option in enumerate(plan.options, 1)] + ([("yours", own)] if own is not None else [])
    convention = _convention([option for _, option in options])
    rows = [_option_row(rank, option, plan, tokens, convention) for rank, option in options]
    run = "" if tokens is None else f": {format_duration(plan.run_s(tokens))}"
    of = f"{'one step' if tokens is None else f'{format_count(tokens)} tokens'} in sequences of {format_int(plan.job.seq_len)}"
    return Table(
        title=f"{plan.job.trained.name}, {of} on {plan.num_devices:,} x {plan.job.hardware.id}{run} with {best.layout}",
        conditions=[*_conditions(plan, seq_len_source, batch_source), *own_notes],
        columns=[
            Column(key="rank", header=""),
            Column(key="layout", header="layout"),
            Column(key="step_time_s", header="step", format=format_duration, align="right"),
            *([Column(key="run_days", header="run", format=format_days, align="right")] if tokens is not None else []),
            _mfu_column(convention),
            Column(key="tokens_per_s_per_device", header="tokens/s/GPU", format=format_rate, align="right"),
            Column(key="memory_bytes", header="memory", format=format_bytes, align="right"),
            Column(key="why", header="why it loses", raw=True),
        ],
        rows=rows,
        notes=[
            *track_record.doubts(best),
            *lost_reasons(plan, own),
            *_run_lines(plan, tokens, price),
            *own_lines(plan, tokens, own),
            *_search_lines(plan),
        ],
        facts=_facts(plan, tokens, price, own),
        key="plan",
        kind="estimated",
    )


def _convention(options: Sequence[Option]) -> str:
    """What the MFU of all of them counts: `full`, unless that overstates one."""
    return "causal" if any(option.prediction.convention == "causal" for option in options) else "full"


def _mfu_column(convention: str) -> Column:
    header = "MFU" if convention == "full" else f"MFU ({convention})"
    return Column(key="mfu_fraction", header=header, format=format_fraction, align="right")


def _conditions(plan: Plan, seq_len_source: str, batch_source: str) -> list[str]:
    job, best = plan.job, plan.best.prediction
    return [
        *scope_lines(job.trained, Workload(phase="train", seq_len=job.seq_len)),
        *(job_lines(best.tuning) if best.tuning else []),
        f"{job.dtype}, {best.stack.name}, {job.optimizer}; sequences of {format_int(job.seq_len)} tokens{length_source(seq_len_source)}",
        f"global batch: {format_int(plan.global_batch)} sequences, {format_count(best.tokens_per_step)} tokens ({batch_source})",
        *device_lines([job.hardware]),
        track_record.line(best),
        *best.notes,
    ]


def _option_row(rank: str, option: Option, plan: Plan, tokens: int | None, convention: str) -> dict[str, Value]:
    step = option.prediction.step_time_s
    return {
        "rank": rank,
        "layout": str(option.layout),
        "step_time_s": step,
        "run_days": plan.run_s(tokens, step) / DAY_S if tokens is not None else None,
        "mfu_fraction": option.prediction.utilization(convention),
        "tokens_per_s_per_device": option.prediction.tokens_per_s_per_device,
        "memory_bytes": option.memory_bytes,
        "why": option.why or None,
    }


def lost_reasons(plan: Plan, own: Option | None) -> list[str]:
    """One line per layout that lost."""
    ranked = [(f"{rank}", option) for rank, option in enumerate(plan.options, 1)][1:] + ([("yours", own)] if own is not None else [])
    best = plan.best.prediction.step_time_s
    return [
        f"{rank} loses {format_duration(slower.prediction.step_time_s - best)} a step: {slower.why}"
        for rank, slower in ranked
        if slower.why
    ]


def _run_lines(plan: Plan, tokens: int | None, price: PriceRange | None) -> list[str]:
    best = plan.best.prediction
    if tokens is None:
        return [f"80 % interval of the step: {format_duration(best.low_s)} to {format_duration(best.high_s)}. Add --tokens for a run."]
    low, high = plan.run_s(tokens, best.low_s), plan.run_s(tokens, best.high_s)
    hours = plan.gpu_hours(tokens)
    lines = [f"80 % interval: {format_duration(low)} to {format_duration(high)}; {format_grouped(hours)} GPU-hours. {STEADY}"]
    if price is not None:
        between = f"{format_money(price.low * hours)} to {format_money(price.high * hours)}"
        lines.append(f"cost: {format_money(price.median * hours)} at the median, {between} ({price.source})")
    return lines


def own_lines(plan: Plan, tokens: int | None, own: Option | None) -> list[str]:
    """What it costs to use the user's layout."""
    if own is None:
        return []
    more = own.prediction.step_time_s / plan.best.prediction.step_time_s - 1
    longer_s = 0.0 if tokens is None else plan.run_s(tokens, own.prediction.step_time_s) - plan.run_s(tokens)
    run = "" if tokens is None else f": {format_duration(longer_s)} more for the run"
    said = [f"Your layout takes {format_fraction(more)} longer than the first{run}."] if more > 0 else ["No layout beats yours."]
    if own.in_margin:
        held = own.memory_bytes / plan.job.capacity_bytes
        said.append(f"It fills {format_fraction(held)} of a device's memory, more than the layouts above may (--memory-margin).")
    return said


def _search_lines(plan: Plan) -> list[str]:
    lines = [
        f"{format_int(plan.num_legal)} layouts are legal, {format_int(plan.num_fitting)} fit into {format_bytes(plan.capacity_bytes)}, "
        f"{format_fraction(1 - plan.job.margin)} of a device (--memory-margin); one per way of cutting the model is shown."
    ]
    if plan.too_large is not None:
        layout, seconds, needed = plan.too_large
        lines.append(
            f"The fastest of all, {layout}, would take {format_duration(seconds)} a step but needs {format_bytes(needed)}, "
            f"{format_bytes(needed - plan.capacity_bytes)} too much."
        )
    return lines


def _facts(plan: Plan, tokens: int | None, price: PriceRange | None, own: Option | None) -> dict[str, Value]:
    best = plan.best
    facts: dict[str, Value] = {
        "model": plan.job.trained.name,
        "hardware": plan.job.hardware.id,
        "num_devices": plan.num_devices,
        "global_batch": plan.global_batch,
        "layout": str(best.layout),
        "step_time_s": best.prediction.step_time_s,
        "mfu_fraction": best.prediction.mfu,
        "mfu_convention": best.prediction.convention,
        "low_s": best.prediction.low_s,
        "high_s": best.prediction.high_s,
        "memory_bytes": best.memory_bytes,
        "num_legal": plan.num_legal,
        "num_fitting": plan.num_fitting,
        **({"framework": best.prediction.tuning.recipe.id} if best.prediction.tuning else {}),
        **track_record.facts(best.prediction),
    }
    if own is not None:
        facts["own_step_time_s"] = own.prediction.step_time_s
    if tokens is not None:
        facts |= {"tokens": tokens, "run_s": plan.run_s(tokens), "gpu_hours": plan.gpu_hours(tokens), "gpu_days": plan.gpu_days(tokens)}
        facts["cost_usd"] = price.median * plan.gpu_hours(tokens) if price else None
    return facts
