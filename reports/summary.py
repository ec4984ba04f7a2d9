"""One table over many records: from 2 parameters to billions, measured and, for what no machine at hand can run, estimated."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.records.asked import Asked
from bench.records.record import Measurement, Phase
from bench.records.served import result_of
from bench.statistics.noise_floor import TASK
from bench.statistics.rates import MAIN_PHASE, headline_s, items_per_sample, main_phase, main_rates
from estimators import units
from estimators.errors import BadRecordError
from estimators.units import format_rate
from reports import served
from reports.checks.crosscheck import crosscheck, failed
from reports.table import Column, Table, Value
from reports.views.records import measured, selftest
from reports.views.records import served as served_view

DAYS_PER_YEAR = 365.25

_WHAT: dict[str, tuple[str, str, Callable[[Asked], int | None]]] = {
    "generate": ("generation", " of {} tokens", lambda asked: asked.new_tokens),
    "decode": ("decode step", "", lambda asked: None),
    "prefill": ("prefill", " of {} tokens", lambda asked: asked.seq_len),
    "train": ("training step", ", batch {}", lambda asked: asked.batch),
    "forward": ("forward pass", ", batch {}", lambda asked: asked.batch),
    "serve": ("served load", "", lambda asked: None),
}
"""Task to what was timed, how its size is said, and the size: a run that was stopped early has none."""


def tables(records: Sequence[Measurement]) -> list[Table]:
    """The journey: one row per record, smallest model first; runs that did not end are listed with their reason.

    Raises:
        BadRecordError: records whose samples mean different things.

    Self-tests are left out; where there is nothing else, the last of them is shown.
    """
    tests = [record for record in records if record.request.task == TASK]
    if tests and len(tests) == len(records):
        return selftest.tables(tests[-1])
    records = [record for record in records if record.request.task != TASK]
    _demand_one_method(records)
    paired = [(record, _row(record)) for record in records]
    paired.sort(key=lambda pair: (pair[1]["params"] or 0, pair[0].created_utc, pair[0].run_id))
    ordered, rows = [record for record, _ in paired], [row for _, row in paired]
    columns = [
        Column(key="model", header="Model"),
        Column(key="params", header="Parameters", format=units.format_count, align="right"),
        Column(key="what", header="What"),
        Column(key="flop", header="FLOP (full)", format=units.format_flop, align="right"),
        Column(key="time_s", header="Time", format=long_duration, align="right"),
        Column(key="tag", header="Kind"),
        Column(key="items_per_s", header="Items/s", format=format_rate, align="right"),
        Column(key="mfu_fraction", header="MFU", format=units.format_fraction, align="right"),
        Column(key="matmul_ceiling_fraction", header="of matmul ceiling", format=units.format_fraction, align="right"),
        Column(key="train_loss", header="Train loss", format=_loss, align="right"),
        Column(key="heldout_loss", header="Held-out loss", format=_loss, align="right"),
        Column(key="checks", header="Checks"),
        Column(key="train_days", header="Training days", raw=True),
        Column(key="dtype", header="Dtype", raw=True),
        Column(key="weights", header="Weights", raw=True),
        Column(key="status", header="Status", raw=True),
        Column(key="status_reason", header="Reason", raw=True),
        Column(key="run_id", header="Record", raw=True),
    ]
    used = [c for c in columns if any(row.get(c.key) is not None for row in rows)]
    notes = _notes(ordered)
    return [Table(key="journey", title="The journey", conditions=_conditions(ordered), columns=used, rows=rows, notes=notes)]


def details(record: Measurement) -> list[Table]:
    """Every table of one record; of one that was only estimated, its row."""
    if record.proof.served is not None:
        return served_view.tables(record)
    return tables([record]) if record.request.task in ("estimate", TASK) else measured.tables(record)


def num_failed(records: Sequence[Measurement]) -> int:
    """Checks that do not hold, over all records."""
    return sum(len(failed(crosscheck(record))) for record in records)


def _demand_one_method(records: Sequence[Measurement]) -> None:
    """Times of two methods never stand in one column."""
    by_method = {record.timing_method: record for record in records}
    if len(by_method) > 1:
        one, other = (f"{record.run_id} (method {method})" for method, record in sorted(by_method.items())[:2])
        raise BadRecordError(f"the times of {one} and {other} were taken by different methods; report them apart")


def _row(record: Measurement) -> dict[str, Value]:
    asked, params = record.request, record.estimate.params
    row: dict[str, Value] = {"model": asked.model, "params": params, "run_id": record.run_id, "status": record.status}
    row |= {
        "train_days": asked.train_days,
        "status_reason": record.status_reason or None,
        "dtype": asked.dtype,
        "weights": asked.weights_label,
    }
    if asked.task == "estimate":
        row["what"] = "whole training" + (f", {units.format_count(asked.tokens)} tokens" if asked.tokens is not None else "")
        row |= {"flop": record.estimate.training_flop, "time_s": record.estimate.time_at_ceiling_s, "tag": "estimated"}
        return row
    if record.proof.served is not None:
        return row | _served_row(record)
    what, of_size, size = _WHAT[asked.task]
    row["what"] = ", ".join([what + (of_size.format(size(asked)) if size(asked) else ""), *measured.settings(asked)])
    done = record.estimate.phases.get(MAIN_PHASE.get(asked.task, ""))
    if done:
        row["flop"] = done.flop.full
    head = headline_s(record)
    timed = main_phase(record) or record.extrapolation
    if head and timed:
        items = items_per_sample(record, timed) if isinstance(timed, Phase) else timed.items_per_sample
        row |= {"time_s": head[0], "tag": head[1], "items_per_s": items / head[0] if head[0] > 0 else None}
    reached = main_rates(record)
    if reached:
        row |= {"mfu_fraction": reached.mfu, "matmul_ceiling_fraction": reached.ceiling_fraction}
    row |= {"train_loss": record.learning.train_loss, "heldout_loss": record.learning.heldout_loss}
    return row | {"checks": _verdict(record)}


def _verdict(record: Measurement) -> str:
    checks = crosscheck(record)
    bad = failed(checks)
    return f"{len(bad)} FAILED" if bad else f"{sum(check.ok is True for check in checks)} ok"


def _served_row(record: Measurement) -> dict[str, Value]:
    """Of a server under load: what it was asked, its time to first token, its output tokens a second."""
    assert record.proof.served is not None
    result = result_of(record.proof.served)
    waits = {spread.quantity: spread.values_s for spread in served.spreads(result)}
    values_s = next((waits[name] for name in ("ttft_s", "prefill_s", "decode_s") if name in waits), {})
    tag = "imported" if record.proof.served.file else "measured"
    found: dict[str, Value] = {"what": served_view.load_of(record), "tag": tag, "checks": _verdict(record)}
    return found | {"time_s": values_s.get("median", values_s.get("mean")), "items_per_s": served.rates(result).output_per_replica}


def _conditions(records: Sequence[Measurement]) -> list[str]:
    devices = sorted({r.environment.device.name for r in records if r.environment.device and r.environment.device.name})
    lines = [f"on {', '.join(devices)}"] if devices else []
    lines.append("FLOP under `full`: whole attention square, no recomputation; a ceiling is a rate measured on the machine just before")
    if any(phase.convention == "causal" for record in records for phase in record.estimate.phases.values()):
        lines.append("MFU of models with windows: by the attention that a query may see")
    for what, values in (("dtype", [r.request.dtype for r in records]), ("weights", [r.request.weights_label for r in records])):
        line = _by_value(records, values)
        if line:
            lines.append(f"{what}: {line}")
    return lines


def _by_value(records: Sequence[Measurement], values: Sequence[str | None]) -> str:
    """What the records were asked for: the value alone where all agree, else each value and its models."""
    models: dict[str, list[str]] = {}
    for record, value in zip(records, values, strict=True):
        if value:
            models.setdefault(value, []).append(record.request.model)
    if len(models) == 1:
        return next(iter(models))
    return "; ".join(f"{value} ({', '.join(dict.fromkeys(names))})" for value, names in models.items())


def _notes(records: Sequence[Measurement]) -> list[str]:
    notes = []
    data = sorted({r.learning.data for r in records if r.learning.data})
    if data:
        notes.append("Data: " + "; ".join(data))
    units_of_loss = {r.learning.loss_unit for r in records if r.learning.loss_unit}
    if units_of_loss:
        notes.append("Loss: " + "; ".join(sorted(units_of_loss)))
    for record in records:
        if record.request.task == "estimate":
            notes.append(f"{record.request.model}: {record.estimate.note or 'no note'}")
        if record.status != "complete":
            notes.append(f"{record.request.model} ({record.run_id}): {record.status}, {record.status_reason}")
        for check in failed(crosscheck(record)):
            notes.append(f"{record.request.model}: FAILED {check.metric}: {check.explanation or 'see its record'}")
    return notes


def long_duration(seconds: float) -> str:
    """Years where there are two and more."""
    years = seconds / units.DAY_S / DAYS_PER_YEAR
    return f"{units.format_count(years)} years" if years >= 2 else units.format_duration(seconds)


def _loss(value: float) -> str:
    return f"{value:.4g}"
