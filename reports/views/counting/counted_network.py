"""Tables of a network that was counted and not derived: by module, by operator, and what no formula covers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from estimators.units import format_count, format_flop, format_fraction, format_int
from reports.table import Column, Table, Value

MAX_DEPTH = 3
"""Names of modules are shown down to so many dots."""


def params_tables(facts: Mapping[str, Any], conditions: Sequence[str], *, by_module: Mapping[str, int], flop_reason: str) -> list[Table]:
    """Parameters of a network that could not be run.

    Args:
        facts: single values of the whole; params among them.
        by_module: qualified name to parameters of its own and below.
        flop_reason: why there are no FLOP.
    """
    rows: list[dict[str, Value]] = [
        {"name": name or "(whole)", "params": params} for name, params in by_module.items() if name.count(".") < MAX_DEPTH and params
    ]
    return [
        Table(
            title=f"{facts['model']}: {format_int(facts['params'])} parameters, no FLOP (counted as {facts['built_as']}, no op table)",
            conditions=[*conditions[:1], *conditions[2:]],
            columns=[Column(key="name", header="Module"), Column(key="params", header="Parameters", format=format_count, align="right")],
            rows=rows,
            notes=[f"no FLOP: {flop_reason}."],
            facts=dict(facts) | {"unavailable": {"forward_flop": flop_reason, "training_flop": flop_reason}},
            kind="counted",
        )
    ]


def network_tables(
    facts: Mapping[str, Any],
    conditions: Sequence[str],
    *,
    by_module: Mapping[str, tuple[int, int, int | None]],
    by_operator: Mapping[str, int],
    unseen: Sequence[tuple[str, int, float]],
    decode_reason: str = "",
    backward_reason: str = "",
) -> list[Table]:
    """Totals and modules, then operators.

    Args:
        facts: single values of the whole; params and forward_flop among them.
        by_module: qualified name to parameters, forward FLOP and backward FLOP, if there is a backward pass.
        by_operator: operator to forward FLOP.
        unseen: operators without a formula: name, calls, share of all outputs' elements.
        decode_reason, backward_reason: why there is no such figure.
    """
    total = facts["forward_flop"] or 1
    rows: list[dict[str, Value]] = [
        {"name": name or "(whole)", "params": params, "flop": forward, "backward_flop": backward, "share_fraction": forward / total}
        for name, (params, forward, backward) in by_module.items()
        if name.count(".") < MAX_DEPTH and (params or forward)
    ]
    decode = facts.get("decode_flop")
    totals = f"{format_int(facts['params'])} parameters, {format_flop(facts['forward_flop'])} forward"
    notes = [f"decode, one token: {format_flop(decode)}." if decode is not None else f"no decode figure: {decode_reason}."]
    notes += [
        f"NOT SEEN: {name}, {calls} calls, {format_fraction(share)} of all elements produced; whatever it multiplies is missing above."
        for name, calls, share in unseen
    ]
    if backward_reason:
        notes.append(f"no backward figure: {backward_reason}.")
    if not unseen:
        notes.append("Every operator that may multiply has a formula; the others are elementwise, norms, lookups and moves.")
    return [
        Table(
            title=f"{facts['model']}: {totals} (counted as {facts['built_as']}, no op table)",
            conditions=conditions,
            columns=[
                Column(key="name", header="Module"),
                Column(key="params", header="Parameters", format=format_count, align="right"),
                Column(key="flop", header="Forward FLOP", format=format_flop, align="right"),
                Column(key="backward_flop", header="Backward FLOP", format=format_flop, align="right"),
                Column(key="share_fraction", header="Share", format=format_fraction, align="right"),
            ],
            rows=rows,
            notes=notes,
            facts=facts,
            kind="counted",
        ),
        Table(
            key="operators",
            title="By operator, forward",
            columns=[
                Column(key="operator", header="Operator"),
                Column(key="flop", header="FLOP", format=format_flop, align="right"),
                Column(key="share_fraction", header="Share", format=format_fraction, align="right"),
            ],
            rows=[
                {"operator": name, "flop": flop, "share_fraction": flop / total}
                for name, flop in sorted(by_operator.items(), key=lambda item: -item[1])
            ],
            kind="counted",
        ),
    ]
