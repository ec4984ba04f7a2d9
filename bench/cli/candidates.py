"""The words that can stand next on a command line, by the parsers that read it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence

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
    named = NAMES.get(action.dest)
    if named is None:
        return []
    done, comma, last = begun.rpartition(",")
    return [f"{done}{comma}{name}" for name in _beginning(last, named())]


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


def _models() -> Iterable[str]:
    from estimators.facts.registry import model_ids

    return model_ids()


def _hardware() -> Iterable[str]:
    from estimators.facts.registry import hardware_ids

    return hardware_ids()


def _software() -> Iterable[str]:
    from estimators.cost.software import stacks

    return stacks()


def _optimizers() -> Iterable[str]:
    from estimators.training.step import OPTIMIZER_BYTES

    return OPTIMIZER_BYTES


def _conventions() -> Iterable[str]:
    from estimators.counting.conventions import CONVENTIONS

    return CONVENTIONS


def _tools() -> Iterable[str]:
    from estimators.facts.tool_conventions import tools

    return tools()


def _dtypes() -> Iterable[str]:
    from estimators.units import DTYPE_BYTES

    return DTYPE_BYTES


def _tasks() -> Iterable[str]:
    from bench.records.request import TASKS

    return TASKS


def _suites() -> Iterable[str]:
    from bench.runs.suites import SUITES

    return SUITES


def _presets() -> Iterable[str]:
    from bench.sampling.presets import PRESETS

    return PRESETS


def _listed() -> Iterable[str]:
    from bench.cli.list import KINDS, OTHER_WORDS

    return (*KINDS, *OTHER_WORDS)


NAMES: dict[str, Callable[[], Iterable[str]]] = {
    "model": _models,
    "hardware": _hardware,
    "software": _software,
    "optimizer": _optimizers,
    "convention": _conventions,
    "given_by": _tools,
    "to": lambda: (*_tools(), "all"),
    "dtype": _dtypes,
    "task": _tasks,
    "suite": _suites,
    "preset": _presets,
    "what": _listed,
    "device": lambda: ("cpu", "cuda", "mps"),
}
"""Destination of an option -> the names that it takes."""
