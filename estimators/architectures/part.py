"""What a layer is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping

from estimators.frozen import frozen
from estimators.spec import Op, Workload


@frozen
class Cached:
    """What tokens leave in one layer's cache.

    Attributes:
        elements_per_token: of each token; a fraction where one entry stands for several.
        keeps: tokens of a sequence that it keeps at most; None for all.
        trims: whether it keeps no more even where windows are not trimmed.
    """

    elements_per_token: float
    keeps: int | None = None
    trims: bool = False


class Part(ABC):
    """Attention, a state-space mixer, a feed-forward, experts. What most parts do not have, has the value here that says so."""

    __slots__ = ()

    @abstractmethod
    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of `count` equal layers of model width `width`."""

    @property
    def heads(self) -> int:
        """Heads that mix tokens; 0 for parts that mix none."""
        return 0

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values: as many as there are heads, unless some share theirs."""
        return self.heads

    @property
    def crosses(self) -> bool:
        """Whether keys and values are made of another sequence."""
        return False

    @property
    def rotary(self) -> bool:
        """Whether positions turn queries and keys."""
        return False

    @property
    def rotary_width(self) -> int:
        """Of a head, what positions turn; 0 for none."""
        return 0

    @property
    def cache_elements_per_token(self) -> int:
        """Elements that one token leaves in one layer's cache of keys and values."""
        return 0

    @property
    def keeps(self) -> int | None:
        """Tokens of a sequence that one layer's cache keeps at most; None for all."""
        return None

    @property
    def cached(self) -> tuple[Cached, ...]:
        """The same of each kind of state, one by one; empty where tokens leave nothing."""
        elements = self.cache_elements_per_token
        return (Cached(elements_per_token=elements, keeps=self.keeps),) if elements else ()

    @property
    def code_paths(self) -> Mapping[str, Part]:
        """The ways in which it is run at different cost, name to part; empty where there is no choice."""
        return {}


class Compound(Part):
    """A part that holds others."""

    __slots__ = ()

    @property
    @abstractmethod
    def inside(self) -> tuple[Part, ...]:
        """What it holds."""

    @property
    def heads(self) -> int:
        """Of the part inside that has most."""
        return max((part.heads for part in self.inside), default=0)

    @property
    def kv_heads(self) -> int:
        """Of the part inside that has most."""
        return max((part.kv_heads for part in self.inside), default=0)

    @property
    def rotary(self) -> bool:
        """Whether positions turn queries and keys of one."""
        return any(part.rotary for part in self.inside)

    @property
    def rotary_width(self) -> int:
        """Of the part inside that has the widest."""
        return max((part.rotary_width for part in self.inside), default=0)

    @property
    def cache_elements_per_token(self) -> int:
        """Of all of them."""
        return sum(part.cache_elements_per_token for part in self.inside)

    @property
    def cached(self) -> tuple[Cached, ...]:
        """Of all of them."""
        return tuple(cached for part in self.inside for cached in part.cached)


def apart(parts: Iterable[Part]) -> Iterator[Part]:
    """Those that hold no others: compound ones as what they hold."""
    for part in parts:
        if isinstance(part, Compound):
            yield from apart(part.inside)
        else:
            yield part
