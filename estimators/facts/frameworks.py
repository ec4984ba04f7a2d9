"""What the name of a framework says of a training: its generation of software, and how it usually shares a model out."""

from __future__ import annotations

import functools

from estimators.facts import data
from estimators.frozen import frozen


@frozen
class Framework:
    """A framework by a part of its name.

    Attributes:
        match: a part of the name, in any case; the first that matches counts.
        stack, zero: its generation of software, and its usual ZeRO stage.
        shards: whether it shares data and state out before it cuts the model: a layout left unsaid is then tp = pp = 1.
    """

    match: str
    stack: str
    zero: int = 1
    shards: bool = False


@functools.cache
def _frameworks() -> tuple[Framework, ...]:
    return tuple(Framework(**entry) for entry in data.read_json(data.file("frameworks.json"))["frameworks"])


def framework_of(name: str) -> Framework | None:
    """What a framework's name says; None for a name that says nothing.

    >>> framework_of("torchtitan FSDP2 + compile").zero, framework_of("my own loop") is None
    (3, True)
    """
    return next((framework for framework in _frameworks() if framework.match.casefold() in name.casefold()), None)
