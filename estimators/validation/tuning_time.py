"""Measured steps of fine-tuning: how long rows were, what a step took, and what constants that never saw its source say of it."""

from __future__ import annotations

import math
import re

from estimators.errors import RequestError
from estimators.frozen import frozen, replace
from estimators.lengths import stated_lengths
from estimators.tuning.batches import longest_of, padded
from estimators.tuning.constants import constants_file
from estimators.tuning.interval import interval
from estimators.tuning.job import TuningJob
from estimators.tuning.step import TuningStep, tuning_step
from estimators.validation.score import STRICT
from estimators.validation.table import LeftOutError, Record
from estimators.validation.tuning_case import TuningCase, tuning_case

SOURCES = {
    "fms-acceleration": "fms-acceleration",
    "peft method_comparison": "peft",
    "litgpt": "litgpt",
    "ms-swift": "ms-swift",
    "Qwen": "qwen",
    "unsloth": "unsloth",
    "fsdp_qlora": "fsdp-qlora",
    "fitcheck": "fitcheck",
}
"""How groups of one author begin -> the source that they are: errors of one machine and one habit are one."""

ALPACA = (118.0, 320.0)
"""Mean and 95th percentile of Alpaca's lengths, in Llama 2's tokens, as litgpt prepares it."""

HEAVY_TAIL = 2.0
"""Of the 95th percentile to the mean, where a row states the mean alone. Assumed: Alpaca has 2.7, MetaMathQA 1.9."""

SORTED_BATCHES = {"peft method_comparison": 20}
"""Groups that put samples of like length into one batch -> batches that are sorted at a time.

Source: huggingface/peft, method_comparison/MetaMathQA/utils.py, BucketIterator.
"""

MANY, MIDDLE = 20_000, 300.0
"""Samples of the data set that a row without their number stands for, and tokens in the mean where only ratios of lengths count."""


@frozen
class TimedStep:
    """A measured step as the step model sees it.

    Attributes:
        case: the row as a job.
        source: which author measured.
        job: of rows of their mean length.
        measured_s: of one optimizer step.
        assumed: what rules put where the row leaves cells out.
    """

    case: TuningCase
    source: str
    job: TuningJob
    measured_s: float
    assumed: tuple[str, ...] = ()

    @property
    def run(self) -> tuple[object, ...]:
        """What tells runs apart: a run whose memory was read by two meters has two rows."""
        return self.source, self.kind, self.job, self.case.device, self.measured_s

    @property
    def kind(self) -> str:
        """Full, LoRA, or the format under it."""
        base = self.job.method.base_format
        return self.case.method if base == "16-bit" else f"{self.case.method} over {base}"

    def predicted(self, *, without: str = "") -> TuningStep:
        """The prediction by constants that never saw a source. Raises RequestError."""
        assert self.case.device is not None
        return tuning_step(self.job, self.case.device, without=without)


@frozen
class ScoredStep:
    """A measured step beside what is predicted of it.

    Attributes:
        step: None where the row is left out.
        predicted_s, low_s, high_s: by constants that never saw its source.
        skipped: why the row is left out; empty where it is not.
    """

    id: str
    step: TimedStep | None = None
    predicted_s: float | None = None
    low_s: float | None = None
    high_s: float | None = None
    skipped: str = ""

    @property
    def error(self) -> float | None:
        """Predicted over measured, less 1."""
        return self.predicted_s / self.step.measured_s - 1 if self.step is not None and self.predicted_s else None

    @property
    def held(self) -> bool:
        """Whether the interval holds the measured time."""
        return bool(self.step and self.low_s and self.high_s and self.low_s <= self.step.measured_s <= self.high_s)


def scored_step(record: Record, *, strict: bool = False) -> ScoredStep:
    """A row's step beside its prediction, or why it is left out.

    Args:
        strict: whether a row that a rule completed is left out.
    """
    try:
        step = timed_step(record)
        if strict and step.assumed:
            raise LeftOutError(f"{STRICT}: {'; '.join(step.assumed)}")
        without = step.source if step.source in constants_file()["without"] else ""
        found = step.predicted(without=without)
    except (LeftOutError, RequestError) as reason:
        return ScoredStep(id=record.id, skipped=str(reason))
    below, above = interval(step.job)
    seconds = found.step_time_s
    return ScoredStep(id=record.id, step=step, predicted_s=seconds, low_s=seconds * below, high_s=seconds * above)


