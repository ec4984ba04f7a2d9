"""What a training of this kind does: the interval of `estimate`'s predicted step, over what the facts leave open."""

from __future__ import annotations

from collections.abc import Iterator

from estimators.cost.software import stacks
from estimators.diagnosis.counts import Counts
from estimators.diagnosis.question import DiagnosisQuestion, layout_of
from estimators.errors import DoesNotFitError, RequestError
from estimators.facts.percentile import Percentile, percentile
from estimators.facts.registry import utilization_range
from estimators.frozen import frozen, replace
from estimators.method import FULL, TrainingMethod
from estimators.spec import Hardware
from estimators.training.layouts.global_batch import Batch
from estimators.training.layouts.job import Job
from estimators.training.prediction import Prediction
from estimators.training.shares import BOUND, shares_of_peak
from estimators.training.supported import why_not_predicted
from estimators.units import format_int

TENTH = 0.1
"""Of the published runs on an architecture, those that are slower are slow, as in `check-claim`."""

EARLIER = {
    "transformers": ("transformers-2023",),
    "pytorch-fsdp2-eager": ("pytorch-2023",),
    "pytorch-fsdp2": ("pytorch-fsdp2-eager",),
    "megatron-core": ("megatron-core-2025", "megatron-core-plain"),
    "megatron-2022-bf16": ("megatron-2021",),
}
"""Generations that a framework's name, without a date, may also mean."""

USUAL = ("pytorch-fsdp2", "transformers", "pytorch-2023", "transformers-2023", "megatron-core")
"""What may run where nobody names the software: the likeliest first."""

CONVOLUTIONS, CONVOLUTIONS_USUAL = 5.0, 2.0
"""By how much less of the peak a network of convolutions may reach than a language model before it is slow, and usually does. Assumed: half
of its time is memory-bound work, and its products are narrow."""

MICRO_BATCHES = (1, 2, 4, 8, 16, 32)


@frozen
class Expected:
    """What is expected of the run, in items per second and device.

    Attributes:
        low, middle, high: the interval, and the prediction of the likeliest case.
        predictions: steps that it spans, the likeliest first; one where layout and software are decided, and then the interval is that of
            `estimate`; none where no step is predicted.
        source: what it rests on, in a line.
        published_low: the rate at the slowest tenth of the published runs on the architecture, where `low` is that; None else.
        fits: whether the training's memory fits on the devices.
        refused: why no step of the stated layout is predicted, where that is not its memory; empty else.
    """

    low: float
    middle: float
    high: float
    predictions: tuple[Prediction, ...] = ()
    source: str = ""
    published_low: float | None = None
    fits: bool = True
    refused: str = ""

    @property
    def prediction(self) -> Prediction | None:
        """The likeliest step; None where none is predicted."""
        return self.predictions[0] if self.predictions else None

    def holds(self, rate: float) -> bool:
        """Whether a rate lies in it."""
        return self.low <= rate <= self.high


def expected_of(q: DiagnosisQuestion, counts: Counts | None) -> Expected | None:
    """The interval; None where the model, the device or their number is not known, or nothing is known of such models."""
    if q.hardware is None or q.item_tokens is None or q.peak_flop_per_s is None or counts is None:
        return None
    if q.model is None:
        return _of_samples(q.hardware, q.peak_flop_per_s, counts)
    if not (q.num_devices and not why_not_predicted(q.model, q.item_tokens)):
        return _published(q, counts)
    refused: list[RequestError] = []
    found = list(_predictions(q, refused)) or list(_of_others(q, refused))
    if not found:
        fits = not any(isinstance(error, DoesNotFitError) for error in refused)
        published = _published(q, counts, fits=fits)
        return replace(published, refused=str(refused[0])) if published and fits and refused else published
    lows, highs = zip(*(_ends(each) for each in found), strict=True)
    low, high = min(lows), max(highs)
    slowest = None if _is_decided(q) or q.method != FULL else _share_rate(q, counts, _slow_share(q))
    extended = slowest is not None and slowest < low
    likely = found[0]
    return Expected(
        low=slowest if extended and slowest is not None else low,
        middle=likely.tokens_per_s_per_device,
        high=high,
        predictions=tuple(found),
        source=f"predicted, {likely.stack.id}, {likely.layout}",
        published_low=slowest if extended else None,
    )


