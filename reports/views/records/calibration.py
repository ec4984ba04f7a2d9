"""A calibration as tables, and its check: predicted against measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.records.calibration import COLLECTIVE, Calibration, machine_profile
from bench.records.estimated import PredictedStep
from bench.records.record import Measurement
from bench.statistics import robust
from bench.statistics.rates import drift
from estimators import units
from estimators.frozen import frozen
from reports.table import Column, Table, Value

_RATE = {"matmul burst": units.format_flop_rate, "matmul sustained": units.format_flop_rate}


@frozen
class CheckedStep:
    """One workload of a check; `reason` says why it has no record."""

    name: str
    prediction: PredictedStep | None
    record: Measurement | None
    reason: str = ""

    @property
    def measured_s(self) -> float | None:
        """The median of the phase that was predicted."""
        phase = self.record.phase(self.prediction.phase) if self.record and self.prediction else None
        return robust.median(phase.samples_s) if phase and phase.samples_s else None

    @property
    def error(self) -> float | None:
        """Predicted over measured, less 1."""
        return self._over_measured(self.prediction.seconds_s) if self.prediction else None

    @property
    def general_error(self) -> float | None:
        """The same of the prediction from the grid alone."""
        return self._over_measured(self.prediction.general_seconds_s) if self.prediction else None

    def _over_measured(self, seconds_s: float) -> float | None:
        measured_s = self.measured_s
        return seconds_s / measured_s - 1 if measured_s else None


def median_error(errors: Iterable[float | None]) -> float | None:
    """The median of the errors' sizes; None where nothing was both predicted and measured."""
    known = [abs(error) for error in errors if error is not None]
    return robust.median(known) if known else None


def predicted_tables(records: Sequence[Measurement]) -> list[Table]:
    """Predicted against measured over records; none where no step of them was predicted."""
    rows = [
        CheckedStep(name=f"{record.request.model}, {said.phase}", prediction=said, record=record)
        for record in records
        if (said := record.estimate.local)
    ]
    return check_tables(rows) if rows else []


def check_tables(rows: Sequence[CheckedStep], mark_fraction: float | None = None) -> list[Table]:
    """Predicted against measured, one row per workload, and the median error, against its mark where there is one."""
    own, general = median_error(row.error for row in rows), median_error(row.general_error for row in rows)
    cells: list[dict[str, Value]] = []
    for row in rows:
        said = row.prediction
        phase = row.record.phase(said.phase) if row.record and said else None
        cells.append(
            {
                "workload": row.name,
                "dtype": row.record.request.dtype if row.record else None,
                "predicted_s": said.seconds_s if said else None,
                "measured_s": row.measured_s,
                "spread_fraction": robust.relative_spread(phase.samples_s) if phase and phase.samples_s else None,
                "error_fraction": row.error,
                "general_s": said.general_seconds_s if said else None,
                "general_error_fraction": row.general_error,
                "drift_fraction": max(drift(row.record).values(), key=abs, default=None) if row.record else None,
                "num_ops": said.num_ops if said else None,
                "reason": row.reason or None,
            }
        )
    columns = [
        Column(key="workload", header="Workload"),
        Column(key="dtype", header="Dtype"),
        Column(key="predicted_s", header="Predicted", format=units.format_duration, align="right"),
        Column(key="measured_s", header="Measured", format=units.format_duration, align="right"),
        Column(key="spread_fraction", header="Spread", format=units.format_fraction, align="right"),
        Column(key="error_fraction", header="Error", format=_signed, align="right"),
        Column(key="general_s", header="From the grid", format=units.format_duration, align="right"),
        Column(key="general_error_fraction", header="Error", format=_signed, align="right"),
        Column(key="drift_fraction", header="Drift", format=_signed, align="right"),
        Column(key="num_ops", header="Operators", align="right"),
        Column(key="reason", header="Reason"),
    ]
    mark = "" if mark_fraction is None else f" (mark: at most {_percent(mark_fraction)})"
    notes = [f"Median error {_percent(own)}{mark}; from the grid alone {_percent(general)}."]
    notes.append("Predicted: the step's operators, each timed alone just before, and the host's cost; the step itself had not run.")
    notes.append("From the grid: products and other operators interpolated from the calibration, none of them the step's own.")
    if any(row["drift_fraction"] is not None for row in cells):
        notes.append("Drift: the machine's matmul or bandwidth rate after the run against before it, whichever moved more.")
    return [
        Table(
            key="check",
            title="Steps predicted on this machine, against measured",
            columns=[c for c in columns if any(row.get(c.key) is not None for row in cells)],
            rows=cells,
            notes=notes,
            facts={"median_error_fraction": own, "general_median_error_fraction": general, "mark_fraction": mark_fraction},
        )
    ]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _signed(value: float) -> str:
    return units.format_signed_fraction(value, 1)


