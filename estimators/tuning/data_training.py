"""A fine-tuning on a data set: steps, hours, device time, money, energy, and the memory at its longest batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from estimators.errors import BadValueError
from estimators.frozen import field, frozen, replace
from estimators.lengths import Lengths
from estimators.spec import Hardware
from estimators.training.step import TUNING_PARTS
from estimators.tuning.batches import longest_of
from estimators.tuning.dataset import Batching, DataSet, LongSamples, data_set
from estimators.tuning.fit import Fit, fit
from estimators.tuning.interval import TrackRecord, class_of, interval, track_record
from estimators.tuning.job import TuningJob
from estimators.tuning.packing import PackingAlgorithm
from estimators.tuning.step import TuningStep, tuning_step
from estimators.units import HOUR_S

if TYPE_CHECKING:
    from estimators.cost.machine import MeasuredRates
    from estimators.facts.electricity import Figure
    from estimators.facts.prices import PriceRange

NODES = 13
"""Lengths of rows that a step is predicted at; between them it is a straight line."""

DATA_PARTS = TUNING_PARTS | {"wait": "waiting for the device with the longest samples"}
"""What a step in the mean over a data set consists of."""

PACKERS: Mapping[str, tuple[PackingAlgorithm, LongSamples, bool]] = {
    "trl": ("bfd", "cut", False),
    "axolotl": ("ffd", "drop", True),
    "llama-factory": ("ffd", "cut", True),
    "ms-swift": ("bfd", "drop", False),
}
"""How a framework packs: its algorithm, what becomes of a sample that is longer than a row, and whether rows are filled up.

