"""What a training costs: the question with everything that the user decided, and its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from estimators.counting.conventions import usual_convention
from estimators.counting.estimate import count_params
from estimators.frozen import frozen, replace
from estimators.method import FULL, TrainingMethod
from estimators.spec import Hardware, Model, Workload
from estimators.training.at_utilization import TrainingRun, timed_run, training_flop, training_run, training_state_bytes
from estimators.training.layouts.global_batch import PUBLISHED_BATCH, Batch
from estimators.training.shares import shares_of_peak
from estimators.units import format_count, format_int

if TYPE_CHECKING:
    from estimators.cost.machine import MeasuredRates
    from estimators.facts.electricity import Figure
    from estimators.facts.prices import PriceRange
    from estimators.facts.published_runs import UtilizationRange
    from estimators.training.layouts.job import Job
    from estimators.training.run import PredictedRun

T = TypeVar("T")


@frozen
class Question:
    """A training, decided but for what is left to be planned.

    Attributes:
        method: how it is trained.
        params_text: the published count, as printed; empty for a model of a file.
        tokens: None for those of one sequence, which stands for any number of them.
        seq_len_source: who says how long sequences are; empty where it was given.
        convention: under which the share of peak is counted; None is `full` for one that is given, and what an MFU counts for one that is
            predicted or assumed.
        num_devices: None where they are chosen.
        utilization: share of the dense peak; None predicts the step, or takes what published runs reached.
        layout: such as ``tp=2,pp=1``; empty where it is chosen.
        layout_notes: what the launcher's file that it is from says, and the answer does not heed.
        stack_id: the software; None for the one that is usual.
        network_bytes_per_s, own: measured by the user, in place of the shipped figures.
        memory_margin: share of a device's memory that a chosen layout leaves free; None for the usual one.
        usd_per_gpu_hour, carbon_kg_per_j: in place of the quotes that were seen, and of the world's average.
        framework, checkpointing: of a fine-tuning, as `Job` has them.
    """

    model: Model
    hardware: Hardware | None
    seq_len: int
    seq_len_source: str = ""
    method: TrainingMethod = FULL
    params_text: str = ""
    tokens: int | None = None
    dtype: str = "bf16"
    convention: str | None = None
    num_devices: int | None = None
    utilization: float | None = None
    layout: str = ""
    layout_notes: tuple[str, ...] = ()
    batch: Batch = PUBLISHED_BATCH
    stack_id: str | None = None
    optimizer: str = "adamw"
    network_bytes_per_s: float | None = None
    own: MeasuredRates | None = None
    memory_margin: float | None = None
    usd_per_gpu_hour: float | None = None
    carbon_kg_per_j: float | None = None
    framework: str = ""
    checkpointing: str = ""

    @property
    def trained(self) -> Model:
        """The model as the method trains it. Raises BadValueError where the model does not have what the method names."""
        if self.method == FULL:
            return self.model
        from estimators.architectures.adapters import trained  # deferred: most questions do without it

        return trained(self.model, self.method)

    @property
    def num_tokens(self) -> int:
        """Those that were given, or of one sequence."""
        return self.tokens or self.seq_len

    @property
    def wished_batch(self) -> Batch:
        """What is wished of a step's batch, with the tokens that it is a part of."""
        return replace(self.batch, training_tokens=self.tokens)

    @property
    def is_predicted(self) -> bool:
        """Whether the step is predicted: on a device, of a model that is covered, where no utilization is given."""
        return self.hardware is not None and self.utilization is None and not _why_not_predicted(self)

    @property
    def job(self) -> Job:
        """What is trained on what.

        Raises:
            BadValueError: a model or an optimizer that no step is predicted of.
        """
        from estimators.training.layouts.job import Job

        assert self.hardware is not None
        return Job(
            model=self.model,
            method=self.method,
            hardware=self.hardware,
            seq_len=self.seq_len,
            dtype=self.dtype,
            stack_id=self.stack_id or "",
            optimizer=self.optimizer,
            network_bytes_per_s=self.network_bytes_per_s,
            own=self.own,
            memory_margin=self.memory_margin,
            framework=self.framework,
            checkpointing=self.checkpointing,
        )


