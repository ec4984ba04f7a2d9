"""What each key of a launcher's file is to the answer: read, harmless, refused by name, or not known and said so."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase, translate
from typing import Any, TypeVar

from estimators.errors import BadValueError
from estimators.frozen import field, frozen

Value = TypeVar("Value")

OFF = ("false", "none", "null", "no", "0", "")
"""Values of a key that turn off what it stands for."""

NOT_PRICED = "that is not priced; take it out of the file to price the run without it"
OWN_STAGES = "stages of the same number of layers are priced; take it out of the file"
OFFLOADED = (
    "states in host memory are not priced, neither what the host holds nor the slower step; take it out of the file to price "
    "the run with all states on the GPUs"
)
OPEN = 0
"""A degree that a file asks for without saying how many."""

MOST_NAMED = 12
"""Keys that one note names."""


@frozen
class Refused:
    """A key whose value would change the answer in a way that is not priced.

    Attributes:
        why: what is not priced, and what to do.
        unless: values that change nothing, in lower case.
    """

    why: str
    unless: tuple[str, ...] = OFF


@frozen
class Keys:
    """The keys of one launcher's files. Names may be patterns; dots lead into a table within a table.

    Attributes:
        read: those that the layout and its conditions are taken from.
        harmless: those that change neither what a device does nor what it holds, or what other options say (the model, its data).
        usual: what is priced whatever the file says, in lower case; another value is noted.
    """

    read: frozenset[str]
    harmless: frozenset[str]
    refused: Mapping[str, Refused] = field(default_factory=dict, hash=False)
    usual: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    def meanings(self) -> Iterator[tuple[str, str, str]]:
        """Every key that is known: its name, what it is to the answer, and what to know of that."""
        yield from ((key, "read", "") for key in sorted(self.read))
        yield from ((key, "refused", refused.why) for key, refused in self.refused.items())
        yield from ((key, "noted", f"priced is: {priced[0]}") for key, priced in self.usual.items())
        yield from ((key, "harmless", "") for key in sorted(self.harmless))

    def judge(self, launcher: str, values: Mapping[str, Any]) -> tuple[str, ...]:
        """Notes on what a file says and the answer does not heed.

        Raises:
            BadValueError: a key with a value that would change the answer.
        """
        self.refuse(launcher, values)
        notes = self.unusual(launcher, values)
        strange = self.unknown(values)
        if strange:
            more = f" and {len(strange) - MOST_NAMED} more" if len(strange) > MOST_NAMED else ""
            notes += (f"not known, and not heeded, of the {launcher} file: {', '.join(strange[:MOST_NAMED])[:300]}{more}",)
        return notes

    def refuse(self, launcher: str, values: Mapping[str, Any]) -> None:
        """Demand that no key has a value that would change the answer. Raises BadValueError."""
        for key, value in values.items():
            found = _entry(self.refused, key)
            if found is not None and word(value) not in found.unless:
                raise BadValueError(f"the {launcher} file has {key} = {word(value)[:40]}: {found.why}")

    def unusual(self, launcher: str, values: Mapping[str, Any]) -> tuple[str, ...]:
        """Notes on values that are not what is priced."""
        return tuple(
            f"the {launcher} file has {key} = {word(value)[:40]}; priced is: {usual[0]}"
            for key, value in values.items()
            if (usual := _entry(self.usual, key)) is not None and word(value) not in usual
        )

    def unknown(self, values: Mapping[str, Any]) -> list[str]:
        """Keys that say nothing to the answer."""
        known = {*self.read, *self.harmless, *self.refused, *self.usual}
        patterns = re.compile("|".join(sorted(translate(name) for name in known if "*" in name)) or r"(?!)")
        return [key for key in values if key not in known and not patterns.match(key)]


def _entry(entries: Mapping[str, Value], key: str) -> Value | None:
    return next((value for pattern, value in entries.items() if fnmatchcase(key, pattern)), None)


def word(value: Any) -> str:
    """A value as files spell it, in lower case.

    >>> word(True), word(None), word(1.0), word("CPU")
    ('true', 'none', '1', 'cpu')
    """
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).lower()


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Tables within tables as one, with dotted names; an empty table says nothing.

    >>> flat({"a": {"b": 1, "c": {}}, "d": None})
    {'a.b': 1, 'd': None}
    """
    return dict(_flat(config, prefix))


def _flat(config: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def whole_number(values: Mapping[str, Any], key: str) -> int | None:
    """A number of a file; None where it is not there, or left to the script as "auto".

    Raises:
        BadValueError: another word.
    """
    value = values.get(key)
    if value is None or word(value) in ("auto", "none", "null"):
        return None
    if not word(value).isascii() or not word(value).isdigit():
        raise BadValueError(f"{key} is {str(value)[:40]!r}; expected a whole number")
    return int(word(value))


def turned_on(values: Mapping[str, Any], key: str) -> bool:
    """Whether a key is there and says yes."""
    return word(values.get(key)) in ("true", "yes", "1")


@frozen
class Said:
    """What a file says of a run beside its layout; empty where it says nothing.

    Attributes:
        dtypes: any of these is what the products are computed in.
        seq_len: tokens of a sequence.
        optimizers: any of these is the optimizer.
    """

    dtypes: tuple[str, ...] = ()
    seq_len: int | None = None
    optimizers: tuple[str, ...] = ()


BELOW_16_BITS = ("fp8", "mxfp8", "mxfp4", "nvfp4")
PRECISIONS = {"fp32": ("fp32", "tf32"), "fp16": ("fp16",), "bf16": ("bf16",), "fp8": BELOW_16_BITS}
"""What a file calls the precision of a run, and the dtypes that are priced as it."""

_OPTIMIZERS = {
    ("adam", "adamw", "fusedadam", "torchadam"): ("adamw",),
    ("sgd",): ("sgd", "sgd-momentum"),
    ("muon", "dist_muon"): ("muon",),
    ("adafactor",): ("adafactor",),
    ("adam8bit", "adamw8bit", "adamw_8bit"): ("adamw-8bit",),
}


def optimizers_named(key: str, name: str) -> tuple[str, ...]:
    """The optimizers that are priced as the one of a file.

    Raises:
        BadValueError: none is.
    """
    for names, priced in _OPTIMIZERS.items():
        if name.lower() in names:
            return priced
    raise BadValueError(f"{key} is {name[:40]!r}, which is not priced; expected one of: {', '.join(_all(_OPTIMIZERS.values()))}")


def _all(groups: Iterable[tuple[str, ...]]) -> list[str]:
    return [name for group in groups for name in group]
