"""Advice: one thing that is wrong or could be better, what shows it, what it is worth, and how to find out."""

from __future__ import annotations

from estimators.frozen import frozen


@frozen
class Advice:
    """One finding that somebody can act on.

    Attributes:
        id: a stable name, such as ``tp_counted``.
        what: in a sentence, what is the matter or what to do.
        evidence: the figure that speaks for it, and how well it explains it.
        worth: what acting on it brings, in words for people, such as ``7.9 times faster`` or ``$420``; empty where it is not known.
        saves_fraction: of the run's time, 0 to 1; None where it is not known.
        check: the one command or experiment that settles it.
    """

    id: str
    what: str
    evidence: str = ""
    worth: str = ""
    saves_fraction: float | None = None
    check: str = ""
