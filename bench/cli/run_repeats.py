"""`run --repeats`: one request in fresh processes, one after another, and the table of all of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli import records_page
from bench.cli.arguments import with_all_facts
from bench.cli.output import Output
from bench.records.request import Request
from bench.sampling import presets
from estimators.errors import BadValueError
from estimators.frozen import replace

if TYPE_CHECKING:
    from bench.records.record import Measurement


def num_repeats(given: int | None, preset: str, *, is_suite: bool) -> int:
    """--repeats, or what the preset says where there is one model and one process.

    Raises:
        UnknownNameError: no such preset.
        BadValueError: repeats of a suite, or under a launcher.
    """
    thorough = presets.preset(preset)
    launched = os.environ.get("WORLD_SIZE", "1") != "1"
    if (given or 1) > 1 and (is_suite or launched):
        what = "a launcher's processes" if launched else "a suite"
        raise BadValueError(f"--repeats {given} starts processes of its own and cannot repeat {what}; leave --repeats out")
    if given is None:
        return 1 if is_suite or launched else thorough.repeats
    return given


def run(request: Request, num_repeats: int, hub_id: str | None, *, folder: Path, out: Output, say: Callable[[str], None]) -> int:
    """Run every repeat, print their table and those of the middle one; 1 if a check of any failed. Ctrl-C prints what there is."""
    from bench.runs import repeats
    from reports.checks.crosscheck import crosscheck, failed
    from reports.views.records.checks import failed_lines
    from reports.views.records.measured import tables
    from reports.views.records.records_screen import run_screen
    from reports.views.records.repeats import middle, repeats_table

    records: list[Measurement] = []
    try:
        for record in repeats.run(request, num_repeats, hub_id=hub_id, out=folder, say=say):
            records.append(record)
    finally:
        if records:
            repeated, one = repeats_table(records), middle(records)
            shown = tables(one)
            screen = run_screen(one, shown)
            doubts = [*failed_lines(records), *screen.doubts[len(failed_lines([one])) :]]
            screen = replace(screen, answer=repeated.title, lead=[f"the middle one: {screen.answer}", *screen.lead], doubts=doubts)
            records_page.emit(out, [one], with_all_facts([repeated, *shown]), screen)
            say(f"records: {folder}/")
    return 1 if any(failed(crosscheck(record)) for record in records) else 0
