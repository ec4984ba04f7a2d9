"""Tokens of one step, as published runs took them: the one nearest in size says what is usual."""

from __future__ import annotations

import functools

from estimators.facts import data
from estimators.frozen import frozen

BATCH_COLUMNS = ("model", "params", "batch_tokens", "source", "url")


@frozen
class UsualBatch:
    """The batch of one published run."""

    model: str
    params: int
    batch_tokens: int
    source: str


@functools.cache
def usual_batches() -> tuple[UsualBatch, ...]:
    """Every row of batches.csv, smallest model first."""
    rows = data.read_rows(data.file("batches.csv"), BATCH_COLUMNS)
    batches = [
        UsualBatch(
            model=row.text("model"),
            params=row.optional_count("params") or 0,
            batch_tokens=row.integer("batch_tokens"),
            source=row.text("source"),
        )
        for row in rows
    ]
    return tuple(sorted(batches, key=lambda batch: batch.params))


def usual_batch(params: int) -> UsualBatch:
    """The batch of the published model nearest in size, by ratio.

    >>> usual_batch(6_738_415_616).batch_tokens, usual_batch(174_604_259_328).batch_tokens  # GPT-3 6.7B, GPT-3 175B
    (2000000, 3200000)
    """
    return min(usual_batches(), key=lambda batch: max(batch.params / params, params / batch.params))
