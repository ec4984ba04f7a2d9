"""A published whole run beside the steady steps that are predicted of it: their ratio is what a plan has to allow for."""

from __future__ import annotations

import re

from estimators.errors import RequestError
from estimators.frozen import frozen
from estimators.training.layouts.job import Job
from estimators.training.run import PredictedRun, predicted_run
from estimators.units import DAY_S, HOUR_S
from estimators.validation.device import device_of
from estimators.validation.groups import Group
from estimators.validation.model import described_run
from estimators.validation.stated import precision
from estimators.validation.table import LeftOutError, Record

USUAL_SEQ_LEN = 4096
"""Where a row does not say."""


@frozen
class MeasuredRun:
    """One published run.

    Attributes:
        run: the steady steps that are predicted of it, on the fastest layout that fits.
        device_s: what it took, over all devices.
        assumed: cells that the row leaves out.
    """

    id: str
    run: PredictedRun
    device_s: float
    assumed: tuple[str, ...] = ()

    @property
    def predicted_device_s(self) -> float:
        """Device time of the steady steps."""
        return self.run.gpu_hours * HOUR_S

    @property
    def factor(self) -> float:
        """What the run took over its predicted steady steps."""
        return self.device_s / self.predicted_device_s


def measured_run(record: Record) -> MeasuredRun:
    """The case of one row.

    Raises:
        LeftOutError: no tokens, no device time, a model that is not known or a layout that does not fit.
    """
    if record.broken:
        raise LeftOutError(record.broken)
    tokens = record.number("tokens")
    if not tokens:
        raise LeftOutError("the row has no tokens")
    stated = [int(number) for number in re.findall(r"\d+", record.text("n_gpus"))]
    devices = stated[-1] if stated else None
    hours, days = record.number("gpu_hours"), record.number("wall_days")
    device_s = hours * HOUR_S if hours else days * DAY_S * devices if days and devices else None
    if not device_s:
        raise LeftOutError("the row has neither device hours nor days on a number of devices")
    seq_len = record.whole("seq_len") or USUAL_SEQ_LEN
    device, _ = device_of(record)
    dtype, read_as = precision(record, Group(match=""), device)
    assumed = ["layout, by plan", *([read_as] if read_as else [])]
    assumed += [] if devices else ["n_gpus, the fewest that hold it"]
    assumed += [] if record.text("seq_len") else [f"seq_len={seq_len}"]
    try:
        job = Job(model=described_run(record, seq_len), hardware=device, seq_len=seq_len, dtype=dtype)
        run = predicted_run(job, tokens=int(tokens), num_devices=devices)
    except RequestError as error:
        raise LeftOutError(str(error)) from None
    return MeasuredRun(id=record.id, run=run, device_s=device_s, assumed=tuple(assumed))