def source_of(group: str) -> str:
    """The source that a group's errors are pooled under; a group that is not known is one of its own.

    >>> source_of("fms-acceleration refs_orca"), source_of("my cluster")
    ('fms-acceleration', 'my cluster')
    """
    return next((source for begins, source in SOURCES.items() if group.startswith(begins)), group)


def timed_step(record: Record) -> TimedStep:
    """The step of one row.

    Raises:
        LeftOutError: no time, no device, a row length that nothing tells, or what `tuning_case` leaves out.
    """
    case = tuning_case(record)
    if case.device is None:
        raise LeftOutError("the device is not stated")
    if record.text("parallel").startswith("zero ("):
        raise LeftOutError("the stage of ZeRO is not stated, and with it what devices send each other")
    if case.is_oom:
        raise LeftOutError("it ran out of memory: no step was timed")
    length, said = _row_length(record, case)
    job = replace(case.job, seq_len=length)
    return TimedStep(
        case=case,
        source=source_of(case.source),
        job=job,
        measured_s=_measured_s(record, job),
        assumed=(*case.assumed, *filter(None, (said,))),
    )


def _row_length(record: Record, case: TuningCase) -> tuple[int, str]:
    """Tokens of a row that a step's time follows, in the mean, and what was assumed of them. Raises LeftOutError."""
    job, kind = case.job, record.text("seq_kind")
    if kind.startswith(("fixed", "packed")):
        return job.seq_len, ""
    length, said = _mean_length(record, case)
    if job.data_parallel == 1:
        return max(1, round(length)), said
    return max(1, round(length * _longest_device(job))), f"{said}; the device with the longest samples decides"


def _longest_device(job: TuningJob) -> float:
    """Rows of the device whose samples are longest over those of a device, in the mean: sharding waits for it in every micro-batch."""
    lengths = stated_lengths(MANY, MIDDLE, HEAVY_TAIL * MIDDLE)
    if job.packing != "padding-free":
        sizes = (job.micro_batch, job.micro_batch * job.data_parallel)
        alone, all_of_them = (padded(lengths, size).mean_longest for size in sizes)
        return all_of_them / alone
    squares = sum(tokens * tokens * samples for tokens, samples in lengths.by_length) / MANY
    spread = math.sqrt((squares / lengths.mean_tokens**2 - 1) / job.micro_batch)
    return 1 + spread * longest_of(job.data_parallel)


def _mean_length(record: Record, case: TuningCase) -> tuple[float, str]:
    """Tokens of a row of one device in the mean, padding included, and what was assumed of them. Raises LeftOutError."""
    job, kind = case.job, record.text("seq_kind")
    tokens, samples = record.number("tokens_per_s"), record.number("samples_per_s")
    scope = record.text("tokens_scope")
    is_real = "real" in scope
    if tokens and samples and not is_real:
        devices = job.num_gpus if scope.startswith("per GPU") else 1
        return tokens * devices / samples, "row length, tokens over samples a second"
    mean, tail = record.number("mean_tokens"), HEAVY_TAIL
    if mean is None and tokens and samples:
        mean = tokens / samples
    if mean is None and re.search(r"\bAlpaca\b", kind) and not record.text("runtime_covers").endswith("validation"):
        mean, tail = ALPACA[0], ALPACA[1] / ALPACA[0]
    if mean is None:
        raise LeftOutError("how long rows are in the mean is not stated")
    if job.packing == "padding-free" or job.micro_batch == 1:
        return mean, "row length, the mean"
    lengths = stated_lengths(MANY, mean, tail * mean).cut(job.seq_len)
    batches = next((number for begins, number in SORTED_BATCHES.items() if case.source.startswith(begins)), 0)
    found = padded(lengths, job.micro_batch, sorted_in=batches * job.micro_batch).mean_longest
    return found, "row length, the longest of a batch of log-normal lengths"


def _measured_s(record: Record, job: TuningJob) -> float:
    """Seconds of one optimizer step, stated or from a rate. Raises LeftOutError."""
    if seconds := record.number("step_time_s"):
        return seconds
    if samples := record.number("samples_per_s"):
        return job.samples_per_step / samples
    tokens = record.number("tokens_per_s")
    if tokens and record.text("tokens_scope").startswith(("total", "per GPU")):
        devices = job.num_gpus if record.text("tokens_scope").startswith("per GPU") else 1
        return job.samples_per_step * job.seq_len / (tokens * devices)
    raise LeftOutError("neither the time of a step nor a rate is in the row")
