"""A question answered by its verb, whoever asks: the command line, a function of the library, a form in a browser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.cli import names
from bench.cli.output import Output
from bench.cli.verbs import verb_module
from estimators.extras import needed_by


def answer(verb: str, values: Mapping[str, Any], out: Output) -> int:
    """Read the names among the values, call the verb, and return its exit code.

    Args:
        verb: one of VERBS.
        values: by destination, as the verb's parser has them; those that are no options of the verb itself, such as --format, are
            for whoever made `out`.
        out: where the answer goes.

    Raises:
        RequestError: the request was wrong, or needs a package that is not installed.
        PhysicsError: the answer would be a figure that no machine can produce.
    """
    module = verb_module(verb)
    with needed_by(verb):
        options = names.options(module, {name: values[name] for name in module.Options._fields}, out)
        code: int = module.run(options, out)
    return code
