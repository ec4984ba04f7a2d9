"""`@frozen`: a frozen, slotted, keyword-only dataclass that is cheap to define.

`dataclasses.dataclass` imports `inspect` and compiles six methods for every class: 27 ms for the two dozen classes behind
one estimate, where a bare Python starts in 10. Here all classes share their methods, and defining one takes microseconds.
To type checkers a frozen class is a dataclass; `dataclasses.fields`, `replace` and `asdict` take its instances, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from dataclasses import Field

T = TypeVar("T")
_NOTHING = object()


class Default:
    """What a field is where no value is given: a value, what one is made by, or neither; and whether it counts in the hash."""

    __slots__ = ("hashed", "make", "value")

    def __init__(self, value: Any, make: Callable[[], Any] | None, hashed: bool) -> None:
        self.value, self.make, self.hashed = value, make, hashed


def field(*, default: Any = _NOTHING, default_factory: Callable[[], Any] | None = None, hash: bool = True) -> Any:
    """A field that is made anew for each instance, or left out of the hash because its value has none.

    >>> @frozen
    ... class Box:
    ...     parts: dict[str, int] = field(default_factory=dict, hash=False)
    >>> Box().parts
    {}
    """
    return Default(default, default_factory, hash)


class _DataclassFields:
    """`__dataclass_fields__`, built only when the dataclasses module asks for it."""

    def __get__(self, instance: object, owner: Any) -> dict[str, Field[Any]]:
        from dataclasses import make_dataclass

        kinds = {name: kind for base in reversed(owner.__mro__) for name, kind in vars(base).get("__annotations__", {}).items()}
        plain: Any = make_dataclass(owner.__name__, [(name, kinds[name]) for name in owner._fields], kw_only=True)
        fields: dict[str, Field[Any]] = plain.__dataclass_fields__
        return fields


class _Frozen:
    """The methods that every frozen class shares. `_fields` names its fields and those of what it extends, `_defaults` maps a field to
    its Default, `_hashed` names those in the hash; `_values` and `_makers` are the defaults by kind, `_put` sets each field."""

    __slots__: tuple[str, ...] = ()
    _fields: tuple[str, ...] = ()
    _defaults: Mapping[str, Default] = MappingProxyType({})
    _hashed: tuple[str, ...] = ()
    _values: Mapping[str, Any] = MappingProxyType({})
    _makers: tuple[tuple[str, Callable[[], Any]], ...] = ()
    _put: tuple[tuple[str, Callable[[Any, Any], None]], ...] = ()
    __dataclass_fields__ = _DataclassFields()

    def __init__(self, **given: Any) -> None:
        values = {**self._values, **given}
        for name, make in self._makers:
            if name not in given:
                values[name] = make()
        try:
            for name, put in self._put:
                put(self, values[name])
        except KeyError as error:
            raise TypeError(f"{type(self).__name__}() lacks the keyword argument {error}") from None
        if len(values) > len(self._put):
            raise TypeError(f"{type(self).__name__}() has no field {', '.join(repr(name) for name in given if name not in self._fields)}")
        self.__post_init__()

    def __post_init__(self) -> None:
        """Check the fields; classes may do so."""

    def __eq__(self, other: object) -> bool:
        return as_dict(self) == as_dict(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, name) for name in self._hashed)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in as_dict(self).items())})"

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"cannot assign to {name!r}: {type(self).__name__} is frozen")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"cannot delete {name!r}: {type(self).__name__} is frozen")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), as_dict(self))


def _rebuild(cls: type[T], values: dict[str, Any]) -> T:
    return cls(**values)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """Make a class of annotated fields frozen, slotted and keyword-only. It may extend one other frozen class.

    >>> @frozen
    ... class Point:
    ...     x: int
    ...     y: int = 0
    >>> Point(x=1)
    Point(x=1, y=0)
    >>> replace(Point(x=1), y=5) == Point(x=1, y=5)
    True
    """
    annotations: Mapping[str, str] = vars(cls).get("__annotations__", {})
    names = tuple(name for name, kind in annotations.items() if not kind.startswith("ClassVar"))
    given = {name: vars(cls)[name] for name in names if name in vars(cls)}
    defaults = {name: value if isinstance(value, Default) else field(default=value) for name, value in given.items()}
    body = {name: value for name, value in vars(cls).items() if name not in given and name not in ("__dict__", "__weakref__")}
    bases = tuple(base for base in cls.__bases__ if base is not object)
    extended: Any = next((base for base in bases if issubclass(base, _Frozen)), _Frozen)
    own = tuple(name for name in names if name not in extended._fields)
    defaults = {**extended._defaults, **defaults}
    fields = (*extended._fields, *own)
    body |= {
        "__slots__": own,
        "_fields": fields,
        "_defaults": defaults,
        "_hashed": tuple(name for name in fields if name not in defaults or defaults[name].hashed),
        "_values": {name: default.value for name, default in defaults.items() if default.value is not _NOTHING},
        "_makers": tuple((name, default.make) for name, default in defaults.items() if default.make is not None),
        "__match_args__": (),
    }
    slotted: Any = type(cls.__name__, bases if extended is not _Frozen else (*bases, _Frozen), body)
    slotted._put = tuple((name, getattr(slotted, name).__set__) for name in fields)
    found: type[T] = slotted
    return found


def as_dict(instance: Any) -> dict[str, Any]:
    """The fields of one instance, in order; nested instances stay as they are."""
    return {name: getattr(instance, name) for name in instance._fields}


def replace(instance: T, **changes: Any) -> T:
    """A copy with some fields changed."""
    return type(instance)(**{**as_dict(instance), **changes})
