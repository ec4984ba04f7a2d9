"""One rule of thumb beside the exact count, and what its differences are made of."""

from __future__ import annotations

from estimators.frozen import frozen
from estimators.spec import Op, Source


@frozen
class Rule:
    """One rule of thumb applied to one step.

    Attributes:
        flop: what the rule says.
        exact_flop: the exact count that it approximates, under `convention`.
        difference: named parts, in FLOP, that add up to flop - exact_flop.
    """

    name: str
    formula: str
    flop: int
    exact_flop: int
    convention: str
    difference: tuple[tuple[str, int], ...]
    source: Source

    @property
    def ratio(self) -> float:
        """Rule over exact count."""
        return self.flop / self.exact_flop

    @property
    def unexplained_flop(self) -> int:
        """What the named parts leave over: each is computed by itself, so 0 is a finding."""
        return self.flop - self.exact_flop - sum(part for _, part in self.difference)


def weights_per_token(ops: tuple[Op, ...], *, owned_only: bool = False) -> int:
    """Weights that one token is multiplied with; a tied head belongs to the embedding, so it is not owned."""
    return sum(op.count * op.weights_per_token for op in ops if op.params or not owned_only)


def named(*parts: tuple[str, int]) -> tuple[tuple[str, int], ...]:
    """The parts that are not 0."""
    return tuple((what, flop) for what, flop in parts if flop)