def calibration_tables(calibration: Calibration) -> list[Table]:
    """Rates of the device, products by shape, and what the host costs."""
    device = calibration.device
    about = [f"on {device.name}", f"{device.num_threads} threads", f"torch {device.torch}", calibration.created_utc]
    rates = Table(
        key="rates",
        title="What this device reaches",
        conditions=about,
        columns=(
            Column(key="kind", header="What"),
            Column(key="dtype", header="Dtype"),
            Column(key="rate", header="Rate", align="right"),
            Column(key="value", header="Base units per second", raw=True),
            Column(key="spread_fraction", header="Spread", format=units.format_fraction, align="right"),
            Column(key="shape", header="Shape"),
        ),
        rows=[
            {
                "kind": c.kind,
                "dtype": c.dtype,
                "rate": _RATE.get(c.kind, units.format_byte_rate)(c.value),
                "value": c.value,
                "spread_fraction": robust.relative_spread(c.samples_s),
                "shape": c.shape,
            }
            for c in calibration.ceilings
        ],
        notes=[f"{what}: {why}" for what, why in calibration.unavailable.items()],
        kind="measured",
    )
    products = Table(
        key="products",
        title="Matrix products x[m, k] · W[n, k]ᵀ by shape, weights from memory",
        columns=(
            Column(key="dtype", header="Dtype", once=True),
            Column(key="m", header="m", align="right"),
            Column(key="n", header="n", align="right"),
            Column(key="k", header="k", align="right"),
            Column(key="seconds_s", header="Time", format=units.format_duration, align="right"),
            Column(key="flop_per_s", header="FLOP/s", format=units.format_flop_rate, align="right"),
            Column(key="bytes_per_s", header="Bytes/s", format=units.format_byte_rate, align="right"),
        ),
        rows=[
            dict(zip(("m", "n", "k"), e.mnk, strict=True))
            | {"dtype": e.dtype, "seconds_s": e.seconds_s, "flop_per_s": e.flop / e.seconds_s, "bytes_per_s": e.num_bytes / e.seconds_s}
            for e in calibration.entries
            if e.role == "grid" and e.mnk
        ],
        kind="measured",
    )
    between = Table(
        key="collectives",
        title="Collectives between processes, the slowest of them",
        columns=(
            Column(key="kind", header="What", once=True),
            Column(key="num_bytes", header="Of", format=units.format_bytes, align="right"),
            Column(key="seconds_s", header="Time", format=units.format_duration, align="right"),
        ),
        rows=[
            {"kind": e.kind, "num_bytes": e.num_bytes, "seconds_s": e.seconds_s}
            for e in sorted(calibration.entries, key=lambda e: (e.kind, e.num_bytes))
            if e.role == COLLECTIVE
        ],
        kind="measured",
    )
    known = machine_profile(calibration)
    host = Table(
        key="host",
        title="What the host costs",
        columns=(
            Column(key="mode", header="A step"),
            Column(key="fixed_s", header="Fixed", format=units.format_duration, align="right"),
            Column(key="per_op_s", header="Per operator", format=units.format_duration, align="right"),
            Column(key="emptied_s", header="with caches emptied", format=units.format_duration, align="right"),
        ),
        rows=[
            {
                "mode": mode,
                "fixed_s": cost.fixed_s,
                "per_op_s": cost.per_op_s,
                "emptied_s": cost.passing[-1][1] if cost.passing else None,
            }
            for mode, cost in known.hosts.items()
        ],
        notes=[f"The smallest operator, one after another: {units.format_duration(known.op_s)}."],
        kind="measured",
    )
    return [rates, products, *([between] if between.rows else []), host]
