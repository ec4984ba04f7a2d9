"""Can this machine be trusted to measure? The same work twice gives its noise floor; known truths are measured and checked.

python -m bench selftest
python -m bench selftest --quick

The record that it writes tells `compare` what two runs of the same thing differ by here. Exit code 1 if a check failed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.cli import output
from bench.machine.ranks import say

DEFAULT_OUT = "runs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `selftest`."""
    parser.add_argument("--quick", action="store_true", help="a few seconds instead of half a minute: fewer rounds, a coarser noise floor")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:N or mps; the first CUDA device if there is one, else the CPU")
    parser.add_argument("--out", default=DEFAULT_OUT, metavar="FOLDER", help=f"where its record goes; {DEFAULT_OUT}/ by default")
    output.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Measure, print, and return 1 if any check failed."""
    from bench.runs.selftest import FULL, QUICK, measure
    from reports.checks.crosscheck import crosscheck, failed
    from reports.views.records.selftest import tables

    out = Path(args.out)
    record = measure(amount=QUICK if args.quick else FULL, device_name=args.device, out=out, say=say)
    output.emit(tables(record), args)
    say(f"record: {out / record.run_id}.json")
    return 1 if failed(crosscheck(record)) else 0
