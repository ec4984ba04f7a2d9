"""measure(request): decide, estimate, check that it fits, count, measure the ceilings, run, keep.

Whatever stops a run after its record was begun leaves a readable record, partial or failed, or none.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench import end_signals
from bench.calibration import predict, serving_steps
from bench.calibration.predict import StepPrediction
from bench.calibration.traced_step import Step, profiled
from bench.machine import environment
from bench.machine.ranks import is_main
from bench.records.calibration import Calibration
from bench.records.draft import Draft
from bench.records.estimated import Estimated, PredictedServing
from bench.records.record import Measurement
from bench.records.request import Request
from bench.runs.decide import decide
from bench.workloads.article import task as article_task
from bench.workloads.article.run import ArticleRun
from bench.workloads.language import task as language_task
from bench.workloads.language.run import LanguageRun
from bench.workloads.language.task import Profile
from bench.workloads.preparation import add_ceilings_after, add_ceilings_again
from bench.workloads.samples import task as samples_task
from bench.workloads.samples.run import SampleRun
from bench.workloads.serving import task as serving_task
from bench.workloads.serving.run import ServingRun
from bench.workloads.step_run import StepRun
from estimators.errors import DoesNotFitError, SixndError, UnavailableError

CALIBRATED = ("matmul burst", "matmul sustained", "read", "write", "copy", "host to device")
"""Kinds of ceiling that a calibration adds to a record, beside those measured just before the run."""

Say = Callable[[str], None]
"""Tells the user what is happening; goes to stderr."""

MAX_REASON = 500
"""Characters of an unexpected error that a failed record keeps."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, SIGTERM or SIGHUP, after what was measured so far was kept.

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
    on_prediction: Callable[[StepPrediction], None] | None = None,
) -> Measurement:
    """Run one request and write its record.

    Args:
        request: sizes may be open; the record holds what was decided.
        hub_id: the checkpoint's name in the hub's local cache, if the model has one.
        out: folder of records.
        calibration: of this device, to predict the step's time from before it is measured.
        on_prediction: called with that prediction, before anything is measured.

    Raises:
        RequestError: the request cannot be met; nothing was measured and nothing is left behind.
        DoesNotFitError: more memory than there is: before the run, or during it, and then a failed record was saved.
        Interrupted: after a partial record was saved.
    """
    run = decide(request, hub_id)
    draft = Draft(model=run.model, task=run.task, request=run.request, out=out)
    try:
        draft.environment = environment.collect()
        if isinstance(run, ServingRun):
            serving_task.measure(run, draft, say, partial(_predict_serving, draft, run, calibration, say))
        else:
            _fill(draft, run, say, None if calibration is None else partial(_predict_step, draft, run, calibration, on_prediction, say))
        if (draft.estimate.local or draft.estimate.serving) and keeps(run.task):
            say("measuring the machine's rates again, to see whether it changed")
            add_ceilings_after(draft, run.device, run.dtype)
        if keeps(run.task):
            add_ceilings_again(draft, run.device, run.dtype, say)
    except KeyboardInterrupt:
        _keep(draft, "partial", end_signals.ended_by())
        say(f"kept what was measured: {draft.path}")
        raise Interrupted(draft.measurement("partial", end_signals.ended_by())) from None
    except SixndError:
        draft.discard()
        raise
    except Exception as error:
        if not _is_out_of_memory(error):
            _keep(draft, "failed", f"{type(error).__name__}: {str(error)[:MAX_REASON]}")
            raise
        _keep(draft, "failed", "out of memory")
        raise DoesNotFitError(
            f"out of memory during {run.task}; take a smaller --batch or --seq-len, or slices with --layers; "
            f"kept what was measured: {draft.path}"
        ) from None
    return draft.save("complete") if keeps(run.task) else draft.measurement("complete")


def keeps(task: str) -> bool:
    """Whether this process keeps and prints what such a run gave: ranks train together, and do all else each for itself."""
    return task != "train" or is_main()


def _predict_step(
    draft: Draft, run: ArticleRun | StepRun, calibration: Calibration, on_prediction: Callable[[StepPrediction], None] | None, say: Say
) -> Profile | None:
    """Predict the step and put that into the draft; what is to profile the step after it was measured, None without a prediction."""
    if run.task not in predict.PHASE:
        draft.unavailable["estimate.local"] = f"a step is predicted for {', '.join(predict.PHASE)}, not for {run.task}"
        return None
    say("predicting the step from the calibration")
    try:
        prediction = predict.predict_step(run, calibration)
    except UnavailableError as error:
        draft.unavailable["estimate.local"] = str(error)
        return None
    said = prediction.kept()
    draft.estimate |= Estimated(local=said)
    draft.ceilings += [c for c in calibration.ceilings if c.kind in CALIBRATED]
    if on_prediction is not None:
        on_prediction(prediction)

    def profile(step: Step) -> None:
        say("profiling a few more steps")
        draft.estimate |= Estimated(local=said.replaced(**profiled(step, run.device)))

    return profile


def _predict_serving(draft: Draft, run: ServingRun, calibration: Calibration | None, say: Say) -> PredictedServing | None:
    """Predict a server under load; None, with the reason in the draft, where this machine was not calibrated."""
    if calibration is None:
        draft.unavailable["estimate.serving"] = "this device, its threads and this torch were not calibrated: python -m bench calibrate"
        return None
    say("predicting the server from the calibration")
    return serving_steps.predict_serving(run, calibration, say)


def _fill(draft: Draft, run: ArticleRun | LanguageRun | SampleRun, say: Say, predict_step: Callable[[], Profile | None] | None) -> None:
    if isinstance(run, ArticleRun):
        article_task.measure(run, draft, say, predict_step)
    elif isinstance(run, SampleRun):
        samples_task.measure(run, draft, say, predict_step)
    else:
        language_task.measure(run, draft, say, predict_step)


def _keep(draft: Draft, status: str, reason: str) -> None:
    if keeps(draft.request.task):
        draft.save(status, reason)


def _is_out_of_memory(error: Exception) -> bool:
    """torch's allocators raise RuntimeError, Python MemoryError, and a mapped file OSError."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(
        words in text for words in ("out of memory", "can't allocate memory", "cannot allocate memory")
    )
