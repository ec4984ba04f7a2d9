"""Training runs that others published, and the utilisation they reached."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence

from estimators.counting.formulas import six_nd
from estimators.facts import data
from estimators.frozen import frozen
from estimators.spec import Hardware, Source, Tag
from estimators.units import HOUR_S

RUN_COLUMNS = (
    *("name", "params", "active_params", "tokens", "seq_len", "hardware_id", "num_devices", "device_hours"),
    *("reported_mfu", "training_flop", "dtype", "confidence", "source", "url", "note", "model"),
)
MIN_RUNS = 3
"""Fewer runs than this make no range of their own."""


@frozen
class PublishedRun:
    """One published training run.

    Attributes:
        params: all of them, embeddings included; None where unpublished.
        active_params: used per token in a mixture of experts; None in a dense model.
        device_seconds: over all devices (a TPU v3 chip is two devices).
        reported_mfu: model FLOP utilisation as the authors report it, of dense peak.
        training_flop: as the authors report it.
        confidence: high (a paper or card states it), medium (hours from devices x days, or quoted), low (contradicted or too round).
        model_id: the shipped model of the same architecture; empty where there is none.
    """

    name: str
    params: int | None
    active_params: int | None
    tokens: int | None
    seq_len: int | None
    hardware_id: str
    num_devices: int | None
    device_seconds: float | None
    reported_mfu: float | None
    training_flop: int | None
    dtype: str
    confidence: str
    source: Source
    model_id: str = ""


@functools.cache
def read_runs() -> tuple[PublishedRun, ...]:
    """Every row of published_runs.csv."""
    return tuple(run_from(row) for row in data.read_rows(data.file("published_runs.csv"), RUN_COLUMNS))


def run_from(row: data.Row) -> PublishedRun:
    """Check one row of published_runs.csv. Raises BadValueError: a cell that is not what its column says."""
    hours = row.optional_number("device_hours")
    return PublishedRun(
        name=row.text("name"),
        params=row.optional_count("params"),
        active_params=row.optional_count("active_params"),
        tokens=row.optional_count("tokens"),
        seq_len=row.optional_integer("seq_len"),
        hardware_id=row.text("hardware_id"),
        num_devices=row.optional_integer("num_devices"),
        device_seconds=None if hours is None else hours * HOUR_S,
        reported_mfu=row.optional_number("reported_mfu"),
        training_flop=row.optional_count("training_flop"),
        dtype=row.text("dtype", choices=("bf16", "fp16")),
        confidence=row.text("confidence", choices=("high", "medium", "low")),
        source=Source(title=row.text("source"), url=row.text("url"), note=row.optional_text("note")),
        model_id=row.optional_text("model"),
    )


def utilization(run: PublishedRun, hardware: Hardware) -> tuple[float, Tag] | None:
    """The run's share of dense peak: as reported, else derived from FLOP / (device-seconds · peak), else None.

    Where the authors give no FLOP, it is 6·N·D: no attention, and N the active parameters of a mixture of experts.
    A derived share covers the whole run, restarts and evaluation included; a reported one mostly the steady state.
    """
    if run.reported_mfu is not None:
        return run.reported_mfu, "published"
    flop, params = run.training_flop, run.active_params or run.params
    if flop is None and params is not None and run.tokens is not None:
        flop = six_nd(params, run.tokens)
    if flop is None or run.device_seconds is None:
        return None
    return flop / (run.device_seconds * hardware.peak(run.dtype)), "derived"


@frozen
class UtilizationRange:
    """Utilisation of published runs.

    Attributes:
        scope: the architecture, or all hardware and why.
        low, median, high: the smallest, middle and largest share of dense peak, 0..1.
        num_runs: how many, of which `num_reported` as their authors print it and the rest from tokens and hours.
        runs: their names.
    """

    scope: str
    low: float
    median: float
    high: float
    num_runs: int
    num_reported: int
    runs: tuple[str, ...]
    source: Source


def comparable(run: PublishedRun) -> bool:
    """Whether the run says what a dense model can reach: dense itself, and of at least medium confidence.

    A mixture of experts says little about dense models, and its 6·N·D counts no routing.
    """
    return run.active_params is None and run.confidence != "low"


def on_all_hardware(architecture: str, num_runs: int) -> str:
    """Why runs on all hardware stand for those on one architecture, of which there are too few.

    >>> on_all_hardware("CDNA3", 0), on_all_hardware("TPU", 1)
    ('all hardware, as none is on CDNA3', 'all hardware, as only one is on TPU')
    """
    few = "none is" if not num_runs else "only one is" if num_runs == 1 else f"only {num_runs} are"
    return f"all hardware, as {few} on {architecture}"


def summarize(runs: Sequence[PublishedRun], hardware_of: Callable[[str], Hardware], architecture: str | None = None) -> UtilizationRange:
    """The range over comparable runs, on one architecture or on all hardware.

    With fewer than MIN_RUNS runs on the architecture the range is over all hardware, and its scope says so.
    """
    known = [run for run in runs if comparable(run)]
    on_it = [run for run in known if architecture in (None, hardware_of(run.hardware_id).architecture)]
    scope = architecture or "all hardware"
    if len(on_it) < MIN_RUNS and architecture is not None:
        scope = on_all_hardware(architecture, len(on_it))
        on_it = known
    shares = [(run, share) for run in on_it if (share := utilization(run, hardware_of(run.hardware_id)))]
    possible = [(run, share) for run, share in shares if share[0] <= 1]
    assert possible, "published_runs.csv has no usable run"
    ordered = sorted(share[0] for _, share in possible)
    left_out = f"; {len(shares) - len(possible)} left out, above the peak" if len(shares) > len(possible) else ""
    num_reported = sum(tag == "published" for _, (_, tag) in possible)
    return UtilizationRange(
        scope=scope,
        low=ordered[0],
        median=median(ordered),
        high=ordered[-1],
        num_runs=len(possible),
        num_reported=num_reported,
        runs=tuple(run.name for run, _ in possible),
        source=Source(
            title=(
                f"published_runs.csv: {len(possible)} runs of dense language models on {scope}; "
                f"{num_reported} as reported, the rest derived{left_out}"
            ),
            note="Reported shares are of the steady state; derived ones cover the whole run: 6·N·D / (device time · dense peak).",
        ),
    )


def median(values: Iterable[float]) -> float:
    """The middle value, or the mean of the two in the middle (the statistics module costs 10 ms to import).

    >>> median([3.0, 1.0, 2.0]), median([4.0, 1.0, 2.0, 3.0])
    (2.0, 2.5)
    """
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
