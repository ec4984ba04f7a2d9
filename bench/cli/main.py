"""The grammar of the command line: one verb, its options, one exit code.

Each verb is a module of this package, imported only when it is asked for, so that a verb that only computes never pays for
torch. The module's docstring is the verb's help. It has `add_arguments(parser)`; `Options`, a frozen class with a field for
each option of that parser; and `run(options, out) -> int`, which answers on an `Output` and returns the exit code.

Exit codes: 0 good; 1 a check failed or a figure is physically impossible; 2 the request was wrong; 130 interrupted, 143 and
129 ended by SIGTERM and SIGHUP.
stdout holds the result and nothing else; every error is one line on stderr.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, NoReturn

from bench import end_signals, streams
from bench.cli import names, output, sign_of_life
from bench.cli.output import Output, to_stdout
from estimators import __version__
from estimators.errors import BadValueError, PhysicsError, RequestError, UnknownNameError
from estimators.extras import needed_by

PROGRAM = "python -m bench"

_OPTION = re.compile(r"-(-|[A-Za-z])\S*")
"""What argparse takes for an option: with a blank it is a value, and -5 is a number."""

VERBS: dict[str, str] = {
    "run": "estimate a model, measure it here, cross-check the two and keep a record",
    "estimate": "what a training run or a single step costs: time, GPU-days, money, energy, memory, FLOP",
    "plan": "the layouts that train a model fastest on given devices, and why the others lose",
    "compare-hardware": "one training run on several kinds of device, side by side",
    "show": "a model's operations, parameters and FLOP, row by row",
    "translate": "a published MFU or TFLOP/s in another tool's convention and peak",
    "check-claim": "what utilization a claimed training implies, where that stands, and whether physics allows it",
    "calibrate": "measure what this machine reaches, keep it, and predict steps from it",
    "validate": "predicted step times against measured ones, shipped or your own: how far off, and how sure",
    "report": "tables from the records of earlier runs",
    "doctor": "what this machine lacks for a trustworthy measurement, what that costs, how to mend it",
    "compare": "is B as fast as A? two records, or folders of them, judged: statistically and by what matters",
    "selftest": "can this machine be trusted to measure? its noise floor, and known truths measured",
    "list": "the names that the other verbs take",
}
"""Verb -> one line of help. Its module is named like the verb, with `_` for `-`."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are raised as one line instead of printed with the usage."""

    def error(self, message: str) -> NoReturn:
        """Complain. Raises BadValueError."""
        raise BadValueError(f"{message}; for help: {self.prog} --help")

    def print_help(self, file: Any = None) -> None:
        """Print the help, whole or with an error. Raises UnavailableError."""
        to_stdout(self.format_help())

    def parse_strictly(self, argv: Sequence[str]) -> dict[str, Any]:
        """Parse all of `argv` into destination -> value; an option that does not exist is answered with its near misses, before one
        that is missing is asked for.

        Raises:
            UnknownNameError: an option that does not exist.
            BadValueError: any other complaint.
        """
        options = argv[: argv.index("--")] if "--" in argv else argv
        for name in (word.split("=")[0] for word in options):
            if _OPTION.fullmatch(name) and name not in self._option_string_actions:
                raise UnknownNameError("option", name, self._option_string_actions, f"{self.prog} --help")
        args, unknown = self.parse_known_args(argv)
        if unknown:
            self.error(f"unexpected {unknown[0][:80]!r}")
        return vars(args)


def verb_module(verb: str) -> ModuleType:
    """The module of one verb."""
    return import_module(f"bench.cli.{verb.replace('-', '_')}")


def verb_parser(verb: str) -> Parser:
    """The parser of one verb, complete with its options and those of the output."""
    module = verb_module(verb)
    parser = Parser(
        prog=f"{PROGRAM} {verb}",
        description=module.__doc__,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=30, width=110),
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    output.add_arguments(parser)
    positionals = "".join(f" {action.metavar or action.dest}" for action in parser._get_positional_actions())
    parser.usage = f"{PROGRAM} {verb}{positionals} [options]"
    return parser


def help_text() -> str:
    """What `python -m bench --help` prints."""
    verbs = "\n".join(f"  {name:<18}{line}" for name, line in VERBS.items())
    return (
        f"usage: {PROGRAM} VERB [options]\n\n"
        "What a deep-learning model costs to train and to run: estimated, measured, cross-checked.\n\n"
        f"{verbs}\n\n"
        f"Options of a verb: {PROGRAM} VERB --help. Version: {PROGRAM} --version.\n"
        "Exit codes: 0 good, 1 a check failed or a figure is impossible, 2 the request was wrong."
    )


def dispatch(argv: Sequence[str]) -> int:
    """Run one command line; errors pass through.

    Raises:
        RequestError: the request was wrong.
        PhysicsError: the answer would be a figure that no machine can produce.
    """
    if argv and argv[0] in ("-h", "--help"):
        to_stdout(help_text() + "\n")
        return 0
    if argv and argv[0] == "--version":
        to_stdout(f"sixnd {__version__}\n")
        return 0
    if not argv:
        raise BadValueError(f"no verb given; expected one of: {', '.join(VERBS)}; for help: {PROGRAM} --help")
    if argv[0] not in VERBS:
        raise UnknownNameError("verb", argv[0], VERBS, f"{PROGRAM} --help")
    given = verb_parser(argv[0]).parse_strictly(argv[1:])
    out = Output(given.pop("format"), given.pop("output"), verbose=given.pop("verbose"), quiet=given.pop("quiet"))
    out.expect_writable()
    verb = verb_module(argv[0])
    options = names.options(verb, given, out)
    with needed_by(argv[0]), sign_of_life.shown(argv[0]):
        code: int = verb.run(options, out)
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; every error becomes one line on stderr.

    Args:
        argv: the words after the program's name; those of the process unless given.
    """
    with streams.held(), end_signals.as_interrupts():
        return _answered(sys.argv[1:] if argv is None else argv)


def _answered(argv: Sequence[str]) -> int:
    try:
        return dispatch(argv)
    except RequestError as error:
        return _complain(str(error), 2)
    except PhysicsError as error:
        return _complain(str(error), 1)
    except KeyboardInterrupt:
        return _complain("interrupted" if end_signals.received() is None else end_signals.ended_by(), end_signals.exit_code())
    except BrokenPipeError:  # the reader has seen enough
        return 0
    finally:
        _drop_what_cannot_be_written()


def _drop_what_cannot_be_written() -> None:
    """Turn an unwritable standard output away: Python would flush it once more on its way out, complain, and exit with 120."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (AttributeError, ValueError):  # of whoever runs this as a function: no stream of a file, or closed
        return
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: str, code: int) -> int:
    streams.remark(f"error: {' '.join(message.split())}")
    return code
