"""A claimed training under every convention, among the published runs, and a sentence of judgement."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.facts.percentile import Peer
from estimators.training.answer import TrainingAnswer
from estimators.training.claim import Claim, Compared, Implied, Verdict
from estimators.units import (
    format_bytes,
    format_count,
    format_duration,
    format_flop,
    format_flop_rate,
    format_fraction,
    format_int,
    format_signed_points,
)
from reports.table import Column, Table, Value
from reports.views.counting.translation import data_sheet_note, peak_text
from reports.views.training.conditions import conditions

OURS = ("full", "causal", "6nd")
"""Conventions beside the verdict."""

_COLUMNS = [
    Column(key="convention", header="convention"),
    Column(key="utilization_fraction", header="implied util.", format=format_fraction, align="right"),
    Column(key="device_flop_per_s", header="per GPU", format=format_flop_rate, align="right"),
    Column(key="training_flop", header="FLOP", format=format_flop, align="right"),
    Column(key="peak", header="divides by", align="right"),
    Column(key="includes", header="counts"),
]

NUM_NEAREST = 5
"""Published runs that are named around the claim."""


COUNTED: dict[Compared, str] = {"6nd": "by 6·N·D", "full": "counted full"}
"""How a share that is compared with published runs is counted."""


def judgement(claim: Claim, training: TrainingAnswer) -> str:
    """The verdict in a sentence, with the figures that it rests on."""
    known, wall = claim.percentile, format_duration(claim.wall_s)
    runs = f"{len(known.peers)} published runs of dense language models on {known.scope}"
    every, among = f"all {runs}", f"{known.num_below} of {runs}"
    usual = f"at their median of {format_fraction(known.median)} it takes {format_duration(claim.usual_wall_s)}"
    texts: dict[Verdict, str] = {
        "impossible": (
            f"Impossible: what no kernel may skip takes {format_fraction(claim.least)} of the dense peak for {wall}; on "
            f"{training.devices_text} it takes at least {format_duration(claim.least_wall_s)}."
        ),
        "above every published run": f"Physics allows it, experience does not: more than {every} reached; {usual}.",
        "among the fastest tenth": f"Possible, and hard: more than {among} reached; {usual}.",
        "ordinary": f"Plausible: more than {among} reached; {usual}.",
        "among the slowest tenth": f"Possible, and slow: more than only {among} reached; {usual}.",
        "below every published run": f"Possible, and slow: less than {every} reached; {usual}.",
    }
    return texts[claim.verdict]


def _headroom_note(claim: Claim) -> str:
    """What is left of the time once the products are done at peak speed."""
    needed, left = format_fraction(claim.least), format_fraction(claim.headroom)
    return (
        f"Doubt it: what no kernel may skip takes {needed} of the time at peak speed, so {left} is left for slower "
        "products, norms, softmax, optimizer, communication, data, checkpoints and restarts together."
    )


def _rounding_notes(claim: Claim, training: TrainingAnswer) -> list[str]:
    """What rounding alone may have done to the share; nothing for exact figures."""
    rounded = claim.rounded_range
    if not rounded:
        return []
    return [
        f"Rounding: {training.items_text} and {format_duration(claim.wall_s)} look rounded; figures that round to them imply "
        f"{format_fraction(rounded[0])} to {format_fraction(rounded[1])} {COUNTED[claim.compared]}."
    ]


def _state_note(claim: Claim, training: TrainingAnswer) -> str:
    """Whether the training's state fits on one device, so that none must share a model with others."""
    state = f"the training state of {format_bytes(claim.state_bytes)} ({format_count(training.params)} parameters)"
    if claim.devices_per_replica <= 1:
        return (
            f"Believe it: {state} fits on one device of {format_bytes(claim.device_bytes)}, so the "
            f"{format_int(claim.num_devices)} devices need only average gradients: the easiest layout there is."
        )
    return f"Doubt it: {state} needs at least {claim.devices_per_replica} devices per replica, and splitting a model costs communication."


def reasons(claim: Claim, training: TrainingAnswer) -> list[str]:
    """Reasons for and against, each from the claim's own figures."""
    above_all = claim.verdict == "above every published run"
    notes = []
    if above_all:
        notes.append(_headroom_note(claim))
    notes += _rounding_notes(claim, training)
    if above_all or claim.verdict == "among the fastest tenth":
        notes.append(_state_note(claim, training))
    if claim.recomputed > 1 >= claim.least:
        notes.append("With every activation recomputed it passes the peak: the run cannot have done that.")
    return notes


def elsewhere(claim: Claim, training: TrainingAnswer) -> str:
    """Where the runs ran that the verdict rests on, if that was not on the device's architecture; nothing for what physics forbids."""
    assert training.hardware is not None
    own = claim.percentile.scope == training.hardware.architecture
    return "" if own or not claim.possible else f" (on {claim.percentile.scope})"


