"""Bytes kept for backward of one sequence, by how a layout divides them."""

from __future__ import annotations

from estimators.frozen import frozen

PLACES = ("inner", "keys", "outer", "routed", "scores", "apart", "once")


@frozen
class SavedActivations:
    """Bytes of one sequence by how a layout divides them.

    Attributes:
        inner: between tensor-parallel matrices: each rank keeps its part.
        keys: of `inner`, keys and values, which ranks repeat once each has one head of them.
        outer: around them: each rank keeps all, or its part under sequence parallelism.
        routed: of tokens sent to experts.
        scores: the square of an unfused attention; inner.
        apart: inner too, and only under context parallelism.
        once: of all sequences of a pass together, such as sines that a layer makes anew.
    """

    inner: float = 0.0
    keys: float = 0.0
    outer: float = 0.0
    routed: float = 0.0
    scores: float = 0.0
    apart: float = 0.0
    once: float = 0.0

    def __add__(self, other: SavedActivations) -> SavedActivations:
        return SavedActivations(**{place: getattr(self, place) + getattr(other, place) for place in PLACES})

    def times(self, factor: float) -> SavedActivations:
        """Every part times a number."""
        return SavedActivations(**{place: getattr(self, place) * factor for place in PLACES})

    @property
    def per_sequence(self) -> float:
        """Bytes of each sequence, on one device."""
        return self.inner + self.outer + self.routed + self.scores
