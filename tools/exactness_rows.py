"""docs/exactness.csv: every shipped model, its parameters and FLOP by our op table, torch, fvcore and its publisher.

python -m tools.exactness_rows > docs/exactness.csv
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import torch

from bench.backend import model_classes
from bench.backend.counting import meta
from bench.workloads.article.networks import build
from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import estimate
from estimators.facts.registry import model_entry, model_ids
from estimators.frozen import replace
from estimators.spec import Case, Op, Workload
from reports.render import render
from reports.table import Column, Table

SEQ_LEN = 128
"""Tokens of the counted forward pass, for models that take sequences."""

COUNTERS = ("torch", "transformers", "fvcore")
COLUMNS = ("model", "family", "params", "torch_params", "published", "flop", "torch_flop", "fvcore_ratio", "fvcore_note", "counted_with")

PRODUCTS = frozenset({"baddbmm", "addbmm", "scaled_dot_product_attention"})
"""Matrix products that fvcore has no handle for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One model by every route; None where a route has no figure, and then `reason` says why."""

    model: str
    family: str
    params: int
    torch_params: int
    published_params: int
    published_text: str
    flop: int
    torch_flop: int
    fvcore_flop: int | None
    fvcore_unseen: tuple[str, ...]
    reason: str
    unread_flop: int = 0


def unread_flop(table: Sequence[Op]) -> int:
    """Of the delta rule's writes to a state those to the last, which nothing reads and no gradient comes from."""
    return sum(op.count * (op.flop - op.backward_flop // 2) for op in table if op.kind == "scan" and op.held_cache_bytes)


def row(name: str) -> Row:
    """Count one shipped model on meta. Dense networks are counted like any module: one sample."""
    entry = model_entry(name)
    model = model_from_config(entry.config, entry.id, entry.source)
    model_type = str(entry.config["model_type"])
    by_fvcore: int | None
    if model_type == "dense_network":
        workload, reason, inputs = Workload(), "", torch.zeros(1, int(entry.config["widths"][0]), device="meta")
        with torch.device("meta"):
            module = build(dict(entry.config))
        counted = meta.module_count(module, lambda: inputs, train=False)
        by_fvcore, unseen = meta.fvcore_count(module, inputs)
    else:
        workload = Workload(seq_len=min(SEQ_LEN, model.max_positions) if model_type in model_classes.KINDS else SEQ_LEN)
        module = meta.meta_model(entry.config)
        counted = meta.torch_count(module, workload)
        second = meta.fvcore_model_count(module, workload)
        by_fvcore, reason, unseen = None if second.value is None else int(second.value), second.reason, second.unseen
    said = estimate(Case(model=model, workload=workload))
    return Row(
        model=entry.id,
        family=model_type,
        params=said.params,
        torch_params=counted.params,
        published_params=entry.published_params,
        published_text=entry.published_params_text,
        flop=said.forward_flop,
        torch_flop=counted.forward_flop,
        fvcore_flop=by_fvcore,
        fvcore_unseen=unseen,
        reason=reason,
        unread_flop=unread_flop(model.ops(replace(workload, phase="prefill"))) if model.generates else 0,
    )


def table(rows: Sequence[Row]) -> Table:
    """The rows as one table, by family. A ratio is ours over fvcore's; 1 is integer equality, anything else has its digits."""
    return Table(
        title="Exactness",
        columns=[Column(key=key, header=key) for key in COLUMNS],
        rows=[
            {
                "model": r.model,
                "family": r.family,
                "params": r.params,
                "torch_params": r.torch_params,
                "published": r.published_text,
                "flop": r.flop,
                "torch_flop": r.torch_flop,
                "fvcore_ratio": None if not r.fvcore_flop else "1" if r.flop == r.fvcore_flop else f"{r.flop / r.fvcore_flop:.6g}",
                "fvcore_note": _fvcore_note(r),
                "counted_with": ", ".join(f"{name} {version(name)}" for name in COUNTERS),
            }
            for r in sorted(rows, key=lambda r: (r.family, r.params))
        ],
    )


def _fvcore_note(row: Row) -> str:
    """Why fvcore's figure is another, or is not there; empty where it is the same."""
    products = sorted(PRODUCTS.intersection(row.fvcore_unseen))
    if row.fvcore_flop is None:
        return row.reason
    if row.fvcore_flop == row.flop:
        return ""
    if row.flop - row.fvcore_flop == row.unread_flop:
        return "the tracer that fvcore runs on drops the write to the last state, which nothing reads"
    if products:
        return f"fvcore has no handle for {', '.join(products)}"
    return "fvcore counts an einsum by the four digits that numpy.einsum_path prints"


def main() -> int:
    """Print the rows of all shipped models, with progress on stderr; 1 where a model's count is not torch's."""
    rows = []
    for name in model_ids():
        print(name, file=sys.stderr, flush=True)
        rows.append(row(name))
    print(render([table(rows)], "csv"))
    return 0 if all(r.params == r.torch_params and r.flop == r.torch_flop for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
