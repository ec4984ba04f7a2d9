"""What was counted, route by route, and the rules of thumb beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from bench.records.record import Measurement
from estimators import units
from estimators.counting.rules_of_thumb import Rule
from estimators.spec import Source
from reports.table import Column, Table, Value
from reports.views.counting.rules_of_thumb import rules_tables

ROUTES = {
    "op table": "op_table",
    "torch meta": "torch_meta",
    "fvcore x2": "fvcore_x2",
    "Trainer rule": "trainer_rule",
    "torch's dispatcher on meta": "torch_dispatcher",
}
"""Route to its key in csv and json; the first three must agree."""


def counts_table(record: Measurement) -> Table:
    """One row per quantity, one column per route."""
    by_quantity: dict[str, dict[str, Value]] = {}
    for count in record.counts:
        row = by_quantity.setdefault(count.quantity, {"quantity": count.quantity})
        row[ROUTES.get(count.route, count.route)] = count.value
    for row in by_quantity.values():
        exact = [row[key] for key in list(ROUTES.values())[:3] if row.get(key) is not None]
        row["equal"] = len(set(exact)) == 1 if len(exact) > 1 else None
    unseen = sorted({name for count in record.counts for name in count.unseen})
    used = {route: key for route, key in ROUTES.items() if any(key in row for row in by_quantity.values())}
    notes = []
    if "fvcore x2" in used:
        notes.append("fvcore counts multiply-adds of matrix products, doubled here; forward passes only.")
    if unseen:
        notes.append(f"fvcore has no handle for {', '.join(unseen)}: none of them multiplies matrices.")
    several = len(used) > 1
    return Table(
        key="counts",
        kind="counted",
        title="Counted by independent routes" if several else "FLOP of one step, by one route",
        conditions=["parameters, and FLOP under `full`; torch and fvcore on the meta device" if several else "under `full`"],
        columns=(
            Column(key="quantity", header="Quantity"),
            *(Column(key=key, header=route, format=units.format_int, align="right") for route, key in used.items()),
            *([Column(key="equal", header="Equal")] if several else []),
        ),
        rows=list(by_quantity.values()),
        notes=notes,
    )


def where_from(record: Measurement) -> tuple[str, str]:
    """How the estimate's parameters and FLOP are known: the kind of the figure, and a note."""
    routes = {count.route for count in record.counts}
    if routes and "op table" not in routes:
        return "counted", f"by {' and '.join(sorted(routes))}; there is no op table"
    return "derived", "op table; counted again below" if routes - {"op table"} or not routes else "op table"


def rule_tables(record: Measurement) -> Iterator[Table]:
    """The rules of thumb of each step beside its exact count, as `estimate` prints them; of a model of tokens, which they are made for."""
    if (record.request.config or {}).get("model_type") == "dense_network":
        return
    by_phase: dict[str, list[Rule]] = {}
    for row in record.estimate.rules:
        by_phase.setdefault(row.phase, []).append(
            Rule(
                name=row.name,
                formula=row.formula,
                flop=row.flop,
                exact_flop=row.exact_flop,
                convention=row.convention,
                difference=row.difference,
                source=Source(title=row.source),
            )
        )
    steps = {"train_step": "one training step", "forward": "one forward pass", "prefill": "the prefill", "decode": "the median decode step"}
    for phase, rules in by_phase.items():
        for table in rules_tables(rules, work=steps[phase]):
            yield dataclasses.replace(table, key=f"{phase}_{table.key}")
