"""The table of docs/exactness.md: every shipped model, its parameters and FLOP by our op table, torch, fvcore and its publisher.

python -m bench.exactness > docs/exactness.md
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from bench.backend import count, kinds
from estimators.estimate import count_active_params, estimate
from estimators.hf_config import model_from_config
from estimators.registry import model_entry, model_ids
from estimators.spec import Case, Workload
from estimators.units import format_int
from reports.table import Column, Table, render

SEQ_LEN = 128
"""Tokens of the counted forward pass, for models that take sequences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One model by every route; None where a route has no figure, and then `reason` says why."""

    model: str
    family: str
    params: int
    active_params: int
    torch_params: int
    published_params: int
    published_text: str
    flop: int
    torch_flop: int
    fvcore_flop: int | None
    reason: str


def row(name: str) -> Row:
    """Count one shipped model on meta. Dense networks are counted like any module: one sample."""
    entry = model_entry(name)
    model = model_from_config(entry.config, entry.id, entry.source)
    model_type = str(entry.config["model_type"])
    by_fvcore, reason = None, ""
    if model_type == "dense_network":
        import torch

        from bench.workloads.article.networks import build

        workload, width = Workload(), int(entry.config["widths"][0])
        with torch.device("meta"):
            module = build(dict(entry.config))
        counted = count.module_count(module, lambda: torch.zeros(1, width, device="meta"), train=False)
        by_fvcore, _ = count.fvcore_count(module, torch.zeros(1, width, device="meta"))
    elif model_type in kinds.KINDS:
        workload = Workload(seq_len=min(SEQ_LEN, getattr(model, "max_positions", 1)))
        counted = count.torch_count(count.meta_model(entry.config), workload)
        reason = "fvcore's recipe here is for causal language models"
    else:
        workload = Workload(seq_len=SEQ_LEN)
        module = count.meta_language_model(entry.config)
        counted = count.torch_count(module, workload)
        try:
            by_fvcore = count.fvcore_language_count(module, workload).value
        except (RuntimeError, TypeError, ValueError, AttributeError, AssertionError, IndexError, KeyError) as error:
            reason = f"fvcore cannot trace it: {type(error).__name__}"
    said = estimate(Case(model=model, workload=workload))
    return Row(
        model=entry.id,
        family=model_type,
        params=said.params,
        active_params=count_active_params(model.ops(workload)),
        torch_params=counted.params,
        published_params=entry.published_params,
        published_text=entry.published_params_text,
        flop=said.forward_flop,
        torch_flop=counted.forward_flop,
        fvcore_flop=None if by_fvcore is None else int(by_fvcore),
        reason=reason,
    )


def table(rows: list[Row]) -> Table:
    """The rows as one table, by family."""
    cells = [
        {
            "model": r.model,
            "family": r.family,
            "params": r.params,
            "torch_params": r.torch_params,
            "params_ratio": _ratio(r.params, r.torch_params),
            "published": r.published_text,
            "flop": r.flop,
            "torch_flop": r.torch_flop,
            "flop_ratio": _ratio(r.flop, r.torch_flop),
            "fvcore_ratio": "–" if r.fvcore_flop is None else _ratio(r.flop, r.fvcore_flop),
        }
        for r in sorted(rows, key=lambda r: (r.family, r.params))
    ]
    exact = sum(r.params == r.torch_params and r.flop == r.torch_flop for r in rows)
    reasons = sorted({r.reason for r in rows if r.reason})
    whole = {"format": format_int, "align": "right"}
    return Table(
        title=f"Exactness: {exact} of {len(rows)} shipped models equal torch on meta, parameters and FLOP",
        conditions=[
            f"forward pass of one sequence of {SEQ_LEN} tokens, or of one image, clip or sample; FLOP under `full`",
            "a ratio is ours over the other's; 1 is integer equality, anything else is printed with its digits",
            "torch: torch.utils.flop_counter on the meta device; fvcore: twice its multiply-adds of matrix products",
        ],
        columns=[
            Column(key="model", header="Model"),
            Column(key="family", header="Family"),
            Column(key="params", header="Parameters", **whole),
            Column(key="torch_params", header="torch", **whole),
            Column(key="params_ratio", header="ours / torch"),
            Column(key="published", header="Published", align="right"),
            Column(key="flop", header="FLOP", **whole),
            Column(key="torch_flop", header="torch", **whole),
            Column(key="flop_ratio", header="ours / torch"),
            Column(key="fvcore_ratio", header="ours / fvcore"),
        ],
        rows=cells,
        notes=[f"–: {reason}." for reason in reasons],
    )


def _ratio(ours: int, theirs: int) -> str:
    return "1" if ours == theirs else f"{ours / theirs:.6g}" if theirs else "–"


def main() -> int:
    """Print the table of all shipped models, with progress on stderr."""
    rows = []
    for name in model_ids():
        print(name, file=sys.stderr, flush=True)
        rows.append(row(name))
    print("# Exactness\n")
    print("Generated by `python -m bench.exactness > docs/exactness.md`; a test recounts some rows every time, another all of them.\n")
    print(render([table(rows)], "md"))
    return 0 if all(r.params == r.torch_params and r.flop == r.torch_flop for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
