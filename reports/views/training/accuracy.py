"""Predicted against measured step times: the score on sources that no fit had seen, by group, and what is worst."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from estimators.training.step import PARTS
from estimators.units import format_bytes, format_duration, format_fraction, format_int, format_signed_fraction
from estimators.validation.compared import Compared, compared
from estimators.validation.memory_score import MemoryScore
from estimators.validation.over_count import OverCount
from estimators.validation.score import Score, Scored, score
from reports.table import Column, Table, Value
from reports.views.training.whole_runs import cells

SCALES = ((1, "1 device"), (8, "2 to 8"), (64, "9 to 64"), (512, "65 to 512"), (10**9, "more than 512"))
"""Up to so many devices, and what the group is called."""

WORST = 10

COUNTED = ("source", "rows", "stated", "refused", "refused_unsaid", "median", "most")

_SCORE = [
    Column(key="rows", header="rows", format=format_int, align="right"),
    Column(key="median_error", header="median |error|", format=format_fraction, align="right"),
    Column(key="p90_error", header="90th percentile", format=format_fraction, align="right"),
    Column(key="bias", header="bias", format=format_signed_fraction, align="right"),
    Column(key="coverage", header="interval held", format=format_fraction, align="right"),
]


def _cells(name: str, total: Score | None) -> dict[str, Value]:
    if total is None:
        return {"group": name, "rows": 0, "median_error": None, "p90_error": None, "bias": None, "coverage": None}
    return {
        "group": name,
        "rows": total.rows,
        "median_error": total.median,
        "p90_error": total.p90,
        "bias": total.bias,
        "coverage": total.coverage,
    }


def coverage_by_source(rows: Sequence[Scored]) -> float | None:
    """How often the interval held, averaged over sources; None without rows."""
    coverages = [group.coverage for source in sources(rows) if (group := score([r for r in rows if r.step and r.step.source == source]))]
    return sum(coverages) / len(coverages) if coverages else None


def sources(rows: Sequence[Scored]) -> list[str]:
    """The sources of rows that are scored, by name."""
    return sorted({row.step.source for row in rows if row.step and row.error is not None})


def summary_table(rows: Sequence[Scored], tuned: Score | None = None) -> Table:
    """The headline: pooled, and with every source weighing the same; other kinds of rows beside it.

    Args:
        tuned: of all fine-tunings, in whichever table; None without any.
    """
    headline = [row for row in rows if row.counts]
    pooled, equal, held = score(headline), score(headline, by_source=True), coverage_by_source(headline)
    apart = [row for row in rows if row.step and row.step.apart]
    balanced = [row for row in rows if row.step and row.step.kind == "forced balance" and not row.step.apart]
    lines = [
        _cells("pre-training, every row weighing the same", pooled),
        _cells("pre-training, every source weighing the same", equal),
        _cells("fine-tuning", tuned),
        _cells("experts with forced balance", score(balanced)),
        _cells("set apart: the row or its table lacks what a fair score needs", score(apart)),
    ]
    summary = {
        "rows": len(rows),
        "scored": len(headline),
        "sources": len(sources(headline)),
        "median_error": pooled and pooled.median,
        "p90_error": pooled and pooled.p90,
        "bias": pooled and pooled.bias,
        "coverage": pooled and pooled.coverage,
        "median_error_by_source": equal and equal.median,
        "p90_error_by_source": equal and equal.p90,
        "coverage_by_source": held,
    }
    return Table(
        title=f"Predicted against {format_int(len(headline))} measured steps of {len(sources(headline))} sources, each left out of the fit",
        conditions=[
            "every source is predicted by constants fitted without it; an error is predicted over measured, less one",
            "a row that does not state its layout is predicted under the one that plan chooses, and set apart",
        ],
        columns=[Column(key="group", header="rows of"), *_SCORE],
        rows=[line for line in lines if line["rows"]],
        notes=[] if held is None else [f"The 80 % interval held {format_fraction(held)} of the rows, averaged over sources."],
        facts={"summary": summary},
    )


def grouped_table(rows: Sequence[Scored], title: str, key: str, name: Callable[[Scored], str]) -> Table:
    """Scores of the headline's rows by some group."""
    groups: dict[str, list[Scored]] = {}
    for row in rows:
        if row.counts:
            groups.setdefault(name(row), []).append(row)
    lines = [_cells(group, score(groups[group])) for group in sorted(groups)]
    return Table(title=title, columns=[Column(key="group", header=key), *_SCORE], rows=lines, key=key.replace(" ", "_"))


