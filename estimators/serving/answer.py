"""serve: how many users a deployment has room for within limits, how fast, what tokens cost, and what holds it back at each load."""

from __future__ import annotations

import math

from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.serving.budget import Budget, budget
from estimators.serving.curve import Curve, Point, load_points
from estimators.serving.cuts import Nearest, nearest_that_fit
from estimators.serving.question import ServeQuestion


@frozen
class ServeAnswer:
    """What a deployment does.

    Attributes:
        question: as asked, its max_model_len decided.
        budget: memory of a device.
        fits: whether it starts, and has room for a request.
        nearest: what does where it does not.
        points: the curve, by users in flight.
        best: the most users in flight within the limits; None where even one is too many.
        users_interval: 80 %: the same where latencies are at the far ends of their intervals, and at the near ones.
        at_rate: one of the replicas under its share of the rate that was asked about; None where none was, or no number keeps the limits.
        num_replicas: that the users, or the rate, ask for; 1 where neither was given; None where no replica keeps the limits.
        notes: what was decided.
    """

    question: ServeQuestion
    budget: Budget
    fits: bool
    nearest: tuple[Nearest, ...]
    points: tuple[Point, ...]
    best: Point | None
    users_interval: tuple[int, int] = (0, 0)
    at_rate: Point | None = None
    num_replicas: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def num_gpus(self) -> int:
        """Of one replica."""
        return self.question.deployment.num_devices

    @property
    def num_gpus_in_all(self) -> int | None:
        """Of all replicas."""
        return None if self.num_replicas is None else self.num_replicas * self.num_gpus

    @property
    def shown(self) -> Point | None:
        """The point that figures in one sentence are of: under the rate that was asked about, else of the most users within the limits."""
        return self.at_rate or self.best or (self.points[0] if self.points else None)


def serve(question: ServeQuestion) -> ServeAnswer:
    """What a deployment does under a load.

    Raises:
        BadValueError: a cut or a format that the model or the device has not, a request longer than max_model_len.
        PhysicsError: blocks that no such device has room for.
    """
    question, notes = _with_length(question)
    found = budget(question.deployment)
    if not found.fits or found.concurrency(question.tokens) < found.groups:
        nearest = nearest_that_fit(question.deployment, question.tokens)
        return ServeAnswer(question=question, budget=found, fits=False, nearest=nearest, points=(), best=None, notes=notes)
    curve = Curve(question, found)
    points = tuple(curve.point(users) for users in load_points(*question.users))
    users = curve.most_users()
    best, shared, replicas = None if users is None else curve.point(users), None, None
    if best is not None and question.rate_per_s is not None:
        replicas = curve.replicas_at(question.rate_per_s)
        shared = None if replicas is None else curve.described(curve.at_rate(question.rate_per_s / replicas))
    elif best is not None:
        replicas = math.ceil((question.num_users or 1) / float(best.load.users))
    return ServeAnswer(
        question=question,
        budget=found,
        fits=True,
        nearest=(),
        points=points,
        best=best,
        users_interval=curve.users_interval(),
        at_rate=shared,
        num_replicas=replicas,
        notes=notes,
    )


def _with_length(question: ServeQuestion) -> tuple[ServeQuestion, tuple[str, ...]]:
    """The question with the longest sequence that has room where nobody said and the model's own has none. Raises BadValueError."""
    d = question.deployment
    if d.max_model_len is not None:
        if question.tokens > d.max_model_len:
            raise BadValueError(
                f"a request of {question.tokens:,} tokens is more than --max-model-len {d.max_model_len:,}; expected at least as many"
            )
        return question, ()
    own = d.model.max_positions
    if question.tokens > own:
        raise BadValueError(f"a request of {question.tokens:,} tokens is more than the {own:,} that {d.model.name} was made for")
    found = budget(d)
    if found.fits or found.longest < question.tokens:
        return question, ()
    said = f"--max-model-len {found.longest} is taken: the model's own {own:,} tokens have no room, and the engine would not start"
    return replace(question, deployment=replace(d, max_model_len=found.longest)), (said,)
