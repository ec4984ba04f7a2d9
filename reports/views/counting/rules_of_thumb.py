"""Rules of thumb beside the exact count: the ratio, the citation, and the parts by which they differ."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.counting.rules_of_thumb import Rule
from estimators.units import format_flop, format_ratio, format_signed_flop, format_signed_fraction
from reports.table import Column, Table, Value


def _scaled(flop: int, num_steps: tuple[int, int]) -> int:
    return flop * num_steps[0] // num_steps[1]


def rules_tables(rules: Sequence[Rule], *, work: str, num_steps: tuple[int, int] = (1, 1)) -> list[Table]:
    """Two tables: the rules beside the exact count, and the named parts of each difference.

    Args:
        rules: of one step.
        work: what the FLOP belong to, such as ``the whole training``.
        num_steps: numerator and denominator of the number of steps; counts stay whole numbers.
    """
    rows: list[dict[str, Value]] = []
    parts: list[dict[str, Value]] = []
    for rule in rules:
        rows.append(
            {
                "rule": rule.name,
                "formula": rule.formula,
                "flop": _scaled(rule.flop, num_steps),
                "exact_flop": _scaled(rule.exact_flop, num_steps),
                "convention": rule.convention,
                "ratio": rule.ratio,
                "source": str(rule.source),
            }
        )
        named = [*rule.difference, *([("not explained", rule.unexplained_flop)] if rule.unexplained_flop else [])]
        parts += [
            {"rule": rule.name, "part": part, "ratio": flop / rule.exact_flop, "difference_flop": _scaled(flop, num_steps)}
            for part, flop in named
        ]
    sources = dict.fromkeys(f"{rule.name.split(',')[0]}: {rule.source}" for rule in rules)
    beside = Table(
        title=f"Rules of thumb beside the exact count, for {work}",
        columns=[
            Column(key="rule", header="rule"),
            Column(key="formula", header="formula"),
            Column(key="flop", header="FLOP", format=format_flop, align="right"),
            Column(key="exact_flop", header="exact", format=format_flop, align="right", raw=True),
            Column(key="ratio", header="ratio", format=format_ratio, align="right"),
            Column(key="convention", header="to exact, counted"),
            Column(key="source", header="source", raw=True),
        ],
        rows=rows,
        notes=list(sources),
        key="rules",
        kind="derived",
    )
    if not parts:
        return [beside]
    named_parts = Table(
        title="Where they differ: the parts add up to rule - exact",
        columns=[
            Column(key="rule", header="rule", once=True),
            Column(key="part", header="part"),
            Column(key="ratio", header="of exact", format=format_signed_fraction, align="right"),
            Column(key="difference_flop", header="FLOP", format=format_signed_flop, align="right"),
        ],
        rows=parts,
        key="differences",
        kind="derived",
    )
    return [beside, named_parts]
