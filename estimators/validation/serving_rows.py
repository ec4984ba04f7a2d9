"""Rows of serving as they are scored and fitted: the case, what physics refuses of it, and what contradicts other rows."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from estimators.errors import PhysicsError, RequestError
from estimators.frozen import field, frozen
from estimators.serving.figures import STATIC, impossible, least, schedule_for
from estimators.serving.step import step_law
from estimators.validation.inference_case import inference_case
from estimators.validation.score import quantile
from estimators.validation.serving_case import INFERENCEX, ServingCase, serving_case
from estimators.validation.table import INFERENCE, LeftOutError, Record, read_table, shipped_serving

FASTER = 0.75
"""Of the slowest of the same jobs, what a group of rows takes in the mean where it must have run something else: speculation."""


CALLED_IMPOSSIBLE = "impossible, as its table says"


@frozen
class ServingRow:
    """One row: its case, or why it has none.

    Attributes:
        refused: quantity -> why physics refuses it.
        skipped: why nothing is predicted; empty where something is.
    """

    id: str
    case: ServingCase | None = None
    refused: dict[str, str] = field(default_factory=dict, hash=False)
    skipped: str = ""


def serving_row(record: Record) -> ServingRow:
    """A row's case, checked against physics: a row that its table calls impossible is refused as a whole, any other by its figures."""
    flagged = record.text("confidence") == "impossible"
    try:
        case = inference_case(record) if record.kind == INFERENCE else serving_case(record)
        schedule_for(case.deployment, case.asked.longest)
        bounds = least(case.deployment, case.asked, step_law(case.deployment))
        refused = impossible(dict(case.measured), bounds if case.plain or case.asked.load == STATIC else {})
    except (LeftOutError, PhysicsError, RequestError) as reason:
        said = str(reason)
        return ServingRow(id=record.id, skipped=said if not flagged or said.startswith("impossible") else CALLED_IMPOSSIBLE)
    if flagged:
        return ServingRow(id=record.id, skipped=next(iter(refused.values()), CALLED_IMPOSSIBLE))
    if refused and not set(case.measured) - set(refused):
        return ServingRow(id=record.id, skipped=next(iter(refused.values())))
    return ServingRow(id=record.id, case=case, refused=refused)


@functools.cache
def shipped_rows() -> tuple[ServingRow, ...]:
    """Every shipped row of a load or a batch."""
    serving, inference, _ = shipped_serving()
    return tuple(serving_row(record) for path in (serving, inference) for record in read_table(path))


def speculating(cases: Sequence[ServingCase]) -> frozenset[str]:
    """Ids of InferenceX's rows that must have speculated, which the table does not say: their group of jobs, of one release and day, takes
    less than FASTER of what other groups take for the same jobs."""
    jobs: dict[tuple[object, ...], list[ServingCase]] = {}
    for case in cases:
        if case.source == INFERENCEX and "tpot_s" in case.measured:
            jobs.setdefault((case.deployment, case.asked), []).append(case)
    shares: dict[tuple[object, ...], list[float]] = {}
    for same in jobs.values():
        slowest = max(case.measured["tpot_s"] for case in same)
        if len({_group(case) for case in same}) > 1:
            for case in same:
                shares.setdefault(_group(case), []).append(case.measured["tpot_s"] / slowest)
    fast = {group for group, values in shares.items() if quantile(values, [1.0] * len(values), 0.5) < FASTER}
    return frozenset(case.id for same in jobs.values() for case in same if _group(case) in fast)


def _group(case: ServingCase) -> tuple[object, ...]:
    d = case.deployment
    return d.model.name, d.hardware.id, d.engine.id, d.weights, d.ep > 1, case.release
