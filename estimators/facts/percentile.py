"""Where a share of peak stands among the published training runs."""

from __future__ import annotations

import math
from typing import NamedTuple

from estimators.facts.published_runs import MIN_RUNS, PublishedRun, comparable, median, on_all_hardware, utilization
from estimators.facts.registry import hardware, published_runs
from estimators.frozen import frozen
from estimators.spec import Hardware, Tag


class Peer(NamedTuple):
    """One published dense run and the share of peak that it reached: as its authors report it, or derived from tokens and hours."""

    share: float
    tag: Tag
    run: PublishedRun


def peers(device: Hardware | None, *, tokens: int, device_s: float) -> tuple[Peer, ...]:
    """Published dense runs on the device's architecture (None: on all), highest share of peak first; the claim itself left out.

    Args:
        tokens, device_s: of the claim: a published run that has both is the claim itself.
    """
    runs = []
    for run in published_runs():
        same = run.tokens == tokens and run.device_seconds is not None and math.isclose(run.device_seconds, device_s, rel_tol=0.01)
        if same or not comparable(run):
            continue
        its = hardware(run.hardware_id)
        share = utilization(run, its) if device is None or its.architecture == device.architecture else None
        if share and share[0] <= 1:
            runs.append(Peer(*share, run))
    return tuple(sorted(runs, key=lambda peer: -peer.share))


@frozen
class Percentile:
    """A share of peak among those of published runs.

    Attributes:
        share: counted by 6·N·D, as the derived shares of the published runs are.
        scope: the architecture, or all hardware and why.
        peers: highest share first; at least one.
    """

    share: float
    scope: str
    peers: tuple[Peer, ...]

    @property
    def num_below(self) -> int:
        """Published runs with a smaller share."""
        return sum(peer.share < self.share for peer in self.peers)

    @property
    def percentile_fraction(self) -> float:
        """Of the published runs, those with a smaller share."""
        return self.num_below / len(self.peers)

    @property
    def median(self) -> float:
        """The middle share of the published runs."""
        return median(peer.share for peer in self.peers)

    def nearest(self, number: int) -> tuple[Peer, ...]:
        """The published runs whose shares are nearest, highest first."""
        close = sorted(self.peers, key=lambda peer: abs(peer.share - self.share))[:number]
        return tuple(sorted(close, key=lambda peer: -peer.share))


def percentile(share: float, device: Hardware, *, tokens: int, device_s: float) -> Percentile:
    """Among the runs on the device's architecture; with fewer than MIN_RUNS of them, among those on all hardware.

    Args:
        share: counted by 6·N·D.
        tokens, device_s: of the claim, which is excluded from its own comparison.
    """
    on_it = peers(device, tokens=tokens, device_s=device_s)
    if len(on_it) >= MIN_RUNS:
        return Percentile(share=share, scope=device.architecture, peers=on_it)
    scope = on_all_hardware(device.architecture, len(on_it))
    return Percentile(share=share, scope=scope, peers=peers(None, tokens=tokens, device_s=device_s))
