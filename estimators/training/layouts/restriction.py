"""What a search is asked: which of the legal layouts are wanted, and who is told how far it is."""

from __future__ import annotations

from collections.abc import Callable

from estimators.frozen import frozen

OnProgress = Callable[[int, int], None]
"""Takes how many layouts are priced and how many there are."""


@frozen
class Restriction:
    """Which of the legal layouts are wanted.

    Attributes:
        max_tp: the largest degree of tensor parallelism; None for a scale-up domain.
        schedule: of every pipeline: 1f1b or zero-bubble.
        launcher: what must be able to run them; empty for anything.
    """

    max_tp: int | None = None
    schedule: str = "1f1b"
    launcher: str = ""


ANYTHING = Restriction()
