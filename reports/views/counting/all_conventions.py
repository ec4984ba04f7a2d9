"""One model's training in every convention, side by side, with what each includes."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.counting.flop_by_tool import HEAD, ONE_HOT, PARTS, POSITIONS, RECOMPUTED, ROUTER, TABLE, ToolFlop
from estimators.facts.tool_conventions import ATTENTION as ATTENTION_TEXTS
from estimators.facts.tool_conventions import WEIGHTS, tools
from estimators.units import format_flop, format_ratio
from reports.table import Column, Table, Value

LEFT_OUT_BY_ALL = "No convention counts the loss or the optimizer; those that count by parameters take norms and biases for products."


def _counted(flop: ToolFlop, *parts: str) -> str:
    return "counted" if any(part in flop.parts for part in parts) else "left out"


def _row(flop: ToolFlop, base: ToolFlop, *, has_router: bool) -> dict[str, Value]:
    tool = flop.tool
    return {
        "convention": tool.id,
        "name": tool.name,
        "flop": flop.flop,
        "flop_per_token": flop.flop_per_token,
        "flop_ratio": flop.flop / base.flop,
        "weights": WEIGHTS[tool.weights],
        "embeddings": _counted(flop, TABLE, POSITIONS, ONE_HOT),
        "attention": ATTENTION_TEXTS[tool.attention],
        "head": "three quarters" if "head at three quarters" in tool.extras else _counted(flop, HEAD),
        "router": _counted(flop, ROUTER) if has_router else None,
        "recompute": _counted(flop, RECOMPUTED),
        "loss": "left out",
        "years": tool.years,
        "source": str(tool.source),
        **{f"{part}_flop": flop.parts.get(part, 0) for part in PARTS},
    }


def all_conventions_table(model_name: str, counts: Sequence[ToolFlop], *, conditions: Sequence[str]) -> Table:
    """FLOP of training on one sequence in every convention; csv and json have the named parts of each.

    Args:
        counts: of one model and sequence, `full` among them.
    """
    base = next(flop for flop in counts if flop.tool.id == "full")
    has_router = any(ROUTER in flop.parts for flop in counts)
    rows = [_row(flop, base, has_router=has_router) for flop in counts]
    return Table(
        title=f"Training {model_name} on one sequence, in every convention",
        conditions=conditions,
        columns=[
            Column(key="convention", header="convention"),
            Column(key="name", header="name", raw=True),
            Column(key="flop", header="FLOP", format=format_flop, align="right"),
            Column(key="flop_per_token", header="FLOP/token", format=format_flop, align="right"),
            Column(key="flop_ratio", header="to full", format=format_ratio, align="right"),
            Column(key="weights", header="weights"),
            Column(key="embeddings", header="embeddings"),
            Column(key="attention", header="attention"),
            Column(key="head", header="head"),
            Column(key="router", header="router", raw=not has_router),
            Column(key="recompute", header="recomputation"),
            Column(key="loss", header="loss", raw=True),
            Column(key="years", header="years", raw=True),
            Column(key="source", header="source", raw=True),
            *(Column(key=f"{part}_flop", header=part, raw=True) for part in PARTS),
        ],
        rows=rows,
        notes=[LEFT_OUT_BY_ALL, *_tied_notes(counts)],
        key="all_conventions",
        kind="counted",
    )


def _tied_notes(counts: Sequence[ToolFlop]) -> list[str]:
    """A tied head hides in the embedding, which conventions by parameters count once."""
    if any(flop.tool.weights == "without embeddings" and HEAD in flop.parts for flop in counts):
        return []
    return ["The head is tied to the embedding: where N has embeddings it is counted as head, where N has none it is left out."]


def tools_table() -> Table:
    """Whose conventions are known: what each counts, when, and where that was read."""
    rows: list[dict[str, Value]] = [
        {
            "tool": tool.id,
            "name": tool.name,
            "aliases": ", ".join(tool.aliases),
            "includes": tool.includes,
            "years": tool.years,
            "note": tool.source.note,
            "source": str(tool.source),
        }
        for tool in tools().values()
    ]
    return Table(
        title=f"{len(rows)} conventions of tools and papers, for `translate`; N are the parameters that a token uses",
        columns=[
            Column(key="tool", header="tool"),
            Column(key="name", header="name"),
            Column(key="aliases", header="also", raw=True),
            Column(key="includes", header="counts"),
            Column(key="years", header="years"),
            Column(key="note", header="note", raw=True),
            Column(key="source", header="source", raw=True),
        ],
        rows=rows,
        notes=["csv and json have other names, notes and sources."],
    )
