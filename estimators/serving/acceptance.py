"""Acceptance: how many tokens a step of speculation yielded, measured by task and length of the draft; asked only where a task is named."""

from __future__ import annotations

import functools
import statistics

from estimators.errors import BadValueError
from estimators.facts import data
from estimators.frozen import frozen
from estimators.serving.deployment import Speculation

COLUMNS = ("model", "draft", "mode", "task", "draft_tokens", "accepted_len", "source")


@frozen
class Accepted:
    """One measured mean.

    Attributes:
        model, draft: that verified and that proposed, in the source's words.
        mode: whether the model thought before it answered.
        task: what was written.
        draft_tokens: of a draft.
        accepted_len: tokens that a step yielded in the mean: accepted ones, and the one that the model adds.
    """

    model: str
    draft: str
    mode: str
    task: str
    draft_tokens: int
    accepted_len: float
    source: str


@functools.cache
def accepted() -> tuple[Accepted, ...]:
    """All rows."""
    return tuple(
        Accepted(
            model=row.text("model"),
            draft=row.text("draft"),
            mode=row.text("mode"),
            task=row.text("task"),
            draft_tokens=row.integer("draft_tokens"),
            accepted_len=row.number("accepted_len"),
            source=row.text("source"),
        )
        for row in data.read_rows(data.file("acceptance.csv"), COLUMNS)
    )


def speculation_on(task: str, draft_tokens: int) -> Speculation:
    """What a draft of so many tokens yields on a task: the median of what was measured.

    >>> speculation_on("coding", 3).accepted_len
    2.97

    Raises:
        BadValueError: no such task was measured, or no draft of that length.
    """
    tasks = {row.task for row in accepted()}
    wanted = task.strip().casefold()
    if wanted not in tasks:
        raise BadValueError(f"no drafts were measured on {task[:40]!r}; expected {' or '.join(sorted(tasks))}, or a length such as 2.3")
    found = [row.accepted_len for row in accepted() if row.task == wanted and row.draft_tokens == draft_tokens]
    if not found:
        longest = max(row.draft_tokens for row in accepted() if row.task == wanted)
        raise BadValueError(f"a draft of {draft_tokens} tokens was not measured on {wanted}; expected from 1 to {longest}")
    measured = f"the median of {len(found)} measured drafts on {wanted}, {min(found):g} to {max(found):g}"
    return Speculation(draft_tokens=draft_tokens, accepted_len=statistics.median(found), basis=measured)
