"""Is B as fast as A? A verdict per phase and over all: SAME, FASTER, SLOWER, AMBIGUOUS or INCOMPARABLE.

python -m bench compare before.json after.json
python -m bench compare runs/main runs/branch --threshold 5% --format md
python -m bench compare runs/a100 runs/h100 --across device
python -m bench compare runs/a100 runs/h100 --normalise ceiling
python -m bench compare --interleave "run --model gpt2" "run --model gpt2 --compile" --repeats 5

A and B are records of `run`, or folders of them; several records of the same work on a side are repeats, pooled record by record.
A run that failed, broke off or beat physics is INCOMPARABLE, as are other work and, unless it is SLOWER, another machine.
Exit code 1 if B is SLOWER, 2 if the two are INCOMPARABLE or nothing was measured, else 0.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench import streams
from bench.cli.arguments import count, share
from bench.cli.output import Output
from bench.machine.ranks import say
from bench.records.request import ACROSS
from estimators.errors import BadRecordError, BadValueError
from estimators.frozen import frozen

if TYPE_CHECKING:
    from bench.records.record import Measurement, Phase
    from bench.statistics.comparison import Scale, Unit
    from bench.statistics.noise_floor import NoiseFloor

HAS_PICTURES = True

EXIT = {"SLOWER": 1, "INCOMPARABLE": 2}
DEFAULT_OUT, DEFAULT_REPEATS = "runs", 5
SELF_TESTS = "*-selftest-selftest-*.json"


@frozen
class Options:
    """Options of `compare`.

    Attributes:
        a, b: paths, or commands of `run` with `interleave`.
        threshold, confidence: shares.
        normalise: "ceiling" or None.
        across: what is meant to differ.
    """

    a: str
    b: str
    threshold: float
    confidence: float
    normalise: str | None
    across: tuple[str, ...]
    noise_floor: Path | None
    interleave: bool
    repeats: int | None
    out: Path | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `compare`."""
    parser.add_argument("a", metavar="A", help="what is held against: a record, or a folder of records")
    parser.add_argument("b", metavar="B", help="what is judged: a record, or a folder of records")
    how = parser.add_argument_group("the verdict")
    how.add_argument(
        "--threshold",
        type=share("threshold", 1),
        default=0.03,
        metavar="SHARE",
        help="the least difference that matters; 3%% by default",
    )
    how.add_argument(
        "--confidence", type=share("confidence", 0.999), default=0.95, metavar="SHARE", help="of all verdicts together; 95%% by default"
    )
    how.add_argument(
        "--normalise",
        choices=("ceiling",),
        metavar="ceiling",
        help="compare times as multiples of what each record's measured ceilings demand: for different machines",
    )
    how.add_argument(
        "--across",
        type=_across,
        default=(),
        metavar="NAMES",
        help=f"what is meant to differ between the sides, of {', '.join(ACROSS)}; all else must agree; times of batches are per item",
    )
    how.add_argument(
        "--noise-floor",
        type=Path,
        metavar="FILE",
        help=f"a record of `selftest`; else the newest of the same machine among the records, or in {DEFAULT_OUT}/",
    )
    fresh = parser.add_argument_group("fresh processes")
    fresh.add_argument("--interleave", action="store_true", help="A and B are commands of `run`: interleave them, then compare")
    fresh.add_argument(
        "--repeats", type=count("repeats", maximum=1000), metavar="NUM", help=f"processes of each; {DEFAULT_REPEATS} by default"
    )
    fresh.add_argument(
        "--out", type=Path, metavar="FOLDER", help=f"where their records go, in a folder of their own; {DEFAULT_OUT}/ by default"
    )


