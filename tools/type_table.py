"""The part of docs/exactness.md on model types: how many have what, at commit 4e99282 and now, of the rows in docs/types.csv; no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from reports.table import Column, Table
from tools.type_rows import KEPT, LIMIT_S, OUTCOMES, Row, read

HEAD = """## Every model type of transformers

What becomes of each type that transformers knows, by its default configuration, which is what a class has that nobody described: an op
table written by hand, one traced on `meta`, or parameters alone, with the reason. [types.csv](types.csv) has a row for each type;
`python docs/refresh.py --slow` writes it, in an hour of one core.
"""


def types_table(found: Mapping[str, Row] | None = None) -> Table:
    """Types by outcome, before and now."""
    every = list((read(KEPT) if found is None else found).values())
    before, now = Counter(row.before for row in every), Counter(row.outcome for row in every)
    built = [row for row in every if row.outcome != "not built"]
    with_params, with_flop = (sum(bool(getattr(row, name)) for row in built) for name in ("params", "forward_flop"))
    return Table(
        title=f"Of {len(built)} types that transformers builds, {with_params} have their parameters, {with_flop} their FLOP",
        conditions=[
            "default configuration of each type, its usual class; each in a process of its own",
            f"at most {LIMIT_S} s of one core and 2 GiB a type",
            "before: commit 4e99282, by show; counted at the sizes asked for, where it had no table",
        ],
        columns=[
            Column(key="outcome", header="Outcome"),
            Column(key="before", header="Types before", align="right"),
            Column(key="now", header="Types now", align="right"),
        ],
        rows=[{"outcome": said, "before": before[kind], "now": now[kind]} for kind, said in OUTCOMES.items()],
        notes=_notes(built),
    )


def _notes(built: list[Row]) -> list[str]:
    """Why the parameters alone are known, the commonest reason first, each with its types."""
    of: dict[str, list[str]] = {}
    for row in built:
        if row.outcome in ("parameters", "refused"):
            of.setdefault(_kind_of(row.reason), []).append(row.model_type)
    return [f"{reason}: {', '.join(names)}." for reason, names in sorted(of.items(), key=lambda item: -len(item[1]))]


_KINDS = {
    "over the limit of time": f"over {LIMIT_S} s",
    "over the limit of memory": "over 2 GiB",
    "missing the required": "the class has no forward pass of its own",
    "inference_session": "reads a session of a video that only its own processor makes",
    "split_with_sizes": "the default's rotary sections do not add up to its heads: transformers' own class fails on it too",
    "values of tensors": "looks at values that meta has none of",
    "missing": "an input that is not made up yet",
}
"""What a reason says -> its kind."""


def _kind_of(reason: str) -> str:
    return next((kind for words, kind in _KINDS.items() if words in reason), "inputs that were made up have another shape than it takes")
