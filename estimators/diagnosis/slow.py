"""Suspects of a training that is slower than expected: each that its configuration can have, with the rate that it would explain."""

from __future__ import annotations

import math
from collections.abc import Iterator

from estimators.diagnosis.compared import NODE, joined_by_pcie
from estimators.diagnosis.expected import Expected, job_of
from estimators.diagnosis.observed import SHARES
from estimators.diagnosis.over_time import changes, slower_fraction
from estimators.diagnosis.question import DiagnosisQuestion
from estimators.errors import RequestError
from estimators.frozen import frozen, replace
from estimators.method import FULL
from estimators.training.prediction import Prediction
from estimators.training.sequence_cost import sequence_cost_of
from estimators.training.supported import why_not_predicted
from estimators.units import format_fraction, format_int, format_ratio

SOCKET_BYTES_PER_S = 1.25e9
"""Of 10 Gb/s Ethernet: what is left between nodes without InfiniBand."""

HOST_SHARE = 0.15
"""Of a step, launches from which a larger micro-batch helps."""

NEAR, FAR = 0.25, 0.7
"""Relative distance to what a suspect's prediction gives: within the one it explains the rate, beyond the other it does not."""

UNFUSED = ("megatron-2021", "deepspeed-2021", "transformers-2023")
"""Software whose attention writes its scores, or whose element-wise work is not fused: what an unfused run takes."""


@frozen
class SlowSuspect:
    """One suspect.

    Attributes:
        id: of a cause.
        rate: items per second and device that it would bring; None where it may bring any.
        evidence: the figure that it rests on, in words.
        weight: the smaller, the likelier.
        saves_fraction: of the step's time, what it was measured to take; None where nobody measured it.
    """

    id: str
    rate: float | None
    evidence: str
    weight: float
    saves_fraction: float | None = None


def slow_suspects(q: DiagnosisQuestion, expected: Expected | None, rate: float | None) -> list[SlowSuspect]:
    """Every suspect that the configuration can have, the likeliest first.

    Args:
        rate: observed, items per second and device.
    """
    found: list[SlowSuspect] = [*measured_shares(q)]
    found += [
        *_of_what_is_unknown(q, expected),
        *_of_shape(q, expected, rate),
        *_of_links(q, expected, rate),
        *_of_software(q, expected, rate),
    ]
    found += list(_of_machine(q))
    return sorted(found, key=lambda suspect: suspect.weight)


WORTH_SAYING = 0.05
"""Of a step's time, what is no matter of noise."""


def measured_shares(q: DiagnosisQuestion) -> list[SlowSuspect]:
    """What a file or a trace measured that a step's time goes into, the largest first: before all that is only suspected."""
    told = [(share, name) for name, share in q.observed.shares.items() if name in SHARES and share >= WORTH_SAYING]
    found = [
        SlowSuspect(
            id=SHARES[name],
            rate=None,
            evidence=f"{name}: {format_fraction(share)} of the step, measured",
            weight=-share,
            saves_fraction=share,
        )
        for share, name in sorted(told, reverse=True)
    ]
    return [*found, *_slowed_down(q)]


def _slowed_down(q: DiagnosisQuestion) -> Iterator[SlowSuspect]:
    """A run that was faster at other steps."""
    for series in q.observed.series[:1]:
        slower = [str(change) for change in changes(series) if change.ratio < 1]
        if slower and (lost := slower_fraction(series)) >= WORTH_SAYING:
            yield SlowSuspect(id="slowed_down", rate=None, evidence="; ".join(slower), weight=-lost, saves_fraction=lost)


def _off(rate: float | None, predicted: float | None) -> float:
    return abs(math.log(rate / predicted)) if rate and predicted else FAR


def _explains(rate: float | None, predicted: float) -> str:
    return f"{format_ratio(predicted / rate, 2)} times what is observed" if rate and predicted else ""


def _of_what_is_unknown(q: DiagnosisQuestion, expected: Expected | None) -> Iterator[SlowSuspect]:
    s = q.setting
    if (
        q.model is not None
        and not q.counts_samples
        and not s.config
        and s.seq_len is None
        and q.sequences_per_step is None
        and not q.layout_text()
    ):
        yield SlowSuspect(id="unknown", rate=None, evidence="no layout, batch or length of sequences was given", weight=0.0)
    if expected is not None and not expected.fits:
        yield SlowSuspect(id="cpu_offload", rate=None, evidence="no layout fits into the memory of these devices", weight=0.1)


