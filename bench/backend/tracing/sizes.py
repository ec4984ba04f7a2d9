"""At which sizes a step is traced, and which monomials its sizes may be made of: from the plainest guess to the most general."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from estimators.architectures.polynomials import Monomial, Sizes, in_chunks, monomial


@dataclass(frozen=True, slots=True)
class Plan:
    """One guess.

    Attributes:
        basis: the monomials.
        points: sizes to trace at, as many.
        checks: sizes at which the fitted polynomials must hold too; gradients are taken at the first.
        chunk: tokens that the model takes together, where a padded sequence is one of the variables; 0 for none.
    """

    basis: tuple[Monomial, ...]
    points: tuple[Sizes, ...]
    checks: tuple[Sizes, ...]
    chunk: int = 0


def _at(batch: int = 1, seq: int = 1, context: int = 0, source: int = 0, chunk: int = 0) -> Sizes:
    return {"batch": batch, "seq": seq, "context": context, "source": source, **in_chunks(seq, chunk)}


def _per_sequence(monomials: Sequence[Monomial]) -> tuple[Monomial, ...]:
    """Each of them times the batch."""
    return tuple(monomial("batch", *(name for name, power in term for _ in range(power))) for term in monomials)


_LINEAR = (monomial(), monomial("seq"))
_SQUARE = (*_LINEAR, monomial("seq", "seq"))
_TWO = (*_SQUARE, monomial("source"), monomial("source", "source"), monomial("seq", "source"))


_FIRST = (monomial("several"), monomial("several", "seq"))
"""Of scans whose first chunk has nothing before it, and so fewer gradients, as MiniMax's."""


def whole_sequences(
    *, sources: bool, longest: int, chunks: Sequence[int] = (), beyond: int = 0, far: int = 0, has_table: bool = True
) -> list[Plan]:
    """For passes over whole sequences, train and prefill.

    Args:
        sources: whether an encoder reads a sequence of its own.
        longest: positions that the model has.
        chunks: sizes of the chunks that its scans may take.
        beyond: tokens that every sequence is longer than.
        far: tokens of the last check, more than any chunk that a shorter sequence would be padded to.
        has_table: whether a table of positions ends there; where none does, chunks are looked for in sequences that are longer.
    """
    first, step = min(9 + beyond, max(2, longest // 4)), 2 if longest >= 16 else 1
    lengths = [min(first + i * step, longest) for i in range(3)]
    last = min(first + 4 * step + 1, longest)
    basis: tuple[Monomial, ...]
    checks: tuple[Sizes, ...]
    if sources:
        pairs = [(lengths[0], lengths[0]), (lengths[1], lengths[0]), (lengths[2], lengths[0]), (lengths[0], lengths[1])]
        pairs += [(lengths[0], lengths[2]), (lengths[1], lengths[1])]
        points = [_at(seq=t, source=s) for t, s in pairs]
        more = [_at(batch=2, seq=t, source=s) for t, s in pairs]
        checks = (_at(batch=3, seq=last, source=lengths[1]), _at(seq=min(far, longest), source=min(far + 2, longest)))
        basis = _TWO
    else:
        points = [_at(seq=t) for t in lengths]
        more = [_at(batch=2, seq=t) for t in lengths]
        checks = (_at(batch=3, seq=last), _at(seq=min(far, longest)))
        basis = _SQUARE
    plans = [
        Plan(_per_sequence(basis), tuple(points), checks),
        Plan((*_per_sequence(basis), *basis), (*points, *more), checks),
    ]
    for chunk in chunks:
        padded = (*_SQUARE, monomial("chunks"), monomial("chunks", "chunks"), monomial("seq", "chunks"))
        at = [(0, lengths[0]), (0, lengths[1]), (1, 6), (1, 9), (2, 5), (3, 12)]  # the first two are traced already, the fifth often
        first_apart = [*at, (0, lengths[2]), (2, 8)]
        if sources or (has_table and longest < 5 * chunk) or chunk < lengths[1]:
            continue
        ends = (_at(batch=2, seq=4 * chunk + 7, chunk=chunk), _at(seq=min(far, longest), chunk=chunk))
        for basis, places in ((padded, at), ((*padded, *_FIRST), first_apart)):
            points = [_at(seq=whole * chunk + rest, chunk=chunk) for whole, rest in places]
            plans.append(Plan(_per_sequence(basis), tuple(points), ends, chunk))
    return plans


def one_token(*, sources: bool, longest: int) -> list[Plan]:
    """For a decode step after a cache of some length."""
    lengths = [min(length, longest - 1) for length in (9, 11, 16)]
    grows = (monomial(), monomial("context"), *((monomial("source"),) if sources else ()))
    points = [_at(context=c, source=9) for c in lengths[:2]] + ([_at(context=lengths[0], source=13)] if sources else [])
    checks: tuple[Sizes, ...] = (_at(batch=3, context=lengths[2], source=15 if sources else 9),)
    if not sources:
        points, checks = [{**at, "source": 0} for at in points], ({**checks[0], "source": 0},)
    more = [{**at, "batch": 2} for at in points]
    return [
        Plan(_per_sequence(grows), tuple(points), checks),
        Plan((*_per_sequence(grows), *grows), (*points, *more), checks),
    ]


def samples() -> list[Plan]:
    """For models whose samples have one size: images, clips, series."""
    return [
        Plan((monomial("batch"),), (_at(),), (_at(batch=2),)),
        Plan((monomial("batch"), monomial()), (_at(), _at(batch=2)), (_at(batch=3),)),
        Plan((monomial("batch"), monomial(), monomial("batch", "batch")), (_at(), _at(batch=2), _at(batch=3)), (_at(batch=4),)),
    ]
