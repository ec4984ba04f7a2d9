"""Tokens of one step: what published runs of that size took, and whole sequences that divide over the devices."""

from __future__ import annotations

import functools

from estimators.errors import BadValueError
from estimators.facts import data
from estimators.frozen import frozen

BATCH_COLUMNS = ("model", "params", "batch_tokens", "source", "url")

ROUNDING = 0.05
"""How far a batch that was asked for may be moved: ``4M`` is how people write 4,194,304, which is 4.9 % more."""


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
    found = [
        UsualBatch(
            model=row.text("model"),
            params=row.optional_count("params") or 0,
            batch_tokens=row.integer("batch_tokens"),
            source=row.text("source"),
        )
        for row in rows
    ]
    return tuple(sorted(found, key=lambda batch: batch.params))


def usual_batch(params: int) -> UsualBatch:
    """The batch of the published model nearest in size, by ratio.

    >>> usual_batch(6_738_415_616).batch_tokens, usual_batch(174_604_259_328).batch_tokens  # GPT-3 6.7B, GPT-3 175B
    (2000000, 3200000)
    """
    return min(usual_batches(), key=lambda batch: max(batch.params / params, params / batch.params))


def whole_batch(tokens: int, *, seq_len: int, unit: int, given: bool) -> int:
    """Sequences of one step: the multiple of `unit` (replicas · sequences of one pass) nearest to so many tokens, at least one.

    >>> whole_batch(4_000_000, seq_len=4096, unit=512, given=True)
    1024

    Raises:
        BadValueError: a given batch that is further than ROUNDING from any multiple; names the nearest.
    """
    sequences = max(1, round(tokens / seq_len / unit)) * unit
    if given and abs(sequences * seq_len - tokens) > ROUNDING * tokens:
        raise BadValueError(
            f"a global batch of {tokens:,} tokens is {tokens / seq_len:,.4g} sequences of {seq_len:,}, no multiple of "
            f"dp x micro_batch = {unit:,}; the nearest that works: {sequences * seq_len:,} tokens"
        )
    return sequences
