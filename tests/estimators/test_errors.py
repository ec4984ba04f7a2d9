"""Every error of a request is one line that says what was given and how to mend it."""

from __future__ import annotations

import pytest

from estimators import errors
from estimators.errors import UnknownNameError, near_misses

KNOWN = ("h100-pcie-80gb", "h100-sxm5-80gb", "h200-sxm-141gb", "a100-sxm4-80gb", "Phi-2")


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    assert errors.__doc__ is not None
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, Exception):
            assert name in errors.__doc__
            assert issubclass(kind, errors.SixndError)
    assert not issubclass(errors.PhysicsError, errors.RequestError)  # exit code 1, not 2


def test_a_slip_is_answered_with_what_was_meant() -> None:
    message = r"^unknown GPU 'h2O0-sxm'; did you mean 'h200-sxm-141gb'\? List them with: python -m bench list hardware$"
    with pytest.raises(UnknownNameError, match=message):
        raise UnknownNameError("GPU", "h2O0-sxm", KNOWN, "python -m bench list hardware")


def test_nothing_is_suggested_where_nothing_is_near() -> None:
    with pytest.raises(UnknownNameError, match=r"^unknown GPU 'toaster'\. List them with: python -m bench list hardware$"):
        raise UnknownNameError("GPU", "toaster", KNOWN, "python -m bench list hardware")


def test_names_that_begin_alike_come_before_names_spelt_alike() -> None:
    assert near_misses("h100", KNOWN) == ("h100-pcie-80gb", "h100-sxm5-80gb")
    assert near_misses("h100-sxm5-80g", KNOWN)[0] == "h100-sxm5-80gb"


def test_a_suggestion_is_spelt_as_the_registry_spells_it() -> None:
    assert near_misses("phi2", KNOWN) == ("Phi-2",)


def test_nothing_or_a_single_letter_suggests_nothing() -> None:
    assert near_misses("", KNOWN) == ()
    assert near_misses("h", KNOWN) == ()


def test_suggestions_are_few_and_distinct() -> None:
    names = [f"gpt-{n}" for n in range(20)]
    found = near_misses("gpt-", names)
    assert len(found) == len(set(found)) == errors.MAX_NEAR_MISSES


@pytest.mark.parametrize("given", ["x" * 10**7, "two\nlines", "tab\tand \x1b[31mcolour", "’quotes'\""])
def test_whatever_was_given_the_message_is_one_short_printable_line(given: str) -> None:
    with pytest.raises(UnknownNameError, match=r"^unknown model ") as caught:
        raise UnknownNameError("model", given, KNOWN, "python -m bench list models")
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 250