def claim_tables(claim: Claim, training: TrainingAnswer) -> list[Table]:
    """Three tables: the verdict, the published runs nearest to the claim, and what every tool would print for it.

    Args:
        training: what was claimed, with hardware and devices.
    """
    ours = [*OURS, *(["hardware"] if claim.recompute == "full" else [])]
    main = Table(
        title=(
            f"{training.model.name} on {training.work_text} in {format_duration(claim.wall_s)} on {training.devices_text}: "
            f"{claim.verdict}{elsewhere(claim, training)}, {format_fraction(claim.percentile.share)} of peak {COUNTED[claim.compared]}"
        ),
        conditions=[line for line in conditions(training) if not line.startswith(("utilization", "price", "FLOP counted"))],
        columns=[column for column in _COLUMNS if column.key != "peak"],
        rows=[_row(implied) for implied in claim.implied if implied.name in ours],
        notes=[judgement(claim, training), *reasons(claim, training)],
        facts={
            "verdict": claim.verdict,
            "possible": claim.possible,
            "least_fraction": claim.least,
            "least_wall_s": claim.least_wall_s,
            "claimed_wall_s": claim.wall_s,
            "claimed_gpu_days": claim.gpu_days,
            "usual_wall_s": claim.usual_wall_s,
            "implied_utilization_fraction": claim.percentile.share,
            "implied_utilization_fraction_by_convention": {implied.name: implied.utilization for implied in claim.implied},
            "percentile_fraction": claim.percentile.percentile_fraction,
            "num_published": len(claim.percentile.peers),
            "num_below": claim.percentile.num_below,
            "scope": claim.percentile.scope,
        },
        key="claim",
        kind="derived",
    )
    return [main, nearest_table(claim), tools_table(claim)]


def tools_table(claim: Claim) -> Table:
    """What each tool would have printed for the claimed run; of what no tool counts, a model of images say, every convention of ours."""
    by_tools = any(implied.name not in (*OURS, "hardware") for implied in claim.implied)
    return Table(
        title="What each tool would print for it" if by_tools else "What it implies under every convention",
        columns=_COLUMNS,
        rows=[_row(implied) for implied in claim.implied],
        notes=data_sheet_note([implied.peak for implied in claim.implied]),
        key="conventions",
        kind="derived",
    )


def _row(implied: Implied) -> dict[str, Value]:
    return {
        "convention": implied.name,
        "utilization_fraction": implied.utilization,
        "device_flop_per_s": implied.flop_per_s,
        "training_flop": implied.training_flop,
        "peak": peak_text(implied.peak),
        "includes": implied.includes,
    }


def nearest_table(claim: Claim) -> Table:
    """The published runs nearest to the claim, which stands in its place among them, highest first."""
    known = claim.percentile
    rows = [_peer_row(peer, known.share) for peer in known.nearest(NUM_NEAREST)]
    place = sum(peer.share >= known.share for peer in known.nearest(NUM_NEAREST))
    rows.insert(place, {"run": "the claim", "utilization_fraction": known.share, "tag": "derived", "difference_fraction": 0.0})
    percentile = "above all of them" if known.percentile_fraction == 1 else f"above {format_fraction(known.percentile_fraction, 2)} of them"
    return Table(
        title=(
            f"Nearest of {format_int(len(known.peers))} published runs of dense language models on {known.scope}; the claim is {percentile}"
        ),
        conditions=["share of dense peak: as reported, else 6·N·D over device time and peak, restarts and evaluation included"],
        columns=[
            Column(key="run", header="run"),
            Column(key="hardware", header="device"),
            Column(key="utilization_fraction", header="of peak", format=format_fraction, align="right"),
            Column(key="difference_fraction", header="to the claim", format=format_signed_points, align="right"),
            Column(key="tag", header="how known"),
            Column(key="source", header="source"),
        ],
        rows=rows,
        notes=_top_notes(known.peers),
        key="nearest",
    )


def _peer_row(peer: Peer, share: float) -> dict[str, Value]:
    return {
        "run": peer.run.name,
        "hardware": peer.run.hardware_id,
        "utilization_fraction": peer.share,
        "difference_fraction": peer.share - share,
        "tag": peer.tag,
        "source": str(peer.run.source.title),
    }


def _top_notes(peers: Sequence[Peer]) -> list[str]:
    top, bottom = peers[0], peers[-1]
    return [
        f"The highest is {top.run.name} with {format_fraction(top.share)} ({top.tag}), the lowest {bottom.run.name} with "
        f"{format_fraction(bottom.share)} ({bottom.tag})."
    ]
