"""The grammar of the command line: one verb, its options, one exit code.

Each verb is a module of this package, imported only when it is asked for, so that a verb that only computes never pays for
torch. The module's docstring is the verb's help. It has `add_arguments(parser)`; `Options`, a frozen class with a field for
each option of that parser; and `run(options, out) -> int`, which answers on an `Output` and returns the exit code.

Exit codes: 0 good; 1 a check failed or a figure is physically impossible; 2 the request was wrong; 130 interrupted, 143 and
129 ended by SIGTERM and SIGHUP.
stdout holds the result and nothing else; every error is one line on stderr.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

from bench import end_signals, streams
from bench.cli import sign_of_life
from bench.cli.answer import answer
from bench.cli.output import Output, to_stdout
from bench.cli.verbs import VERBS, WORDS, help_text, verb_parser
from bench.program import NAME, as_invoked
from estimators import __version__
from estimators.errors import BadValueError, PhysicsError, RequestError, UnknownNameError, near_misses

HELP = ("-h", "--help")
VERSION = ("version", "--version", "-V")


def dispatch(argv: Sequence[str]) -> int:
    """Run one command line; errors pass through.

    Raises:
        RequestError: the request was wrong.
        PhysicsError: the answer would be a figure that no machine can produce.
    """
    own = argv[: argv.index("--")] if "--" in argv else argv
    if own[:1] and own[0] in VERSION:
        to_stdout(f"sixnd {__version__}\n")
        return 0
    asked = own[0] == "help" or any(word in HELP for word in own) if own else True
    verb = next((word for word in own if not asked or word not in (*HELP, *WORDS)), None)
    if verb is None:
        to_stdout(as_invoked(help_text()) + "\n")
        return 0
    if verb not in VERBS:
        raise _unknown(verb)
    if asked:
        verb_parser(verb).print_help()
        return 0
    return _answer(verb, argv[1:])


def _unknown(word: str) -> RequestError:
    """What to answer a first word that is no verb."""
    if word.startswith("-"):
        return BadValueError(f"{word[:80]!r} stands where a verb is expected: one of {', '.join(VERBS)}; for help: {NAME} --help")
    if not near_misses(word, VERBS) and _is_model(word):
        return BadValueError(f"{word[:80]!r} is a model; expected a verb before it: {NAME} estimate {word}, or {NAME} show {word}")
    return UnknownNameError("verb", word, (*VERBS, *WORDS), f"{NAME} --help")


def _is_model(word: str) -> bool:
    from estimators.facts.model_names import model_named  # deferred: only a slip pays for it

    try:
        model_named(word)
    except RequestError:
        return False
    return True


def _answer(verb: str, words: Sequence[str]) -> int:
    given = verb_parser(verb).parse_strictly(words)
    out = Output(
        given["format"],
        given["output"],
        verbose=given["verbose"],
        quiet=given["quiet"],
        plot=given.get("plot"),
        words=[verb, *words],
    )
    out.expect_writable()
    with sign_of_life.shown(verb):
        return answer(verb, given, out)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; every error becomes one line on stderr.

    Args:
        argv: the words after the program's name; those of the process unless given.
    """
    with streams.held(), end_signals.as_interrupts():
        return _answered(sys.argv[1:] if argv is None else argv)


def process() -> int:
    """`main`, of a process that ends with it.

    Python looks for cycles among all objects, several times, before it gives back what is the system's anyway: a tenth of the time of a
    verb that only computes. Frozen, they are not looked at. What torch holds is left to end in its own order.
    """
    code = main()
    if "torch" not in sys.modules:
        gc.freeze()
    return code


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
    words = (word if len(word) <= LONGEST_WORD else f"{word[:LONGEST_WORD]}…{word[-8:]}" for word in message.split())
    streams.remark(f"error: {' '.join(words)}")
    return code


LONGEST_WORD = 200
"""Characters of a word of a complaint: a longer one is no name of anything, and hides what is said of it."""
