"""Keyword arguments as the options of a verb: the same words, read by the same parser, answered by the same function."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from keyword import iskeyword

from bench.cli.main import verb_module, verb_parser
from bench.cli.output import Kept
from reports.table import Table


def ask(verb: str, given: Mapping[str, object]) -> tuple[list[Table], int]:
    """The tables that a verb makes of keyword arguments, and its exit code.

    Args:
        given: name of an option, as `keyword` says it, to its value; None and False stand for an option that was not given.

    Raises:
        RequestError: the request was wrong.
        PhysicsError: the answer would be a figure that no machine can produce.
    """
    parser, module, kept = verb_parser(verb), verb_module(verb), Kept()
    read = parser.parse_strictly(words(parser, given))
    del read["format"], read["output"]
    code: int = module.run(module.Options(**read), kept)
    return kept.tables, code


def keyword(action: argparse.Action) -> str:
    """What an option is called as a keyword argument: its long name, or its destination where Python has that word."""
    name = action.option_strings[-1].lstrip("-").replace("-", "_") if action.option_strings else action.dest
    return action.dest if iskeyword(name) else name


def words(parser: argparse.ArgumentParser, given: Mapping[str, object]) -> list[str]:
    """What the command line would hold.

    >>> parser = argparse.ArgumentParser()
    >>> for option in ("--tokens", "--hardware"):
    ...     _ = parser.add_argument(option)
    >>> _ = parser.add_argument("--explain", action="store_true")
    >>> words(parser, {"tokens": 2e12, "hardware": ["a", "b"], "explain": True})
    ['--tokens=2000000000000', '--hardware=a,b', '--explain']
    """
    options, positionals = [], []
    actions = {keyword(action): action for action in parser._actions}
    for name, value in given.items():
        action = actions[name]
        if value is None or value is False:
            continue
        if not action.option_strings:
            positionals.append(_text(value))
        elif action.nargs == 0:
            options.append(action.option_strings[-1])
        else:
            options.append(f"{action.option_strings[-1]}={_text(value)}")
    return [*options, *(["--", *positionals] if positionals else [])]


def _text(value: object) -> str:
    """A value as it is written on the command line: whole numbers without a point, lists with commas."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, os.PathLike):
        return str(os.fspath(value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(_text, value))
    return str(value)
