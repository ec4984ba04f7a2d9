"""A verb's answer as it is handed to the output: tables, screen, pictures."""

from __future__ import annotations

from collections.abc import Sequence

from bench.cli.answer import answer
from bench.cli.output import Kept
from bench.cli.verbs import verb_parser


def answered(words: Sequence[str]) -> Kept:
    """What a command line is answered by, pictures included."""
    verb, *others = words
    kept = Kept(draws=True)
    answer(verb, verb_parser(verb).parse_strictly(others), kept)
    return kept
