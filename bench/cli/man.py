"""The manual page of this program, as `man` reads it.

python -m bench man | man -l -
python -m bench man --output sixnd.1
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from bench.cli.output import Output
from bench.cli.parser import Parser
from bench.cli.verbs import EXAMPLES, GROUPS, verb_parser
from bench.program import SHORT_NAME
from estimators import __version__
from estimators.frozen import frozen


@frozen
class Options:
    """Options of `man`, which has none of its own."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `man`."""


def run(options: Options, out: Output) -> int:
    """Print the page."""
    out.emit_text(page())
    return 0


def page() -> str:
    """The whole page in the language of `man`, from the parsers that read the command line."""
    return "\n".join([*_head(), *_verbs(), *_examples(), *_rest()]) + "\n"


def _head() -> Iterator[str]:
    yield f'.TH {SHORT_NAME.upper()} 1 "" "{SHORT_NAME} {__version__}" "User Commands"'
    yield ".nh"
    yield ".ad l"
    yield ".SH NAME"
    yield rf"{SHORT_NAME} \- what deep-learning models cost to train and to run: estimated, measured, checked"
    yield ".SH SYNOPSIS"
    yield rf".B {SHORT_NAME}"
    yield r".I VERB"
    yield r"[options]"


def _verbs() -> Iterator[str]:
    for title, verbs in GROUPS.items():
        yield f'.SH "{title.upper()}"'
        for verb in verbs:
            yield from _verb(verb, verb_parser(verb))


def _verb(verb: str, parser: Parser) -> Iterator[str]:
    usage = (parser.usage or "").split(f" {verb}", 1)[1].strip()
    yield f'.SS "{_escaped(f"{verb} {usage}")}"'
    yield from _plain(parser.description or "")
    for group in parser._action_groups:
        shown = [action for action in group._group_actions if action.help is not argparse.SUPPRESS and action.dest != "help"]
        if not shown:
            continue
        if group.title not in ("options", "positional arguments"):
            yield ".PP"
            yield rf"{_escaped(group.title or '')}:"
        for action in shown:
            yield ".TP"
            yield rf"\fB{_escaped(', '.join(action.option_strings))}\fR \fI{_escaped(_value_name(action))}\fR"
            yield _line((action.help or "").replace("%%", "%"))
    if taken := parser.also_taken():
        yield ".PP"
        yield _line(taken)


def _value_name(action: argparse.Action) -> str:
    return "" if action.nargs == 0 else str(action.metavar or action.dest)


def _examples() -> Iterator[str]:
    yield ".SH EXAMPLES"
    yield from _plain("\n".join(f"{SHORT_NAME} {example}" for example in EXAMPLES))


def _rest() -> Iterator[str]:
    yield '.SH "EXIT STATUS"'
    yield "0 good; 1 a check failed or a figure is impossible; 2 the request was wrong, or two records cannot be compared;"
    yield "130 interrupted; 143 and 129 ended by SIGTERM and SIGHUP."


def _plain(text: str) -> Iterator[str]:
    """A text whose line breaks stay."""
    yield ".nf"
    for line in text.strip().splitlines():
        yield _line(line)
    yield ".fi"


def _line(text: str) -> str:
    """One line of text; none is taken for a command of the page's language."""
    escaped = _escaped(" ".join(text.split()) if not text.startswith(" ") else text)
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped


def _escaped(text: str) -> str:
    return text.replace("python -m bench", SHORT_NAME).replace("\\", r"\e").replace("-", r"\-").replace('"', r"\(dq").replace("|", r"|\:")
