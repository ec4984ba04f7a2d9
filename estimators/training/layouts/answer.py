"""What is planned: the question with its limits, the best plan on each kind of device, and what else was asked of the one to take."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from estimators.cost.layout import parse_layout
from estimators.counting.estimate import count_active_params
from estimators.errors import BadValueError, RequestError
from estimators.facts.prices import PriceRange, rent
from estimators.frozen import frozen, replace
from estimators.spec import Workload
from estimators.training.answer import OnDevice
from estimators.training.layouts.deadline import PlanLimits, plan_within
from estimators.training.layouts.emit import emit, from_file
from estimators.training.layouts.feasibility import check_layout
from estimators.training.layouts.global_batch import PUBLISHED_BATCH, Batch
from estimators.training.layouts.job import Job
from estimators.training.layouts.launchers.setup import Setup
from estimators.training.layouts.planned import Option, Plan, option, plan
from estimators.training.layouts.restriction import ANYTHING, OnProgress, Restriction
from estimators.training.layouts.scaling import Point, scaling_curve
from estimators.training.layouts.sizing import FLOP_PER_PARAM_TOKEN, Sizing, compute_optimal
from estimators.training.layouts.what_if import WhatIf, what_if
from estimators.training.prediction import Prediction
from estimators.units import DAY_S, HOUR_S

Watching = Callable[[str], AbstractContextManager[OnProgress | None]]
"""Takes the name of a device, and is told while it lasts how far the search on that device is."""


@frozen
class PlanQuestion:
    """What is planned within which limits.

    Attributes:
        jobs: one for each kind of device.
        seq_len_source: who says how long sequences are; empty where it was given.
        tokens: None for a plan of one step, which needs `num_devices`.
        num_devices: exactly so many; None for as many as the limits ask for.
        usd_per_gpu_hour: in place of the quotes that were seen.
        num_options: layouts that are ranked.
        layout, launcher_file: one of the user's own, set beside the plan; empty without one.
        change: what would be otherwise, such as ``recompute=full``; empty without a question.
        scaling, compute_optimal: whether more devices are looked at, and the model that the compute is best spent on.
        budget_gpu_days: that compute; else that of the tokens.
    """

    jobs: tuple[Job, ...]
    seq_len_source: str = ""
    tokens: int | None = None
    num_devices: int | None = None
    max_devices: int | None = None
    deadline_s: float | None = None
    budget_usd: float | None = None
    usd_per_gpu_hour: float | None = None
    batch: Batch = PUBLISHED_BATCH
    restriction: Restriction = ANYTHING
    num_options: int = 5
    layout: str = ""
    launcher_file: str = ""
    change: str = ""
    scaling: bool = False
    compute_optimal: bool = False
    budget_gpu_days: int | None = None

    @property
    def wished_batch(self) -> Batch:
        """What is wished of a step's batch, with the tokens that it is a part of."""
        return replace(self.batch, training_tokens=self.tokens)

    def __post_init__(self) -> None:
        if self.scaling and self.tokens is None:
            raise BadValueError("--scaling needs to know how much is trained: add --tokens")
        if self.compute_optimal and self.budget_gpu_days is None and self.tokens is None:
            raise BadValueError("--compute-optimal needs a budget: add --budget-gpu-days, or --tokens")
        if self.layout and self.launcher_file:
            raise BadValueError("--layout and --from both give a layout; leave one out")


@frozen
class Choice(OnDevice[Plan]):
    """The plan on one kind of device and what that device costs, or why there is no plan."""

    price: PriceRange | None = None


@frozen
class BestSpent:
    """What an amount of compute is best spent on.

    Attributes:
        params: N, those of the planned model that a token uses.
        flop: 6·N·D.
        tokens: D, that so much compute trains that model on.
    """

    params: int
    flop: float
    tokens: float
    sizings: tuple[Sizing, ...]


@frozen
class Run:
    """What steady steps take for all tokens: seconds, and dollars where a price is known."""

    run_s: float
    cost_usd: float | None


@frozen
class Plans:
    """The plans, and what was asked of the first.

    Attributes:
        choices: one for each kind of device, the one to take first.
        batch_source: who trained with such a batch, or that it was given.
        own: the user's layout.
        own_notes: what the file that it is from says, and the answer does not heed.
    """

    question: PlanQuestion
    choices: tuple[Choice, ...]
    batch_source: str
    own: Option | None
    own_notes: tuple[str, ...]
    points: tuple[Point, ...]
    changed: WhatIf | None
    best_spent: BestSpent | None

    @property
    def best(self) -> Plan:
        """The plan to take."""
        best = self.choices[0].answer
        assert best is not None
        return best

    def run_of(self, step: Prediction) -> Run | None:
        """What the question's tokens take in such steps, at the median price; None where it names no tokens."""
        if self.question.tokens is None:
            return None
        run_s, price = step.run_s(self.question.tokens), rent(step.hardware.id, self.question.usd_per_gpu_hour)
        return Run(run_s=run_s, cost_usd=price.median * run_s * step.layout.num_devices / HOUR_S if price else None)


