"""Figures of serving against what is predicted of them: by quantity, source, engine and format, and why rows are left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from estimators.frozen import replace
from estimators.serving.interval import record
from estimators.units import format_fraction, format_int, format_signed_fraction
from estimators.validation.score import quantile
from estimators.validation.serving_case import ServingCase
from estimators.validation.serving_score import ScoredFigure
from reports.screen import Screen, columns_kept
from reports.table import Column, Table, Value
from reports.views.left_out import left_out_table

QUANTITIES = {
    "tpot_s": "TPOT under load",
    "itl_s": "ITL under load",
    "ttft_s": "TTFT under load",
    "e2e_s": "end to end under load",
    "generation_s": "generation of a batch",
    "decode_s": "decode step of a batch",
    "prefill_s": "prefill of a batch",
    "energy_j_per_token": "J per output token",
    "kv_tokens": "tokens of the cache",
}

CONDITIONS = [
    "a row that ships is predicted by constants that had not seen its source; InferenceX's by such that had not seen its deployment, and "
    "beside them by such that had not seen its machine there, or InferenceX at all",
    "two honest sources differ by 13 % for the same job (median); a row that beats physics is refused, one of low confidence is not scored",
]


def serving_tables(figures: Sequence[ScoredFigure]) -> list[Table]:
    """By quantity and age of the engine, by source, by generation of the engine, by format, and what was left out."""
    grouped = [
        _table(figures, "By source", "source", "serving_sources", lambda name, case: f"{case.source}: {_short(name)}"),
        _table(figures, "By engine", "engine", "serving_engines", lambda name, case: f"{case.deployment.engine.id}: {_short(name)}"),
        _table(figures, "By format", "format", "serving_formats", lambda name, case: f"{case.deployment.weights}: {_short(name)}"),
        _table(figures, "By device", "device", "serving_devices", lambda name, case: f"{case.deployment.hardware.id}: {_short(name)}"),
    ]
    return [
        _by_quantity(figures),
        *grouped,
        left_out_table((_kind(figure.skipped) for figure in figures), "figures of serving are not scored", key="serving_left_out"),
    ]


def _short(name: str) -> str:
    return name.removesuffix("_s").replace("energy_j_per_token", "J per token")


def _is_early(case: ServingCase | None) -> bool:
    return case is not None and bool(case.deployment.engine.until)


def _era(case: ServingCase | None) -> str:
    return "" if case is None else ", before 2025" if _is_early(case) else ""


def _by_quantity(figures: Sequence[ScoredFigure]) -> Table:
    compared = [figure for figure in figures if figure.error is not None]
    number = len({figure.id for figure in compared})
    after = record("calibrated")
    order = list(QUANTITIES)
    compared.sort(key=lambda figure: (_is_early(figure.case), order.index(figure.quantity)))
    table = _grouped(compared, lambda figure: f"{QUANTITIES[figure.quantity]}{_era(figure.case)}", in_order=True)
    load = [figure for figure in compared if figure.quantity == "tpot_s"]
    said = f": {format_fraction(_median([abs(f.error or 0.0) for f in load]))} off per token under load" if load else ""
    conditions = [*CONDITIONS]
    if after:
        conditions.append(f"after three rows of one deployment {format_fraction(after.median_error)} on the rest of it")
    return replace(
        table,
        title=f"Serving{said}, over {format_int(number)} measured rows",
        conditions=conditions,
        facts={"serving": {"rows": number, "figures": len(compared), "median_after_three_rows": after and after.median_error}},
        key="serving",
    )


def _table(figures: Sequence[ScoredFigure], title: str, header: str, key: str, name: Callable[[str, ServingCase], str]) -> Table:
    compared = [figure for figure in figures if figure.error is not None and figure.case is not None]
    return replace(_grouped(compared, lambda figure: name(figure.quantity, _case(figure)), header), title=title, key=key)


def _case(figure: ScoredFigure) -> ServingCase:
    assert figure.case is not None
    return figure.case


def _grouped(
    figures: Sequence[ScoredFigure], name: Callable[[ScoredFigure], str], header: str = "figure", *, in_order: bool = False
) -> Table:
    groups: dict[str, list[ScoredFigure]] = {}
    for figure in figures:
        groups.setdefault(name(figure), []).append(figure)
    rows = [_line(group, found) for group, found in (groups.items() if in_order else sorted(groups.items()))]
    return Table(title="", columns=[Column(key="group", header=header), *_SCORE], rows=rows)


def _line(group: str, figures: Sequence[ScoredFigure]) -> dict[str, Value]:
    errors = [figure.error for figure in figures if figure.error is not None]
    elsewhere = [abs(figure.elsewhere_error) for figure in figures if figure.elsewhere_error is not None]
    blind = [abs(figure.blind_error) for figure in figures if figure.blind_error is not None]
    sizes = [abs(error) for error in errors]
    return {
        "group": group,
        "rows": len(errors),
        "median_error": _median(sizes),
        "p90_error": quantile(sizes, [1.0] * len(sizes), 0.9),
        "bias": _median(errors),
        "elsewhere_median_error": _median(elsewhere) if elsewhere else None,
        "blind_median_error": _median(blind) if blind else None,
        "coverage": sum(figure.held for figure in figures) / len(figures),
    }


def _median(values: Sequence[float]) -> float:
    return quantile(values, [1.0] * len(values), 0.5)


_SCORE = [
    Column(key="rows", header="rows", format=format_int, align="right"),
    Column(key="median_error", header="median |error|", format=format_fraction, align="right"),
    Column(key="p90_error", header="90 %", format=format_fraction, align="right"),
    Column(key="bias", header="bias", format=format_signed_fraction, align="right"),
    Column(key="elsewhere_median_error", header="machine left out", format=format_fraction, align="right"),
    Column(key="blind_median_error", header="source left out", format=format_fraction, align="right"),
    Column(key="coverage", header="interval held", format=format_fraction, align="right"),
]


def _kind(reason: str) -> str:
    """A reason without the figures of one row."""
    if reason.startswith("impossible"):
        return "impossible: it beats physics, or its weights do not fit"
    for words in ("does not ship", "has no constants", "is no decoder-only language model", "of tensor parallelism do not divide"):
        if words in reason:
            return {"does not ship": "the model does not ship", "has no constants": "the engine has no constants"}.get(
                words, f"… {words} …"
            )
    return reason


def each_table(figures: Sequence[ScoredFigure]) -> Table:
    """Every figure, for machines."""
    keys = (
        *("id", "quantity", "predicted", "low", "high", "measured", "skipped", "source", "engine", "model", "hardware"),
        *("num_devices", "weights", "assumed", "error", "elsewhere_error", "blind_error"),
    )
    return Table(title="Rows", columns=[Column(key=key, header=key) for key in keys], rows=[_cells(f) for f in figures], key="all_rows")


def _cells(figure: ScoredFigure) -> dict[str, Any]:
    case = figure.case
    d = case.deployment if case else None
    return {
        "id": figure.id,
        "quantity": figure.quantity or None,
        "predicted": figure.predicted,
        "low": figure.low,
        "high": figure.high,
        "measured": figure.measured,
        "skipped": figure.skipped or None,
        "source": case and case.source,
        "engine": d and d.engine.id,
        "model": d and d.model.name,
        "hardware": d and d.hardware.id,
        "num_devices": d and d.num_devices,
        "weights": d and d.weights,
        "assumed": "; ".join(case.assumed) or None if case else None,
        "error": figure.error,
        "elsewhere_error": figure.elsewhere_error,
        "blind_error": figure.blind_error,
    }


def serving_screen(tables: Sequence[Table], asked: Sequence[Table] = ()) -> Screen:
    """How right `serve` is, on one screen."""
    first = tables[0]
    return Screen(
        answer=f"{first.title}.",
        table=columns_kept(
            first, "group", "median_error", "rows", "p90_error", "coverage", "blind_median_error", "elsewhere_median_error", "bias"
        ),
        notes=[*first.conditions, f"{tables[-1].title}: -v"],
        more=["--each (every row)", "--rows FILE (your own)"],
        asked=asked,
        failed=not first.rows,
    )