Source: TRL, data_utils.pack_dataset, strategy bfd (version 1.16); axolotl, utils/samplers/multipack.py, ffd_check, and
excess_length_strategy (version 0.13); LLaMA-Factory, data/processor/processor_utils.greedy_knapsack, which fills a row with the largest
that fits, as first-fit decreasing does (version 0.9); ms-swift, llm/dataset/utils.py, PackingDataset, and truncation_strategy (version 3).
"""

DROPS_LONG = ("axolotl", "ms-swift")
"""Frameworks that leave out a sample that is too long also where nothing is packed; all others cut it."""


@frozen
class DataTraining:
    """The question: a job on a kind of device and a data set, with everything that the user decided.

    Attributes:
        job: its `seq_len` is not looked at: the data set and `max_length` say how long rows are.
        max_length: tokens that a sample is cut at, or that rows are packed to.
        packs: whether samples are packed, by the framework's algorithm or by `algorithm`.
        algorithm, long_samples: in place of the framework's.
        is_grouped: whether batches are made of samples of like length.
        measured_step_s: the mean of the user's own steps, by which all seconds are scaled.
    """

    job: TuningJob
    hardware: Hardware
    lengths: Lengths
    max_length: int
    epochs: float = 1.0
    packs: bool = False
    algorithm: PackingAlgorithm | None = None
    long_samples: LongSamples | None = None
    is_grouped: bool = False
    measured_step_s: float | None = None
    usd_per_gpu_hour: float | None = None
    carbon_kg_per_j: float | None = None
    own: MeasuredRates | None = None

    def __post_init__(self) -> None:
        if self.measured_step_s is not None and self.measured_step_s <= 0:
            raise BadValueError(f"a measured step of {self.measured_step_s:g} s; expected more than 0")

    @property
    def batching(self) -> Batching:
        """How samples become steps."""
        framework = self.job.recipe.framework
        algorithm, long_samples, pads = PACKERS.get(framework, ("ffd", "cut", False))
        usual = long_samples if self.packs else "drop" if framework in DROPS_LONG else "cut"
        return Batching(
            max_length=self.max_length,
            micro_batch=self.job.micro_batch,
            num_devices=self.job.data_parallel,
            accumulation=self.job.accumulation,
            epochs=self.epochs,
            packing=(self.algorithm or algorithm) if self.packs else None,
            pads_rows=pads and self.packs,
            long_samples=self.long_samples or usual,
            is_grouped=self.is_grouped,
        )


@frozen
class DataAnswer:
    """The answer.

    Attributes:
        data: the data set as the training runs through it.
        step: of rows of the mean length.
        parts: seconds of a step by part, in the mean over the data set; scaled by the measured step where there is one.
        measured_over_predicted: the user's own step over the predicted one; 1 where none was given.
        low_s, high_s: of a step, the 80 % interval.
        record: what measured steps like these were missed by; None where none is known.
        fit: whether its longest batch fits.
        price: None where the device has none.
        power, carbon: share of the power limit, kilograms of CO2 per joule, and who says so.
    """

    question: DataTraining
    data: DataSet
    step: TuningStep
    parts: Mapping[str, float] = field(hash=False)
    measured_over_predicted: float
    low_s: float
    high_s: float
    record: TrackRecord | None
    fit: Fit
    price: PriceRange | None
    power: Figure
    carbon: Figure

    @property
    def step_time_s(self) -> float:
        """Seconds of one step in the mean."""
        return sum(self.parts.values())

    @property
    def num_devices(self) -> int:
        """All that are held, at work or not."""
        return self.question.job.num_gpus

    @property
    def wall_s(self) -> float:
        """All steps, from first to last."""
        return self.data.num_steps * self.step_time_s

    def device_s(self, wall_s: float) -> float:
        """Device time of so many seconds."""
        return wall_s * self.num_devices

    @property
    def gpu_hours(self) -> float:
        """Device time in hours."""
        return self.device_s(self.wall_s) / HOUR_S

    def ends_s(self) -> tuple[float, float]:
        """The 80 % interval of wall_s."""
        return self.data.num_steps * self.low_s, self.data.num_steps * self.high_s

    @property
    def real_tokens_per_s(self) -> float:
        """Tokens of samples per second, padding not counted."""
        return self.data.real_tokens / (self.data.steps_per_epoch * self.step_time_s)

    @property
    def energy_j(self) -> float | None:
        """Of all boards; None where the limit is unpublished."""
        power_w = self.question.hardware.power_w
        return None if power_w is None else power_w * self.power.value * self.device_s(self.wall_s)


def train_on_data(question: DataTraining) -> DataAnswer:
    """What a fine-tuning on a data set takes.

    Raises:
        BadValueError: as `data_set` and `tuning_step`.
    """
    from estimators.facts.electricity import Figure, power_share, world_carbon
    from estimators.facts.prices import rent
    from estimators.spec import Source

    data = data_set(question.lengths, question.batching)
    job = replace(question.job, seq_len=data.longest_row)
    parts, step = _mean_parts(question, data)
    predicted_s = sum(parts.values())
    scale = 1.0 if question.measured_step_s is None else question.measured_step_s / predicted_s
    below, above = interval(job, calibrated=question.measured_step_s is not None)
    given = question.carbon_kg_per_j
    return DataAnswer(
        question=question,
        data=data,
        step=step,
        parts={name: seconds * scale for name, seconds in parts.items()},
        measured_over_predicted=scale,
        low_s=predicted_s * scale * below,
        high_s=predicted_s * scale * above,
        record=track_record("calibrated" if question.measured_step_s is not None else class_of(job)),
        fit=fit(job, question.hardware),
        price=rent(question.hardware.id, question.usd_per_gpu_hour),
        power=power_share(),
        carbon=world_carbon() if given is None else Figure(value=given, source=Source(title="given by --carbon")),
    )


def _mean_parts(question: DataTraining, data: DataSet) -> tuple[dict[str, float], TuningStep]:
    """Seconds of a step by part in the mean over the micro-batches of a data set, and the step of rows of the mean length."""

    def at(length: int) -> TuningStep:
        job = replace(question.job, seq_len=length)
        return tuning_step(job, question.hardware, square_share=data.square_share, own=question.own)

    nodes = _nodes(data.row_lengths)
    steps = [at(length) for length in nodes]
    mean, of_squares = [0.0] * len(nodes), 0.0
    times = [step.step_time_s for step in steps]
    place = 0
    for length, share in data.row_lengths:
        while place + 1 < len(nodes) - 1 and length > nodes[place + 1]:
            place += 1
        if len(nodes) == 1:
            mean[0] += share
            of_squares += share * times[0] ** 2
            continue
        upper = (length - nodes[place]) / (nodes[place + 1] - nodes[place])
        mean[place] += share * (1 - upper)
        mean[place + 1] += share * upper
        of_squares += share * (times[place] * (1 - upper) + times[place + 1] * upper) ** 2
    parts = {name: sum(w * float(step.ledger.parts[name]) for w, step in zip(mean, steps, strict=True)) for name in TUNING_PARTS}
    of_step = sum(parts.values())
    parts["wait"] = _waiting_s(of_step, of_squares, question.job)
    return parts, at(max(1, round(data.mean_row)))


def _nodes(row_lengths: tuple[tuple[int, float], ...]) -> list[int]:
    """Lengths to predict a step at: all of a few, else the first, the last, and those at equal shares between."""
    if len(row_lengths) <= NODES:
        return [length for length, _ in row_lengths]
    nodes, passed = [row_lengths[0][0]], 0.0
    for length, share in row_lengths:
        passed += share
        if passed >= len(nodes) / (NODES - 1) and length > nodes[-1]:
            nodes.append(length)
    if nodes[-1] != row_lengths[-1][0]:
        nodes.append(row_lengths[-1][0])
    return nodes


def _waiting_s(step_s: float, of_squares: float, job: TuningJob) -> float:
    """What the devices of a step wait for the one whose samples are longest, in the mean.

    A device's time is the sum of its micro-batches, each a random one: of spread s·√a over a of them. `of_squares` is of steps whose
    micro-batches are all alike, of spread s·a. See `longest_of`.
    """
    spread = math.sqrt(max(0.0, of_squares - step_s**2) / job.accumulation)
    return spread * longest_of(job.data_parallel)
