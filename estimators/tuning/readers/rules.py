"""What a key of a configuration means for a fine-tuning: one rule a key, from its value to settings of a job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from estimators.errors import BadValueError
from estimators.frozen import field, frozen
from estimators.training.layouts.launchers.keys import Keys, word
from estimators.tuning.settings import Value

Meaning = Callable[[str, Any], Mapping[str, Value]]

OWN_REFERENCE = "own"
"""A reference model of the weights that are trained: adapters switched off where there are some, a frozen copy where there are none."""

SEVERAL = "several devices"
"""When a framework has more of its own: on several devices, and where its own file names the model, so that it loads it."""

FOUR_BITS: dict[str, Value] = {"nf4": "nf4", "fp4": "nf4"}
"""bitsandbytes' formats of 4 bits -> the one that is priced: both have a code of 16 values and a scale for 64 weights."""

MAX_COUNT = 10**9
MAX_SHOWN = 60

ON = ("true", "yes", "on", "1")
OFF = ("false", "no", "off", "0", "none", "null", "")


@frozen
class Rule:
    """What one key means.

    Attributes:
        settings: that it may state.
        meaning: takes the key and its value, never null, to what is stated; empty where a value leaves things as they are.
    """

    settings: tuple[str, ...]
    meaning: Meaning


@frozen
class Format:
    """The files of one framework or tool.

    Attributes:
        name: what people call it.
        framework: the recipe that fills in what its files leave open; empty for files that are no framework's.
        rules: what is read, key by key.
        keys: what the other keys are to the answer; those of the rules and of `also` are among its `read`.
        also: what several keys mean together: key to settings, which go before those of the rules; a setting that is None is taken back.
        present: keys that state a setting by being there, null too, where no other does.
        usual: when, an objective, SEVERAL or empty for always -> settings that its framework has where no file states
            them, those that recipes have no column of -> value, and the key that would state it.
    """

    name: str
    framework: str = ""
    rules: Mapping[str, Rule] = field(hash=False)
    keys: Keys
    also: Callable[[Mapping[str, Any]], Mapping[str, Mapping[str, Value | None]]] = lambda _: {}
    present: Mapping[str, tuple[str, Value]] = field(default_factory=dict, hash=False)
    usual: Mapping[str, Mapping[str, tuple[Value, str]]] = field(default_factory=dict, hash=False)


def text(setting: str) -> Rule:
    """A name or path, as it stands."""

    def meaning(key: str, value: Any) -> dict[str, Value]:
        if not isinstance(value, str) or not value.strip():
            raise wrong(key, value, "a text")
        return {setting: value.strip()}

    return Rule(settings=(setting,), meaning=meaning)


def count(setting: str, *, minimum: int = 1, nothing: tuple[int, ...] = ()) -> Rule:
    """A whole number; those in `nothing` leave it open, as -1 steps do, and so does "auto"."""

    def meaning(key: str, value: Any) -> dict[str, Value]:
        if word(value) == "auto":
            return {}
        number = whole(key, value)
        if number in nothing:
            return {}
        if not minimum <= number <= MAX_COUNT:
            raise wrong(key, value, f"a whole number from {minimum} to {MAX_COUNT:,}")
        return {setting: number}

    return Rule(settings=(setting,), meaning=meaning)


def number(setting: str, *, maximum: float, minimum: float = 0.0) -> Rule:
    """A number within a range."""

    def meaning(key: str, value: Any) -> dict[str, Value]:
        try:
            found = float(value) if not isinstance(value, bool | list) else float("nan")
        except (ValueError, OverflowError):
            found = float("nan")
        if not minimum <= found <= maximum:
            raise wrong(key, value, f"a number from {minimum:g} to {maximum:g}")
        return {setting: int(found) if found.is_integer() else found}

    return Rule(settings=(setting,), meaning=meaning)


def switch(on: Mapping[str, Value], off: Mapping[str, Value] | None = None) -> Rule:
    """True or false, and what each means."""
    states = off or {}

    def meaning(key: str, value: Any) -> Mapping[str, Value]:
        return on if is_on(key, value) else states

    return Rule(settings=tuple({**on, **states}), meaning=meaning)


def words(*settings: str, meanings: Mapping[str, Mapping[str, Value]]) -> Rule:
    """One of a few words, in any case, and what each means."""

    def meaning(key: str, value: Any) -> Mapping[str, Value]:
        found = meanings.get(word(value)) if not isinstance(value, list) else None
        if found is None:
            raise wrong(key, value, f"one of: {', '.join(filter(None, meanings))}")
        return found

    return Rule(settings=settings, meaning=meaning)


def one_word(setting: str, meanings: Mapping[str, Value]) -> Rule:
    """One of a few words, each for a value of one setting."""
    return words(setting, meanings={name: {setting: value} for name, value in meanings.items()})


def names(setting: str, *, all_of_them: tuple[str, ...] = ()) -> Rule:
    """A list of names, or a text with commas between them.

    Args:
        all_of_them: words for all linear matrices.
    """

    def meaning(key: str, value: Any) -> dict[str, Value]:
        found = listed(key, value)
        if not found:
            return {}
        return {setting: ("all-linear",) if any(name in all_of_them for name in found) else found}

    return Rule(settings=(setting,), meaning=meaning)


def saved_modules() -> Rule:
    """Modules beside adapters that are trained in full: embedding and head; heads of classes and norms are too small to count."""

    def meaning(key: str, value: Any) -> dict[str, Value]:
        kept = []
        for name in listed(key, value):
            last = name.rpartition(".")[2]
            if last not in SAVED_MODULES:
                raise wrong(key, name, f"some of: {', '.join(SAVED_MODULES)}")
            kept.append(SAVED_MODULES[last])
        found = tuple(dict.fromkeys(part for part in kept if part))
        return {"saved_modules": found} if found else {}

    return Rule(settings=("saved_modules",), meaning=meaning)


SAVED_MODULES = {
    **dict.fromkeys(("embed_tokens", "wte", "word_embeddings", "embed_in", "tok_embeddings"), "embedding"),
    **dict.fromkeys(("lm_head", "embed_out", "output"), "head"),
    **dict.fromkeys(("score", "classifier", "v_head", "norm", "input_layernorm", "post_attention_layernorm"), ""),
}
"""What frameworks call them -> their name here; empty for what is too small to count."""


def listed(key: str, value: Any) -> tuple[str, ...]:
    """The names of a list, or of a text with commas between them. Raises BadValueError where it is neither."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise wrong(key, value, "a list of names")
    return tuple(item.strip() for item in items if item.strip())


def is_on(key: str, value: Any) -> bool:
    """Whether a value says yes. Raises BadValueError where it says neither yes nor no."""
    said = "" if value is None else word(value)
    if said not in ON and said not in OFF:
        raise wrong(key, value, "true or false")
    return said in ON


def whole(key: str, value: Any) -> int:
    """A whole number, also one that is written as a text or with a point. Raises BadValueError."""
    said = word(value)
    digits = said.removeprefix("-")
    if isinstance(value, bool) or len(said) > 20 or not (digits.isascii() and digits.isdigit()):
        raise wrong(key, value, "a whole number")
    return int(said)


def wrong(key: str, value: Any, expected: str) -> BadValueError:
    """The error to raise for a value that is not what its key takes."""
    shown = "a list" if isinstance(value, list) else repr((word(value) if isinstance(value, bool) else str(value))[:MAX_SHOWN])
    return BadValueError(f"{key} is {shown}; expected {expected}")
