"""What stands between the layers of a decoder that hands on several streams of each token, in place of one residual."""

from __future__ import annotations

from abc import ABC, abstractmethod

from estimators.spec import Op, Workload

STREAMS = "streams"
"""Component of what streams cost."""


class Connections(ABC):
    """Rows of the streams: before the first layer, around a part, around a layer, and behind the last; those that a kind has."""

    __slots__ = ()

    @property
    @abstractmethod
    def streams(self) -> int:
        """How many."""

    @property
    def adds_within(self) -> bool:
        """Whether the parts of a layer are added to one stream as without connections, which then stand around the layer."""
        return False

    def begin_ops(self, w: Workload, width: int) -> list[Op]:
        """Rows of what makes the streams of one, D = width."""
        return []

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows around one part of `count` layers."""
        return []

    def before_ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows before the first part of `count` layers."""
        return []

    def behind_ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows behind the last part of `count` layers."""
        return []

    @abstractmethod
    def end_ops(self, w: Workload, width: int) -> list[Op]:
        """Rows of what makes one stream of all behind the last layer."""
