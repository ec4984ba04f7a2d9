"""The noise floor: by how much two runs of the same thing differ on a machine, read from a record of `selftest`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from bench.records.record import Measurement
from bench.statistics import robust
from estimators.errors import BadRecordError

TASK, ROUND_A, ROUND_B = "selftest", "a", "b"
"""Of a record of `selftest`: its task, and the phases that hold the same work twice, round by round in turn."""

CONFIDENCE, POWER = 0.95, 0.8
"""A floor is passed by chance in 5 % of comparisons; a difference counts as visible where it is found in 80 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseFloor:
    """What the same thing run twice differs by.

    Attributes:
        fraction: two runs of the same thing differ by less in 95 % of cases.
        detectable_fraction: the smallest true difference between two runs that is found in 80 % of cases.
        rounds: pairs that it was taken from.
        machine: where it was taken: see `machine`.
        run_id: its record.
    """

    fraction: float
    detectable_fraction: float
    rounds: int
    machine: str
    run_id: str


def machine(record: Measurement) -> str:
    """The device and processor that a record was made on, as far as it says."""
    device, cpu = record.environment.device, record.environment.cpu
    names = dict.fromkeys(name for name in (device and device.name, cpu and cpu.model) if name)
    return ", ".join(names) or "an unknown machine"


def noise_floor(record: Measurement) -> NoiseFloor:
    """The noise floor of a record of `selftest`.

    With m the log median of each round, the floor is exp(q) - 1, where q is the 95 % quantile of |m_i - m_j| over all pairs of rounds
    of one side, near and far in time: what drifts slowly counts as well, and B is still judged by a floor it had no part in. No
    distribution is assumed. To be found in 80 % of cases, a difference must exceed q by what normal noise of that quantile adds:
    0.84 / 1.96 of it.

    Raises:
        BadRecordError: no record of `selftest`, or one that was stopped before it had three pairs.
    """
    first, second = record.phase(ROUND_A), record.phase(ROUND_B)
    if record.request.task != TASK or first is None or second is None:
        raise BadRecordError(f"{record.run_id} is not a record of a self-test; make one with: python -m bench selftest")
    size = record.request.samples_per_round
    if size is None or size < 1 or min((*first.samples_s, *second.samples_s), default=0.0) <= 0:
        raise BadRecordError(f"{record.run_id} holds no rounds of positive times; make another with: python -m bench selftest")
    ones, others = (_round_logs(phase.samples_s, size) for phase in (first, second))
    rounds = min(len(ones), len(others))
    if rounds < 3:
        raise BadRecordError(f"{record.run_id} has {rounds} pairs of rounds, expected 3 or more; run again: python -m bench selftest")
    pairs = [pair for side in (ones, others) for pair in itertools.combinations(side, 2)]
    apart = robust.quantile([abs(one - other) for one, other in pairs], CONFIDENCE)
    normal = NormalDist()
    return NoiseFloor(
        fraction=math.expm1(apart),
        detectable_fraction=math.expm1(apart * (1 + normal.inv_cdf(POWER) / normal.inv_cdf((1 + CONFIDENCE) / 2))),
        rounds=rounds,
        machine=machine(record),
        run_id=record.run_id,
    )


def _round_logs(samples_s: Sequence[float], size: int) -> list[float]:
    """The log median of each whole round."""
    whole = len(samples_s) // size * size
    return [math.log(robust.median(samples_s[at : at + size])) for at in range(0, whole, size)]


def newest(records: Sequence[Measurement]) -> Measurement | None:
    """The last complete self-test among records, by the time it was begun."""
    selftests = [record for record in records if record.request.task == TASK and record.status == "complete"]
    return max(selftests, key=lambda record: (record.created_utc, record.run_id), default=None)
