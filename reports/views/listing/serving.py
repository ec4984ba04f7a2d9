"""Engines that serve models: what each generation does unless told."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.serving.engines import Engine
from estimators.units import format_int
from reports.table import Column, Table, Value


def engines_table(engines: Sequence[Engine]) -> Table:
    """Generations of engines, and their defaults."""
    columns = [
        Column(key="id", header="engine"),
        Column(key="since", header="since"),
        Column(key="until", header="until"),
        Column(key="block_tokens", header="block", format=format_int, align="right"),
        Column(key="memory_fraction", header="memory", format=lambda share: f"{share:g}", align="right"),
        Column(key="fraction_of", header="of"),
        Column(key="token_budget", header="tokens a step", format=format_int, align="right"),
        Column(key="max_num_seqs", header="sequences", format=format_int, align="right"),
        Column(key="graphs", header="graphs"),
        Column(key="mixed", header="mixed steps"),
        Column(key="chunked", header="prompts cut", raw=True),
        Column(key="trims_windows", header="windows trimmed", raw=True),
        Column(key="note", header="note", raw=True),
        Column(key="source", header="source", raw=True),
    ]
    rows: list[dict[str, Value]] = [
        {column.key: getattr(each, column.key) or ("" if column.key == "until" else getattr(each, column.key)) for column in columns}
        for each in engines
    ]
    return Table(title="Engines that serve models: defaults by generation", columns=columns, rows=rows)