def scale_of(row: Scored) -> str:
    """The group of a row by its number of devices."""
    assert row.step
    return next(name for limit, name in SCALES if row.step.layout.num_devices <= limit)


def memory_table(memory: MemoryScore) -> Table:
    """Predicted against measured allocated memory of the fullest rank, one line per layout. Nothing of it is fitted."""
    lines: dict[tuple[str, float], dict[str, Value]] = {}
    for row in memory.rows:
        step = row.step
        lines.setdefault(
            (step.model_name, step.measured_memory_bytes or 0.0),
            {
                "id": step.id,
                "model": step.model_name,
                "layout": str(step.layout),
                "seq_len": step.seq_len,
                "measured_memory_bytes": step.measured_memory_bytes,
                "predicted_memory_bytes": row.predicted_bytes,
                "error": row.error,
            },
        )
    return Table(
        title=f"Memory: {format_fraction(memory.median)} median, {format_fraction(memory.worst)} worst error over "
        f"{format_int(len(memory.rows))} measured peaks, {format_int(memory.distinct)} of them distinct",
        conditions=["allocated bytes of the fullest rank; rows that differ in micro-batches alone take the same"],
        columns=[
            Column(key="id", header="row"),
            Column(key="model", header="model"),
            Column(key="layout", header="layout"),
            Column(key="seq_len", header="tokens", format=format_int, align="right"),
            Column(key="measured_memory_bytes", header="measured", format=format_bytes, align="right"),
            Column(key="predicted_memory_bytes", header="predicted", format=format_bytes, align="right"),
            Column(key="error", header="error", format=format_signed_fraction, align="right"),
        ],
        rows=list(lines.values()),
        facts={"median_error": memory.median, "worst_error": memory.worst, "bias": memory.bias, "distinct": memory.distinct},
        key="memory",
    )


def over_count_table(counts: Sequence[OverCount]) -> Table:
    """Memory that is said of steps that ran, over that of their device, by source."""
    refused, stated = (sum(getattr(count, name) for count in counts) for name in ("refused", "stated"))
    return Table(
        title=f"What ran must fit: of {format_int(stated)} measured steps that say what they recompute and offload, "
        f"{format_int(refused)} would be refused",
        conditions=["need is what the fullest device is said to hold, reserve included, over its memory; nothing is fitted"],
        columns=[
            Column(key="source", header="source"),
            Column(key="rows", header="rows", format=format_int, align="right"),
            Column(key="stated", header="say it", format=format_int, align="right"),
            Column(key="refused", header="of these refused", format=format_int, align="right"),
            Column(key="refused_unsaid", header="refused that leave it unsaid", format=format_int, align="right"),
            Column(key="median", header="median need", format=format_fraction, align="right"),
            Column(key="most", header="largest need", format=format_fraction, align="right"),
        ],
        rows=[{name: getattr(count, name) for name in COUNTED} for count in counts],
        facts={"stated": stated, "refused": refused},
        key="over_count",
    )


def worst_table(rows: Sequence[Scored], limit: int = WORST) -> Table:
    """The rows that are missed by most, one per source and layout, with the largest part of the predicted step."""
    worst = sorted((row for row in rows if row.counts), key=lambda row: -abs(row.error or 0.0))[:limit]
    return Table(
        title=f"The {len(worst)} worst rows",
        columns=[
            Column(key="id", header="row"),
            Column(key="source", header="source"),
            Column(key="model", header="model"),
            Column(key="layout", header="layout"),
            Column(key="measured_step_time_s", header="measured", format=format_duration, align="right"),
            Column(key="predicted_step_time_s", header="predicted", format=format_duration, align="right"),
            Column(key="error", header="error", format=format_signed_fraction, align="right"),
            Column(key="reason", header="most of the predicted step"),
        ],
        rows=[
            _context(row)
            | {
                "measured_step_time_s": row.measured_s,
                "predicted_step_time_s": row.predicted_s,
                "error": row.error,
                "reason": PARTS.get(row.largest),
            }
            for row in worst
        ],
        key="worst",
    )


