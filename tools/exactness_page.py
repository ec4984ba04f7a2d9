"""docs/exactness.md: every shipped model, its parameters and FLOP by our op table, torch, fvcore and its publisher.

python -m tools.exactness_page > docs/exactness.md
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from estimators.facts.registry import model_ids
from estimators.units import format_int
from reports.render import render
from reports.table import Column, Table, Value

if TYPE_CHECKING:
    from tools.exactness_rows import Row

HEAD = """# Exactness

Every shipped model counted three times: by its op table, which knows no torch; by torch's own counter on the `meta` device; and by
fvcore, which walks a traced graph. `python docs/refresh.py --slow` writes this page, in twenty minutes and with torch. One test without
torch holds our columns to what the op table says today, one recounts a handful of rows, and a slow one recounts all of them.
"""

COUNTERS = ("torch", "transformers", "fvcore")

PRODUCTS = frozenset({"baddbmm", "addbmm", "linalg_solve_triangular", "scaled_dot_product_attention"})
"""Matrix products that fvcore has no handle for."""


def table(rows: list[Row]) -> Table:
    """The rows as one table, by family."""
    cells: list[dict[str, Value]] = [
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
    whole: dict[str, Any] = {"format": format_int, "align": "right"}
    return Table(
        title=f"Exactness: {exact} of {len(rows)} shipped models equal torch on meta, parameters and FLOP",
        conditions=[
            "forward pass of one sequence of 128 tokens, or of one image, clip or sample; FLOP under `full`",
            "a ratio is ours over the other's; 1 is integer equality, anything else is printed with its digits",
            "torch: torch.utils.flop_counter on the meta device; fvcore: twice its multiply-adds of matrix products",
            f"counted with {', '.join(f'{name} {version(name)}' for name in COUNTERS)}",
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
        notes=_fvcore_notes(rows),
    )


def _fvcore_notes(rows: list[Row]) -> list[str]:
    """Why fvcore's figure is another, or is not there, and of which models."""
    models: dict[str, list[str]] = {}
    for r in rows:
        products = sorted(PRODUCTS.intersection(r.fvcore_unseen))
        if r.fvcore_flop is None:
            models.setdefault(f"–: {r.reason}", []).append(r.model)
        elif r.fvcore_flop != r.flop and products:
            models.setdefault(f"fvcore has no handle for {', '.join(products)}", []).append(r.model)
        elif r.fvcore_flop != r.flop:
            models.setdefault("fvcore counts an einsum by the four digits that numpy.einsum_path prints", []).append(r.model)
    return [f"{reason}: {', '.join(names)}." for reason, names in sorted(models.items())]


def _ratio(ours: int, theirs: int) -> str:
    return "1" if ours == theirs else f"{ours / theirs:.6g}" if theirs else "–"


def page(rows: list[Row]) -> str:
    """The whole document."""
    return f"{HEAD}\n{render([table(rows)], 'md')}"


def main() -> int:
    """Print the page of all shipped models, with progress on stderr; 1 where a model's count is not torch's."""
    from tools.exactness_rows import row

    rows = []
    for name in model_ids():
        print(name, file=sys.stderr, flush=True)
        rows.append(row(name))
    print(page(rows).rstrip("\n"))
    return 0 if all(r.params == r.torch_params and r.flop == r.torch_flop for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
