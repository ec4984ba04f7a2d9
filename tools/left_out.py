"""Score every shipped row by constants that its source had no part in, and write estimators/facts/data/track_record.json.

python -m tools.left_out

It holds the ends of the intervals by class and by device, and what each class, device and software was missed by. Run it after
anything that moves a prediction; `python -m tools.fit_constants` ends with it. Takes a second.
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


def main() -> int:
    """Write the data file anew."""
    found = body()
    with open(data.file("track_record.json"), "w", encoding="utf-8") as stream:
        json.dump(found, stream, indent=1)
        stream.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
