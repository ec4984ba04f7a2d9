"""Score every shipped row by constants that its source had no part in, and print what estimators/facts/data/track_record.json holds.

python -m tools.left_out

The ends of the intervals by class and by device, and what each class, device and software was missed by. `python docs/refresh.py` writes
it after anything that moves a prediction, and `python -m tools.fit_constants` ends with it. Takes a second.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from estimators.facts import data
from estimators.validation.left_out import measured_devices, missed, records
from estimators.validation.score import scored
from estimators.validation.table import read_table, shipped


def body() -> dict[str, dict[str, dict[str, Any]]]:
    """The file's content, from the shipped rows."""
    rows = [scored(record) for path in shipped().values() for record in read_table(path)]
    return records(missed(rows, measured_devices(rows)))


def write() -> None:
    """The data file anew."""
    text = _text()
    with open(data.file("track_record.json"), "w", encoding="utf-8") as stream:
        stream.write(text + "\n")


def _text() -> str:
    return json.dumps(body(), indent=1)


def main() -> int:
    """Print the file's content."""
    print(_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
