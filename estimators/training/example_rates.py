"""How fast a model with a tower trains: the language part as a decoder is predicted, tower and projector by their own class."""

from __future__ import annotations

from estimators.architectures.joined import Joined
from estimators.frozen import replace
from estimators.spec import Op, Workload
from estimators.training.question import Question
from estimators.training.run import predicted_run
from estimators.training.sample_rates import Rate, rate_from, sample_rates, step_seconds
from estimators.units import format_fraction, format_int

BATCH = 8
"""Examples of a device's step at which the tower is priced."""


def example_rate(question: Question, model: Joined) -> Rate | None:
    """How long one example takes to train on one device of those that are asked about; None where its language part is not predicted.

    Device time adds up: towers are run by the devices that run the language part. A language part that is frozen, or trained in part
    because of it, is priced in proportion to its FLOP.

    Args:
        question: of the whole model; its number of devices, batch and layout are the language part's.

    Raises:
        RequestError: no layout of the language part fits the devices.
    """
    assert question.hardware is not None
    length, hardware = model.sequence_tokens, question.hardware
    spoken = replace(
        question,
        model=model.language.base,
        method=model.method,
        seq_len=length,
        tokens=question.num_tokens * length,
        work="",
        params_text="",
    )
    if not spoken.is_predicted:
        return None
    run = predicted_run(
        spoken.job, tokens=spoken.num_tokens, num_devices=spoken.num_devices, batch=spoken.wished_batch, layout=spoken.layout
    )
    devices = run.prediction.layout.num_devices
    tower, projector, language = model.sides(Workload(phase="train", batch=BATCH, dtype=question.dtype))
    share = _flop(language) / _flop(model.language.ops(Workload(phase="train", batch=BATCH, seq_len=length, dtype=question.dtype)))
    spoken_s = [seconds * devices * share / question.num_tokens for seconds in (run.wall_s, run.low_s, run.high_s)]
    below = [*tower, *projector]
    bound = _flop(below) / hardware.peak(question.dtype)
    seen_s = max(bound, step_seconds(below, hardware, question.dtype, sample_rates().constants["transformer"], fused=True)) / BATCH
    seen = rate_from(seen_s, hardware, "transformer", borrowed=True)
    seconds = spoken_s[0] + seen.seconds
    said = (
        f"predicted: the language part as a decoder on sequences of {format_int(length)} tokens ({run.prediction.layout}), "
        f"{format_fraction(spoken_s[0] / seconds)} of the time; tower and projector: {seen.said}"
    )
    return Rate(seconds=seconds, low_s=spoken_s[1] + seen.low_s, high_s=spoken_s[2] + seen.high_s, said=said)


def _flop(ops: list[Op] | tuple[Op, ...]) -> int:
    return sum(op.count * (op.flop + op.backward_flop) for op in ops)
