"""What a whole training takes beyond its steady steps: restarts, evaluation, checkpoints; from runs whose authors say so."""

from __future__ import annotations

import functools

from estimators.errors import BadValueError
from estimators.facts import data
from estimators.facts.published_runs import median
from estimators.frozen import frozen
from estimators.spec import Source

WHOLE_RUN_COLUMNS = ("name", "num_devices", "effective_fraction", "steady_days", "whole_days", "bound", "source", "url", "note")


@frozen
class WholeRun:
    """One published run whose share of productive time is known.

    Attributes:
        effective_fraction: time in steps that counted over the whole time; as printed, or steady over whole days.
        at_least: whether the authors give a lower bound.
    """

    name: str
    num_devices: int | None
    effective_fraction: float
    at_least: bool
    source: Source

    @property
    def added_fraction(self) -> float:
        """What the whole run added over its steady steps: 1 / effective - 1; an upper bound where the share is a lower one."""
        return 1 / self.effective_fraction - 1


@frozen
class GoodputLoss:
    """What published runs added over their steady steps: the least, the middle one and the most, as shares of those steps."""

    low: float
    median: float
    high: float
    runs: tuple[WholeRun, ...]


def whole_run_from(row: data.Row) -> WholeRun:
    """Check one row of whole_runs.csv. Raises BadValueError: a share above 1, or neither a share nor both lengths of time."""
    share, steady, whole = (row.optional_number(column) for column in ("effective_fraction", "steady_days", "whole_days"))
    if share is None and steady is not None and whole is not None:
        share = steady / whole
    if share is None or share > 1:
        raise BadValueError(
            f"whole_runs.csv, line {row.line}: effective_fraction is {share}; expected one up to 1, or steady_days and whole_days"
        )
    return WholeRun(
        name=row.text("name"),
        num_devices=row.optional_integer("num_devices"),
        effective_fraction=share,
        at_least=row.optional_text("bound") == "at least",
        source=Source(title=row.text("source"), url=row.text("url"), note=row.optional_text("note")),
    )


@functools.cache
def goodput_loss() -> GoodputLoss:
    """What whole runs add over steady steps, by the published runs.

    >>> loss = goodput_loss()
    >>> round(loss.low, 3), round(loss.median, 3), round(loss.high, 2)  # 97 %, 90 % and 34.1 of 56 days
    (0.031, 0.111, 0.64)
    """
    runs = [whole_run_from(row) for row in data.read_rows(data.file("whole_runs.csv"), WHOLE_RUN_COLUMNS)]
    runs.sort(key=lambda run: run.added_fraction)
    added = [run.added_fraction for run in runs]
    return GoodputLoss(low=added[0], median=median(added), high=added[-1], runs=tuple(runs))


@frozen
class RunFactor:
    """What published runs took over the steady steps that are predicted of them: goodput, and what the prediction missed, together.

    Attributes:
        low, high: between which a further run lies with a probability of 80 % at least, if it is drawn as these were: the k-th
            lowest and the k-th highest of n, where k is a tenth of n + 1, rounded down.
    """

    low: float
    median: float
    high: float
    num_runs: int


@functools.cache
def run_factor(without: str = "") -> RunFactor:
    """The factor, by the published runs with tokens, a device and its hours; written by ``python -m tools.run_factors``.

    Args:
        without: a run that must have no part in it.

    >>> run_factor().low < run_factor().median < run_factor().high
    True
    """
    factors: dict[str, float] = data.read_json(data.file("run_factors.json"))
    ordered = sorted(factor for name, factor in factors.items() if name != without)
    below = int(0.1 * (len(ordered) + 1))
    return RunFactor(low=ordered[below - 1], median=median(ordered), high=ordered[-below], num_runs=len(ordered))
