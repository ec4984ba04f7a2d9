"""One screen of a training on several kinds of device: the fastest, the cheapest and the best value, marked."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.spec import Workload
from estimators.training.on_devices import HardwareComparison
from reports.screen import Screen, columns_kept
from reports.table import Table
from reports.views.planning.marks import BEST_VALUE, BEST_VALUE_NOTE, DEVICE_TIME, best_rows, marked, marks_text
from reports.views.training.conditions import length_lines, scope_notes, utilization_line
from reports.views.training.predicted import factor_text

COLUMNS = (
    *(
        "hardware",
        "mark",
        "wall_days",
        "cost_usd_median",
        "gpu_days",
        "fits",
        "days_low",
        "days_high",
        "mfu_fraction",
        "utilization_fraction",
    ),
    *("num_devices", "energy_j", "tokens_per_s_per_device", "step_time_s", "reason", "gpu_hours", "track_record", "layout"),
)
HEADERS = {"cost_usd_median": "cost"}


def hardware_screen(answer: HardwareComparison, table: Table, *, more: Sequence[str], asked: Sequence[Table]) -> Screen:
    """The marked devices first.

    Args:
        table: a row for each kind of device.
        more, asked: as a screen has them.
    """
    predicted = [device.answer for device in answer.predicted if device.answer]
    training = next(iter([asked.training for asked in predicted] + [device.answer for device in answer.at_utilization if device.answer]))
    each = None if predicted and predicted[0].run.devices_chosen else training.num_devices
    on = f"{each:,} of each kind" if each else "as many of each kind as hold it"
    time = "wall_days" if each else DEVICE_TIME
    marks = best_rows(table, time=time, cost="cost_usd_median")
    time_note = f"time: steady steps; {factor_text()}." if answer.predicted else f"{utilization_line(training, 'peak').rstrip('.')}."
    num_refused = sum(bool(row["reason"]) for row in table.rows)
    missing = f"{num_refused} of {len(table.rows)} kinds have no answer: -v says why." if num_refused else ""
    kept = COLUMNS if any(row.get("fits") is False for row in table.rows) else [key for key in COLUMNS if key != "fits"]
    return Screen(
        answer=f"{training.model.name} on {training.items_text}, {on}: {marks_text(marks, time=time, cost='cost_usd_median')}",
        table=columns_kept(marked(table, marks), *kept, always=3, headers=HEADERS),
        notes=[
            *scope_notes(training.model, Workload(phase="train", seq_len=training.seq_len)),
            *([BEST_VALUE_NOTE] if BEST_VALUE in marks else []),
            "cost: at the middle of each device's quotes, no discount; --price sets yours.",
            time_note,
            *length_lines(training.seq_len, training.seq_len_source),
            *([missing] if missing else []),
        ],
        more=more,
        asked=asked,
    )
