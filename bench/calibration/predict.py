"""What a calibration says of one run's step, as a record keeps it."""

from __future__ import annotations

import dataclasses

from bench.calibration import step_operators
from bench.records.calibration import Calibration, machine_profile
from bench.records.estimated import PartsOfStep, PredictedStep
from bench.workloads.article.run import ArticleRun
from bench.workloads.step_run import StepRun
from estimators.profile.operator_times import OperatorCall, OperatorPrediction, predict

PHASE = {"train": "train_step", "forward": "forward", "prefill": "prefill", "decode": "decode"}
"""Task to the phase that the prediction is of."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StepPrediction:
    """A step predicted twice, before it was measured.

    Attributes:
        own: with the step's own operators measured one by one, just before.
        general: from the calibration's grid and curves alone.
        pieces: the step's operators.
    """

    phase: str
    own: OperatorPrediction
    general: OperatorPrediction
    pieces: tuple[OperatorCall, ...]
    calibrated_utc: str

    def kept(self) -> PredictedStep:
        """What a record keeps of it."""
        return PredictedStep(
            phase=self.phase,
            seconds_s=self.own.seconds_s,
            parts_s=PartsOfStep(**self.own.parts_s),
            num_ops=self.own.num_ops,
            basis_fraction=dict(self.own.basis_fraction),
            weakest=self.own.weakest,
            general_seconds_s=self.general.seconds_s,
            general_extrapolated_fraction=self.general.extrapolated_fraction,
            calibrated_utc=self.calibrated_utc,
        )


def predict_step(run: ArticleRun | StepRun, calibration: Calibration, *, rounds: int = 2, time_s: float = 0.02) -> StepPrediction:
    """Trace the step, time its operators alone, and sum; nothing of the step itself is run."""
    cached = run.device.cache_bytes()
    calls, updates = step_operators.work(run, cached)
    pieces = step_operators.pieces(calls, updates)
    timed = step_operators.entries(calls, updates, run.device, cache_bytes=cached, rounds=rounds, time_s=time_s)
    mode = step_operators.mode(run)
    return StepPrediction(
        phase=PHASE[run.task],
        own=predict(pieces, machine_profile(calibration.with_entries(timed)), mode),
        general=predict(pieces, machine_profile(calibration, own=False), mode),
        pieces=tuple(pieces),
        calibrated_utc=calibration.created_utc,
    )
