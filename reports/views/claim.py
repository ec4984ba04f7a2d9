"""What a claimed run implies, where that stands among published runs, and why one should doubt or believe it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from estimators.conventions import CONVENTIONS
from estimators.published import PublishedRun, utilization
from estimators.registry import hardware, published_runs
from estimators.spec import Hardware
from estimators.training import implied_utilization
from estimators.units import DAY_S, format_bytes, format_count, format_duration, format_flop, format_flop_rate, format_fraction, format_int
from reports.table import Column, Table, Value
from reports.views.study import COUNTED_BY_6ND, Study, conditions

NUM_NAMED = 3
"""Published runs that are named beside the claim."""

Standing = Sequence[tuple[float, str, PublishedRun]]


def peers(device: Hardware, *, tokens: int, device_s: float) -> Standing:
    """Published dense runs on the device's architecture, highest share of peak first; the claim itself left out.

    Args:
        tokens, device_s: of the claim: a published run that has both is the claim itself.
    """
    found = []
    for run in published_runs():
        same = run.tokens == tokens and run.device_seconds is not None and math.isclose(run.device_seconds, device_s, rel_tol=0.01)
        if same or run.active_params is not None or run.confidence == "low":
            continue
        peer = hardware(run.hardware_id)
        share = utilization(run, peer) if peer.architecture == device.architecture else None
        if share and share[0] <= 1:
            found.append((*share, run))
    return sorted(found, key=lambda item: -item[0])


def _rounded_range(share: float, tokens: int, wall_s: float) -> tuple[float, float] | None:
    """The lowest and highest share that claims rounding to the same figures would imply; None for exact figures.

    Tokens are taken as given to two figures where the rest are zeros, days to a whole day.
    """
    unit = 10 ** max(0, len(str(tokens)) - 2)
    half_tokens = unit / 2 if tokens % unit == 0 else 0
    half_s = DAY_S / 2 if wall_s % DAY_S == 0 else 0
    if not (half_tokens or half_s) or wall_s <= half_s:
        return None
    low = share * (tokens - half_tokens) / tokens * wall_s / (wall_s + half_s)
    high = share * (tokens + half_tokens) / tokens * wall_s / (wall_s - half_s)
    return low, high


def _named(standing: Standing) -> str:
    return ", ".join(f"{run.name} {format_fraction(share)} ({tag}; {run.source.title})" for share, tag, run in standing[:NUM_NAMED])


def _place_note(share: float, standing: Standing, architecture: str) -> str:
    if not standing:
        return f"By 6·N·D the claim is {format_fraction(share)}; no published run on {architecture} is known to compare it with."
    below = sum(peer < share for peer, _, _ in standing)
    top = f"The highest published: {_named(standing)}."
    if below == len(standing):
        return (
            f"By 6·N·D the claim is {format_fraction(share)} of peak, at the very top of what was ever reported: above all {len(standing)} "
            f"published dense runs on {architecture}. {top}"
        )
    if share < standing[-1][0]:
        return (
            f"By 6·N·D the claim is {format_fraction(share)}, below all {len(standing)} published dense runs on {architecture}: slow. {top}"
        )
    return f"By 6·N·D the claim is {format_fraction(share)}, above {below} of {len(standing)} published dense runs on {architecture}. {top}"


def _doubts(study: Study, shares: dict[str, float], wall_s: float, standing: Standing) -> list[str]:
    """Reasons for and against, each from the claim's own figures."""
    assert study.hardware is not None
    assert study.num_devices is not None
    notes = []
    if not standing or shares["6nd"] > standing[0][0]:
        taken, left = format_fraction(shares["full"]), format_fraction(max(0.0, 1 - shares["full"]))
        notes.append(
            f"Doubt it: counted full the products alone take {taken} of the time at peak speed, so {left} is left for slower "
            "products, norms, softmax, optimizer, communication, data, checkpoints and restarts together."
        )
    rounded = _rounded_range(shares["6nd"], study.tokens, wall_s)
    if rounded:
        notes.append(
            f"Rounding: {study.work_text} and {format_duration(wall_s)} look rounded; figures that round to them imply "
            f"{format_fraction(rounded[0])} to {format_fraction(rounded[1])} by 6·N·D."
        )
    state = study.state_bytes
    state_text = f"the training state of {format_bytes(state)} ({format_count(study.params)} parameters)"
    if state <= study.hardware.memory_bytes:
        notes.append(
            f"Believe it: {state_text} fits on one device of {format_bytes(study.hardware.memory_bytes)}, so the "
            f"{format_int(study.num_devices)} devices need only average gradients: the easiest layout there is."
        )
    else:
        least = math.ceil(state / study.hardware.memory_bytes)
        notes.append(f"Doubt it: {state_text} needs at least {least} devices per replica, and splitting a model costs communication.")
    return notes


def claim_table(study: Study, wall_s: float) -> Table:
    """The utilisation that a claimed wall time implies, under every convention.

    Raises:
        PhysicsError: above the peak under the chosen convention.
    """
    device, num_devices = study.hardware, study.num_devices
    assert device is not None
    assert num_devices is not None
    asked = implied_utilization(study.flop, hardware=device, num_devices=num_devices, wall_s=wall_s, dtype=study.dtype)
    device_s = num_devices * wall_s
    shares = {name: flop / (device_s * device.peak(study.dtype)) for name, flop in study.training_flop.items()}
    rows: list[dict[str, Value]] = [
        {
            "convention": name,
            "utilization_fraction": shares[name],
            "device_flop_per_s": study.training_flop[name] / device_s,
            "training_flop": study.training_flop[name],
            "includes": CONVENTIONS[name].includes if name in CONVENTIONS else COUNTED_BY_6ND,
        }
        for name in ("6nd", "full", "causal", "hardware")
    ]
    standing = peers(device, tokens=study.tokens, device_s=device_s)
    notes = [_place_note(shares["6nd"], standing, device.architecture), *_doubts(study, shares, wall_s, standing)]
    if shares["hardware"] > 1:
        notes.append("Counted hardware it passes the peak: the run cannot have recomputed every activation.")
    by_6nd = "" if study.convention == "6nd" else f" counted {study.convention}, {format_fraction(shares['6nd'])}"
    return Table(
        title=(
            f"{study.model.name} on {study.work_text} in {format_duration(wall_s)} on {study.devices_text} implies "
            f"{format_fraction(asked)} of peak{by_6nd} by 6·N·D"
        ),
        conditions=[line for line in conditions(study) if not line.startswith(("utilization", "price"))],
        columns=[
            Column(key="convention", header="counted"),
            Column(key="utilization_fraction", header="implied util.", format=format_fraction, align="right"),
            Column(key="device_flop_per_s", header="per GPU", format=format_flop_rate, align="right"),
            Column(key="training_flop", header="FLOP", format=format_flop, align="right"),
            Column(key="includes", header="includes"),
        ],
        rows=rows,
        notes=notes,
        facts={
            "claimed_wall_s": wall_s,
            "claimed_gpu_days": device_s / DAY_S,
            "implied_utilization_fraction": asked,
            "implied_utilization_fraction_by_convention": shares,
        },
        key="claim",
    )
