"""Score every shipped row of serving, and print what estimators/facts/data/serving_record.json holds.

python -m tools.serving_record

What figures are missed by on sources that no constant had seen, by class, and on the rest of a deployment after three of its rows.
`python -m tools.fit_serving` ends with it; by itself it takes two minutes.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from estimators.facts import data
from estimators.serving.interval import class_of, record_file
from estimators.validation.serving_record import MissedFigure, body_of
from estimators.validation.serving_refits import refitted
from estimators.validation.serving_rows import shipped_rows, speculating
from estimators.validation.serving_score import scored_row


def body() -> dict[str, Any]:
    """The file's content. Rows of undeclared speculation are none of the track record."""
    cases = [row.case for row in shipped_rows() if row.case is not None]
    doubtful = speculating(cases)
    missed: dict[str, list[MissedFigure]] = {}
    for row in shipped_rows():
        for figure in scored_row(row) if row.case is not None else ():
            if figure.case is not None and figure.log_ratio is not None:
                name = class_of(figure.case.deployment, figure.quantity)
                missed.setdefault(name, []).append(MissedFigure(source=figure.case.source, log_ratio=figure.log_ratio))
    missed["calibrated"] = refitted([case for case in cases if case.id not in doubtful])
    return body_of(missed, cases)


def text() -> str:
    """The file, as it is written."""
    return json.dumps(body(), indent=1)


def write() -> None:
    """The data file anew."""
    content = text()
    with open(data.file("serving_record.json"), "w", encoding="utf-8") as stream:
        stream.write(content + "\n")
    record_file.cache_clear()


def main() -> int:
    """Print the file's content."""
    print(text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
