"""A frozen class behaves as the standard library's frozen, slotted, keyword-only dataclass does."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest

from estimators.frozen import field, frozen, replace
from estimators.spec import Workload

standard = dataclasses.dataclass(frozen=True, slots=True, kw_only=True)


def points(decorate: Any, make_field: Any) -> Any:
    class Point:
        """Two numbers and what belongs to them."""

        x: int
        y: int = 2
        notes: dict[str, int] = make_field(default_factory=dict, hash=False)
        tag: str = make_field(default="none", hash=False)

        def __post_init__(self) -> None:
            if self.x < 0:
                raise ValueError(f"x is {self.x}")

        @property
        def total(self) -> int:
            return self.x + self.y

    return decorate(Point)


Frozen, Standard = points(frozen, field), points(standard, dataclasses.field)


@pytest.mark.parametrize("given", [{"x": 1}, {"x": 1, "y": 5}, {"x": 0, "notes": {"a": 1}, "tag": "t"}])
def test_values_defaults_properties_and_text_are_the_same(given: dict[str, Any]) -> None:
    ours, theirs = Frozen(**given), Standard(**given)
    assert dataclasses.asdict(ours) == dataclasses.asdict(theirs)
    assert ours.total == theirs.total
    assert repr(ours).split("(", 1)[1] == repr(theirs).split("(", 1)[1]
    assert [f.name for f in dataclasses.fields(ours)] == [f.name for f in dataclasses.fields(theirs)]
    assert Frozen.__doc__ == Standard.__doc__


@pytest.mark.parametrize("given", [{}, {"x": 1, "z": 2}, {"y": 1}])
def test_what_one_refuses_the_other_refuses(given: dict[str, Any]) -> None:
    for cls in (Frozen, Standard):
        with pytest.raises(TypeError, match=r"x|z"):
            cls(**given)


def test_positions_are_refused() -> None:
    for cls in (Frozen, Standard):
        with pytest.raises(TypeError, match="positional"):
            cls(1)


def test_nothing_can_be_changed_deleted_or_added() -> None:
    for cls in (Frozen, Standard):
        point = cls(x=1)
        for name in ("x", "other"):
            with pytest.raises((AttributeError, TypeError), match=r"cannot assign|super"):
                setattr(point, name, 3)
        with pytest.raises(AttributeError, match="cannot delete"):
            del point.x
        assert not hasattr(point, "__dict__")


def test_checks_run_when_one_is_made_and_when_one_is_changed() -> None:
    for cls, change in ((Frozen, replace), (Frozen, dataclasses.replace), (Standard, dataclasses.replace)):
        with pytest.raises(ValueError, match="x is -1"):
            cls(x=-1)
        with pytest.raises(ValueError, match="x is -1"):
            change(cls(x=1), x=-1)


def test_equality_and_hash() -> None:
    for cls in (Frozen, Standard):
        assert cls(x=1) == cls(x=1, y=2)
        assert cls(x=1) != cls(x=2)
        assert cls(x=1) != (1, 2)
        assert hash(cls(x=1, notes={"a": 1})) == hash(cls(x=1, notes={"b": 2}))
    assert Frozen(x=1) != Standard(x=1)


def test_a_default_that_can_change_is_made_anew() -> None:
    one, other = Frozen(x=1), Frozen(x=1)
    one.notes["a"] = 1
    assert other.notes == {}


def test_replace_leaves_the_original() -> None:
    for change in (replace, dataclasses.replace):
        point = Frozen(x=1)
        assert change(point, y=9).y == 9
        assert point.y == 2


def test_copies_and_pickles_are_equal() -> None:
    workload = Workload(phase="decode", context_len=7)
    for other in (copy.copy(workload), copy.deepcopy(workload), pickle.loads(pickle.dumps(workload))):
        assert other == workload
        assert hash(other) == hash(workload)


class TestExtended:
    @staticmethod
    def made(decorate: Any) -> Any:
        @decorate
        class Base:
            x: int
            tag: str = "none"

        @decorate
        class Extended(Base):
            y: int
            tag: str = "some"

        return Base, Extended

    def test_fields_defaults_equality_and_text_are_those_of_the_standard_library(self) -> None:
        (base, ours), (_, theirs) = self.made(frozen), self.made(standard)
        one, other = ours(x=1, y=2), theirs(x=1, y=2)
        assert dataclasses.asdict(one) == dataclasses.asdict(other) == {"x": 1, "tag": "some", "y": 2}
        assert repr(one).split("(", 1)[1] == repr(other).split("(", 1)[1]
        assert isinstance(one, base)
        assert one != base(x=1, tag="some")
        assert (one == ours(x=1, y=2), one == ours(x=2, y=2), hash(one) == hash(replace(ours(x=5, y=2), x=1))) == (True, False, True)

    @pytest.mark.parametrize("given", [{"x": 1}, {"y": 1}, {"x": 1, "y": 2, "z": 3}])
    def test_what_is_lacking_or_unknown_is_refused(self, given: dict[str, Any]) -> None:
        for decorate in (frozen, standard):
            with pytest.raises(TypeError, match=r"x|y|z"):
                self.made(decorate)[1](**given)

    def test_it_is_frozen_and_slotted_too(self) -> None:
        one = self.made(frozen)[1](x=1, y=2)
        with pytest.raises(AttributeError, match="cannot assign"):
            one.x = 2
        assert not hasattr(one, "__dict__")
