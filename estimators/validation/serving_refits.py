"""Three rows of one deployment refit its constants: what the rest of its rows is missed by then."""

from __future__ import annotations

import math
from collections.abc import Sequence

from estimators.errors import PhysicsError, RequestError
from estimators.serving.constants import constants_file
from estimators.serving.own_rows import MeasuredLoad, refit
from estimators.validation.serving_case import ServingCase
from estimators.validation.serving_record import MissedFigure

QUANTITIES = ("tpot_s", "itl_s", "decode_s", "generation_s")
"""What deployments are measured in at several batches, the first that a row has."""

ENOUGH = 6
"""Rows of a deployment from which it is looked at."""

MOST = 12
"""Deployments of one source that are looked at, evenly out of all."""


def refitted(cases: Sequence[ServingCase]) -> list[MissedFigure]:
    """What is left of the rows of each deployment when its rows with the fewest, the middle and the most sequences are taken for refits."""
    groups: dict[tuple[object, ...], list[ServingCase]] = {}
    for case in cases:
        quantity = next((name for name in QUANTITIES if name in case.measured), "")
        if quantity:
            groups.setdefault((case.source, case.deployment, case.release, quantity), []).append(case)
    by_source: dict[str, list[tuple[str, list[ServingCase]]]] = {}
    for key, rows in groups.items():
        if len({row.asked.sequences for row in rows}) >= 3 and len(rows) >= ENOUGH:
            by_source.setdefault(rows[0].source, []).append((str(key[-1]), rows))
    found = []
    for of_source in by_source.values():
        for place in range(0, len(of_source), max(1, len(of_source) // MOST)):
            found += _missed(*of_source[place])
    return found


def _missed(quantity: str, rows: Sequence[ServingCase]) -> list[MissedFigure]:
    ordered = sorted(rows, key=lambda row: (row.asked.sequences, row.asked.context_tokens))
    taken = [ordered[0], ordered[len(ordered) // 2], ordered[-1]]
    source = ordered[0].source
    own = [MeasuredLoad(asked=row.asked, figures={quantity: row.measured[quantity]}, random_tokens=row.random_tokens) for row in taken]
    try:
        found = refit(ordered[0].deployment, own, without=source if source in constants_file()["without"] else "")
        return [
            MissedFigure(
                source=source,
                log_ratio=math.log(row.measured[quantity] / found.figures(row.asked, random_tokens=row.random_tokens)[quantity]),
            )
            for row in ordered
            if row not in taken
        ]
    except (PhysicsError, RequestError):
        return []
