"""A question as a form has it: the fields of a verb, read from its own parser, and the command line and link that hold it too."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Mapping
from urllib.parse import urlencode

from bench.cli.parser import Parser
from bench.cli.verbs import VERBS, verb_parser
from bench.program import NAME
from estimators.errors import BadValueError
from estimators.frozen import frozen

ASKED = ("estimate", "plan", "fit", "serve", "compare-hardware")
"""The verbs that a form is made for."""

FIRST = {
    "estimate": ("model", "tokens", "hardware", "gpus", "prompt-tokens", "new-tokens"),
    "plan": ("model", "tokens", "hardware", "gpus", "deadline", "budget"),
    "fit": ("model", "method", "hardware", "gpus", "batch", "seq-len"),
    "serve": ("model", "hardware", "users", "input-tokens", "output-tokens", "ttft", "itl"),
    "compare-hardware": ("model", "tokens", "hardware", "gpus"),
}
"""Of each verb, the fields that stand open; the others are below them, in the groups of its help."""

OF_FILES = ("FILE", "FILES", "PATH", "DIR")
"""What options name that read or write a file: a link must not."""

NOT_ASKED = ("help", "fetch", "emit")
"""Other options without a field: what opens a connection, and what answers with another text than tables."""


@frozen
class Field:
    """One field of a form.

    Attributes:
        name: the option, without its dashes; the name in a link as well.
        help: what the verb's help says of it.
        group: the title it stands under there.
        is_switch: whether it is on or off, and has no value.
        choices: what it takes; empty where that is not a list.
        example: how the help writes its value, such as NUM.
    """

    name: str
    help: str
    group: str
    is_switch: bool
    choices: tuple[str, ...]
    example: str


def fields(verb: str) -> tuple[Field, ...]:
    """The fields of a verb in the order of its help, without those of its output and those that name files."""
    return tuple(_fields(verb_parser(verb)))


def _fields(parser: Parser) -> Iterator[Field]:
    for group in parser._action_groups:
        for action in group._group_actions:
            name = max(action.option_strings, key=len, default="").removeprefix("--")
            example = str(action.metavar or "")
            if not name or group.title == "output" or name in NOT_ASKED or example in OF_FILES:
                continue
            yield Field(
                name=name,
                help=(action.help or "").replace("%%", "%"),
                group=str(group.title),
                is_switch=isinstance(action, argparse._StoreTrueAction),
                choices=tuple(map(str, action.choices or ())),
                example=example,
            )


def words(verb: str, values: Mapping[str, str]) -> list[str]:
    """The words after the program's name that ask the question.

    Args:
        values: by the name of a field; an empty one is not given, and a switch is on where it is "on".

    Raises:
        BadValueError: no such form, no such field, or a switch with another value.
    """
    if verb not in ASKED:
        raise BadValueError(not_asked(verb))
    known = {field.name: field for field in fields(verb)}
    asked = [verb]
    for name, value in values.items():
        if name not in known:
            raise BadValueError(f"{name[:80]!r} is no field of {verb}; files are given on the command line: {NAME} {verb} --help")
        if not value:
            continue
        if not known[name].is_switch:
            asked += [f"--{name}", value] if not value.startswith("-") else [f"--{name}={value}"]
        elif value != "on":
            raise BadValueError(f"{name} is a switch: expected on, got {value[:80]!r}")
        else:
            asked.append(f"--{name}")
    return asked


def not_asked(name: str) -> str:
    """What to say of a verb, or of an address, that has no form."""
    return f"{name[:80]!r} has no form here; expected one of: {', '.join(ASKED)}"


def command(verb: str, values: Mapping[str, str]) -> str:
    """The command line that gives the same answer. Raises BadValueError, as `words` does."""
    return f"{NAME} {shlex.join(words(verb, values))}"


def link(verb: str, values: Mapping[str, str], *, to: str = "") -> str:
    """The address, from the root, that holds the question.

    >>> link("plan", {"model": "gpt2", "gpus": "", "tokens": "1B"})
    '/plan?model=gpt2&tokens=1B'
    """
    given = {name: value for name, value in values.items() if value}
    return f"{to}/{verb}?{urlencode(given)}" if given else f"{to}/{verb}"


def purpose(verb: str) -> str:
    """One line of help."""
    return VERBS[verb]
