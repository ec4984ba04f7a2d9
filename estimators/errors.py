"""The exception tree. Every user-facing error is one line: what was given, what was expected, how to mend it.

SixndError
├── RequestError            the request was wrong                     -> exit code 2
│   ├── UnknownNameError    a name that no registry holds; near misses are suggested
│   ├── BadValueError       a number or option out of its range, or unreadable
│   ├── BadConfigError      a config.json that describes no countable model
│   │   └── NoOpTableError  one whose model_type, or class, has no op table; transformers may know it, and then it is counted
│   ├── BadRecordError      a record that cannot be read, or two that cannot be compared
│   │   └── DamagedRecordError  one that is a record, and cannot be read as one
│   ├── DoesNotFitError     the memory needed is more than the machine has
│   └── UnavailableError    a device, file or package that is not there
│       └── MissingPackageError  a package that an extra of this project brings
└── PhysicsError            a figure that no machine can produce       -> exit code 1
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from estimators.printable import printable_lines


class SixndError(Exception):
    """Base of every error that this project raises on purpose; what it quotes of a stranger's text acts on no terminal."""

    def __init__(self, message: str = "") -> None:
        super().__init__(printable_lines(message))


class RequestError(SixndError):
    """The request was wrong; the message is one line and says how to mend it."""


class UnknownNameError(RequestError):
    """A name that no registry holds.

    Args:
        kind: what the registry is of.
        known: its names, of which those near to the given one are suggested.
        near: what is suggested in their place.
        instead: another way to say what was meant.
    """

    def __init__(
        self, kind: str, given: str, known: Iterable[str], list_command: str, *, near: Sequence[str] | None = None, instead: str = ""
    ) -> None:
        near = near_misses(given[:80], known) if near is None else near
        hint = f"; did you mean {' or '.join(repr(name) for name in near)}?" if near else "."
        more = f"; {instead}" if instead else ""
        super().__init__(f"unknown {kind} {given[:80]!r}{hint} List them with: {list_command}{more}")


class BadValueError(RequestError):
    """A number or option out of its range, or unreadable."""


class BadConfigError(RequestError):
    """A config.json that describes no countable model."""


class NoOpTableError(BadConfigError):
    """A configuration without an op table here, of its model_type or of the class that it names; transformers may know it."""


class BadRecordError(RequestError):
    """A record that cannot be read, or two records that cannot be compared."""


class DamagedRecordError(BadRecordError):
    """A record that was cut off, is of another format, or holds what none can: something missing, of a wrong type or an impossible size."""


class DoesNotFitError(RequestError):
    """The memory needed is more than the machine has."""


class UnavailableError(RequestError):
    """A device, file or package that is not there."""


class MissingPackageError(UnavailableError, ImportError):
    """A package that an extra of this project brings is not installed."""


class PhysicsError(SixndError):
    """A figure that no machine can produce, such as an MFU above 1."""


MAX_NEAR_MISSES = 4


def near_misses(given: str, known: Iterable[str]) -> tuple[str, ...]:
    """Known names that somebody may have meant: first one a slip away, then those that begin so, then those spelt alike.

    >>> near_misses("h2O0-sxm", ["h100-sxm5-80gb", "h200-sxm-141gb"])
    ('h200-sxm-141gb',)
    >>> near_misses("h100", ["h100-pcie-80gb", "h100-sxm5-80gb", "h200-sxm-141gb"])
    ('h100-pcie-80gb', 'h100-sxm5-80gb')
    """
    import difflib  # deferred: only an error path pays for it

    folded, start = {name.casefold(): name for name in known}, given.casefold()
    slip = difflib.get_close_matches(start, folded, n=1, cutoff=0.9)
    begun = [name for name in folded if len(start) > 1 and name.startswith(start)]
    alike = difflib.get_close_matches(start, folded, n=MAX_NEAR_MISSES, cutoff=0.6)
    return tuple(folded[name] for name in dict.fromkeys(slip + begun + alike))[:MAX_NEAR_MISSES]
