"""README's figures of how right sixnd is: exact counts, predicted steps, intervals.

    python -m tools.three_numbers

Counts are what the title of docs/exactness.md says; steps are scored as `validate` does, each source left out of the fit.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from estimators.facts.entries import PUBLISHED_BASES
from estimators.facts.registry import model_entry, model_ids
from estimators.units import format_int
from estimators.validation.score import score, scored
from estimators.validation.table import RUNS, read_table, shipped

EXACTNESS = Path(__file__).resolve().parents[1] / "docs" / "exactness.md"


def _published() -> str:
    """Of how many models the publisher prints the count, and what the others' follow from."""
    bases = [model_entry(model).published_basis for model in model_ids()]
    others = [f"of {bases.count(basis)} it follows from {basis}" for basis in PUBLISHED_BASES if basis in bases]
    said = "; ".join([f"Of {bases.count('')} the publisher prints that count of parameters, too", *others])
    return f"{said}."


def text() -> str:
    """The heading and three lines, in Markdown."""
    exact = re.search(r"^### Exactness: (\d+ of \d+) shipped models", EXACTNESS.read_text(encoding="utf-8"), re.MULTILINE)
    assert exact is not None, "docs/exactness.md has no title that says how many models are exact"
    records = [record for path in shipped().values() for record in read_table(path) if record.kind != RUNS]
    counting = [row for row in map(scored, records) if row.counts]
    told = score(counting)
    assert told is not None, "no shipped row is predicted"
    sources = len({row.step.source for row in counting if row.step})
    lines = [
        f"**{exact[1]}** shipped models have the parameters and FLOP that torch counts, to the last digit "
        f"([docs/exactness.md](docs/exactness.md)). {_published()}",
        f"**{100 * told.median:.1f} %** is the median error of {format_int(len(counting))} measured training steps, each predicted by "
        f"constants that never saw its source, one of {sources} ([docs/accuracy.md](docs/accuracy.md)).",
        f"**{100 * told.coverage:.0f} %** of them lie inside their 80 % interval. What whole runs take beyond their steps is apart, in "
        '"plan with".',
    ]
    return "### How right it is, in three numbers\n\n" + "\n".join(f"- {line}" for line in lines)


if __name__ == "__main__":
    sys.stdout.write(text() + "\n")
