"""What a copy of a watcher is: one that watches nothing. The training that it was copied in is watched by the one that was there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from bench.callbacks.guard import WHOLE, Guard


class CopiesWatchNothing:
    """Whose copies, and what is read of it from a file, have none of its meters.

    Args:
        keeps: attributes that a copy has, too.
        begins: other attributes of a copy.
    """

    _keeps: ClassVar[Sequence[str]] = ()
    _begins: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls, *, keeps: Sequence[str] = (), begins: Mapping[str, Any] | None = None, **more: Any) -> None:
        super().__init_subclass__(**more)
        cls._keeps, cls._begins = keeps or cls._keeps, begins or cls._begins

    def __getstate__(self) -> dict[str, Any]:
        guard = Guard()
        guard.failed[WHOLE] = "a copy of a watcher watches nothing"
        return {name: getattr(self, name) for name in self._keeps} | dict(self._begins) | {"_guard": guard}
