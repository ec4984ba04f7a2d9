"""Keyword arguments as the options of a verb: read by the same readers, answered by the same function."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from keyword import iskeyword
from typing import Any

from bench.cli.answer import answer
from bench.cli.output import Kept
from bench.cli.parser import Parser
from bench.cli.verbs import verb_parser
from reports.screen import Screen
from reports.table import Table


def ask(verb: str, given: Mapping[str, object]) -> tuple[list[Table], int, Screen | None, list[Table]]:
    """The tables that a verb makes of keyword arguments, its exit code, what it shows first, and tables too long to be read.

    Args:
        given: keyword of an option to its value; None and False stand for an option that was not given.

    Raises:
        RequestError: the request was wrong, or needs a package that is not installed.
        PhysicsError: the answer would be a figure that no machine can produce.
    """
    kept = Kept()
    code = answer(verb, read(verb_parser(verb), given), kept)
    return kept.tables, code, kept.screen, kept.data


def keyword(action: argparse.Action) -> str:
    """What an option is called as a keyword argument: its long name, or its destination where Python has that word."""
    name = action.option_strings[-1].lstrip("-").replace("-", "_") if action.option_strings else action.dest
    return action.dest if iskeyword(name) else name


def read(parser: Parser, given: Mapping[str, object]) -> dict[str, object]:
    """Destination of each option to its value; texts are read as those of the command line, numbers are checked as those are.

    Raises:
        BadValueError: an option that is required or that excludes another, or a value out of range.

    >>> parser = Parser()
    >>> _ = parser.add_argument("--tokens", type=int)
    >>> _ = parser.add_argument("--share", type=float)
    >>> _ = parser.add_argument("--explain", action="store_true")
    >>> read(parser, {"tokens": "2", "share": 0.5, "explain": False})
    {'help': '==SUPPRESS==', 'tokens': 2, 'share': 0.5, 'explain': False}
    """
    present = {name: value for name, value in given.items() if value is not None and value is not False}
    for group in parser._mutually_exclusive_groups:
        first, *others = [f"--{name}" for name in map(keyword, group._group_actions) if name in present] or [""]
        if others:
            parser.error(f"argument {others[0]}: not allowed with argument {first}")
        if group.required and not first:
            parser.error(f"one of the arguments {' '.join(action.option_strings[-1] for action in group._group_actions)} is required")
    values: dict[str, object] = {}
    for action in parser._actions:
        name = keyword(action)
        if name in present:
            values[action.dest] = _value(parser, action, present[name])
        elif action.required:
            parser.error(f"the following arguments are required: {'/'.join(action.option_strings) or action.dest}")
        else:
            values[action.dest] = action.default
    return values


def _value(parser: Parser, action: argparse.Action, given: Any) -> Any:
    """One value as its option has it. Raises BadValueError."""
    if action.nargs == 0:
        return action.const
    if isinstance(given, os.PathLike):
        given = os.fspath(given)
    try:
        value = str(given) if action.type is None else parser._get_value(action, given)
        parser._check_value(action, value)
    except argparse.ArgumentError as error:
        parser.error(str(error))
    return value
