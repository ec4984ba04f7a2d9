"""Track records: what measured steps of a class, a device or a software were missed by, each left out of the fit that predicted it."""

from __future__ import annotations

from estimators.training.interval import CLASSES, TrackRecord, track_record
from estimators.training.prediction import Prediction
from estimators.tuning.interval import STEP_CLASSES
from estimators.tuning.interval import TrackRecord as TuningRecord
from estimators.tuning.interval import track_record as of_tunings
from estimators.units import format_fraction, format_int
from reports.table import Column, Value

Record = TrackRecord | TuningRecord

COLUMNS = (
    Column(key="track_record", header="track record"),
    Column(key="track_rows", header="rows", raw=True),
    Column(key="track_median_error", header="median |error|", raw=True),
    Column(key="track_coverage", header="interval held", raw=True),
)


def cells(kind: str, name: str) -> dict[str, Value]:
    """What the columns hold for a device, a software or a class; missing where no step of it was measured."""
    record = track_record(kind, name)
    return {
        "track_record": text(record) if record else None,
        "track_rows": record.rows if record else 0,
        "track_median_error": record.median_error if record else None,
        "track_coverage": record.coverage if record else None,
    }


def text(record: Record) -> str:
    """Such as ``926 rows, 7.1 % off, held 83 %``."""
    return f"{format_int(record.rows)} rows, {format_fraction(record.median_error, 2)} off, held {format_fraction(record.coverage, 2)}"


def _named(p: Prediction) -> list[tuple[str, Record | None]]:
    if p.case_class in STEP_CLASSES:
        return [(STEP_CLASSES[p.case_class], tuning_record(p.case_class))]
    return [
        (CLASSES[p.case_class], track_record("class", p.case_class)),
        (p.hardware.id, track_record("device", p.hardware.id)),
        (p.stack.id, track_record("software", p.stack.id)),
    ]


def tuning_record(case_class: str) -> TuningRecord | None:
    """The record of a class of fine-tunings."""
    return of_tunings(case_class.removeprefix("fine-tuning-"))


def line(p: Prediction) -> str:
    """The records of a prediction's class, device and software, in one line."""
    said = [f"{name} {text(record) if record else 'no measured step'}" for name, record in _named(p)]
    return f"track record of left-out steps: {'; '.join(said)}"


def doubts(p: Prediction) -> list[str]:
    """One sentence per bad record."""
    return [_doubt(name, record) for name, record in _named(p) if record and record.is_bad]


def _doubt(name: str, record: Record) -> str:
    if isinstance(record, TuningRecord):
        missed = format_fraction(record.median_error, 2)
        return f"Doubt the time: {format_int(record.rows)} measured steps of {name} were missed by {missed}, the median of sources."
    way = "short" if record.bias < 0 else "long"
    return (
        f"Doubt the time: {format_int(record.rows)} measured steps of {name} were predicted {format_fraction(abs(record.bias), 2)} "
        f"too {way} in the median, and the interval held {format_fraction(record.coverage, 2)} of them."
    )


def facts(p: Prediction) -> dict[str, Value]:
    """The same as single values."""
    if p.case_class in STEP_CLASSES:
        found = tuning_record(p.case_class)
        return {
            "case_class": p.case_class,
            "track_class_rows": found.rows if found else 0,
            "track_class_median_error": found.median_error if found else None,
            "track_class_coverage": found.coverage if found else None,
        }
    kinds = {"class": p.case_class, "device": p.hardware.id, "software": p.stack.id}
    values: dict[str, Value] = {"case_class": p.case_class}
    for kind, name in kinds.items():
        record = track_record(kind, name)
        values |= {
            f"track_{kind}_rows": record.rows if record else 0,
            f"track_{kind}_median_error": record.median_error if record else None,
            f"track_{kind}_bias": record.bias if record else None,
            f"track_{kind}_coverage": record.coverage if record else None,
        }
    return values