def run(options: Options, out: Output) -> int:
    """Compare, print, and return the verdict's exit code. Raises BadRecordError, BadValueError."""
    from bench.statistics.comparison import compare
    from bench.statistics.rates import MAIN_PHASE
    from reports.checks.evidence import fault
    from reports.pages.comparing import comparing_pictures
    from reports.views.records.comparison import headline, tables
    from reports.views.records.comparison_screen import comparison_screen
    from reports.views.records.distributions import distributions_table, ratios_table

    if options.confidence < 0.5:
        raise BadValueError(f"--confidence {options.confidence:g}: expected 0.5 to 0.999, such as 0.95 or 95%")
    a_at, b_at = _interleaved(options) if options.interleave else _given(options)
    a, b = (_records(path) for path in (a_at, b_at))
    floor = _noise_floor(options.noise_floor, (a_at, b_at), [*a, *b])
    a, b = ([r for r in side if r.request.task != "selftest"] for side in (a, b))
    for side, path in ((a, a_at), (b, b_at)):
        if not any(phase.samples_s for record in side for phase in record.phases):
            raise BadRecordError(f"nothing was measured in {str(path)!r}: no record there holds a timed sample; run it again")
    scale, unit = _scale(options)
    compared = compare(
        a,
        b,
        main_phase=MAIN_PHASE,
        threshold_fraction=options.threshold,
        confidence=options.confidence,
        scale=scale,
        unit=unit,
        across=options.across,
        floor=floor,
        faults=fault,
    )
    shown = tables(compared, a, b, label_a=options.a, label_b=options.b)
    screen = comparison_screen(compared, shown)
    if out.draws or out.format == "json":
        beside = [distributions_table(compared, a, b, scale=scale, across=options.across), ratios_table(compared)]
        data = [table for table in beside if table.rows]
        out.emit(shown, screen, comparing_pictures([*shown, *data]), data=data)
    else:
        out.emit(shown, screen)
    if compared.verdict == "INCOMPARABLE":
        streams.remark(f"error: {headline(compared)}")
    return EXIT.get(compared.verdict, 0)


def _across(given: str | Sequence[str]) -> tuple[str, ...]:
    """Read the names of what is meant to differ."""
    named = tuple(dict.fromkeys(name.strip() for name in (given.split(",") if isinstance(given, str) else given)))
    for name in named:
        if name not in ACROSS:
            raise BadValueError(f"--across {name[:40]!r} is not known; expected some of {', '.join(ACROSS)}, with commas between them")
    return named


def _given(options: Options) -> tuple[Path, Path]:
    """The two paths. Raises BadValueError where options of --interleave are given without it."""
    for word, value in {"--repeats": options.repeats, "--out": options.out}.items():
        if value is not None:
            raise BadValueError(f"{word} belongs to --interleave, which interleaves two commands; leave it out, or add --interleave")
    return Path(options.a), Path(options.b)


def _interleaved(options: Options) -> tuple[Path, Path]:
    from bench.runs.interleave import by_turns

    repeats, out = options.repeats or DEFAULT_REPEATS, options.out or Path(DEFAULT_OUT)
    return by_turns(options.a, options.b, repeats=repeats, out=out, say=say)


def _records(path: Path) -> list[Measurement]:
    """The records of one side; files of a folder that are no record are named and left out, a damaged record is an error."""
    from bench.records.record import read_folder

    if not os.path.exists(path):
        raise BadRecordError(f"no record or folder {str(path)!r}; make one with: python -m bench run --model linreg-1d --out runs/")
    records, problems = read_folder(path, all_sound=True)
    for problem in problems:
        streams.remark(f"warning: {' '.join(problem.split())}")
    return records


def _noise_floor(given: Path | None, sides: Sequence[Path], records: Sequence[Measurement]) -> NoiseFloor | None:
    """The noise floor of the machine that both sides ran on.

    Raises:
        BadRecordError: the record that was named is not of a self-test, or of another machine.
    """
    from bench.records.record import files_below, read
    from bench.statistics.noise_floor import TASK, machine, newest, noise_floor

    machines = {machine(record) for record in records if record.request.task != TASK}
    if given is not None:
        floor = noise_floor(read(given))
        if machines != {floor.machine}:
            raise BadRecordError(
                f"the self-test {floor.run_id} ran on {floor.machine}, the records on {' and '.join(sorted(machines))}; "
                "take one where they ran: python -m bench selftest"
            )
        return floor
    folders = {path if path.is_dir() else path.parent for path in sides} | {Path(DEFAULT_OUT)}
    selftests = []
    for path in sorted({file for folder in folders for file in files_below(folder, SELF_TESTS)}):
        try:
            record = read(path)
        except BadRecordError as error:
            streams.remark(f"warning: {' '.join(str(error).split())}")
            continue
        if machines == {machine(record)}:
            selftests.append(record)
    last = newest(selftests)
    return noise_floor(last) if last else None


def _scale(options: Options) -> tuple[Scale | None, Unit]:
    """What times are divided by, and what they are then: where batches may differ, by what a step holds."""
    from bench.statistics.rates import items_per_sample, rates

    def demanded_s(record: Measurement, phase: Phase) -> float | None:
        reached = rates(record, phase)
        return reached.floor_s if reached else None

    if options.normalise:
        return demanded_s, "of_ceilings"
    return (items_per_sample, "s_per_item") if "batch" in options.across else (None, "s")
