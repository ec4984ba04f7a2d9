"""docs/exactness.md: how many shipped models are exact, by family, and what model types have; of the csv beside it; needs no torch.

python -m tools.exactness_page > docs/exactness.md
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from estimators.facts.entries import PUBLISHED_BASES
from estimators.facts.registry import model_entry
from estimators.units import format_int
from reports.render import render
from reports.table import Column, Table, Value
from tools import type_table

ROWS = Path(__file__).resolve().parents[1] / "docs" / "exactness.csv"
HEAD = """# Exactness

Every shipped model counted three times: by its op table, which knows no torch; by torch's own counter on the `meta` device; and by
fvcore, which walks a traced graph. [exactness.csv](exactness.csv) has a row for each model; `python docs/refresh.py --slow` writes it, in
twenty minutes and with torch. One test without torch holds our columns to what the op table says today, one recounts a handful of rows,
and a slow one recounts all of them.
"""

Row = Mapping[str, str]


def rows(path: Path = ROWS) -> list[dict[str, str]]:
    """The counted models."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def is_exact(row: Row) -> bool:
    """Whether parameters and FLOP equal torch's."""
    return row["params"] == row["torch_params"] and row["flop"] == row["torch_flop"]


def table(counted: Sequence[Row]) -> Table:
    """How many models of each family are exact."""
    families = sorted({row["family"] for row in counted})
    return Table(
        title=f"Exactness: {sum(map(is_exact, counted))} of {len(counted)} shipped models equal torch on meta, parameters and FLOP",
        conditions=[
            "forward pass of one sequence of 128 tokens, or of one image, clip or sample; FLOP under `full`",
            "equal: to the last digit",
            "torch: torch.utils.flop_counter on the meta device; fvcore: twice its multiply-adds of matrix products",
            *(f"counted with {said}" for said in dict.fromkeys(row["counted_with"] for row in counted)),
        ],
        columns=[
            Column(key="family", header="Family"),
            Column(key="models", header="Models", align="right"),
            Column(key="params_equal", header="Parameters equal", align="right"),
            Column(key="flop_equal", header="FLOP equal", align="right"),
            Column(key="params", header="Parameters", align="right"),
            Column(key="fvcore_ratio", header="FLOP, ours / fvcore", align="right"),
        ],
        rows=[_family(family, [row for row in counted if row["family"] == family]) for family in families],
        notes=[*not_exact_notes(counted), *_fvcore_notes(counted), *published_notes([row["model"] for row in counted])],
    )


def _family(family: str, members: Sequence[Row]) -> dict[str, Value]:
    params = [int(row["params"]) for row in members]
    ratios = sorted({row["fvcore_ratio"] for row in members if row["fvcore_ratio"]}, key=float)
    return {
        "family": family,
        "models": len(members),
        "params_equal": sum(row["params"] == row["torch_params"] for row in members),
        "flop_equal": sum(row["flop"] == row["torch_flop"] for row in members),
        "params": " to ".join(map(format_int, sorted({min(params), max(params)}))),
        "fvcore_ratio": " to ".join(dict.fromkeys((ratios[0], ratios[-1]))) if ratios else None,
    }


def not_exact_notes(counted: Sequence[Row]) -> list[str]:
    """Each model whose count is not torch's, with both."""
    return [
        f"{row['model']}: {int(row['params']):,} parameters, torch {int(row['torch_params']):,}; {int(row['flop']):,} FLOP, torch "
        f"{int(row['torch_flop']):,}."
        for row in counted
        if not is_exact(row)
    ]


def _fvcore_notes(counted: Sequence[Row]) -> list[str]:
    models: dict[str, list[str]] = {}
    for row in counted:
        if row["fvcore_note"]:
            models.setdefault(row["fvcore_note"], []).append(row["model"])
    return [f"{reason}: {', '.join(names)}." for reason, names in sorted(models.items())]


def published_notes(models: Sequence[str]) -> list[str]:
    """How many published counts their publishers print, and of which models they follow from something else."""
    inferred = {basis: [model for model in models if model_entry(model).published_basis == basis] for basis in PUBLISHED_BASES}
    printed = len(models) - sum(map(len, inferred.values()))
    followed = [f"{len(names)} from {basis} ({', '.join(names)})" for basis, names in inferred.items() if names]
    others = f"; what the op table is held to beside torch follows for {', and for '.join(followed)}" if followed else ""
    return [f"published counts: {printed} of {len(models)} as their publishers print them{others}."]


def main() -> int:
    """Print the page; 1 where a model's count is not torch's."""
    counted = rows()
    sys.stdout.write(f"{HEAD}\n{render([table(counted)], 'md')}\n\n{type_table.HEAD}\n{render([type_table.types_table()], 'md')}\n")
    return 0 if all(map(is_exact, counted)) else 1


if __name__ == "__main__":
    sys.exit(main())
