"""Part: a typed, frozen piece of a record that knows which of its fields were stated, so that what is absent stays absent."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NoReturn, Self, dataclass_transform


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Part:
    """Base of what a record holds inside. A field without a default must be stated; any other may be absent and then is its default.

    A field stated as None is written as null, one that was not stated is not written: `name in part` tells the two apart.

    >>> class Box(Part):
    ...     width: int
    ...     depth: int | None = None
    >>> Box(width=1), "depth" in Box(width=1), "depth" in Box(width=1, depth=None), Box(width=1).depth
    (Box(width=1), False, True, None)
    >>> Box(width=1) | Box(width=2, depth=3)
    Box(width=2, depth=3)
    """

    def __init__(self, **stated: Any) -> None:
        annotated = type(self).__annotations__
        for name in stated:
            if name not in annotated:
                raise TypeError(f"{type(self).__name__}() has no field {name!r}")
        for name in annotated:
            if name not in stated and not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__}() lacks the keyword argument {name!r}")
        vars(self).update(stated)

    def stated(self) -> Mapping[str, Any]:
        """The fields that were stated, by name, in the order in which they were."""
        return MappingProxyType(vars(self))

    def __contains__(self, name: str) -> bool:
        return name in vars(self)

    def __bool__(self) -> bool:
        """Whether anything is stated."""
        return bool(vars(self))

    def __or__(self, other: Self) -> Self:
        """What either states; where both do, what the other does."""
        return type(self)(**vars(self) | vars(other))

    def replaced(self, **changes: Any) -> Self:
        """The part with some fields stated anew."""
        return type(self)(**vars(self) | changes)

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), *sorted(vars(self))))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"cannot assign to {name!r}: {type(self).__name__} is frozen")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"cannot delete {name!r}: {type(self).__name__} is frozen")
