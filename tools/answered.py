"""A verb's answer as it is handed to the output: tables, screen, pictures."""

from __future__ import annotations

from collections.abc import Sequence

from bench.cli import names
from bench.cli.output import Kept
from bench.cli.verbs import verb_module, verb_parser


def answered(words: Sequence[str]) -> Kept:
    """What a command line is answered by, pictures included."""
    verb, *others = words
    given = verb_parser(verb).parse_strictly(others)
    kept, module = Kept(), verb_module(verb)
    kept.draws = True
    options = {name: value for name, value in given.items() if name in module.Options._fields}
    module.run(names.options(module, options, kept), kept)
    return kept
