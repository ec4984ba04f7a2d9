"""measure(request): decide, estimate, check that it fits, count, measure the ceilings, run, keep.

Whatever stops a run after its record was begun leaves a readable record, partial or failed, or none.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.machine import environment
from bench.machine.ranks import is_main
from bench.records.asked import asked
from bench.records.draft import Draft
from bench.records.estimated import Estimated
from bench.records.record import Measurement
from bench.records.request import Request
from estimators.errors import DoesNotFitError, SixndError

if TYPE_CHECKING:
    from bench.backend.device import Device
    from bench.calibration.predict import Foreseen
    from bench.records.calibration import Calibration

CALIBRATED = ("matmul burst", "matmul sustained", "read", "write", "copy", "host to device")
"""Kinds of ceiling that a calibration adds to a record, beside those measured just before the run."""

Say = Callable[[str], None]
"""Tells the user what is happening; goes to stderr."""

MAX_REASON = 500
"""Characters of an unexpected error that a failed record keeps."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, after what was measured so far was kept.

    Attributes:
        record: what there is.
    """

    def __init__(self, record: Measurement) -> None:
        super().__init__()
        self.record = record


def measure(
    request: Request,
    *,
    hub_id: str | None,
    out: Path,
    say: Say,
    calibration: Calibration | None = None,
    foreseen: Callable[[Foreseen], None] | None = None,
) -> Measurement:
    """Run one request and write its record.

    Args:
        request: sizes may be open; the record holds what was decided.
        hub_id: the checkpoint's name in the hub's local cache, if the model has one.
        out: folder of records.
        calibration: of this device, to predict the step's time from before it is measured.
        foreseen: called with that prediction, before anything is measured.

    Raises:
        RequestError: the request cannot be met; nothing was measured and nothing is left behind.
        DoesNotFitError: more memory than there is: before the run, or during it, and then a failed record was saved.
        Interrupted: after a partial record was saved.
    """
    draft = Draft(model=request.model, task=request.task, request=asked(request), out=out)
    try:
        draft.environment = environment.collect()
        _fill(draft, request, hub_id, say, _foreseer(draft, calibration, foreseen, say))
        if draft.estimate.local and is_main():
            _look_again(draft, say)
    except KeyboardInterrupt:
        _keep(draft, "partial", "interrupted by the user")
        say(f"kept what was measured: {draft.path}")
        raise Interrupted(draft.measurement("partial", "interrupted by the user")) from None
    except SixndError:
        draft.discard()
        raise
    except Exception as error:
        if not _is_out_of_memory(error):
            _keep(draft, "failed", f"{type(error).__name__}: {str(error)[:MAX_REASON]}")
            raise
        _keep(draft, "failed", "out of memory")
        raise DoesNotFitError(
            f"out of memory during {request.task}; take a smaller --batch or --seq-len, or slices with --layers; "
            f"kept what was measured: {draft.path}"
        ) from None
    return draft.save("complete") if is_main() else draft.measurement("complete")


def _foreseer(
    draft: Draft, calibration: Calibration | None, foreseen: Callable[[Foreseen], None] | None, say: Say
) -> Callable[[Request, Device], None] | None:
    """What predicts a decided request from the calibration and puts that into the draft; None without a calibration."""
    if calibration is None:
        return None

    def foresee(request: Request, device: Device) -> None:
        from bench.calibration import predict

        if request.task not in predict.PHASE:
            draft.unavailable["estimate.local"] = f"a step is predicted for {', '.join(predict.PHASE)}, not for {request.task}"
            return
        say("predicting the step from the calibration")
        prediction = predict.foresee(request, device, calibration)
        draft.estimate |= Estimated(local=prediction.kept())
        draft.ceilings += [c for c in calibration.ceilings if c.kind in CALIBRATED]
        if foreseen is not None:
            foreseen(prediction)

    return foresee


def _look_again(draft: Draft, say: Say) -> None:
    """The machine's rates after the run, beside those before it, which the prediction hangs on."""
    from bench.backend import device as devices
    from bench.workloads.preparation import add_ceilings_after

    say("measuring the machine's rates again, to see whether it changed")
    assert draft.request.dtype is not None, "a step that was predicted has a dtype"
    add_ceilings_after(draft, devices.choose(draft.request.device), draft.request.dtype)


def _fill(draft: Draft, request: Request, hub_id: str | None, say: Say, foresee: Callable[[Request, Device], None] | None) -> None:
    if request.is_article:
        from bench.workloads.article import task as article_task

        article_task.measure(request, draft, say, foresee)
    else:
        from bench.workloads.language import task as language_task

        language_task.measure(request, draft, hub_id, say, foresee)


def _keep(draft: Draft, status: str, reason: str) -> None:
    if is_main():
        draft.save(status, reason)


def _is_out_of_memory(error: Exception) -> bool:
    """torch's allocators raise RuntimeError, Python MemoryError, and a mapped file OSError."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(
        words in text for words in ("out of memory", "can't allocate memory", "cannot allocate memory")
    )
