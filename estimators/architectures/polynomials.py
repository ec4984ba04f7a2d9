"""Sizes that are polynomials in the sizes of a step: fitted exactly from a few counts, and held to one more with ==."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import lcm
from typing import TYPE_CHECKING

from estimators.errors import UnavailableError
from estimators.frozen import frozen

if TYPE_CHECKING:
    from fractions import Fraction

Sizes = Mapping[str, int]
"""Variable -> its value, such as batch, seq, context, source, chunks, several."""

Monomial = tuple[tuple[str, int], ...]
"""Variables with their powers; the empty one is 1."""


def in_chunks(seq: int, chunk: int) -> dict[str, int]:
    """The sizes of a sequence that scans take in chunks: how many, and whether there are several; 0 for a chunk of 0, which is none.

    >>> in_chunks(65, 64), in_chunks(64, 64), in_chunks(64, 0)
    ({'chunks': 2, 'several': 1}, {'chunks': 1, 'several': 0}, {'chunks': 0, 'several': 0})
    """
    chunks = -(-seq // chunk) if chunk else 0
    return {"chunks": chunks, "several": int(chunks > 1)}


def monomial(*variables: str) -> Monomial:
    """The product of variables, each as often as it stands there.

    >>> monomial("batch", "seq", "seq")
    (('batch', 1), ('seq', 2))
    """
    return tuple((name, variables.count(name)) for name in sorted(set(variables)))


def _value(term: Monomial, at: Sizes) -> int:
    product = 1
    for name, power in term:
        product *= at[name] ** power
    return product


@frozen
class Polynomial:
    """A sum of integer multiples of monomials, over one denominator.

    Attributes:
        terms: each monomial with its factor; none of them 0.
        denominator: what the sum is divided by, without a rest at every size that is a whole number of its unit.
    """

    terms: tuple[tuple[Monomial, int], ...] = ()
    denominator: int = 1

    def at(self, sizes: Sizes) -> int:
        """Its value.

        >>> Polynomial(terms=((monomial("seq", "seq"), 1), (monomial("seq"), 1)), denominator=2).at({"seq": 4})
        10
        """
        return sum(factor * _value(term, sizes) for term, factor in self.terms) // self.denominator

    @property
    def variables(self) -> frozenset[str]:
        """Those that it depends on."""
        return frozenset(name for term, _ in self.terms for name, _ in term)

    def growth(self, *variables: str) -> int:
        """The factor of the product of these variables.

        >>> Polynomial(terms=((monomial("batch", "context"), 8), (monomial("batch"), 8))).growth("batch", "context")
        8
        """
        return next((factor // self.denominator for term, factor in self.terms if term == monomial(*variables)), 0)

    def without(self, *variables: str) -> Polynomial:
        """The polynomial less every term that the product of these variables divides."""
        needed = dict(monomial(*variables))
        kept = tuple((term, factor) for term, factor in self.terms if any(dict(term).get(name, 0) < n for name, n in needed.items()))
        return Polynomial(terms=kept, denominator=self.denominator)


ZERO = Polynomial()


def constant(value: int) -> Polynomial:
    """The polynomial that is one number everywhere."""
    return Polynomial(terms=(((), value),)) if value else ZERO


class Fit:
    """Polynomials of one set of monomials through values at as many sizes.

    Args:
        basis: the monomials that may occur.
        points: sizes, as many as monomials, that tell them apart.
        checks: sizes at which a fitted polynomial must be right too.

    Raises:
        UnavailableError: the sizes do not tell the monomials apart.

    >>> fit = Fit([monomial("seq"), monomial("seq", "seq")], [{"seq": 2}, {"seq": 3}], [{"seq": 5}])
    >>> fit.through([6, 12, 30]).at({"seq": 10})
    110
    """

    def __init__(self, basis: Sequence[Monomial], points: Sequence[Sizes], checks: Sequence[Sizes]) -> None:
        from fractions import Fraction  # deferred: a polynomial that is kept needs none

        self.basis, self.points, self.checks = tuple(basis), tuple(points), tuple(checks)
        self._inverse = _inverted([[Fraction(_value(term, at)) for term in basis] for at in points])
        self._found: dict[tuple[int, ...], Polynomial | None] = {}

    def through(self, values: Sequence[int]) -> Polynomial | None:
        """The polynomial through values at the points, which come first, if it is right at the checks; None where it is not."""
        key = tuple(values)
        if key not in self._found:
            self._found[key] = self._fitted(key)
        return self._found[key]

    def loosely(self, values: Sequence[int]) -> Polynomial:
        """A polynomial near values that none of the basis goes through: a multiple of the batch's tokens and a constant, by least squares.

        For bytes that a few terms without a batch are a part of, such as sines and cosines; never for FLOP.
        """
        sizes = (*self.points, *self.checks)
        term = next((t for t in (monomial("batch", "seq"), monomial("batch", "context"), monomial("batch")) if t in self.basis), ())
        places = [_value(term, at) for at in sizes]
        mean, middle = sum(places) / len(places), sum(values) / len(values)
        spread = sum((place - mean) ** 2 for place in places)
        slope = sum((place - mean) * (value - middle) for place, value in zip(places, values, strict=True)) / spread if spread else 0.0
        factor = max(0, round(slope))
        return Polynomial(terms=tuple((t, f) for t, f in ((term, factor), ((), max(0, round(middle - factor * mean)))) if f))

    def _fitted(self, values: tuple[int, ...]) -> Polynomial | None:
        if not any(values):
            return ZERO
        known = values[: len(self.points)]
        factors = [sum(a * value for a, value in zip(row, known, strict=True)) for row in self._inverse]
        under = lcm(*(factor.denominator for factor in factors))
        terms = tuple((term, int(factor * under)) for term, factor in zip(self.basis, factors, strict=True) if factor)
        found = Polynomial(terms=terms, denominator=under)
        asked = zip(self.checks, values[len(self.points) :], strict=True)
        return found if all(found.at(at) == value for at, value in asked) else None


STRAIGHT = tuple(
    monomial(*names)
    for names in (
        ("seq",),
        ("batch", "seq"),
        ("context",),
        ("batch", "context"),
        ("source",),
        ("batch", "source"),
        ("chunks",),
        ("batch", "chunks"),
        ("batch",),
    )
)
"""What a dimension of a product may grow with."""


def straight(values: Sequence[int], sizes: Sequence[Sizes]) -> Polynomial | None:
    """The line, a constant and a multiple of one of STRAIGHT, that goes through all values; None where none does.

    >>> straight([9, 11, 17], [{"seq": 8}, {"seq": 10}, {"seq": 16}]).at({"seq": 1})
    2
    """
    if len(set(values)) == 1:
        return constant(values[0])
    for term in STRAIGHT:
        if any(name not in at for name, _ in term for at in sizes):
            continue
        places = [_value(term, at) for at in sizes]
        other = next((i for i, place in enumerate(places) if place != places[0]), 0)
        run = places[other] - places[0]
        if not run or (values[other] - values[0]) % run:
            continue
        slope = (values[other] - values[0]) // run
        start = values[0] - slope * places[0]
        if all(start + slope * place == value for place, value in zip(places, values, strict=True)):
            return Polynomial(terms=tuple((power, factor) for power, factor in ((term, slope), ((), start)) if factor))
    return None


def _inverted(matrix: list[list[Fraction]]) -> list[list[Fraction]]:
    """The inverse of a square matrix, by Gauss and Jordan's elimination. Raises UnavailableError where there is none."""
    from fractions import Fraction

    size = len(matrix)
    rows = [[*row, *(Fraction(int(i == j)) for j in range(size))] for i, row in enumerate(matrix)]
    for column in range(size):
        pivot = next((i for i in range(column, size) if rows[i][column]), None)
        if pivot is None:
            raise UnavailableError("these sizes do not tell the terms of a polynomial apart")
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [value / rows[column][column] for value in rows[column]]
        for i in range(size):
            if i != column and rows[i][column]:
                factor = rows[i][column]
                rows[i] = [a - factor * b for a, b in zip(rows[i], rows[column], strict=True)]
    return [row[size:] for row in rows]
