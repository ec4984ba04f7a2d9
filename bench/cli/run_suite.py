"""`run --suite`: several runs, the journey on one screen, and the page beside their records."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench import streams
from bench.cli.output import Output
from bench.machine.ranks import is_main, say
from bench.records.request import Request
from estimators.errors import SixndError, UnknownNameError
from estimators.extras import expect
from estimators.frozen import replace

if TYPE_CHECKING:
    from bench.records.calibration import Calibration
    from bench.records.record import Measurement
    from reports.pages.picture import Picture
    from reports.screen import Screen
    from reports.table import Table


def run(
    name: str,
    request_of: Callable[[str], tuple[Request, str | None]],
    *,
    calibration_of: Callable[[], Calibration | None],
    folder: Path,
    waterfall: bool,
    out: Output,
) -> int:
    """Run every one, print their table and leave their page; 1 if a check of any failed, or one was left out. Raises UnknownNameError.

    Args:
        request_of: a model's request, as the command line has it, and its name in the hub's cache.
        calibration_of: of this device, where one is asked for.
        folder: of records.
        waterfall: whether the steps are explained part by part.
    """
    from bench.runs.suites import SUITES, estimate_only

    if name not in SUITES:
        raise UnknownNameError("suite", name, SUITES, "python -m bench list suites")
    suite = SUITES[name]
    expect("torch")
    say(f"suite {name}: loading torch, then a few seconds for each small network and minutes for a large one")
    from bench.runs.measure import measure
    from reports import summary
    from reports.pages.learner import learner_pictures
    from reports.views.records.learner import learner_tables
    from reports.views.records.records_screen import journey_screen
    from reports.views.records.waterfall import waterfall_tables

    records: list[Measurement] = []
    refused: list[str] = []
    for planned in suite.runs:
        request, hub_id = request_of(planned.model)
        request = dataclasses.replace(request, **planned.changes)
        try:
            records.append(measure(request, hub_id=hub_id, out=folder, say=say, calibration=calibration_of()))
        except SixndError as error:
            refused.append(f"{planned.model}: {error}")
            say(f"{planned.model} was left out: {error}")
    if not is_main():
        return 0
    records += [estimate_only(model, tokens, records, folder) for model, tokens in suite.estimated]
    asked = waterfall_tables(records) if waterfall else []
    shown = [*summary.tables(records), *learner_tables(records)]
    screen, pictures = journey_screen(records, shown), learner_pictures(shown)
    out.emit([*shown, *asked], replace(screen, asked=asked), pictures if out.draws else ())
    _leave_page(folder / f"{name}.html", shown, screen, pictures, out)
    for line in refused:
        streams.remark(f"error: {line}")
    say(f"records: {folder}/")
    return 1 if refused or summary.num_failed(records) else 0


def _leave_page(file: Path, tables: Sequence[Table], screen: Screen, pictures: Sequence[Picture], out: Output) -> None:
    """The page of a suite; without matplotlib it has no pictures, and a line says what installs it."""
    from bench.records import atomic_file
    from estimators.extras import install_line

    atomic_file.write(str(file), out.page(tables, screen, pictures), mend="name a writable folder with --out")
    say(f"page: {file}")
    if importlib.util.find_spec("matplotlib") is None:
        say(f"its pictures need matplotlib: {install_line('matplotlib')}, then report {file.parent} --output {file}")