def _ends(prediction: Prediction) -> tuple[float, float]:
    """Tokens per second and device at the slow and at the fast end of its interval."""
    tokens = prediction.tokens_per_step / prediction.layout.num_devices
    return tokens / prediction.high_s, tokens / prediction.low_s


def _is_decided(q: DiagnosisQuestion) -> bool:
    """Whether the layout, its micro-batch and the software are stated; what else a layout has is then as `--layout` takes it."""
    s = q.setting
    return bool(q.stack_id and s.micro_batch and (s.zero is not None or s.tp or s.pp or s.dp))


def _softwares(q: DiagnosisQuestion) -> tuple[str, ...]:
    if q.stack_id:
        return (q.stack_id,)
    if q.framework is not None and q.framework.stack in stacks():
        return (q.framework.stack, *EARLIER.get(q.framework.stack, ()))
    return USUAL


def _predictions(q: DiagnosisQuestion, refused: list[RequestError]) -> Iterator[Prediction]:
    """A step for every software that the facts leave open, under the stated layout, else under the fastest that fits.

    Args:
        refused: is given why there is none of a software.
    """
    assert q.model is not None
    assert q.hardware is not None
    if q.method != FULL:
        yield from _of_software(q, "", refused)
        if q.method.frozen_layers:  # how many layers are trained is not known: all of them is the most
            yield from _of_software(q, "", refused, replace(q.method, frozen_layers=0))
        return
    for stack_id in _softwares(q):
        yield from _of_software(q, stack_id, refused)


def _of_others(q: DiagnosisQuestion, refused: list[RequestError]) -> Iterator[Prediction]:
    """The same where the software that was named, as it is known here, does not run the stated layout."""
    if q.method == FULL and not q.stack_id:
        for stack_id in USUAL:
            yield from _of_software(q, stack_id, refused)


def _of_software(
    q: DiagnosisQuestion, stack_id: str, refused: list[RequestError], method: TrainingMethod | None = None
) -> Iterator[Prediction]:
    try:
        job = job_of(q, stack_id)
        job = job if method is None else replace(job, method=method)
        if prediction := _stated(q, job) if _states_layout(q) else _planned(q, job):
            yield prediction
    except RequestError as error:  # a software that does not run the layout, a model that it cannot be cut for
        refused.append(error)


def job_of(q: DiagnosisQuestion, stack_id: str = "", network_bytes_per_s: float | None = None) -> Job:
    """The job that `estimate` would price. Raises RequestError for what no step is predicted of."""
    assert q.model is not None
    assert q.hardware is not None
    assert q.item_tokens is not None
    return Job(
        model=q.model,
        hardware=q.hardware,
        seq_len=q.item_tokens,
        dtype=q.dtype,
        stack_id=stack_id,
        method=q.method,
        cluster=q.setting.cluster,
        network_bytes_per_s=network_bytes_per_s,
        framework=_recipe(q) if q.method != FULL else "",
    )


def _recipe(q: DiagnosisQuestion) -> str:
    from estimators.tuning.recipes import recipe_of  # deferred: pre-training has no recipe

    try:
        recipe_of(q.setting.software)
    except RequestError:
        return ""
    return q.setting.software if q.setting.software else ""


def _states_layout(q: DiagnosisQuestion) -> bool:
    """Whether any part of the layout is stated, or a framework that trains all weights shares data out before it cuts the model."""
    s = q.setting
    ways = (s.tp, s.pp, s.cp, s.ep, s.dp, s.zero, s.micro_batch)
    return any(way is not None for way in ways) or (q.method == FULL and bool(q.layout_text()))


