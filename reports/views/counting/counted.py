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

ROUTES = {"op table": "op_table", "torch meta": "torch_meta", "fvcore x2": "fvcore_x2", "Trainer rule": "trainer_rule"}
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
    notes = ["fvcore counts multiply-adds of matrix products, doubled here; forward passes only."]
    if unseen:
        notes.append(f"fvcore has no handle for {', '.join(unseen)}: none of them multiplies matrices.")
    used = {route: key for route, key in ROUTES.items() if any(key in row for row in by_quantity.values())}
    return Table(
        key="counts",
        title="Counted by independent routes",
        conditions=["parameters, and FLOP under `full`; torch and fvcore on the meta device"],
        columns=(
            Column(key="quantity", header="Quantity"),
            *(Column(key=key, header=route, format=units.format_int, align="right") for route, key in used.items()),
            Column(key="equal", header="Equal"),
        ),
        rows=list(by_quantity.values()),
        notes=notes,
    )


def rule_tables(record: Measurement) -> Iterator[Table]:
    """The rules of thumb of each step beside its exact count, as `estimate` prints them."""
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
    steps = {"train_step": "one training step", "prefill": "the prefill", "decode": "the median decode step"}
    for phase, rules in by_phase.items():
        for table in rules_tables(rules, work=steps[phase]):
            yield dataclasses.replace(table, key=f"{phase}_{table.key}")
