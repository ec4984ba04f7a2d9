"""A training question the other way round: tokens for a budget, devices for a deadline."""

from __future__ import annotations

import math

from estimators.training.answer import PredictedAnswer
from estimators.training.inverse import Budget, Inverse, TrainingEstimate
from estimators.units import (
    DAY_S,
    format_count,
    format_days,
    format_duration,
    format_fraction,
    format_grouped,
    format_int,
    format_money,
)
from reports.table import Column, Table, Value
from reports.views.training.conditions import conditions, device_lines
from reports.views.training.predicted import figures

TOKENS_PER_PARAM = 20
"""What Hoffmann et al. 2022 (arXiv 2203.15556) find compute-optimal, rounded: table 3 has 20.0 to 22.4."""


def predicted_deadline_table(asked: PredictedAnswer, deadline_s: float) -> Table:
    """The fewest devices whose best layout is predicted to finish within the deadline."""
    training, run = asked.training, asked.run
    p = run.prediction
    num_devices, per_node = p.layout.num_devices, p.hardware.devices_per_node
    late = f"Allow for it: the upper end of the 80 % interval takes {format_duration(run.high_s)}." if run.high_s > deadline_s else ""
    return Table(
        title=f"{training.model.name} on {training.work_text} within {format_duration(deadline_s)}: {num_devices:,} x {p.hardware.id}",
        conditions=[
            "the numbers that people rent are planned, smallest first: powers of two up to a node, then nodes by 2^k and 3·2^k",
            *device_lines([p.hardware]),
        ],
        columns=[
            Column(key="num_devices", header="GPUs", format=format_int, align="right"),
            Column(key="num_nodes", header="nodes", format=format_int, align="right"),
            Column(key="mfu_fraction", header="MFU", format=format_fraction, align="right"),
            Column(key="wall_days", header="wall time", format=format_days, align="right"),
            Column(key="gpu_days", header="GPU-days", format=format_grouped, align="right"),
            Column(key="cost_usd_median", header="cost at the median price", format=format_money, align="right"),
            Column(key="layout", header="layout"),
        ],
        rows=[
            {
                "num_devices": num_devices,
                "num_nodes": math.ceil(num_devices / per_node) if per_node else None,
                "mfu_fraction": p.mfu,
                **figures(asked, run.wall_s),
                "layout": str(p.layout),
            }
        ],
        notes=[late] if late else [],
        facts={"deadline_s": deadline_s, "deadline_num_devices": num_devices},
        key="deadline",
        kind="estimated",
    )


def deadline_table(answer: TrainingEstimate) -> Table:
    """How many devices finish within the deadline at each utilization, and what they cost."""
    training, deadline_s = answer.training, answer.inverse.deadline_s
    assert training.hardware is not None
    assert deadline_s is not None
    per_node = training.hardware.devices_per_node
    rows: list[dict[str, Value]] = [
        {
            "scenario": label,
            "utilization_fraction": run.utilization,
            "num_devices": needed,
            "num_nodes": math.ceil(needed / per_node) if per_node else None,
            "wall_days": run.gpu_seconds / needed / DAY_S,
            "cost_usd": training.price.median * run.gpu_hours if training.price else None,
        }
        for needed, run, label in zip(answer.deadline_num_devices, training.runs, training.labels, strict=True)
    ]
    middle = answer.deadline_num_devices[training.middle]
    about = "about " if len(rows) > 1 else ""
    devices = f"{about}{middle:,} x {training.hardware.id}"
    return Table(
        title=f"{training.model.name} on {training.work_text} within {format_duration(deadline_s)}: {devices}",
        conditions=conditions(training),
        columns=[
            *([Column(key="scenario", header="")] if len(rows) > 1 else []),
            Column(key="utilization_fraction", header="util.", format=format_fraction, align="right"),
            Column(key="num_devices", header="GPUs", format=format_int, align="right"),
            Column(key="num_nodes", header="nodes", format=format_int, align="right"),
            Column(key="wall_days", header="wall time", format=format_days, align="right"),
            Column(key="cost_usd", header="cost at the median price", format=format_money, align="right"),
        ],
        rows=rows,
        notes=["The same utilization is assumed on any number of devices; in truth it falls as they grow in number and each does less."],
        facts={"deadline_s": deadline_s, "deadline_num_devices": middle},
        key="deadline",
        kind="estimated",
    )


def budget_table(answer: TrainingEstimate) -> Table:
    """How many tokens fit into a budget of device time or money, at each utilization and price."""
    training, budget_usd, budget_gpu_days = answer.training, answer.inverse.budget_usd, answer.inverse.budget_gpu_days
    rows: list[dict[str, Value]] = [
        {
            "budget": _budget_text(budget, answer.inverse),
            "scenario": label,
            "utilization_fraction": run.utilization,
            "gpu_days": budget.gpu_seconds / DAY_S,
            "tokens": tokens,
            "tokens_per_param": tokens / training.params,
            "wall_days": budget.gpu_seconds / training.num_devices / DAY_S if training.num_devices else None,
        }
        for budget in answer.budgets
        for tokens, run, label in zip(budget.tokens, training.runs, training.labels, strict=True)
    ]
    middle = rows[len(rows) // 2] if rows else {}
    tokens_text = f"about {format_count(int(str(middle['tokens'])))} {training.item}s" if rows else "no answer"
    optimal = f"{TOKENS_PER_PARAM} {training.item}s per parameter are about compute-optimal"
    notes = [f"{optimal}: Hoffmann et al. 2022 (arXiv 2203.15556), table 3."]
    if budget_usd is not None and training.price is None:
        notes.insert(0, f"{training.price_reason}.")
    if training.num_devices:
        notes.append(f"wall time: on {training.devices_text}.")
    spent = " or ".join(dict.fromkeys(str(row["budget"]).split(" at ")[0] for row in rows))
    return Table(
        title=f"What {training.model.name} can be trained on for {spent}: {tokens_text}",
        conditions=conditions(training, work=False),
        columns=[
            Column(key="budget", header="budget", once=True),
            *([Column(key="scenario", header="")] if len(training.runs) > 1 else []),
            Column(key="utilization_fraction", header="util.", format=format_fraction, align="right"),
            Column(key="gpu_days", header="GPU-days", format=format_grouped, align="right"),
            Column(key="tokens", header=f"{training.item}s", format=format_count, align="right"),
            Column(key="tokens_per_param", header="per parameter", format=format_grouped, align="right"),
            Column(key="wall_days", header="wall time", format=format_days, align="right"),
        ],
        rows=rows,
        notes=notes,
        facts={"budget_tokens": middle.get("tokens"), "budget_usd": budget_usd, "budget_gpu_days": budget_gpu_days},
        key="budget",
        kind="estimated",
    )


def _budget_text(budget: Budget, inverse: Inverse) -> str:
    if budget.usd_per_gpu_hour is None:
        assert inverse.budget_gpu_days is not None
        return f"{format_int(inverse.budget_gpu_days)} GPU-days"
    assert inverse.budget_usd is not None
    return f"{format_money(inverse.budget_usd)} at ${budget.usd_per_gpu_hour:.2f}"