def constants_table(body: Mapping[str, Any]) -> Table:
    """The cost model's constants: prior, value, and the range over the fits that each leave one source out."""
    return Table(
        title="The constants of the cost model",
        conditions=["fitted on all sources; the range is that of the fits without one source each; a fixed constant has no range"],
        columns=[
            Column(key="name", header="constant"),
            Column(key="prior", header="prior", format=_figure, align="right"),
            Column(key="value", header="value", format=_figure, align="right"),
            Column(key="range", header="left out", align="right"),
            Column(key="unit", header="unit"),
            Column(key="meaning", header="what it is"),
            Column(key="source", header="where the prior comes from"),
        ],
        rows=[
            {
                "name": name,
                "range": " to ".join(map(_figure, c["range"])) if "range" in c else None,
                **{key: c[key] for key in ("prior", "value", "unit", "meaning", "source")},
            }
            for name, c in body["constants"].items()
        ],
        key="constants",
    )


def _figure(value: float) -> str:
    return f"{value:.3g}"


def assumed_table(rows: Sequence[Scored]) -> Table:
    """Which cells general rules put where rows leave them out, and in how many rows; the rows themselves say what."""
    cells: dict[str, list[str]] = {}
    for row in rows:
        for text in row.step.assumed if row.step and not row.skipped_reason else ():
            cells.setdefault(text.split("=")[0], []).append(text)
    filled = sum(bool(row.step and row.step.assumed and not row.skipped_reason) for row in rows)
    return Table(
        title=f"{format_int(filled)} rows were completed by rules; --strict leaves them out",
        columns=[
            Column(key="cell", header="cell"),
            Column(key="rows", header="rows", format=format_int, align="right"),
            Column(key="example", header="such as"),
        ],
        rows=[
            {"cell": cell, "rows": len(texts), "example": texts[0]} for cell, texts in sorted(cells.items(), key=lambda pair: -len(pair[1]))
        ],
        key="assumed",
    )


def rows_table(
    rows: Sequence[Scored],
    runs: Sequence[Compared] = (),
    tuning: Sequence[Compared] = (),
    kernels: Sequence[Compared] = (),
    rollouts: Sequence[Compared] = (),
) -> Table:
    """Every quantity of every row, for machines: json and csv; docs/accuracy.md has the contract."""
    keys = (
        *("id", "quantity", "predicted", "low", "high", "measured", "skipped", "line", "source", "kind", "model", "hardware"),
        *("num_devices", "layout", "assumed", "apart", "counts", "error", "fitted_step_time_s", "verdict"),
    )
    lines = [_context(row) | cells(entry) for row in rows for entry in compared(row)]
    for kind, entries in {"whole run": runs, "fine-tuning": tuning, "loss kernel": kernels, "rollout step": rollouts}.items():
        lines += [
            dict.fromkeys(keys) | cells(entry) | {"kind": kind, "assumed": entry.assumed or None, "counts": False} for entry in entries
        ]
    return Table(title="Rows", columns=[Column(key=key, header=key) for key in keys], rows=lines, key="all_rows")


def _context(row: Scored) -> dict[str, Any]:
    step = row.step
    return {
        "id": row.id,
        "line": row.line,
        "source": step and step.source,
        "kind": step and step.kind,
        "model": step and step.model_name,
        "hardware": step and step.hardware.id,
        "num_devices": step and step.layout.num_devices,
        "layout": str(step.layout) if step else None,
        "assumed": "; ".join(step.assumed) or None if step else None,
        "apart": step and (step.apart or None),
        "counts": row.counts,
        "fitted_step_time_s": row.fitted_s,
    }