@frozen
class TrainingAnswer:
    """A training at one utilization or at several.

    Attributes:
        params_text: the published count, as printed; empty for a model of a file.
        item: token, or sample for a model without sequences.
        seq_len_source: who says how long sequences are; empty where it was given.
        training_flop: of all tokens, by convention, and `6nd`.
        num_devices: None where none was given: then nothing has a wall time.
        runs, labels: one per utilization: given or predicted, or low, median, high.
        utilization_source: who says that such a share is reached.
        price_reason: why there is no price, where there is none.
        layout_notes: what a launcher's file says that is not heeded.
    """

    model: Model
    params: int
    params_text: str
    item: str
    tokens: int
    seq_len: int
    seq_len_source: str
    dtype: str
    convention: str
    training_flop: dict[str, int]
    hardware: Hardware | None = None
    num_devices: int | None = None
    runs: tuple[TrainingRun, ...] = ()
    labels: tuple[str, ...] = ()
    utilization_source: str = ""
    price: PriceRange | None = None
    price_reason: str = ""
    layout_notes: tuple[str, ...] = ()

    @property
    def middle(self) -> int:
        """Index of the run that stands for all: the only one, or the median."""
        return len(self.runs) // 2

    @property
    def flop(self) -> int:
        """Of the whole training, under the chosen convention."""
        return self.training_flop[self.convention]

    @property
    def state_bytes(self) -> int:
        """What training holds besides activations: weights, gradients, optimizer state, low-precision copies."""
        return training_state_bytes(self.model, self.dtype)

    @property
    def devices_text(self) -> str:
        """Such as ``1,024 x a100-sxm4-80gb``."""
        assert self.hardware is not None
        return f"{format_int(self.num_devices)} x {self.hardware.id}" if self.num_devices else self.hardware.id

    @property
    def work_text(self) -> str:
        """Such as ``300 B tokens in sequences of 2,048``."""
        return f"{self.items_text} in sequences of {format_int(self.seq_len)}" if self.item == "token" else self.items_text

    @property
    def items_text(self) -> str:
        """Such as ``300 B tokens``."""
        return f"{format_count(self.tokens)} {self.item}s"


@frozen
class PredictedAnswer:
    """A training whose step is predicted: its share of peak is then the one utilization of `training`.

    Attributes:
        power, carbon: share of the power limit, kilograms of CO2 per joule, and who says so.
        published: the shares of peak that published runs reached on this architecture.
    """

    training: TrainingAnswer
    run: PredictedRun
    power: Figure
    carbon: Figure
    published: UtilizationRange

    @property
    def published_s(self) -> float:
        """Wall time at the median share of the published runs."""
        p = self.run.prediction
        peak = p.hardware.peak(self.training.dtype)
        return self.training.flop / (peak * self.published.median) / p.layout.num_devices


@frozen
class OnDevice(Generic[T]):
    """The answer on one kind of device, or the reason why there is none."""

    hardware: Hardware
    answer: T | None = None
    reason: str = ""


def _why_not_predicted(question: Question) -> str:
    from estimators.training.supported import why_not_predicted  # deferred: with a utilization nobody asks

    return why_not_predicted(question.trained, question.seq_len)


def _usual(question: Question, run: PredictedRun | None) -> str:
    """What the share of peak counts where nobody said."""
    if run is not None:
        return run.prediction.convention
    if question.hardware is None or question.utilization is not None:
        return "full"
    return usual_convention(question.trained.ops(Workload(phase="train", seq_len=question.seq_len)))


