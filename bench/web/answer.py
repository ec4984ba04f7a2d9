"""A question answered as its verb answers it, into a page instead of a terminal."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from bench.cli.answer import answer
from bench.cli.output import Kept
from bench.cli.verbs import verb_parser
from bench.web.question import words
from estimators.errors import PhysicsError, RequestError
from estimators.frozen import frozen

_ONE_AT_A_TIME = threading.Lock()
"""A verb belongs to a process of its own: what it caches is not made for two at once."""


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
        kept = Kept(draws=True, words=asked)
        with _ONE_AT_A_TIME:
            answer(verb, verb_parser(verb).parse_strictly(asked[1:]), kept)
            return Answered(page=kept.page(kept.tables, kept.screen, kept.pictures, data=kept.data))
    except (RequestError, PhysicsError) as error:
        return Answered(error=" ".join(str(error).split()))
