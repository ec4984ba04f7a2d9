"""What a measurement finds on this machine, what is missing and what that costs it, and how to mend it.

python -m bench doctor
python -m bench doctor --torch --out runs
python -m bench doctor --format json

Looks for about a second and imports no torch unless --torch asks for it. Without psutil the processor, memory and clock are
not looked at, and it is named among the packages. Exit 1 where a measurement here would not be trusted.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.cli.output import Output
from bench.cli.run_options import DEFAULT_OUT
from bench.machine.doctor import gpu, software, storage
from bench.machine.doctor.item import Item
from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from reports.screen import Screen, columns_kept
from reports.table import Column, Table

LACKING = ("untrusted", "costs")
"""Verdicts of what should be mended, the worst first."""


@frozen
class Options:
    """Options of `doctor`."""

    out: Path
    torch: bool
    device: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `doctor`."""
    parser.add_argument(
        "--out", type=Path, default=Path(DEFAULT_OUT), metavar="FOLDER", help=f"where records would go; {DEFAULT_OUT}/ by default"
    )
    parser.add_argument("--torch", action="store_true", help="import torch, too, and ask it about its device: takes seconds")
    parser.add_argument("--device", metavar="NAME", help="with --torch: cpu, cuda, cuda:N or mps")


def run(options: Options, out: Output) -> int:
    """Look, print, and return 1 where a measurement here would not be trusted. Raises BadValueError."""
    if options.device is not None and not options.torch:
        raise BadValueError(f"--device {options.device[:40]} is torch's name for it; add --torch")
    checked = list(items(options.out, ask_torch=options.torch, device=options.device))
    shown = table(checked)
    out.emit([shown], screen(checked, shown))
    return exit_code(checked)


def items(out: Path, *, ask_torch: bool = False, device: str | None = None) -> Iterator[Item]:
    """Everything that is looked at, by group."""
    yield from gpu.items()
    try:
        from bench.machine.doctor import machine, processor
    except ModuleNotFoundError as error:
        if error.name != "psutil":
            raise
    else:
        yield from processor.items()
        yield from machine.items()
    yield from software.items()
    yield from storage.items(out)
    if ask_torch:
        from bench.backend import torch_device  # deferred: torch takes seconds to import

        yield from torch_device.items(device)


def exit_code(checked: Sequence[Item]) -> int:
    """1 where any of it makes a measurement untrustworthy, else 0; what merely costs something does not."""
    return 1 if any(item.verdict == "untrusted" for item in checked) else 0


def screen(checked: Sequence[Item], table: Table) -> Screen:
    """What lacks, with its cost and how to mend it; of the others their number."""
    lacking = [row for row in table.rows if row["verdict"] in LACKING]
    rest = len(table.rows) - len(lacking)
    return Screen(
        answer=table.title,
        table=columns_kept(replace(table, rows=lacking), "what", "verdict", "mend", "cost", "found"),
        notes=[f"{rest} other {'thing was' if rest == 1 else 'things were'} looked at and cost nothing: -v"] if rest else [],
        more=["--torch (ask torch, too)"],
        failed=exit_code(checked) == 1,
    )


def table(checked: Sequence[Item]) -> Table:
    """One row for each thing; the title gives the verdict."""
    untrusted = [item.what for item in checked if item.verdict == "untrusted"]
    costs = sum(item.verdict == "costs" for item in checked)
    title = "A measurement here can be trusted" if not untrusted else f"A measurement here is not to be trusted: {', '.join(untrusted)}"
    return Table(
        key="doctor",
        title=f"{title}; {costs} {'thing costs' if costs == 1 else 'things cost'} it something",
        columns=(
            Column(key="group", header="Group", once=True),
            Column(key="what", header="What"),
            Column(key="found", header="Found"),
            Column(key="verdict", header="Verdict"),
            Column(key="cost", header="What it costs"),
            Column(key="mend", header="How to mend it"),
        ),
        rows=[
            {
                "group": item.group,
                "what": item.what,
                "found": item.found,
                "verdict": item.verdict,
                "cost": item.advice.worth if item.advice else None,
                "mend": item.advice.what if item.advice else None,
            }
            for item in checked
        ],
        facts={"trusted": not untrusted, "num_costs": costs, "num_untrusted": len(untrusted)},
    )
