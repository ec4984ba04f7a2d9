"""When the record of a watched training is written, from how many ranks, and what it says of a training that broke off."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing.util import Finalize
from pathlib import Path

from bench.callbacks import rank_findings
from bench.callbacks.context import usual_shape
from bench.callbacks.exchange import PARTING_S, WAIT_S, Heard, is_first
from bench.callbacks.guard import WHOLE, reason_of
from bench.callbacks.rank_state import RankState
from bench.callbacks.ranks import RankReport
from bench.machine.ranks import launched, promised_ranks_missing
from bench.records.draft import Draft
from bench.records.proof import Proof
from bench.records.record import Finding, Measurement
from bench.streams import say

EARLY_S = 5.0
"""After so long the first record of a training that still runs is written."""

AUTOSAVE_S = 60.0
"""Between two later ones, so that a killed training leaves its steps; and 200 times what writing one took."""

RUNNING = "was still running when this was written"

WAITS_S = {"complete": WAIT_S, "partial": PARTING_S, "failed": 0.0}
"""For the other ranks, by how this one ended."""

SHORT_S = 0.1
"""The first of it; then the record is written, and written again after the rest."""


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
    """The one record of a training, which the main rank writes from what all have left; see bench.callbacks.exchange.

    Ranks that end after the main one are looked for once more when its process ends. A rank that nobody reads any more, since the
    main one died, writes the record itself.

    Args:
        out: folder of records.
        say: whether the path is printed on stderr.

    Attributes:
        due_s: when the record is to be saved next, by the monotonic clock.

    Raises:
        UnavailableError: the folder cannot be written.
    """

    def __init__(self, state: RankState, out: Path, *, say: bool) -> None:
        self._state, self._exchange, self._guard, self._out, self._say = state, state.exchange, state.guard, out, say
        self._draft = state.context.draft(out) if is_first() else None
        self.due_s = time.monotonic() + min(EARLY_S, AUTOSAVE_S)
        self._at_exit: Finalize | None = None

    def autosave(self) -> None:
        """The record so far, of what the ranks have left so far, where the last one is old enough."""
        begun_s = time.monotonic()
        if begun_s <= self.due_s:
            return
        self._state.log.settle()
        if not self._state.log.so_far():
            return
        try:
            report = self._state.report("partial", RUNNING)
            if self._exchange.is_main():
                draft = self._own_draft()
                self._fill(draft, self._with(report, self._hear(0.0)), "interrupt")
                draft.unavailable |= self._guard.failed
                draft.save("partial", RUNNING)
            else:
                self._exchange.leave(report)
        finally:
            saved_s = time.monotonic()
            self.due_s = saved_s + max(AUTOSAVE_S, 200 * (saved_s - begun_s))

    def discard(self, successor: RankState, why: str) -> None:
        """The training has begun anew: what was watched of it so far is no record of its own, and the next one's says so."""
        if self._draft is not None:
            self._draft.path.unlink(missing_ok=True)
            self._draft.discard()
        log = self._state.log
        log.drop()
        log.settle(last=True)
        successor.findings += self._state.findings
        if log.done:
            text = f"{why} after {len(log.done)} steps, which are not in this record, and the training began anew"
            successor.findings.append(Finding(code="BegunAnew", text=text, advice="give the batch size that fits"))

    def write(self, status: str, reason: str) -> Measurement | None:
        """The record at the end.

        Returns:
            What was written; None on the ranks that leave it to another.
        """
        self._exchange.num_ends += 1
        report = self._state.report(status, reason)
        if self._is_left_to_another(report):
            self._look_again_at_exit(report)
            return None
        heard, wait_s = self._hear(min(SHORT_S, WAITS_S[status])), 0.0 if self._state.is_joining() else WAITS_S[status]
        if heard.silent or heard.absent:
            if wait_s > SHORT_S:
                self._write(report, heard)  # a launcher may end this process, too, where another has died
                heard = self._hear(wait_s)
            self._exchange.give_up(heard)
            if heard.silent:
                self._look_again_at_exit(report)
        written = self._write(report, heard)
        if self._say:
            self._guard("progress lines", say, f"record: {self._own_draft().path}")
        return written

    def _is_left_to_another(self, report: RankReport) -> bool:
        """Whether the main rank is another one, which has this one's report and lives to read it; False where nobody answers."""
        told = "telling the other ranks"
        if self._guard.attempt(told, self._exchange.is_main) is not False:
            return False
        self._guard.attempt(told, self._exchange.leave, report)
        return self._guard.attempt(told, self._exchange.is_orphan, 0.0) is False

    def _hear(self, wait_s: float) -> Heard:
        others = tuple(rank for rank in range(self._exchange.num_ranks) if rank != self._exchange.rank)
        return self._guard.attempt("asking the other ranks", self._exchange.hear, wait_s) or Heard(silent=others)

    def _look_again_at_exit(self, report: RankReport) -> None:
        if self._at_exit is not None:
            self._at_exit.cancel()

        def look() -> None:
            if report.num_ends == self._exchange.num_ends:  # else the training went on, and ended again
                self._guard.attempt("asking the other ranks", self._write_late, report)

        self._at_exit = Finalize(None, look, exitpriority=10)  # of the main process and of multiprocessing's alike

    def _write_late(self, report: RankReport) -> None:
        if self._exchange.is_main():
            heard = self._hear(0.0)
            if any(other.num_ends >= report.num_ends for other in heard.reports.values()):
                self._write(report, heard)
        elif self._exchange.is_orphan(WAIT_S):
            self._write(report, self._hear(0.0))

    def _with(self, report: RankReport, heard: Heard) -> list[RankReport]:
        return sorted([report, *heard.reports.values()], key=lambda each: each.rank)

    def _own_draft(self) -> Draft:
        self._draft = self._draft or self._state.context.draft(self._out)
        return self._draft

    def _write(self, report: RankReport, heard: Heard) -> Measurement:
        guard, draft, reports = self._guard, self._own_draft(), self._with(report, heard)
        status, reason = rank_findings.joint_status(report.status, report.reason, reports, heard)
        if status == "complete" and WHOLE in guard.failed:
            status, reason = "partial", f"watching ended before the training: {guard.failed[WHOLE]}"
        guard("record", self._fill, draft, reports, "count" if status == "complete" else "interrupt", heard)
        draft.unavailable |= guard.failed
        if "record" in guard.failed:
            status, reason = "partial", f"what was watched could not be put together: {guard.failed['record']}"
        written = draft.save(status, reason)
        guard.attempt("asking the other ranks", self._exchange.thank, reports)
        return written

    def _fill(self, draft: Draft, reports: Sequence[RankReport], stopped_by: str, heard: Heard | None = None) -> None:
        state = self._state
        draft.unavailable = dict(state.peak_memory().unavailable)
        steps = reports[0].steps
        if steps:
            usual = Counter((step.shapes, step.work) for step in steps).most_common(1)[0][0]
            state.context.fill(draft, state.flop_source, usual_shape([usual[0]]), usual[1])
        clock = "device-event" if state.device.kind == "cuda" else "host"
        from bench.callbacks import to_record  # deferred: nothing before the first record needs it

        to_record.fill(
            draft,
            reports,
            state.power(),
            item=state.item,
            clock=clock,
            stopped_by=stopped_by,
        )
        if heard is not None:
            draft.warnings += rank_findings.findings(reports, heard, self._exchange.num_ranks)
            silent = sorted((*heard.absent, *heard.silent))
            if silent and draft.proof.watched is not None:
                draft.proof |= Proof(watched=draft.proof.watched.replaced(silent_ranks=tuple(silent)))
        draft.warnings += state.findings
        if promised_ranks_missing(os.environ):
            text = "accelerate launch --cpu started one process of several: it needs MPI for more"
            draft.warnings.append(Finding(code="RanksMissing", text=text, advice="start them with torchrun --nproc-per-node"))
        elif self._exchange.num_ranks == 1 and (place := launched()) is not None:
            text = f"process {place[0]} of {place[1]} that a launcher started: no process group of torch joined them, so each has a record"
            draft.warnings.append(Finding(code="NotReduced", text=text, advice="take its tokens and energy as those of one process"))
