"""What a training costs: the answers to a question."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from estimators.counting.conventions import usual_convention
from estimators.counting.estimate import count_params
from estimators.frozen import frozen, replace
from estimators.spec import Hardware, Model, Workload
from estimators.training.at_utilization import TrainingRun, timed_run, training_flop, training_run, training_state_bytes
from estimators.training.question import Question
from estimators.training.shares import shares_at, shares_of_peak
from estimators.units import format_count, format_int

if TYPE_CHECKING:
    from estimators.facts.electricity import Figure
    from estimators.facts.prices import PriceRange
    from estimators.facts.published_runs import UtilizationRange
    from estimators.training.run import PredictedRun

T = TypeVar("T")


@frozen
class TrainingAnswer:
    """A training at one utilization or at several.

    Attributes:
        params_text: the published count, as printed; empty for a model of a file.
        item: token, or sample for a model without sequences.
        work: what is trained on in the user's words; empty for as many tokens or samples.
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
    work: str = ""
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
    def activation_bytes(self) -> int:
        """What backward keeps of one sequence or sample, beside the state, of all but attention: a fused kernel keeps next to nothing."""
        ops = self.model.ops(Workload(phase="train", seq_len=self.seq_len, dtype=self.dtype))
        return sum(op.count * op.saved_bytes for op in ops if op.kind != "attention")

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
        """Such as ``300 B tokens``, or as the user put it."""
        return self.work or f"{format_count(self.tokens)} {self.item}s"


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
        work=question.work,
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
    why = "" if question.utilization is not None else question.why_not_predicted
    shares, source = _shares(question, why)
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


def _shares(question: Question, why: str) -> tuple[dict[str, float], str]:
    """Label to share of peak, and who says so."""
    from estimators.architectures.joined import Joined  # deferred: most questions are of other models

    model, hardware = question.trained, question.hardware
    assert hardware is not None
    if isinstance(model, Joined) and question.utilization is None:
        from estimators.training.example_rates import example_rate

        if (rate := example_rate(question, model)) is not None:
            return shares_at(rate, model, hardware, question.dtype), rate.said
    return shares_of_peak(model, hardware, question.utilization, why, dtype=question.dtype, seq_len=question.seq_len)


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
