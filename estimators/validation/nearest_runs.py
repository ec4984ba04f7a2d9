"""The published runs that are nearest to a training, each beside what would have been planned of it."""

from __future__ import annotations

import math

from estimators.facts import data
from estimators.facts.goodput import run_factor
from estimators.frozen import frozen
from estimators.units import DAY_S, HOUR_S
from estimators.validation.table import LeftOutError, Record, read_table, shipped_runs

NUM_NEAREST = 6


@frozen
class NearRun:
    """One published run.

    Attributes:
        params: of which a token uses so many; num_devices: None where they are unpublished.
        measured_s: device time that it took.
        planned_s, low_s, high_s: predicted steps of it by the factor of the other published runs, and the 80 % of that.
    """

    name: str
    params: float
    tokens: float
    hardware: str
    num_devices: int | None
    measured_s: float
    planned_s: float
    low_s: float
    high_s: float
    source: str


def nearest_runs(params: int, tokens: int, num_devices: int, number: int = NUM_NEAREST) -> tuple[NearRun, ...]:
    """The nearest in compute, 6·N·D, with a smaller weight on the number of devices; the nearest first.

    Args:
        params: that a token uses.

    >>> [run.name for run in nearest_runs(8_030_261_248, 15 * 10**12, 16_000, 1)]
    ['Llama 3 8B']
    """
    factors: dict[str, float] = data.read_json(data.file("run_factors.json"))
    runs = [run for record in read_table(shipped_runs()) if record.id in factors and (run := _run(record, factors[record.id]))]

    def distance(run: NearRun) -> float:
        compute = math.log(run.params * run.tokens / (params * tokens))
        devices = math.log(run.num_devices / num_devices) if run.num_devices else 0.0
        return abs(compute) + 0.1 * abs(devices)

    return tuple(sorted(runs, key=distance)[:number])


def _run(record: Record, factor: float) -> NearRun | None:
    """A row as it was published, and what is planned of it; None where it lacks what a distance needs.

    Its predicted steps are its device time over the factor that it took over them, see `python -m tools.run_factors`.
    """
    try:
        params = record.number("params_active") or record.number("params_total")
        tokens, hours, days = (record.number(column) for column in ("tokens", "gpu_hours", "wall_days"))
        devices = record.whole("n_gpus")
    except LeftOutError:
        return None
    device_s = hours * HOUR_S if hours else days * DAY_S * devices if days and devices else None
    if not (params and tokens and device_s):
        return None
    steps_s, others = device_s / factor, run_factor(record.id)
    low, middle, high = (steps_s * times for times in (others.low, others.median, others.high))
    return NearRun(
        name=record.id,
        params=params,
        tokens=tokens,
        hardware=record.text("gpu"),
        num_devices=devices,
        measured_s=device_s,
        planned_s=middle,
        low_s=low,
        high_s=high,
        source=record.text("source"),
    )
