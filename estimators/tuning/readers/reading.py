"""What configuration files say of a fine-tuning: every setting with the key that it came from, and every key that says none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.tuning.readers.rules import MAX_SHOWN, Format
from estimators.tuning.settings import Value


@frozen
class Stated:
    """A setting that a file states.

    Attributes:
        setting: what a job calls it.
        key: what the file calls it, dots leading into tables within tables.
        file: its name.
    """

    setting: str
    value: Value
    key: str
    file: str


@frozen
class Overruled:
    """A setting that one file states and another, which goes before it, states otherwise."""

    stated: Stated
    winner: Stated


@frozen
class Unread:
    """A key that says nothing to the answer.

    Attributes:
        more: whose key it is, where it is one of another framework; empty where nobody's is known.
    """

    key: str
    file: str
    more: str = ""


@frozen
class Filled:
    """A setting that no file states, as its framework has it.

    Attributes:
        source: which versions, and where that stands.
    """

    setting: str
    value: Value
    framework: str
    source: str


@frozen
class FileRead:
    """What one file says.

    Attributes:
        format: what its format is called.
        framework: whose files are of that format; empty for a tool's.
        stated: a setting once at most.
        unread: keys that are not known.
        refers_to: path of a DeepSpeed configuration that it names; empty without one.
        notes: what it says, and the answer does not heed.
    """

    file: str
    format: str
    framework: str = ""
    stated: tuple[Stated, ...]
    unread: tuple[Unread, ...] = ()
    refers_to: str = ""
    notes: tuple[str, ...] = ()


def read_values(values: Mapping[str, Any], form: Format, file: str, others: Mapping[str, Format]) -> FileRead:
    """What the values of a file say, by the rules of its format.

    Args:
        values: by dotted name; one that is null says nothing.
        file: name of the file.
        others: the formats that a key may be of in its place.

    Raises:
        BadValueError: a value that its key does not take, two keys that state one setting in two ways, a key that would change the answer
            and is not priced, or one of another framework where this one has its own.
    """
    said = {key: value for key, value in values.items() if value is not None}
    form.keys.refuse(form.name, said)
    unread = tuple(_unread(key, form, file, others) for key in form.keys.unknown(said))
    stated: dict[str, Stated] = {}
    for key, value in said.items():
        rule = form.rules.get(key)
        for setting, meant in rule.meaning(key, value).items() if rule else ():
            first = stated.setdefault(setting, Stated(setting=setting, value=meant, key=key, file=file))
            if first.value != meant:
                raise BadValueError(
                    f"{file} has {first.key} and {key}, which say {shown(first.value)} and {shown(meant)} of {setting}; leave one out"
                )
    for key, settings in form.also(said).items():
        for setting, decided in settings.items():
            stated.pop(setting, None)
            if decided is not None:
                stated[setting] = Stated(setting=setting, value=decided, key=key, file=file)
    for key, (setting, value) in form.present.items():
        if key in values:
            stated.setdefault(setting, Stated(setting=setting, value=value, key=key, file=file))
    return FileRead(
        file=file,
        format=form.name,
        framework=form.framework,
        stated=tuple(stated.values()),
        unread=unread,
        notes=form.keys.unusual(form.name, said),
    )


def _unread(key: str, form: Format, file: str, others: Mapping[str, Format]) -> Unread:
    """A key that is not known; raises BadValueError for one of another framework that has another name in this one."""
    theirs = next((other for other in others.values() if other.name != form.name and key in other.rules), None)
    if theirs is None:
        return Unread(key=key, file=file)
    settings = theirs.rules[key].settings
    ours = next((name for name, rule in form.rules.items() if set(rule.settings) & set(settings)), None)
    if ours is not None and form.framework and theirs.framework:
        raise BadValueError(f"{file} has {key}, a key of {theirs.name} and not of {form.name}, which calls it {ours}; write that")
    return Unread(key=key, file=file, more=f"a key of {theirs.name}")


def shown(value: Value) -> str:
    """A setting's value as people read it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = ",".join(value) if isinstance(value, tuple) else f"{value:,}" if isinstance(value, int) else f"{value}"
    return text[:MAX_SHOWN] or "none"


def possessive(name: str) -> str:
    """A name as an owner's.

    >>> possessive("axolotl"), possessive("transformers")
    ("axolotl's", "transformers'")
    """
    return f"{name}'" if name.endswith("s") else f"{name}'s"
