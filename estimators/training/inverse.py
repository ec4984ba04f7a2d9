"""`estimate` of a whole training: its answer, and the answers to the question put the other way round: a claim, a deadline, a budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.frozen import frozen
from estimators.training.answer import PredictedAnswer, TrainingAnswer, predict, predicted_answer, training_answer
from estimators.training.at_utilization import devices_for_deadline, tokens_for_budget
from estimators.training.question import Question
from estimators.units import DAY_S, HOUR_S

if TYPE_CHECKING:
    from estimators.spec import Recompute
    from estimators.training.claim import Claim


@frozen
class Inverse:
    """What is given in place of what is usually asked for.

    Attributes:
        claimed_s: a wall time whose utilization is asked for.
        deadline_s: within which so many devices finish.
        budget_usd, budget_gpu_days: into which so many tokens fit.
    """

    claimed_s: float | None = None
    deadline_s: float | None = None
    budget_usd: int | None = None
    budget_gpu_days: int | None = None


@frozen
class Budget:
    """What one budget of device time buys.

    Attributes:
        usd_per_gpu_hour: the price that made money of it; None for a budget of device time.
        tokens: at each utilization of the answer.
    """

    gpu_seconds: float
    usd_per_gpu_hour: float | None
    tokens: tuple[int, ...]


@frozen
class TrainingEstimate:
    """All that `estimate` answers of a whole training.

    Attributes:
        predicted: where the step is predicted.
        claim: a claimed wall time among the published runs and against physics.
        in_time: the training on the devices that a deadline asks for, where the step is predicted.
        deadline_num_devices: they, at each utilization of `training`; empty without a deadline.
        budgets: one for each price; empty without a budget.
    """

    inverse: Inverse
    training: TrainingAnswer
    predicted: PredictedAnswer | None
    claim: Claim | None
    in_time: PredictedAnswer | None
    deadline_num_devices: tuple[int, ...]
    budgets: tuple[Budget, ...]


def estimate_training(question: Question, inverse: Inverse) -> TrainingEstimate:
    """The answer to a question and to its inverse.

    A deadline without a number of devices or a layout is answered by the training on those that meet it.

    Raises:
        BadValueError: nothing meets the deadline; or as `predict`.
    """
    deadline_s, predicted, in_time = inverse.deadline_s, None, None
    if question.is_predicted:
        devices_are_asked = deadline_s is not None and question.num_devices is None and not question.layout
        predicted = None if devices_are_asked else predict(question)
        in_time = None if deadline_s is None else _in_time(question, deadline_s)
        predicted = predicted or in_time
    training = predicted.training if predicted else training_answer(question)
    return TrainingEstimate(
        inverse=inverse,
        training=training,
        predicted=predicted,
        claim=None if inverse.claimed_s is None else claim_of(question, inverse.claimed_s),
        in_time=in_time,
        deadline_num_devices=() if deadline_s is None or in_time else _devices_in_time(training, deadline_s),
        budgets=tuple(_budget(training, *budget) for budget in _budgets(training, inverse)),
    )


def claim_of(question: Question, claimed_s: float, recompute: Recompute = "none") -> Claim:
    """A claimed wall time of the training, which has a device, a number of them and tokens.

    Raises:
        BadValueError: as check_claim.
    """
    from estimators.training.claim import check_claim  # deferred: it reads every published run

    assert question.hardware is not None
    assert question.num_devices is not None
    return check_claim(
        question.trained,
        tokens=question.num_tokens,
        seq_len=question.seq_len,
        hardware=question.hardware,
        num_devices=question.num_devices,
        wall_s=claimed_s,
        dtype=question.dtype,
        recompute=recompute,
    )


def _in_time(question: Question, deadline_s: float) -> PredictedAnswer:
    """The training on the fewest devices that are planned to meet a deadline. Raises BadValueError where none do."""
    from estimators.training.layouts.deadline import PlanLimits, plan_within
    from estimators.training.run import run_of

    plan = plan_within(question.job, question.num_tokens, PlanLimits(deadline_s=deadline_s), question.wished_batch, num_options=1)
    return predicted_answer(question, run_of(plan, question.num_tokens, question.wished_batch))


def _devices_in_time(training: TrainingAnswer, deadline_s: float) -> tuple[int, ...]:
    assert training.hardware is not None
    return tuple(
        devices_for_deadline(
            training.model,
            tokens=training.tokens,
            seq_len=training.seq_len,
            hardware=training.hardware,
            wall_s=deadline_s,
            utilization=run.utilization,
            dtype=training.dtype,
            counted_as=training.convention,
        )
        for run in training.runs
    )


def _budgets(training: TrainingAnswer, inverse: Inverse) -> list[tuple[float, float | None]]:
    """Device time, and the price that made it of money: as given, or at the high, median and low price."""
    budgets: list[tuple[float, float | None]] = []
    if inverse.budget_gpu_days is not None:
        budgets.append((float(inverse.budget_gpu_days * DAY_S), None))
    if inverse.budget_usd is not None and training.price is not None:
        prices = dict.fromkeys((training.price.high, training.price.median, training.price.low))
        budgets += [(inverse.budget_usd / price * HOUR_S, price) for price in prices]
    return budgets


def _budget(training: TrainingAnswer, gpu_seconds: float, usd_per_gpu_hour: float | None) -> Budget:
    assert training.hardware is not None
    tokens = tuple(
        tokens_for_budget(
            training.model,
            seq_len=training.seq_len,
            hardware=training.hardware,
            gpu_seconds=gpu_seconds,
            utilization=run.utilization,
            dtype=training.dtype,
            counted_as=training.convention,
        )
        for run in training.runs
    )
    return Budget(gpu_seconds=gpu_seconds, usd_per_gpu_hour=usd_per_gpu_hour, tokens=tokens)
