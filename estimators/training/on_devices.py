"""One training on several kinds of device: its answer on each, and what each of them holds and bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from estimators.counting.estimate import estimate
from estimators.errors import BadValueError, SixndError
from estimators.frozen import frozen, replace
from estimators.spec import Case, Estimate, Hardware, Workload
from estimators.training.answer import OnDevice, PredictedAnswer, TrainingAnswer, predict, training_answer
from estimators.training.question import Question

T = TypeVar("T")


@frozen
class Bounds:
    """What a training and an inference hold on a kind of device, and how fast a step can be there at all.

    Attributes:
        context_len: tokens that are cached before the decode step.
        prefill, decode: one step at batch 1.
    """

    training: TrainingAnswer
    context_len: int
    prefill: Estimate
    decode: Estimate


@frozen
class HardwareComparison:
    """A training on several kinds of device, at a utilization or with its step predicted.

    Attributes:
        at_utilization, predicted: one for each kind; one of the two is empty.
        bounds: of each kind that has an answer; empty for a model without sequences.
    """

    at_utilization: tuple[OnDevice[TrainingAnswer], ...]
    predicted: tuple[OnDevice[PredictedAnswer], ...]
    bounds: tuple[Bounds, ...]


def compare_hardware(question: Question, devices: Sequence[Hardware]) -> HardwareComparison:
    """The question asked of each kind of device; a refusal is a reason where others have an answer.

    Args:
        question: its hardware is not looked at.
        devices: at least one.

    Raises:
        BadValueError: none has an answer; names each reason.
    """
    if replace(question, hardware=devices[0]).is_predicted:
        predicted = tuple(_predicted(question, hardware) for hardware in devices)
        trainings = [device.answer.training for device in predicted if device.answer]
        if not trainings:
            reasons = dict.fromkeys(device.reason for device in predicted)
            raise BadValueError(f"no answer on {len(predicted)} kinds of device: {'; '.join(reasons)}"[:480])
        return HardwareComparison(at_utilization=(), predicted=predicted, bounds=_bounds(trainings))
    assumed = tuple(_at_utilization(question, hardware) for hardware in devices)
    trainings = [device.answer for device in assumed if device.answer]
    if not trainings:
        raise BadValueError("; ".join(f"{device.hardware.id}: {device.reason}" for device in assumed) + "; give another --dtype")
    return HardwareComparison(at_utilization=assumed, predicted=(), bounds=_bounds(trainings))


def _at_utilization(question: Question, hardware: Hardware) -> OnDevice[TrainingAnswer]:
    if question.dtype not in hardware.peak_flop_per_s:
        return OnDevice(hardware=hardware, reason=f"no dense {question.dtype} peak; it has {', '.join(hardware.peak_flop_per_s)}")
    return _answered(hardware, lambda: training_answer(replace(question, hardware=hardware)))


def _predicted(question: Question, hardware: Hardware) -> OnDevice[PredictedAnswer]:
    return _answered(hardware, lambda: predict(replace(question, hardware=hardware)))


def _answered(hardware: Hardware, answer: Callable[[], T]) -> OnDevice[T]:
    """The answer on one device, or whatever it is refused for."""
    try:
        return OnDevice(hardware=hardware, answer=answer())
    except SixndError as error:
        return OnDevice(hardware=hardware, reason=str(error))


def _bounds(trainings: Sequence[TrainingAnswer]) -> tuple[Bounds, ...]:
    return tuple(_bounds_of(training) for training in trainings if training.model.generates)


def _bounds_of(training: TrainingAnswer) -> Bounds:
    def step(workload: Workload) -> Estimate:
        return estimate(Case(model=training.model, workload=workload, hardware=training.hardware))

    context_len = max(0, training.seq_len - 1)
    return Bounds(
        training=training,
        context_len=context_len,
        prefill=step(Workload(phase="prefill", seq_len=training.seq_len, dtype=training.dtype)),
        decode=step(Workload(phase="decode", context_len=context_len, dtype=training.dtype)),
    )
