"""One verb's command line read: its options in every spelling that is taken, a model named with or without `--model`."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from bench.cli.output import to_stdout
from bench.program import as_invoked
from estimators.errors import BadValueError, UnknownNameError

_OPTION = re.compile(r"-(-|[A-Za-z])\S*")
"""What argparse takes for an option: with a blank it is a value, and -5 is a number."""


def _is_plain_folder(word: str) -> bool:
    """Whether a word is the path of a folder that holds no model: it stands in place of a file, and is said to be none."""
    return os.sep in word and os.path.isdir(word) and not os.path.isfile(os.path.join(word, "config.json"))


MODEL = "--model"
"""The option whose word may be left out: `show phi-2` is `show --model phi-2`."""

FILE = "--file"
"""Of a verb that has it the word may be left out as well, before what is a file, or is called like one."""

_CALLED_LIKE_A_FILE = re.compile(r".*\.(?:jsonl?|csv|log|txt|out|err|gz)", re.IGNORECASE)

SPELLINGS = (
    ("--model", "--model-name"),
    ("--hardware", "--hw", "--gpu", "--accelerator", "--gpu-type"),
    ("--gpus", "--num-gpus", "--n-gpus", "--ngpus", "--num-devices"),
    ("--max-gpus", "--max-num-gpus"),
    ("--utilization", "--mfu"),
    ("--budget-usd", "--budget"),
    ("--budget-gpu-days", "--gpu-days"),
    ("--seq-len", "--seq-length", "--seqlen", "--sequence-length", "--sequence-len"),
    ("--context-len", "--context-length"),
    ("--source-len", "--source-length"),
    ("--batch", "--batch-size"),
    ("--global-batch", "--global-batch-size", "--gbs"),
    ("--prompt-tokens", "--input-tokens", "--prompt-len"),
    ("--new-tokens", "--max-new-tokens", "--output-tokens"),
    ("--num-beams", "--beams"),
    ("--dtype", "--precision"),
    ("--learning-rate", "--lr"),
    ("--layers", "--num-layers"),
    ("--normalise", "--normalize"),
    ("--match", "--filter"),
)
"""Options that are written in several ways; a verb that has one of a line takes the others as well."""


HELP_WIDTH = 110
"""Columns of a verb's help, whatever the terminal: the reference page is made of it."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are raised as one line instead of printed with the usage."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._taken_for: dict[str, list[str]] = {}

    def error(self, message: str) -> NoReturn:
        """Complain. Raises BadValueError."""
        raise BadValueError(f"{message}; for help: {self.prog} --help")

    def format_help(self) -> str:
        """The help, with a line of the spellings that it names nowhere else."""
        self.epilog = self.also_taken() or None
        return super().format_help()

    def also_taken(self) -> str:
        """That line; empty without any."""
        import textwrap  # deferred: argparse has it already where help is printed

        said = "; for ".join(f"{own}: {', '.join(others)}" for own, others in self._taken_for.items())
        return textwrap.fill(f"Also taken, for {said}.", HELP_WIDTH, subsequent_indent="  ", break_on_hyphens=False) if said else ""

    def print_help(self, file: Any = None) -> None:
        """Print the help, whole or with an error. Raises UnavailableError."""
        to_stdout(as_invoked(self.format_help()))

    @property
    def actions_by_option(self) -> dict[str, argparse.Action]:
        """Each option in each spelling that is taken, and what it does."""
        return self._option_string_actions

    def take_spellings(self) -> None:
        """Take the other spellings of SPELLINGS too."""
        known = self.actions_by_option
        for names in SPELLINGS:
            own = next((name for name in names if name in known), None)
            others = [name for name in names if name not in known]
            if own is not None and others:
                known.update(dict.fromkeys(others, known[own]))
                self._taken_for[own] = others

    def parse_strictly(self, argv: Sequence[str]) -> dict[str, Any]:
        """Parse all of `argv` into destination -> value; an option that does not exist is answered with its near misses, before one
        that is missing is asked for.

        Raises:
            UnknownNameError: an option that does not exist.
            BadValueError: any other complaint.
        """
        options = argv[: argv.index("--")] if "--" in argv else argv
        for name in (word.split("=")[0] for word in options):
            if _OPTION.fullmatch(name) and name not in self.actions_by_option:
                raise UnknownNameError("option", name, self.actions_by_option, f"{self.prog} --help")
        for name, _, value in (word.partition("=") for word in options):
            if value == "--" and name in self.actions_by_option:  # argparse takes it for the end of the options, and gives a list of none
                self.error(f"argument {name}: expected a value, not '--'")
        args, unknown = self.parse_known_args(self._with_model_option(self._with_file_option(argv)))
        if unknown:
            self.error(f"unexpected {unknown[0][:80]!r}")
        return vars(args)

    def _with_file_option(self, argv: Sequence[str]) -> list[str]:
        """The words, with `--file` before the first that is a file, or is called like one."""
        words = list(argv)
        if FILE in self.actions_by_option:
            for place in self.free_words(argv):
                if os.path.isfile(words[place]) or _CALLED_LIKE_A_FILE.fullmatch(words[place]) or _is_plain_folder(words[place]):
                    return [*words[:place], f"{FILE}={words[place]}", *words[place + 1 :]]
        return words

    def _with_model_option(self, argv: Sequence[str]) -> list[str]:
        """The words, with `--model` before a model that stands by itself.

        Raises:
            BadValueError: `--model` names another one.
        """
        words = list(argv)
        names_it = MODEL in self.actions_by_option and not self._get_positional_actions()
        place = next(self.free_words(argv), None) if names_it else None
        if place is None:
            return words
        model = words[place]
        given = self._given(argv, MODEL)
        if given is None:
            return [*words[:place], f"{MODEL}={model}", *words[place + 1 :]]
        if given != model:
            self.error(f"unexpected {model[:80]!r}: the model is {MODEL} {given[:80]} already")
        return words[:place] + words[place + 1 :]

    def free_words(self, argv: Sequence[str]) -> Iterator[int]:
        """Places of the words that are neither an option nor an option's value."""
        place = 0
        while place < len(argv) and argv[place] != "--":
            word = argv[place]
            action = self.actions_by_option.get(word)
            if action is not None:
                place += action.nargs is None
            elif not _OPTION.fullmatch(word.split("=")[0]):
                yield place
            place += 1

    def _given(self, argv: Sequence[str], option: str) -> str | None:
        """The value that an option is given last, in any of its spellings; None where it is not given."""
        found = None
        for place, word in enumerate(argv):
            name, separator, value = word.partition("=")
            if self.actions_by_option.get(name) is not self.actions_by_option[option]:
                continue
            following = argv[place + 1] if place + 1 < len(argv) else None
            found = value if separator else following if following is not None else found
        return found
