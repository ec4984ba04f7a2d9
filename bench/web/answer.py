"""A question answered as its verb answers it, into a page instead of a terminal."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from bench.cli import names
from bench.cli.output import Output
from bench.cli.verbs import verb_module, verb_parser
from bench.web.question import words
from estimators.errors import PhysicsError, RequestError
from estimators.extras import needed_by
from estimators.frozen import frozen

_ONE_AT_A_TIME = threading.Lock()
"""A verb belongs to a process of its own: what it caches is not made for two at once."""


class _Page(Output):
    """The answer's page, kept.

    Attributes:
        text: the whole document.
    """

    def __init__(self, asked: list[str]) -> None:
        super().__init__("html", words=asked)
        self.text = ""

    def emit_text(self, text: str) -> None:
        """Keep the page."""
        self.text = text


@frozen
class Answered:
    """What came of a question.

    Attributes:
        page: a whole document, empty where there is none.
        error: one line on what is wrong with the question, empty where nothing is.
    """

    page: str = ""
    error: str = ""


def answered(verb: str, values: Mapping[str, str]) -> Answered:
    """Ask the verb; a wrong question is answered by the line that the command line says.

    Args:
        values: by the name of a field.
    """
    try:
        asked = words(verb, values)
        given = verb_parser(verb).parse_strictly(asked[1:])
        page = _Page(asked)
        for of_the_output in ("format", "output", "verbose", "quiet", "plot"):
            given.pop(of_the_output, None)
        with _ONE_AT_A_TIME, needed_by(verb):
            verb_module(verb).run(names.options(verb_module(verb), given, page), page)
    except (RequestError, PhysicsError) as error:
        return Answered(error=" ".join(str(error).split()))
    return Answered(page=page.text)
