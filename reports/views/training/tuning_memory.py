"""Memory of fine-tunings against what meters read: by meter, source and method; and verdicts against what ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from estimators.units import format_fraction, format_int, format_signed_fraction
from estimators.validation.tuning_memory import ScoredMemory, score_memory, source_of
from reports.table import Column, Table, Value
from reports.views.left_out import left_out_table

_SCORE = [
    Column(key="rows", header="rows", format=format_int, align="right"),
    Column(key="median_error", header="median |error|", format=format_fraction, align="right"),
    Column(key="p90_error", header="90th percentile", format=format_fraction, align="right"),
    Column(key="bias", header="bias", format=format_signed_fraction, align="right"),
    Column(key="coverage", header="interval held", format=format_fraction, align="right"),
    Column(key="blind_coverage", header="held blind", format=format_fraction, align="right"),
    Column(key="unnamed_median_error", header="framework unknown", format=format_fraction, align="right"),
]


def memory_tables(rows: Sequence[ScoredMemory]) -> list[Table]:
    """Allocated memory by method and source, other meters, verdicts, and why rows are left out."""
    return [
        _by_source(rows),
        _by_method(rows),
        _by_meter(rows),
        _verdicts(rows),
        left_out_table((row.skipped for row in rows), "rows of fine-tunings have no memory that is predicted", key="fit_left_out"),
    ]


def _line(name: str, rows: Sequence[ScoredMemory], among: Sequence[ScoredMemory]) -> dict[str, Value]:
    score = score_memory(rows, among)
    return {
        "group": name,
        "rows": score.named.rows,
        "median_error": score.named.median,
        "p90_error": score.named.p90,
        "bias": score.named.bias,
        "coverage": score.named.coverage,
        "blind_coverage": score.blind_coverage,
        "unnamed_median_error": score.unnamed_median,
    }


def _grouped(rows: Sequence[ScoredMemory], name: Callable[[ScoredMemory], str]) -> list[dict[str, Value]]:
    groups: dict[str, list[ScoredMemory]] = {}
    for row in rows:
        groups.setdefault(name(row), []).append(row)
    return [_line(group, found, rows) for group, found in sorted(groups.items())]


def _devices(row: ScoredMemory) -> str:
    assert row.case is not None
    return "one device" if row.case.job.num_gpus == 1 else "several devices"


def _by_source(rows: Sequence[ScoredMemory]) -> Table:
    counted = [row for row in rows if row.counts]
    whole = _line("all", counted, counted) if counted else {}
    one = [row for row in counted if _devices(row) == "one device"]
    lines = _grouped(counted, lambda row: f"{source_of(row)}, {_devices(row)}")
    said = f": {_SCORE[1].text(whole['median_error'])} off in the median" if counted else ""
    return Table(
        title=f"Memory of fine-tunings{said} over {format_int(len(counted))} rows of torch.cuda.max_memory_allocated",
        conditions=[
            "no constant of a prediction is fitted; recipes of fms-acceleration and fitcheck were partly read off them: they interpolate",
            "the ends of the interval were read off these rows, which is no test of it; held blind: between ends from the other sources",
            "rows whose longest sample is not stated are not in it",
        ],
        columns=[Column(key="group", header="source"), *_SCORE],
        rows=[*lines, *([_line("all on one device", one, counted)] if one else []), *([whole] if counted else [])],
        facts={
            "fit_memory": {
                "rows": len(counted),
                "median_error": whole.get("median_error"),
                "p90_error": whole.get("p90_error"),
                "coverage": whole.get("coverage"),
                "blind_coverage": whole.get("blind_coverage"),
            }
        },
        key="fit_memory",
    )


def _by_method(rows: Sequence[ScoredMemory]) -> Table:
    counted = [row for row in rows if row.counts]
    return Table(
        title="Allocated memory of fine-tunings by method",
        columns=[Column(key="group", header="method"), *_SCORE],
        rows=_grouped(counted, lambda row: f"{row.case.method if row.case else ''}, {_devices(row)}"),
        key="fit_methods",
    )


def _by_meter(rows: Sequence[ScoredMemory]) -> Table:
    read = [row for row in rows if row.error is not None and not row.is_guess and row.case and row.case.meter != "allocated"]
    return Table(
        title="Other meters: what they read is the allocator's past, so that only the interval is meant",
        columns=[Column(key="group", header="meter, source"), *_SCORE],
        rows=_grouped(read, lambda row: f"{row.case.meter if row.case else ''}, {source_of(row)}"),
        key="fit_meters",
    )


def _verdicts(rows: Sequence[ScoredMemory]) -> Table:
    judged = [row for row in rows if row.is_judged]
    right = sum(row.is_right for row in judged)
    lines: list[dict[str, Value]] = []
    for ran in (True, False):
        counted = Counter(row.answer.verdict for row in judged if row.answer and row.case and row.case.is_oom != ran)
        lines.append({"happened": "ran" if ran else "out of memory", **{word: counted[word] for word in ("FITS", "TIGHT", "NO")}})
    share = f"{format_fraction(right / len(judged))} of {format_int(len(judged))} right" if judged else "none"
    return Table(
        title=f"Verdicts: {share}",
        conditions=[
            "right: FITS or TIGHT of what ran, TIGHT or NO of what ran out of memory",
            "the shares of a device's memory that part the verdicts were chosen with these rows in view",
        ],
        columns=[
            Column(key="happened", header="what happened"),
            *(Column(key=word, header=word, format=format_int, align="right") for word in ("FITS", "TIGHT", "NO")),
        ],
        rows=lines,
        facts={"fit_verdicts": {"rows": len(judged), "right": right, "oom_called_fits": lines[1]["FITS"]}},
        key="fit_verdicts",
    )
