"""When the record of a watched training is written, from how many ranks, and what it says of a training that broke off."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from bench.callbacks import ranks, to_record
from bench.callbacks.context import usual_shape
from bench.callbacks.guard import WHOLE, reason_of
from bench.callbacks.rank_state import RankState
from bench.machine.ranks import promised_ranks_missing
from bench.records.draft import Draft
from bench.records.record import Finding, Measurement
from bench.streams import say

EARLY_S = 5.0
"""After so long the first record of a training that still runs is written."""

AUTOSAVE_S = 60.0
"""Between two later ones, so that a killed training leaves its steps; and 200 times what writing one took."""


def ending_of(error: BaseException | None) -> tuple[str, str]:
    """How a training ended that left its block so: the status of its record, and why.

    >>> ending_of(None), ending_of(SystemExit(143)), ending_of(ValueError("a bad sample"))
    (('complete', ''), ('partial', 'SystemExit: 143'), ('failed', 'ValueError: a bad sample'))
    """
    if error is None:
        return "complete", ""
    if isinstance(error, KeyboardInterrupt):
        return "partial", "interrupted by the user"
    return "failed" if isinstance(error, Exception) else "partial", reason_of(error)


class Writer:
    """The one record of a training, which the main rank writes.

    Args:
        out: folder of records.
        say: whether the path is printed on stderr.

    Raises:
        UnavailableError: the folder cannot be written.
    """

    def __init__(self, state: RankState, out: Path, *, say: bool) -> None:
        self._state, self._say = state, say
        self._draft = state.context.draft(out) if ranks.is_main() else None
        self._saved_s, self._save_every_s = time.monotonic(), min(EARLY_S, AUTOSAVE_S)

    def autosave(self) -> None:
        """The record so far, of this rank alone, where the last one is old enough."""
        if time.monotonic() - self._saved_s <= self._save_every_s or not self._state.log.done:
            return
        begun_s = time.monotonic()
        try:
            if self._draft is not None:
                self._fill(self._draft, [self._state.report()], "interrupt")
                self._draft.unavailable |= self._state.guard.failed
                self._draft.save("partial", "was still running when this was written")
        finally:
            self._saved_s = time.monotonic()
            self._save_every_s = max(AUTOSAVE_S, 200 * (self._saved_s - begun_s))

    def discard(self) -> None:
        """The training has begun anew: what was watched of it so far is no record of its own."""
        if self._draft is not None:
            self._draft.path.unlink(missing_ok=True)
            self._draft.discard()

    def write(self, status: str, reason: str) -> Measurement | None:
        """The record at the end; a complete one is put together from all ranks, which must all call this.

        Returns:
            What was written; None on the ranks that write nothing.
        """
        report = self._state.report()
        guard = self._state.guard
        reports = (guard("other ranks", ranks.exchange, report) if status == "complete" else None) or [report]
        draft = self._draft
        if draft is None:
            return None
        alone = status != "complete" and ranks.num_ranks() > 1
        if status == "complete" and not all(each.steps for each in reports):
            status, reason = "partial", "no step was watched" if len(reports) == 1 else "a rank watched no step"
        if status == "complete" and WHOLE in guard.failed:
            status, reason = "partial", f"watching ended before the training: {guard.failed[WHOLE]}"
        guard("record", self._fill, draft, reports, "count" if status == "complete" else "interrupt")
        draft.unavailable |= guard.failed
        if "record" in guard.failed:
            status, reason = "partial", f"what was watched could not be put together: {guard.failed['record']}"
        if alone:
            text = f"one rank of {ranks.num_ranks()}: the others were not asked, since the training broke off"
            draft.warnings.append(Finding(code="NotReduced", text=text, advice="take its tokens and energy as those of one rank"))
        written = draft.save(status, reason)
        if self._say:
            guard("progress lines", say, f"record: {draft.path}")
        return written

    def _fill(self, draft: Draft, reports: Sequence[ranks.RankReport], stopped_by: str) -> None:
        state = self._state
        draft.unavailable = dict(state.peak_memory().unavailable)
        if reports[0].steps and state.flop_source is not None:
            state.context.fill(draft, state.flop_source, usual_shape([step.shapes for step in reports[0].steps]))
        clock = "device-event" if state.device.kind == "cuda" else "host"
        to_record.fill(
            draft,
            reports,
            state.power(),
            flop_source=state.flop_source,
            item=state.item,
            clock=clock,
            stopped_by=stopped_by,
            guard=state.guard,
        )
        draft.warnings += state.findings
        if promised_ranks_missing(os.environ):
            text = "accelerate launch --cpu started one process of several: it needs MPI for more"
            draft.warnings.append(Finding(code="RanksMissing", text=text, advice="start them with torchrun --nproc-per-node"))