def answer_plan(question: PlanQuestion, watching: Watching = lambda _: nullcontext()) -> Plans:
    """The plans on every kind of device, and the rest of the answer for the best of them.

    Raises:
        RequestError: nothing keeps to the limits on any device, or the user's own layout breaks a rule.
    """
    choices = _choices(question, watching)
    best = choices[0].answer
    assert best is not None
    own, notes = _own(question, best)
    points: tuple[Point, ...] = ()
    if question.scaling and question.tokens is not None:
        points = scaling_curve(best.job, question.tokens, best.num_devices, best.global_batch, question.restriction)
    layout = own.layout if own is not None else best.best.layout
    return Plans(
        question=question,
        choices=choices,
        batch_source=best.job.batch_source(question.wished_batch, best.best.prediction.tokens_per_step) or "given",
        own=own,
        own_notes=notes,
        points=points,
        changed=what_if(best.job, layout, question.change) if question.change else None,
        best_spent=_best_spent(question, best) if question.compute_optimal else None,
    )


def launcher_text(answer: Plans, launcher: str) -> str:
    """The launcher's file of the user's own layout, or of the best. Raises BadValueError for an unknown launcher."""
    job, layout = answer.best.job, (answer.own or answer.best.best).layout
    setup = Setup(seq_len=job.seq_len, layers=job.work.layers, dtype=job.dtype, devices_per_node=job.hardware.devices_per_node or 8)
    return emit(layout, launcher, setup)


def _choices(question: PlanQuestion, watching: Watching) -> tuple[Choice, ...]:
    """The one to take first; without any plan, the reason of the only one or of all."""
    choices = [_choice(question, job, watching) for job in question.jobs]
    if all(choice.answer is None for choice in choices):
        raise BadValueError("; ".join(f"{choice.hardware.id}: {choice.reason}" for choice in choices)[:450])
    return tuple(sorted(choices, key=lambda choice: _rank(question, choice)))


def _choice(question: PlanQuestion, job: Job, watching: Watching) -> Choice:
    """The plan on one kind of device; a refusal is a reason where there are others."""
    price = rent(job.hardware.id, question.usd_per_gpu_hour)
    try:
        with watching(job.hardware.id) as on_progress:
            return Choice(hardware=job.hardware, answer=_plan(question, job, price, on_progress), price=price)
    except RequestError as error:
        if len(question.jobs) == 1:
            raise
        return Choice(hardware=job.hardware, reason=str(error), price=price)


def _plan(question: PlanQuestion, job: Job, price: PriceRange | None, on_progress: OnProgress | None) -> Plan:
    batch, restriction, num_options = question.wished_batch, question.restriction, question.num_options
    limits = PlanLimits(
        num_devices=question.num_devices,
        max_devices=question.max_devices,
        deadline_s=question.deadline_s,
        budget_usd=question.budget_usd,
        usd_per_gpu_hour=price.median if price else None,
    )
    if question.tokens is None:
        assert question.num_devices is not None
        return plan(job, question.num_devices, batch, restriction, num_options=num_options, on_progress=on_progress)
    return plan_within(job, question.tokens, limits, batch, restriction, num_options=num_options, on_progress=on_progress)


def _rank(question: PlanQuestion, choice: Choice) -> tuple[bool, float]:
    """The cheapest where a deadline is met by all of them and prices are known, else the fastest."""
    if choice.answer is None:
        return True, 0.0
    if question.tokens is None:
        return False, choice.answer.best.prediction.step_time_s
    if question.deadline_s is not None and choice.price is not None:
        return False, choice.answer.gpu_hours(question.tokens) * choice.price.median
    return False, choice.answer.run_s(question.tokens) if question.deadline_s is None else float("inf")


def _own(question: PlanQuestion, best: Plan) -> tuple[Option | None, tuple[str, ...]]:
    """The user's layout on the devices and with the batch of the best, None without one; what its file says that is not heeded."""
    notes: tuple[str, ...] = ()
    if question.launcher_file:
        file = from_file(question.launcher_file, num_devices=best.num_devices, global_batch=best.global_batch)
        file.demand(dtype=best.job.dtype, seq_len=best.job.seq_len, optimizer=best.job.optimizer_kind)
        layout, notes = file.layout, file.notes
        if (layout.num_devices, layout.global_batch) != (best.num_devices, best.global_batch):
            raise BadValueError(
                f"the layout of {question.launcher_file!r} is for {layout.num_devices:,} GPUs and {layout.global_batch:,} sequences "
                f"a step; give --gpus {layout.num_devices} --global-batch {layout.global_batch}seq"
            )
    elif question.layout:
        layout = parse_layout(question.layout, num_devices=best.num_devices, global_batch=best.global_batch)
    else:
        return None, ()
    check_layout(best.job, layout)
    return option(best.job, layout, best.best.prediction), notes


def _best_spent(question: PlanQuestion, best: Plan) -> BestSpent:
    """Of a budget at the rate of the plan, else of the training's own compute."""
    if question.budget_gpu_days is not None:
        tokens: float = question.budget_gpu_days * DAY_S * best.best.prediction.tokens_per_s_per_device
    else:
        assert question.tokens is not None
        tokens = question.tokens
    params = count_active_params(best.job.trained.ops(Workload(phase="train", seq_len=best.job.seq_len)))
    flop = FLOP_PER_PARAM_TOKEN * params * tokens
    return BestSpent(params=params, flop=flop, tokens=tokens, sizings=compute_optimal(flop))