def _of_shape(q: DiagnosisQuestion, expected: Expected | None, rate: float | None) -> Iterator[SlowSuspect]:
    prediction = expected.prediction if expected else None
    if q.counts_samples:
        yield SlowSuspect(id="data_loader_suspected", rate=None, evidence="most runs of images that are slow wait for data", weight=0.2)
        return
    if q.model is None or q.item_tokens is None:
        yield SlowSuspect(id="data_loader_suspected", rate=None, evidence="", weight=1.0)
        return
    if not why_not_predicted(q.model, q.item_tokens) and sequence_cost_of(q.model, q.item_tokens).experts > 1:
        yield SlowSuspect(id="moe_layout", rate=None, evidence="a mixture of experts: its layout decides by a factor of two", weight=0.3)
    if prediction is not None:
        launch = prediction.ledger.parts["launch"] / prediction.ledger.step_time_s
        if launch > HOST_SHARE:
            said = f"launches are {format_fraction(float(launch), 2)} of the predicted step"
            yield SlowSuspect(id="host_bound_small_model", rate=None, evidence=said, weight=0.8)


def _of_links(q: DiagnosisQuestion, expected: Expected | None, rate: float | None) -> Iterator[SlowSuspect]:
    prediction, number = expected.prediction if expected else None, q.num_devices or 1
    node = (q.hardware.devices_per_node if q.hardware else None) or NODE
    if number > node:
        slow = _with_network(q, prediction, SOCKET_BYTES_PER_S)
        evidence = f"over 10 Gb/s between nodes the step is predicted at {_rate_text(slow)}; {_explains(rate, slow)}" if slow else ""
        yield SlowSuspect(id="network_or_layout", rate=slow, evidence=evidence, weight=0.4 if _off(rate, slow) < FAR else 0.92)
        yield SlowSuspect(id="straggler_gpu", rate=None, evidence=f"{format_int(number)} devices wait for the slowest", weight=1.2)
    elif number > 1 and q.hardware is not None and joined_by_pcie(q.hardware):
        yield SlowSuspect(id="interconnect_pcie", rate=None, evidence=f"{q.hardware.id} has no link but PCIe", weight=0.4)
    elif number > 1:
        yield SlowSuspect(id="straggler_gpu", rate=None, evidence=f"{format_int(number)} devices wait for the slowest", weight=1.3)


def _with_network(q: DiagnosisQuestion, prediction: Prediction | None, bytes_per_s: float) -> float | None:
    if prediction is None or q.method != FULL:
        return None
    try:
        job = replace(job_of(q, prediction.stack.id), network_bytes_per_s=bytes_per_s)
        return job.predict(prediction.layout).tokens_per_s_per_device
    except RequestError:
        return None


def _of_software(q: DiagnosisQuestion, expected: Expected | None, rate: float | None) -> Iterator[SlowSuspect]:
    prediction = expected.prediction if expected else None
    slowest = _unfused(q, prediction)
    if slowest is not None:
        said = f"without fused attention and element-wise work: {_rate_text(slowest)}; {_explains(rate, slowest)}"
        yield SlowSuspect(id="implementation", rate=slowest, evidence=said, weight=0.5 if _off(rate, slowest) < NEAR else 0.9)
    elif q.model is not None:
        yield SlowSuspect(id="implementation", rate=None, evidence="", weight=0.95)
    if prediction is not None and q.setting.micro_batch == 1:
        yield SlowSuspect(id="micro_batch_small", rate=None, evidence="the micro-batch is 1", weight=0.85)
    if q.setting.recompute == "full":
        yield SlowSuspect(id="recompute_on", rate=None, evidence="layers are run forward twice: up to 4/3 of the time", weight=0.97)


def _unfused(q: DiagnosisQuestion, prediction: Prediction | None) -> float | None:
    """The slowest software that runs the predicted layout."""
    if prediction is None or q.method != FULL:
        return None
    found = []
    for stack_id in UNFUSED:
        try:
            job = job_of(q, stack_id)
            job.check(prediction.layout)
            found.append(job.predict(prediction.layout).tokens_per_s_per_device)
        except RequestError:
            continue
    return min(found, default=None)


def _of_machine(q: DiagnosisQuestion) -> Iterator[SlowSuspect]:
    if q.model is not None and q.model.item == "token":
        yield SlowSuspect(id="data_loader_suspected", rate=None, evidence="", weight=1.1)
    yield SlowSuspect(id="throttling", rate=None, evidence="", weight=1.5)
    yield SlowSuspect(id="noisy_machine", rate=None, evidence="", weight=1.6)


def _rate_text(rate: float) -> str:
    return f"{format_int(round(rate))} tokens/s per device"
