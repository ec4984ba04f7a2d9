"""Score every shipped fine-tuning that was timed, and print what estimators/facts/data/tuning_record.json holds.

python -m tools.tuning_record

What steps are missed by on sources that no constant of fine-tuning had seen, and where one measured step scales the others.
`python docs/refresh.py` writes it after anything that moves a prediction, and `python -m tools.fit_tuning` ends with it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from estimators.facts import data
from estimators.validation.table import read_table, shipped_tuning
from estimators.validation.tuning_record import records
from estimators.validation.tuning_time import scored_step


def body() -> dict[str, Any]:
    """The file's content, from the shipped rows; a run that two meters read is one."""
    steps = [row.step for row in map(scored_step, read_table(shipped_tuning())) if row.step is not None]
    return records(list({step.run: step for step in steps}.values()))


def text() -> str:
    """The file, as it is written."""
    return json.dumps(body(), indent=1)


def write() -> None:
    """The data file anew."""
    with open(data.file("tuning_record.json"), "w", encoding="utf-8") as stream:
        stream.write(text() + "\n")


def main() -> int:
    """Print the file's content."""
    print(text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
