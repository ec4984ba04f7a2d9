"""A training question the other way round: tokens for a budget, devices for a deadline."""

from __future__ import annotations

import math

from estimators.training.at_utilization import devices_for_deadline, tokens_for_budget
from estimators.units import (
    DAY_S,
    HOUR_S,
    format_count,
    format_days,
    format_duration,
    format_fraction,
    format_grouped,
    format_int,
    format_money,
)
from reports.table import Column, Table, Value
from reports.views.training.predicted import PredictedStudy, figures
from reports.views.training.study import Study, conditions

TOKENS_PER_PARAM = 20
"""What Hoffmann et al. 2022 (arXiv 2203.15556) find compute-optimal, rounded: table 3 has 20.0 to 22.4."""


def predicted_deadline_table(asked: PredictedStudy, deadline_s: float) -> Table:
    """The fewest devices whose best layout is predicted to finish within the deadline."""
    study, run = asked.study, asked.run
    p = run.prediction
    num_devices, per_node = p.layout.num_devices, p.hardware.devices_per_node
    late = f"Allow for it: the upper end of the 80 % interval takes {format_duration(run.high_s)}." if run.high_s > deadline_s else ""
    return Table(
        title=f"{study.model.name} on {study.work_text} within {format_duration(deadline_s)}: {num_devices:,} x {p.hardware.id}",
        conditions=["the numbers that people rent are planned, smallest first: powers of two up to a node, then nodes by 2^k and 3·2^k"],
        columns=[
            Column(key="num_devices", header="GPUs", format=format_int, align="right"),
            Column(key="num_nodes", header="nodes", format=format_int, align="right"),
            Column(key="mfu_full_fraction", header="MFU", format=format_fraction, align="right"),
            Column(key="wall_days", header="wall time", format=format_days, align="right"),
            Column(key="gpu_days", header="GPU-days", format=format_grouped, align="right"),
            Column(key="cost_usd_median", header="cost at the median price", format=format_money, align="right"),
            Column(key="layout", header="layout"),
        ],
        rows=[
            {
                "num_devices": num_devices,
                "num_nodes": math.ceil(num_devices / per_node) if per_node else None,
                "mfu_full_fraction": p.utilization("full"),
                **figures(asked, run.wall_s),
                "layout": str(p.layout),
            }
        ],
        notes=[late] if late else [],
        facts={"deadline_s": deadline_s, "deadline_num_devices": num_devices},
        key="deadline",
    )


def deadline_table(study: Study, deadline_s: float) -> Table:
    """How many devices finish within the deadline at the study's utilisations, and what they cost."""
    assert study.hardware is not None
    rows: list[dict[str, Value]] = []
    for run, label in zip(study.runs, study.labels, strict=True):
        needed = devices_for_deadline(
            study.model,
            tokens=study.tokens,
            seq_len=study.seq_len,
            hardware=study.hardware,
            wall_s=deadline_s,
            utilization=run.utilization,
            dtype=study.dtype,
            counted_as=study.convention,
        )
        rows.append(
            {
                "scenario": label,
                "utilization_fraction": run.utilization,
                "num_devices": needed,
                "num_nodes": math.ceil(needed / study.hardware.devices_per_node) if study.hardware.devices_per_node else None,
                "wall_days": run.gpu_seconds / needed / DAY_S,
                "cost_usd": study.price.median * run.gpu_hours if study.price else None,
            }
        )
    middle = rows[study.middle]
    about = "about " if len(rows) > 1 else ""
    answer = f"{about}{middle['num_devices']:,} x {study.hardware.id}"
    return Table(
        title=f"{study.model.name} on {study.work_text} within {format_duration(deadline_s)}: {answer}",
        conditions=conditions(study),
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
        facts={"deadline_s": deadline_s, "deadline_num_devices": middle["num_devices"]},
        key="deadline",
    )


def _budget_gpu_seconds(study: Study, budget_usd: int | None, budget_gpu_days: int | None) -> list[tuple[str, float]]:
    """Device time that the budget buys: as given, or at the high, median and low price."""
    if budget_gpu_days is not None:
        return [(f"{format_int(budget_gpu_days)} GPU-days", float(budget_gpu_days * DAY_S))]
    if study.price is None:
        return []
    assert budget_usd is not None
    prices = dict.fromkeys((study.price.high, study.price.median, study.price.low))
    return [(f"{format_money(budget_usd)} at ${price:.2f}", budget_usd / price * HOUR_S) for price in prices]


def budget_table(study: Study, *, budget_usd: int | None, budget_gpu_days: int | None) -> Table:
    """How many tokens fit into a budget of device time or money, at each utilisation and price."""
    assert study.hardware is not None
    rows: list[dict[str, Value]] = []
    budgets = _budget_gpu_seconds(study, None, budget_gpu_days) if budget_gpu_days is not None else []
    budgets += _budget_gpu_seconds(study, budget_usd, None) if budget_usd is not None else []
    for text, gpu_seconds in budgets:
        for run, label in zip(study.runs, study.labels, strict=True):
            tokens = tokens_for_budget(
                study.model,
                seq_len=study.seq_len,
                hardware=study.hardware,
                gpu_seconds=gpu_seconds,
                utilization=run.utilization,
                dtype=study.dtype,
                counted_as=study.convention,
            )
            rows.append(
                {
                    "budget": text,
                    "scenario": label,
                    "utilization_fraction": run.utilization,
                    "gpu_days": gpu_seconds / DAY_S,
                    "tokens": tokens,
                    "tokens_per_param": tokens / study.params,
                    "wall_days": gpu_seconds / study.num_devices / DAY_S if study.num_devices else None,
                }
            )
    middle = rows[len(rows) // 2] if rows else {}
    answer = f"about {format_count(int(str(middle['tokens'])))} {study.item}s" if rows else "no answer"
    notes = [f"{TOKENS_PER_PARAM} {study.item}s per parameter are about compute-optimal: Hoffmann et al. 2022 (arXiv 2203.15556), table 3."]
    if budget_usd is not None and study.price is None:
        notes.insert(0, f"{study.price_reason}.")
    if study.num_devices:
        notes.append(f"wall time: on {study.devices_text}.")
    spent = " or ".join(dict.fromkeys(str(row["budget"]).split(" at ")[0] for row in rows))
    return Table(
        title=f"What {study.model.name} can be trained on for {spent}: {answer}",
        conditions=conditions(study, work=False),
        columns=[
            Column(key="budget", header="budget", once=True),
            *([Column(key="scenario", header="")] if len(study.runs) > 1 else []),
            Column(key="utilization_fraction", header="util.", format=format_fraction, align="right"),
            Column(key="gpu_days", header="GPU-days", format=format_grouped, align="right"),
            Column(key="tokens", header=f"{study.item}s", format=format_count, align="right"),
            Column(key="tokens_per_param", header="per parameter", format=format_grouped, align="right"),
            Column(key="wall_days", header="wall time", format=format_days, align="right"),
        ],
        rows=rows,
        notes=notes,
        facts={"budget_tokens": middle.get("tokens"), "budget_usd": budget_usd, "budget_gpu_days": budget_gpu_days},
        key="budget",
    )
