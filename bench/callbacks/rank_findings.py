"""What a record says of ranks that are missing, broke off, took other numbers of steps or were given the same batches."""

from __future__ import annotations

from collections.abc import Sequence

from bench.callbacks.exchange import Heard
from bench.callbacks.ranks import RankReport, distinct
from bench.records.record import Finding

MAX_NAMED = 8
"""Ranks that a sentence names."""


def named(ranks: Sequence[int]) -> str:
    """Ranks as a sentence names them.

    >>> named([3]), named([1, 2]), named(range(1, 100))
    ('rank 3', 'ranks 1, 2', 'ranks 1, 2, 3, 4, 5, 6, 7, 8 and 91 more')
    """
    more = f" and {len(ranks) - MAX_NAMED} more" if len(ranks) > MAX_NAMED else ""
    return f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks[:MAX_NAMED]))}{more}"


def joint_status(status: str, reason: str, reports: Sequence[RankReport], heard: Heard) -> tuple[str, str]:
    """How a training of several ranks ended: complete where every rank that began to watch came to its end."""
    if status != "complete":
        return status, reason
    broken = next((report for report in reports if report.status != "complete" and report.rank not in heard.silent), None)
    if broken is not None:
        return "partial", f"rank {broken.rank} broke off: {broken.reason}"
    if heard.silent:
        return "partial", f"{named(heard.silent)} had not come to its end when this was written"
    if not all(report.steps for report in reports):
        return "partial", "no step was watched" if len(reports) == 1 else "a rank watched no step"
    return status, reason


def findings(reports: Sequence[RankReport], heard: Heard, num_ranks: int) -> list[Finding]:
    """What a reader has to know of the ranks of a record."""
    found = []
    missing = [f"{named(heard.absent)} did not watch, or ended it before"] if heard.absent else []
    for rank in heard.silent:
        on_the_way = f", its first {heard.reports[rank].num_steps:,} steps are in the record" if rank in heard.reports else ""
        missing.append(f"rank {rank} had not come to its end{on_the_way}")
    if missing:
        text = f"{len(reports)} of {num_ranks} ranks: " + "; ".join(missing[:MAX_NAMED])
        found.append(Finding(code="NotReduced", text=text, advice="take its tokens and energy as those of the ranks that are in it"))
    lengths = sorted({report.num_steps for report in reports})
    if len(lengths) > 1:
        text = f"the ranks took between {lengths[0]:,} and {lengths[-1]:,} steps: a step's tokens and time are of those that took it"
        found.append(Finding(code="UnevenRanks", text=text, advice="compare steps that all ranks took"))
    counted = distinct(reports)
    if len(counted) < len(reports):
        text = (
            f"{len(reports)} ranks were given the batches of {len(counted)}: parts of one copy of the model see the same, which counts once"
        )
        found.append(Finding(code="SharedBatches", text=text, advice="nothing is wrong with that"))
    cut = [report for report in reports if report.num_unsent_steps]
    if cut:
        text = f"{named([report.rank for report in cut])}: the last steps are in the totals alone, {cut[0].num_unsent_steps:,} of the first"
        found.append(Finding(code="StepsLeftOut", text=text, advice="watch fewer steps where those of every rank matter"))
    return found
