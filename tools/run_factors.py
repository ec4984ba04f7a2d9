"""Predict the steady steps of every published run, and print what estimators/facts/data/run_factors.json holds: what each took over them.

python -m tools.run_factors

`python docs/refresh.py` writes it after anything that moves a prediction. Takes some seconds.
"""

from __future__ import annotations

import json
import sys

from estimators.validation.run_case import measured_run
from estimators.validation.table import LeftOutError, read_table, shipped_runs


def body() -> dict[str, float]:
    """Run -> what it took over the steady steps that are predicted of it."""
    found = {}
    for record in read_table(shipped_runs()):
        try:
            run = measured_run(record)
        except LeftOutError:
            continue
        found[run.id] = round(run.factor, 4)
    return found


def main() -> int:
    """Print the file's content."""
    print(json.dumps(body(), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
