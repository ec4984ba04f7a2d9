"""A disclosure on one screen: totals, energy and CO2 by kind, the routes to the compute, thresholds that are passed."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.disclosure.disclosure import NOT_ADVICE, Disclosure, impossible
from estimators.units import format_flop, format_fraction
from reports.screen import Screen, columns_kept
from reports.table import Table
from reports.views.disclosure import words


def disclosure_screen(disclosure: Disclosure, tables: Sequence[Table]) -> Screen:
    """What is shown first.

    Args:
        tables: as `disclosure_tables` makes them.
    """
    broken = impossible(disclosure.experiments)
    by_standing = len(disclosure.totals) > 1
    keys = ("num_experiments", "device_hours", "architecture_flop")
    energy = ["energy_measured_j", "energy_estimated_j", "energy_not_stated_j"]
    carbon = ["carbon_measured_kg", "carbon_estimated_kg", "carbon_not_stated_kg"]
    filled = {key for row in tables[0].rows for key, value in row.items() if value is not None}
    kept = [key for key in (*keys, *energy, *carbon, "device_time_flop") if key in filled]
    return Screen(
        answer=tables[0].title,
        lead=[
            f"Hardware: {words.hardware_words(disclosure)}",
            f"Energy: {words.energy_words(disclosure)}",
            f"CO2e: {words.carbon_words(disclosure)}",
        ],
        table=columns_kept(tables[0], "standing", *kept) if by_standing else None,
        doubts=[
            f"impossible: {each.model} ({each.name}) comes to {format_fraction(each.reached_share or 0.0)} of its devices' peak"
            for each in broken
        ],
        notes=[
            *filter(None, [words.device_time_words(disclosure.total), words.window_words(disclosure.total)]),
            f"CO2e at {words.factor_words(disclosure)}.",
            *_thresholds(disclosure),
            *disclosure.remarks,
            *(f"left out: {line}" for line in disclosure.left_out),
        ],
        more=["--format model-card|neurips|latex|ai-act (ready to paste)"],
        failed=bool(broken),
    )


def _thresholds(disclosure: Disclosure) -> list[str]:
    """Which thresholds the compute passes, in a line."""
    if disclosure.total.architecture_flop.value is None and disclosure.total.device_time_flop.value is None:
        return []
    role = "modifier" if disclosure.training_type == "fine-tuning" else "provider"
    asked = [each for each in disclosure.against if each.threshold.role == role]
    passed = [each for each in asked if each.is_passed]
    amounts = [f"{each.threshold.id} ({format_flop(each.amount_flop or 0.0)}, confidence {each.threshold.confidence})" for each in passed]
    open_ones = [each.threshold.id for each in asked if each.is_passed is None]
    of_law = (
        f"passed: {', '.join(amounts)}" if passed else f"none passed of {', '.join(e.threshold.id for e in asked if e.is_passed is False)}"
    )
    unknown = f"; not known: {', '.join(open_ones)}" if open_ones else ""
    return [f"EU AI Act, thresholds for a {role}: {of_law}{unknown}. {NOT_ADVICE}"]
