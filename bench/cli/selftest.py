"""Can this machine be trusted to measure? The same work twice gives its noise floor; known truths are measured and checked.

python -m bench selftest
python -m bench selftest --quick

The record that it writes tells `compare` what two runs of the same thing differ by here. Exit code 1 if a check failed, or if
only differences above 25 % can be seen here.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.cli.output import Output
from bench.machine.ranks import say
from estimators.frozen import frozen

DEFAULT_OUT = "runs"


@frozen
class Options:
    """Options of `selftest`."""

    quick: bool
    device: str | None
    out: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `selftest`."""
    parser.add_argument("--quick", action="store_true", help="a few seconds instead of half a minute: fewer rounds, a coarser noise floor")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:N or mps; the first CUDA device if there is one, else the CPU")
    parser.add_argument(
        "--out", type=Path, default=Path(DEFAULT_OUT), metavar="FOLDER", help=f"where its record goes; {DEFAULT_OUT}/ by default"
    )


def run(options: Options, out: Output) -> int:
    """Measure, print, and return 1 if any check failed."""
    from bench.runs.selftest import FULL, QUICK, measure
    from reports.checks.crosscheck import crosscheck, failed
    from reports.views.records.records_screen import selftest_screen
    from reports.views.records.selftest import tables

    record = measure(amount=QUICK if options.quick else FULL, device_name=options.device, out=options.out, say=say)
    shown = tables(record)
    out.emit(shown, selftest_screen(record, shown))
    say(f"record: {options.out / record.run_id}.json")
    return 1 if failed(crosscheck(record)) else 0
