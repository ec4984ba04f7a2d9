"""The largest batch, length or rank with which a fine-tuning still fits: the answer of `fit`, inverted by bisection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.spec import Hardware
from estimators.tuning.fit import Fit, fit
from estimators.tuning.job import TuningJob
from estimators.tuning.weights import decoder_of

Quantity = Literal["batch", "seq-len", "lora-rank"]

MOST = {"batch": 2**16, "seq-len": 2**24, "lora-rank": 2**14}
"""Beyond it nobody asks."""


@frozen
class Largest:
    """The largest of a quantity.

    Attributes:
        value: 0 where not even 1 fits.
        answer: of `fit` at the value; at 1 where nothing fits.
        limited_by: what ends it: memory, or what the model was made for.
    """

    quantity: Quantity
    value: int
    answer: Fit
    limited_by: str


def largest(job: TuningJob, hardware: Hardware, quantity: Quantity) -> Largest:
    """The largest micro-batch, length of the longest sample or rank at which the verdict is FITS.

    Raises:
        BadValueError: as `fit`; a rank of a job without adapters.
    """
    if quantity == "lora-rank" and not job.trains_adapters:
        raise BadValueError("--largest lora-rank is of adapters; this job trains none")
    limit, limited_by = MOST[quantity], "the largest that is asked about"
    if quantity == "seq-len" and job.model.max_positions > 1:
        limit, limited_by = job.model.max_positions, "the positions that the model was made for"
    if quantity == "lora-rank":
        limit, limited_by = min(limit, decoder_of(job).width), "the model's width"

    def fits(value: int) -> bool:
        return fit(changed(job, quantity, value), hardware).verdict == "FITS"

    value = bisected(fits, limit)
    if value < limit:
        limited_by = "memory"
    return Largest(quantity=quantity, value=value, answer=fit(changed(job, quantity, max(1, value)), hardware), limited_by=limited_by)


def bisected(fits: Callable[[int], bool], limit: int) -> int:
    """The largest whole number up to a limit that fits, where every smaller one does; 0 where not even 1 fits.

    >>> bisected(lambda n: n * n < 1000, 10**6)
    31
    """
    if not fits(1):
        return 0
    low, high = 1, 2
    while high < limit and fits(high):
        low, high = high, 2 * high
    high = min(high, limit)
    if fits(high):
        return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def changed(job: TuningJob, quantity: Quantity, value: int) -> TuningJob:
    """The job at another micro-batch, length or rank."""
    if quantity == "batch":
        return replace(job, micro_batch=value)
    if quantity == "seq-len":
        return replace(job, seq_len=value)
    return replace(job, method=replace(job.method, rank=value))
