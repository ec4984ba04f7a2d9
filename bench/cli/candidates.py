"""The words that can stand next on a command line, by the parsers that read it."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from importlib import import_module

from bench.cli.parser import MODEL, Parser
from bench.cli.verbs import VERBS, WORDS, verb_parser


def candidates(words: Sequence[str]) -> list[str]:
    """What the last word may become: verbs, options, or values; none where it is free, or a file.

    Args:
        words: after the program's name; the last one is begun, or empty. A shell that takes ``=`` for a word of its own may hand it so.

    >>> candidates(["com"])
    ['compare-hardware', 'compare', 'completion']
    >>> candidates(["list", "gp"])
    ['gpus']
    >>> candidates(["estimate", "--utili"])
    ['--utilization']
    """
    *before, begun = words or [""]
    if not before:
        return _beginning(begun, (*VERBS, *WORDS))
    if before == ["help"]:
        return _beginning(begun, VERBS)
    if before[0] not in VERBS:
        return []
    parser = verb_parser(before[0])
    if begun == "=":
        before, begun = [*before, begun], ""
    if before[-1] == "=":
        before.pop()
    option, separator, value = begun.partition("=")
    if separator and option in parser.actions_by_option:
        return [f"{option}={found}" for found in _values(parser.actions_by_option[option], value)]
    waiting = parser.actions_by_option.get(before[-1])
    if waiting is not None and waiting.nargs is None:
        return _values(waiting, begun)
    if begun.startswith("-"):
        return _options(parser, begun)
    return _free(parser, before[1:], begun)


def _beginning(begun: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.casefold().startswith(begun.casefold())]


def _options(parser: Parser, begun: str) -> list[str]:
    """Options as the help spells them; where none begins so, in the other spellings that are taken."""
    own = _beginning(begun, (name for action in parser._actions for name in action.option_strings))
    return own or _beginning(begun, parser.actions_by_option)


def _values(action: argparse.Action, begun: str) -> list[str]:
    """What an option takes, after the last comma of what is begun."""
    if action.choices is not None:
        return _beginning(begun, map(str, action.choices))
    done, comma, last = begun.rpartition(",")
    return [f"{done}{comma}{name}" for name in _beginning(last, _names(action.dest))]


def _free(parser: Parser, before: Sequence[str], begun: str) -> list[str]:
    """What can stand without an option before it."""
    taken = sum(1 for _ in parser.free_words(before))
    positionals = parser._get_positional_actions()
    if taken < len(positionals):
        return _values(positionals[taken], begun)
    named = any(parser.actions_by_option.get(word.split("=")[0]) is parser.actions_by_option.get(MODEL) for word in before)
    if MODEL in parser.actions_by_option and not taken and not named:
        return _values(parser.actions_by_option[MODEL], begun)
    return []


def _names(dest: str) -> Iterable[str]:
    """The names that an option of this destination takes; none where it takes no names."""
    found = [getattr(import_module(module), name) for module, name in REGISTRIES.get(dest, ())]
    return [*(name for names in found for name in (names() if callable(names) else names)), *OTHER_NAMES.get(dest, ())]


REGISTRIES: dict[str, tuple[tuple[str, str], ...]] = {
    "model": (("estimators.facts.registry", "model_ids"),),
    "hardware": (("estimators.facts.registry", "hardware_ids"),),
    "engine": (("estimators.serving.engines", "engines"),),
    "weights": (("estimators.weight_formats", "SERVED_FORMATS"),),
    "kv": (("estimators.serving.kv_cache", "BLOCK_BYTES"),),
    "software": (("estimators.cost.software", "stacks"),),
    "optimizer": (("estimators.training.step", "OPTIMIZER_BYTES"),),
    "convention": (("estimators.counting.conventions", "CONVENTIONS"),),
    "given_by": (("estimators.facts.tool_conventions", "tools"),),
    "to": (("estimators.facts.tool_conventions", "tools"),),
    "dtype": (("estimators.units", "DTYPE_BYTES"),),
    "task": (("bench.records.request", "ALL_TASKS"),),
    "suite": (("bench.runs.suites", "SUITES"),),
    "preset": (("bench.sampling.presets", "PRESETS"),),
    "what": (("bench.cli.list", "KINDS"), ("bench.cli.list", "OTHER_WORDS")),
}
"""Destination of an option -> modules, loaded when they are asked, and what in them gives its names."""

OTHER_NAMES: dict[str, tuple[str, ...]] = {"to": ("all",), "device": ("cpu", "cuda", "mps")}
"""Destination of an option -> names that stand in no registry."""
