"""`run --repeats`: one request in fresh processes, one after another, and the table of all of them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli import output
from bench.cli.arguments import with_all_facts
from bench.records.request import Request
from bench.sampling import presets
from estimators.errors import BadValueError

if TYPE_CHECKING:
    from bench.records.record import Measurement


def num_repeats(args: argparse.Namespace) -> int:
    """--repeats, or what the preset says where there is one model and one process.

    Raises:
        UnknownNameError: no such preset.
        BadValueError: repeats of a suite, or under a launcher.
    """
    thorough = presets.preset(args.preset)
    launched = os.environ.get("WORLD_SIZE", "1") != "1"
    if (args.repeats or 1) > 1 and (args.suite is not None or launched):
        what = "a launcher's processes" if launched else "a suite"
        raise BadValueError(f"--repeats {args.repeats} starts processes of its own and cannot repeat {what}; leave --repeats out")
    if args.repeats is None:
        return 1 if args.suite is not None or launched else thorough.repeats
    return int(args.repeats)


def run(request: Request, num_repeats: int, hub_id: str | None, args: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Run every repeat, print their table and those of the middle one; 1 if a check of any failed. Ctrl-C prints what there is."""
    from bench.runs import repeats
    from reports.checks.crosscheck import crosscheck, failed
    from reports.views.records.measured import tables
    from reports.views.records.repeats import middle, repeats_table

    records: list[Measurement] = []
    try:
        for record in repeats.run(request, num_repeats, hub_id=hub_id, out=Path(args.out), say=say):
            records.append(record)
    finally:
        if records:
            output.emit(with_all_facts([repeats_table(records), *tables(middle(records))]), args)
            say(f"records: {args.out}/")
    return 1 if any(failed(crosscheck(record)) for record in records) else 0
