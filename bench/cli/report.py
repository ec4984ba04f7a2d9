"""Tables from the records of earlier runs: one row for each in a folder, or all tables of one.

python -m bench report runs/
python -m bench report runs/ --format csv --output journey.csv
python -m bench report runs/ --output journey.html
python -m bench report runs/20260101T120000.000Z-phi-2-generate-1-abcd1234.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench import streams
from bench.cli import records_page
from bench.cli.output import Output
from estimators.frozen import frozen, replace

HAS_PICTURES = True


@frozen
class Options:
    """Options of `report`."""

    folder: Path
    waterfall: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `report`."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="records of `run`, or one record; searched with its subfolders")
    parser.add_argument(
        "--waterfall", action="store_true", help="explain each record's step part by part where it was predicted, and list the predictions"
    )


def run(options: Options, out: Output) -> int:
    """Report; files that are no readable record are named on stderr and left out. 1 if a check of any record failed."""
    from bench.records.record import read_folder

    records, problems = read_folder(options.folder)
    for problem in problems:
        streams.remark(f"warning: {' '.join(problem.split())}")
    from reports.summary import details, num_failed, tables
    from reports.views.records.learner import learner_tables
    from reports.views.records.records_screen import records_screen

    one = not options.folder.is_dir()
    shown = details(records[0]) if one else [*tables(records), *learner_tables(records)]
    screen = records_screen(records, shown, one=one)
    if options.waterfall:
        from reports.views.records.waterfall import waterfall_tables

        asked = waterfall_tables(records)
        shown, screen = [*shown, *asked], replace(screen, asked=asked)
    records_page.emit(out, records, shown, screen, one=one, has_waterfall=options.waterfall)
    return 1 if num_failed(records) else 0
