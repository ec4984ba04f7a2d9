"""The table of exactness: every shipped model, its parameters and FLOP by our op table, torch, fvcore and its publisher.

python -m bench.cli.exactness
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from estimators.registry import model_ids
from estimators.units import format_int
from reports.table import Column, Table, render

if TYPE_CHECKING:
    from bench.workloads.exactness import Row


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
    whole: dict[str, Any] = {"format": format_int, "align": "right"}
    return Table(
        title=f"Exactness: {exact} of {len(rows)} shipped models equal torch on meta, parameters and FLOP",
        conditions=[
            "forward pass of one sequence of 128 tokens, or of one image, clip or sample; FLOP under `full`",
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
    from bench.workloads.exactness import row

    rows = []
    for name in model_ids():
        print(name, file=sys.stderr, flush=True)
        rows.append(row(name))
    print(render([table(rows)], "md"))
    return 0 if all(r.params == r.torch_params and r.flop == r.torch_flop for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
