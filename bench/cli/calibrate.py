"""Measure what this machine reaches, keep it, and predict steps from it.

python -m bench calibrate
python -m bench calibrate --model gpt2 --quick
python -m bench calibrate --processes 2
python -m bench calibrate --check

Rates of matrix products by shape and dtype, attention, memory, element-wise operators, optimizers, launches, what the host
costs, and collectives between processes. Calibrations lie in sixnd/calibrations/ of the user's data folder ($XDG_DATA_HOME,
else ~/.local/share), one per device, number of threads and version of torch, and are found again by that; `run --waterfall`
predicts from them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.cli import arguments, names
from bench.cli.output import Output
from bench.machine.ranks import say
from estimators.errors import BadValueError
from estimators.frozen import frozen

MARK_FRACTION = 0.1


@frozen
class Options:
    """Options of `calibrate`."""

    model: str | None
    config: str | None
    quick: bool
    device: str | None
    processes: int | None
    out: Path | None
    check: bool
    only: str | None
    records: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `calibrate`."""
    which = parser.add_argument_group(
        "a model's own operators, timed as well: prefill, decode, training step"
    ).add_mutually_exclusive_group()
    which.add_argument("--model", metavar="NAME", help=names.MODEL_HELP)
    which.add_argument("--config", metavar="PATH", help="a Hugging Face config.json, or a folder that holds one")
    parser.add_argument("--quick", action="store_true", help="fewer shapes and samples: a minute instead of several")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:N or mps; the first CUDA device if there is one, else the CPU")
    parser.add_argument(
        "--processes",
        type=arguments.count("processes", maximum=1024),
        metavar="NUM",
        help="measure collectives between so many processes: one per GPU unless said; on a CPU none unless said",
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="write the calibration there instead of the user's data folder")
    parser.add_argument(
        "--check",
        action="store_true",
        help=f"predict the article's models, GPT-2 and slices of Phi-2, then measure them; 1 if the median error is above "
        f"{100 * MARK_FRACTION:.0f} %%",
    )
    parser.add_argument("--only", metavar="TEXT", help="of the check, the workloads whose name holds this")
    parser.add_argument(
        "--records", metavar="FOLDER", type=Path, default=Path("runs"), help="where the check's records go; runs/ by default"
    )


def run(options: Options, out: Output) -> int:
    """Calibrate, or with --check take the calibration that there is, predict and measure. Raises BadValueError."""
    from bench.backend import device as devices
    from bench.calibration import calibrate
    from bench.records import calibration_file
    from bench.runs.decide import usual_runs
    from reports.views.records import calibration
    from reports.views.records.calibration_screen import calibration_screen, check_screen

    if options.check and options.processes:
        raise BadValueError("--check predicts from the calibration that there is; leave --processes out, or calibrate first")
    device = devices.choose(options.device)
    path = options.out or calibration_file.path_for(device.describe())
    calibrated = calibration_file.read(path) if options.check and path.exists() else None
    asked = names.configuration(options.model, options.config) if options.model or options.config else None
    if calibrated is None or asked:
        calibration_file.expect_writable(path)
    if calibrated is None:
        calibrated = calibrate.calibrate(device, quick=options.quick, say=say, processes=options.processes)
        calibration_file.write(calibrated, path)
    if asked:
        name, config, _ = asked
        calibrated = calibrate.with_model(calibrated, usual_runs(name, config, device), say=say)
        calibration_file.write(calibrated, path)
    if not options.check:
        shown = calibration.calibration_tables(calibrated)
        out.emit(shown, calibration_screen(shown))
        say(f"calibration: {path}")
        return 0
    from bench.calibration.check import cases, check

    options.records.mkdir(parents=True, exist_ok=True)
    chosen = [case for case in cases(str(device.torch_device), options.quick) if (options.only or "") in case.name]
    checked = list(check(chosen, device, calibrated, out=options.records, say=say))
    rows = [
        calibration.CheckedStep(
            name=checked_case.name, prediction=checked_case.prediction, record=checked_case.record, reason=checked_case.reason
        )
        for checked_case in checked
    ]
    shown = calibration.check_tables(rows, MARK_FRACTION)
    out.emit(shown, check_screen(shown))
    error = calibration.median_error(row.error for row in rows)
    return 0 if error is not None and error <= MARK_FRACTION else 1
