"""Whether a record is evidence of a speed: a run that broke off, did nothing or beat physics is fast, and no result."""

from __future__ import annotations

from collections.abc import Iterator

from bench.records.record import Measurement
from bench.statistics.comparison import NOT_JUDGED
from bench.statistics.rates import MAIN_PHASE, main_phase
from reports.checks import physics, work
from reports.checks.crosscheck import failed


def fault(record: Measurement) -> str:
    """Why no gate may pass on a record, in one sentence; empty where nothing speaks against it, or where it is no run of a model."""
    return next(_faults(record), "") if record.request.task in MAIN_PHASE else ""


def _faults(record: Measurement) -> Iterator[str]:
    if record.status != "complete":
        yield f"{record.run_id} is {record.status}: {record.status_reason or 'no reason given'}"
    for phase in record.phases:
        if phase.stopped_by == "interrupt" and phase.name not in NOT_JUDGED:
            yield f"{record.run_id} was interrupted in its {phase.name}, after {len(phase.samples_s)} samples"
    yield from _too_short(record)
    impossible = failed(tuple(physics.bounds(record)))
    if impossible:
        yield f"{record.run_id} is faster than physics allows ({impossible[0].metric}: {impossible[0].explanation})"
    undone = failed(tuple(work.proof(record)))
    if undone:
        said = ", ".join(f"{check.metric}: expected {check.rule} {check.estimated}, observed {check.observed}" for check in undone)
        yield f"{record.run_id} did not do its work ({said})"


def _too_short(record: Measurement) -> Iterator[str]:
    """Nothing was timed of what answers the task; or it ended before the steps and epochs asked for, and by no other limit."""
    phase, asked = main_phase(record), record.request
    if phase is None or not phase.samples_s:
        if record.extrapolation is None:
            yield f"{record.run_id} lost its main phase: it holds no timed {MAIN_PHASE[asked.task]}"
        return
    done: dict[str, tuple[int, int]] = {}
    if asked.steps is not None:
        most = asked.new_tokens - 1 if asked.task == "decode" and asked.new_tokens else asked.steps
        done["steps"] = (len(phase.warmup_s) + len(phase.samples_s), min(asked.steps, most))
    if asked.epochs is not None:
        epochs = record.phase("epoch")
        done["epochs"] = (len(epochs.samples_s) if epochs else 0, asked.epochs)
    if done and phase.stopped_by == "count" and all(taken < wanted for taken, wanted in done.values()):
        said = " and ".join(f"{taken} of {wanted} {what}" for what, (taken, wanted) in done.items())
        yield f"{record.run_id} was cut short: {said} that were asked for"