def training_answer(question: Question, run: PredictedRun | None = None) -> TrainingAnswer:
    """The training at the utilization of a predicted run, at the one given, or at those that published runs reached.

    Raises:
        BadValueError: no peak for the dtype, or a utilization out of range.
    """
    model, hardware, seq_len, tokens = question.trained, question.hardware, question.seq_len, question.num_tokens
    flop = training_flop(model, tokens, seq_len)
    num_devices = run.prediction.layout.num_devices if run is not None else question.num_devices
    convention = question.convention or _usual(question, run)
    answer = TrainingAnswer(
        model=model,
        params=count_params(model.ops(Workload(phase="train", seq_len=seq_len))),
        params_text=question.params_text,
        item=model.item,
        tokens=tokens,
        seq_len=seq_len,
        seq_len_source=question.seq_len_source,
        dtype=question.dtype,
        convention=convention,
        training_flop=flop,
        hardware=hardware,
        num_devices=num_devices,
        layout_notes=question.layout_notes,
    )
    if hardware is None:
        return answer
    from estimators.facts.prices import rent  # deferred: a question without a device has no price

    price = rent(hardware.id, question.usd_per_gpu_hour)
    no_price = "" if price else f"no rental price of {hardware.id} is known; give one with --price USD"
    answer = replace(answer, price=price, price_reason=no_price)
    if run is not None:
        return _at_its_predicted_share(answer, run)
    why = "" if question.utilization is not None else _why_not_predicted(question)
    shares, source = shares_of_peak(question.trained, hardware, question.utilization, why)
    runs = tuple(
        training_run(
            model,
            tokens=tokens,
            seq_len=seq_len,
            hardware=hardware,
            num_devices=num_devices or 1,
            utilization=share,
            dtype=question.dtype,
            counted_as=convention,
        )
        for share in shares.values()
    )
    return replace(answer, runs=runs, labels=tuple(shares), utilization_source=source)


def _at_its_predicted_share(answer: TrainingAnswer, run: PredictedRun) -> TrainingAnswer:
    """The answer at the share of peak that follows from a predicted run."""
    hardware, num_devices = run.prediction.hardware, run.prediction.layout.num_devices
    device_s = run.wall_s * num_devices
    share = answer.flop / (device_s * hardware.peak(answer.dtype))
    counted = "" if answer.convention == "full" else f" --convention {answer.convention}"
    source = f"predicted from first principles, not assumed; --utilization{f' with{counted}' if counted else ''} sets your own."
    if share > 1:
        source += f" No kernel runs all that is counted {answer.convention}, so that the share passes the peak."
    timed = timed_run(
        answer.model,
        tokens=answer.tokens,
        seq_len=answer.seq_len,
        hardware=hardware,
        num_devices=num_devices,
        gpu_seconds=device_s,
        utilization=share,
        counted_as=answer.convention,
    )
    return replace(answer, runs=(timed,), labels=("predicted",), utilization_source=source)


def predicted_answer(question: Question, run: PredictedRun) -> PredictedAnswer:
    """A predicted run with everything that is said beside it. Raises BadValueError where the device has no peak for the dtype."""
    from estimators.facts.electricity import Figure, power_share, world_carbon
    from estimators.facts.registry import utilization_range
    from estimators.spec import Source

    given = question.carbon_kg_per_j
    return PredictedAnswer(
        training=training_answer(question, run),
        run=run,
        power=power_share(),
        carbon=world_carbon() if given is None else Figure(value=given, source=Source(title="given by --carbon")),
        published=utilization_range(run.prediction.hardware),
    )


def predict(question: Question) -> PredictedAnswer:
    """The training with its step predicted: on the devices given, or on the fewest that hold it well.

    Raises:
        RequestError: as predicted_run.
    """
    from estimators.training.run import predicted_run  # deferred: an answer at a utilization needs no layout

    run = predicted_run(
        question.job,
        tokens=question.num_tokens,
        num_devices=question.num_devices,
        batch=question.wished_batch,
        layout=question.layout,
    )
    return predicted_answer(question, run)
