"""How tensor parallelism divides parameters and the outputs of matrices: what cannot be divided is on every rank."""

from __future__ import annotations

import math
from collections.abc import Iterable

from estimators.cost.array_math import Lane, smaller, up
from estimators.frozen import frozen, replace
from estimators.spec import Op


@frozen
class CutParams:
    """Parameters by what the ranks of tensor parallelism share out of them.

    Attributes:
        divided: a part on each rank.
        keys: of projections to keys and values, which are shared out until each rank has one of `key_heads` heads, and then repeated.
        tables: of a vocabulary of `vocab` rows, whole rows on each rank.
        whole: on every rank.

    Four ranks of two heads of keys hold a head each.

    >>> CutParams(divided=80, keys=40, whole=5, key_heads=2).on_rank(4)
    45.0
    """

    divided: float = 0
    keys: float = 0
    tables: float = 0
    whole: float = 0
    key_heads: int = 1
    vocab: int = 1

    def on_rank(self, ranks: Lane) -> Lane:
        """Parameters of one rank, the fullest."""
        rows = up(self.vocab / ranks) / self.vocab
        return self.divided / ranks + self.keys / smaller(ranks, self.key_heads) + self.tables * rows + self.whole

    @property
    def total(self) -> float:
        """Each once."""
        return self.divided + self.keys + self.tables + self.whole

    def __add__(self, other: CutParams) -> CutParams:
        return CutParams(
            divided=self.divided + other.divided,
            keys=self.keys + other.keys,
            tables=self.tables + other.tables,
            whole=self.whole + other.whole,
            key_heads=max(self.key_heads, other.key_heads),
            vocab=max(self.vocab, other.vocab),
        )

    def times(self, factor: float) -> CutParams:
        """Every part times a number."""
        return replace(self, divided=self.divided * factor, keys=self.keys * factor, tables=self.tables * factor, whole=self.whole * factor)


def cut_params(ops: Iterable[Op], vocab: int) -> CutParams:
    """Of all copies of the rows, those of experts left out: expert parallelism shares them out."""
    return sum((_of_one(op, vocab).times(op.count) for op in ops if op.component != "experts" and op.params), CutParams())


def _of_one(op: Op, vocab: int) -> CutParams:
    """Of one copy. A bias behind a matrix that is cut by its inputs is added once, and held by every rank."""
    if op.cut == "vocabulary":
        return CutParams(tables=op.params, vocab=vocab)
    if op.kind != "matmul" or not op.mnk or op.cut == "whole":
        return CutParams(whole=op.params)
    _, n, k = op.mnk
    if op.cut == "rows":
        bias = op.params - n * k if op.params >= n * k else 0
        return CutParams(divided=op.params - bias, whole=bias)
    keys = op.params * op.key_columns // n
    return CutParams(divided=op.params - keys, keys=keys, key_heads=op.cache_heads)


def cut_width(ops: Iterable[Op]) -> int:
    """What the width of every feed-forward that ranks divide is a multiple of; 0 where there is none."""
    return math.gcd(*(op.mnk[2] for op in ops if op.cut == "rows" and op.component == "mlp" and op.mnk))


def outputs_on_rank(columns: int, key_columns: int, key_heads: int, ranks: Lane) -> Lane:
    """Outputs of a matrix that one rank makes, where `key_columns` of them are keys and values of so many heads.

    >>> outputs_on_rank(6144, 2048, 8, 32)
    384.0
    """
    return (columns - key_columns) / ranks + key_columns / smaller(ranks, key_heads)
