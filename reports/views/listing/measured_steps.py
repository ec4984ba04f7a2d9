"""What predicted steps rest on: generations of training software, and the tables of measured steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from estimators.cost.software import Stack
from estimators.errors import BadValueError
from estimators.units import format_int
from estimators.validation.case import measured_step
from estimators.validation.groups import group_of
from estimators.validation.inference_case import source_of as inference_source
from estimators.validation.loss_kernels import SMALLEST, scored_kernels
from estimators.validation.rollouts import scored_rollout
from estimators.validation.serving_rows import serving_row
from estimators.validation.table import (
    INFERENCE,
    KERNELS,
    ROLLOUTS,
    SERVING,
    TUNING,
    LeftOutError,
    Record,
    read_table,
    shipped,
    shipped_kernels,
    shipped_rollouts,
    shipped_serving,
    shipped_tuning,
)
from estimators.validation.tuning_time import scored_step, source_of
from reports.table import Column, Table, Value
from reports.views.training import track_record


def software_table(stacks: Sequence[Stack], *, default: str) -> Table:
    """Every generation of software with the facts that set its times apart."""
    rows: list[dict[str, Value]] = [
        {
            "software": stack.id,
            "name": stack.name,
            "attention": stack.attention,
            "traffic": stack.traffic,
            "launches_per_layer": stack.launches_per_layer,
            "gradient_bytes": stack.gradient_bytes,
            "accumulate_bytes": stack.accumulate_bytes,
            "overlaps_tensor": stack.overlaps_tensor,
            "overlaps_data": stack.overlaps_data,
            "flat_rings": stack.flat_rings,
            **track_record.cells("software", stack.id),
            "note": stack.note,
        }
        for stack in stacks
    ]
    return Table(
        title=f"{len(rows)} generations of training software; {default} where none is named",
        columns=[
            Column(key="software", header="software"),
            Column(key="name", header="what it is"),
            Column(key="attention", header="attention"),
            Column(key="traffic", header="element-wise"),
            Column(key="launches_per_layer", header="launches", format=lambda count: f"{count:g}", align="right"),
            Column(key="gradient_bytes", header="gradient B", format=lambda size: f"{size:g}", align="right"),
            Column(key="accumulate_bytes", header="accumulate B", format=lambda size: f"{size:g}", align="right", raw=True),
            Column(key="overlaps_tensor", header="hides tp"),
            Column(key="overlaps_data", header="hides dp"),
            Column(key="flat_rings", header="flat rings", raw=True),
            *track_record.COLUMNS,
            Column(key="note", header="source", raw=True),
        ],
        rows=rows,
        notes=[
            "attention: the kernel. element-wise: how norms and activations are run. launches: per layer, forward.",
            "gradient B: bytes per element reduced. hides: whether tensor- and data-parallel communication runs beside compute.",
            "track record: measured steps, each left out of the fit that predicted it: how many, median error, share in the interval.",
            "csv and json have the source of each.",
        ],
    )


def _outcome(record: Record) -> tuple[str, str, str]:
    """A row's group, the source that its error is pooled under, and why the row stands apart; empty where it is scored."""
    try:
        step = measured_step(record)
    except (LeftOutError, BadValueError) as reason:
        return record.text("group"), group_of(record.text("group")).source, str(reason)
    return step.group, step.source, step.apart or ("" if step.kind == "pre-training" else step.kind)


def _fine_tunings() -> list[dict[str, Value]]:
    """Every group of the shipped fine-tunings, of which steps are timed or memory is read; of loss kernels and rollout steps alike."""
    steps, kernels, rollouts = (read_table(path) for path in (shipped_tuning(), shipped_kernels(), shipped_rollouts()))
    of_kernels = [("Liger-Kernel benchmark", "liger-kernel", row.skipped) for row in scored_kernels(kernels)]
    of_rollouts = [(row.text("group"), source_of(row.text("group")), scored_rollout(row).skipped) for row in rollouts]
    return [
        *_counted(TUNING, [(row.text("group"), source_of(row.text("group")), scored_step(row).skipped) for row in steps]),
        *_counted(KERNELS, [(group, source, "" if reason == SMALLEST else reason) for group, source, reason in of_kernels]),
        *_counted(ROLLOUTS, of_rollouts),
    ]


def _served() -> list[dict[str, Value]]:
    """Every source of the shipped rows of served models."""
    serving, inference, _ = shipped_serving()
    rows = [(record.text("source"), record.text("source"), serving_row(record).skipped) for record in read_table(serving)]
    batches = [
        (record.text("group"), inference_source(record.text("group")), serving_row(record).skipped) for record in read_table(inference)
    ]
    return [*_counted(SERVING, _by_reason(rows)), *_counted(INFERENCE, _by_reason(batches))]


def _by_reason(outcomes: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Outcomes whose reasons name no row's own figures."""
    return [(group, source, "impossible" if reason.startswith("impossible") else reason) for group, source, reason in outcomes]


def _counted(table: str, outcomes: Sequence[tuple[str, str, str]]) -> list[dict[str, Value]]:
    """A line for every group of (group, source, why the row stands apart)."""
    found: list[dict[str, Value]] = []
    for group, source in dict.fromkeys((group, source) for group, source, _ in outcomes):
        apart = [reason for of, _, reason in outcomes if of == group]
        reasons = Counter(reason for reason in apart if reason)
        found.append(
            {
                "group": group,
                "table": table,
                "rows": len(apart),
                "scored": len(apart) - sum(reasons.values()),
                "source": source,
                "apart": "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common()) or None,
            }
        )
    return found


def measured_table() -> Table:
    """Every group of the shipped tables of measured steps: rows, how many are scored, and why the others stand apart."""
    by_group: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for kind, path in shipped().items():
        for record in read_table(path):
            group, source, reason = _outcome(record)
            by_group.setdefault((kind, group), []).append((source, reason))
    rows: list[dict[str, Value]] = []
    for (kind, group), outcomes in by_group.items():
        apart = Counter(reason for _, reason in outcomes if reason)
        sources = sorted({source for source, _ in outcomes if source})
        rows.append(
            {
                "group": group,
                "table": kind,
                "rows": len(outcomes),
                "scored": len(outcomes) - sum(apart.values()),
                "source": "|".join(sources) or None,
                "apart": "; ".join(f"{count} x {reason}" if len(apart) > 1 else reason for reason, count in apart.most_common()) or None,
            }
        )
    rows += [*_fine_tunings(), *_served()]
    total, scored = (sum(int(str(row[key])) for row in rows) for key in ("rows", "scored"))
    return Table(
        title=f"{format_int(total)} measured rows in {len(rows)} groups, of which {format_int(scored)} are predicted",
        columns=[
            Column(key="group", header="group"),
            Column(key="table", header="table"),
            Column(key="rows", header="rows", format=format_int, align="right"),
            Column(key="scored", header="counted", format=format_int, align="right"),
            Column(key="source", header="pooled as"),
            Column(key="apart", header="why others stand apart"),
        ],
        rows=rows,
        notes=["pooled as: tables of one author and machine are one source when constants are tested on what they have not seen."],
    )
