"""What a device can do: models by method, with the longest sample of each."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.spec import Hardware
from estimators.tuning.menu import METHODS, Choice
from estimators.units import format_count, format_int
from reports.screen import Screen
from reports.table import Column, Table, Value

HEADERS = {"full": "full, bf16", "lora": "LoRA", "qlora": "QLoRA", "inference": "inference"}


def menu_table(choices: Sequence[Choice], hardware: Hardware) -> Table:
    """A line a model that can be run at all, a column a method."""
    rows: list[dict[str, Value]] = [
        {"model": each.model, "params": each.params, **{f"{method}_tokens": tokens or None for method, tokens in each.tokens}}
        for each in choices
        if any(tokens for _, tokens in each.tokens)
    ]
    columns = [
        Column(key="model", header="model"),
        Column(key="params", header="parameters", format=format_count, align="right"),
        *(Column(key=f"{name}_tokens", header=HEADERS[name], format=format_int, align="right") for name in METHODS),
    ]
    return Table(
        title=f"Longest sample that fits on {hardware.name}, in tokens",
        conditions=[
            "one sample a pass",
            "layers recomputed, head and loss in chunks",
            "rank 16 on all linear layers",
        ],
        columns=columns,
        rows=rows,
        facts={"hardware": hardware.id, "device_memory_bytes": hardware.memory_bytes},
        key="menu",
        kind="estimated",
    )


def menu_screen(table: Table, hardware: Hardware) -> Screen:
    """The table, and its largest model of each method."""
    largest = {name: [row["model"] for row in table.rows if row[f"{name}_tokens"]] for name in METHODS}
    said = ", ".join(f"{HEADERS[name]}: {models[-1]}" for name, models in largest.items() if models)
    return Screen(
        answer=f"{hardware.name}: {said or 'none of the models fits'}",
        lead=["The largest model of each method; the table has the longest sample of each, in tokens."],
        table=table,
        notes=list(table.conditions),
        failed=not said,
    )
