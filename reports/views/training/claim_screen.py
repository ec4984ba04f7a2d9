"""One screen of a claimed training: the verdict, what it implies, and reasons for and against."""

from __future__ import annotations

from estimators.spec import Workload
from estimators.training.answer import TrainingAnswer
from estimators.training.claim import Claim
from estimators.units import format_duration, format_fraction
from reports.screen import Screen, columns_kept
from reports.table import Table
from reports.views.training.claim import COUNTED, elsewhere, judgement, reasons
from reports.views.training.conditions import scope_notes


def claim_screen(claim: Claim, training: TrainingAnswer, table: Table) -> Screen:
    """The verdict first.

    Args:
        training: what was claimed, with hardware and devices.
        table: of the conventions.
    """
    run = f"{training.model.name} on {training.items_text} in {format_duration(claim.wall_s)} on {training.devices_text}"
    share = f"{format_fraction(claim.percentile.share)} of peak {COUNTED[claim.compared]}"
    said = reasons(claim, training)
    scope = scope_notes(training.model, Workload(phase="train", seq_len=training.seq_len), [training.hardware] if training.hardware else [])
    return Screen(
        answer=f"{claim.verdict.capitalize()}{elsewhere(claim, training)}, {share}: {run}",
        lead=[judgement(claim, training)],
        table=columns_kept(table, "convention", "utilization_fraction", "device_flop_per_s", "training_flop", "includes"),
        doubts=[reason for reason in said if reason.startswith("Doubt it")],
        notes=[*scope, *(reason for reason in said if not reason.startswith("Doubt it"))],
        failed=not claim.possible,
    )
