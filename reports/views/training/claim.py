"""What a claimed run implies, where that stands among published runs, and why one should doubt or believe it."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.counting.conventions import CONVENTIONS
from estimators.facts.percentile import Peer, peers
from estimators.training.at_utilization import implied_utilization
from estimators.units import DAY_S, format_duration, format_flop, format_flop_rate, format_fraction
from reports.table import Column, Table, Value
from reports.views.training.claim_notes import headroom_note, rounding_notes, state_note
from reports.views.training.study import COUNTED_BY_6ND, Study, conditions

NUM_NAMED = 3
"""Published runs that are named beside the claim."""


def _named(known: Sequence[Peer]) -> str:
    return ", ".join(f"{peer.run.name} {format_fraction(peer.share)} ({peer.tag}; {peer.run.source.title})" for peer in known[:NUM_NAMED])


def _place_note(share: float, known: Sequence[Peer], architecture: str) -> str:
    if not known:
        return f"By 6·N·D the claim is {format_fraction(share)}; no published run on {architecture} is known to compare it with."
    below = sum(peer.share < share for peer in known)
    top = f"The highest published: {_named(known)}."
    if below == len(known):
        return (
            f"By 6·N·D the claim is {format_fraction(share)} of peak, at the very top of what was ever reported: above all {len(known)} "
            f"published dense runs on {architecture}. {top}"
        )
    if share < known[-1].share:
        return f"By 6·N·D the claim is {format_fraction(share)}, below all {len(known)} published dense runs on {architecture}: slow. {top}"
    return f"By 6·N·D the claim is {format_fraction(share)}, above {below} of {len(known)} published dense runs on {architecture}. {top}"


def _doubts(study: Study, shares: dict[str, float], wall_s: float, known: Sequence[Peer]) -> list[str]:
    """Reasons for and against, each from the claim's own figures."""
    above_all = not known or shares["6nd"] > known[0].share
    return [
        *([headroom_note(shares["full"])] if above_all else []),
        *rounding_notes(study, shares["6nd"], wall_s),
        state_note(study),
    ]


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
    known = peers(device, tokens=study.tokens, device_s=device_s)
    notes = [_place_note(shares["6nd"], known, device.architecture), *_doubts(study, shares, wall_s, known)]
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