def _stated(q: DiagnosisQuestion, job: Job) -> Prediction | None:
    """The stated layout: with its micro-batch, else with the one that is fastest among those that fit."""
    sequences, found = q.sequences_per_step, []
    given = q.setting.micro_batch
    replicas = q.replicas or 1
    for micro_batch in (given,) if given else MICRO_BATCHES:
        unit = replicas * micro_batch
        whole = sequences if sequences and sequences % unit == 0 else None
        if whole is None:
            if sequences and not given:
                continue
            whole = max(1, round((sequences or job.sequences(Batch(), q.num_devices or 1)) / unit)) * unit
        layout = layout_of(q, micro_batch, whole)
        job.check(layout)
        fits = job.on(layout).fits(layout)
        found.append((not fits, job.on(layout).predict(layout)))
    return min(found, key=lambda pair: (pair[0], -pair[1].tokens_per_s_per_device))[1] if found else _planned(q, job)


def _planned(q: DiagnosisQuestion, job: Job) -> Prediction | None:
    from estimators.training.layouts.planned import plan  # deferred: numpy, and a stated layout needs none

    batch = Batch(sequences=q.sequences_per_step)
    assert q.num_devices is not None
    return plan(job, q.num_devices, batch, num_options=1).best.prediction


def _published(q: DiagnosisQuestion, counts: Counts, *, fits: bool = True) -> Expected | None:
    """By the shares of peak that published runs reached; None where only the bound is known."""
    assert q.model is not None
    assert q.hardware is not None
    assert q.peak_flop_per_s is not None
    try:
        shares, source = shares_of_peak(q.model, q.hardware, None, "", dtype=q.dtype, seq_len=q.item_tokens or 1)
    except RequestError:
        return None
    if BOUND in shares:
        return None
    low, middle, high = (share * q.peak_flop_per_s / counts.full for share in shares.values())
    return Expected(low=low, middle=middle, high=high, source=source.partition(". ")[0], fits=fits)


def _of_samples(device: Hardware, peak_flop_per_s: float, counts: Counts) -> Expected:
    """Of a network that is known by its FLOP alone: what language models reach, less what convolutions lose."""
    known = utilization_range(device)
    shares = slow_share(device) / CONVOLUTIONS, known.median / CONVOLUTIONS_USUAL, known.high
    low, middle, high = (share * peak_flop_per_s / counts.full for share in shares)
    source = f"shares of peak of language models on {known.scope}, less what convolutions lose (assumed)"
    return Expected(low=low, middle=middle, high=high, source=source)


def _share_rate(q: DiagnosisQuestion, counts: Counts, share: float | None) -> float | None:
    """Items per second and device at a share of peak that is counted as published shares are: by 6·N·D."""
    flop = counts.by_tool.get("6nd", counts.full)
    return None if share is None or q.peak_flop_per_s is None else share * q.peak_flop_per_s / flop


def _slow_share(q: DiagnosisQuestion) -> float | None:
    """What the slowest tenth of the published runs on the architecture did not reach."""
    assert q.hardware is not None
    return slow_share(q.hardware)


def slow_share(device: Hardware) -> float:
    """Share of peak of the published run at the upper end of the slowest tenth on an architecture."""
    shares = sorted(peer.share for peer in percentile(0.0, device, tokens=0, device_s=1.0).peers)
    return shares[int(TENTH * len(shares))]


def standing(q: DiagnosisQuestion, counts: Counts | None, items_per_s: float) -> Percentile | None:
    """Where a rate of one device stands among published runs; None of what has no 6·N·D or no peak, and of fine-tunings."""
    if counts is None or "6nd" not in counts.by_tool or q.hardware is None or q.peak_flop_per_s is None or q.method != FULL:
        return None
    share = items_per_s * counts.by_tool["6nd"] / q.peak_flop_per_s
    return percentile(share, q.hardware, tokens=0, device_s=1.0)


def devices_text(q: DiagnosisQuestion) -> str:
    """Such as ``8 x a100-sxm4-80gb``; empty where no device is known."""
    if q.hardware is None:
        return f"{format_int(q.num_devices)} devices" if q.num_devices else ""
    return f"{format_int(q.num_devices)} x {q.hardware.id}" if q.num_devices else q.hardware.id
