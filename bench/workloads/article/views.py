"""Daily views of a video channel: the synthetic process, the user's own file, and windows of days. Standard library only."""

from __future__ import annotations

import datetime
import math
import random
from dataclasses import dataclass

from bench.workloads.article.tables import read_views
from estimators.errors import BadValueError

FIRST_DAY = datetime.date(2017, 1, 1)
NUM_DAYS = 1826
"""2017 to 2021."""
HELDOUT_FRACTION = 0.2
"""The last fifth in time is held out, of the synthetic days the 365 of 2021; not drawn at random, since the future is to be predicted."""
LONGEST_WINDOW = 56
"""Every model predicts the same days, from the 57th on, so that the losses of 1 and of 56 days can be compared."""
MIN_PREDICTED_DAYS = 50

WEEKDAY_FACTORS = (1.10, 1.08, 1.05, 1.02, 0.80, 0.72, 1.23)
"""Monday to Sunday: a channel of lectures is watched least on Friday and Saturday, and most on Sunday evening."""
HOLIDAYS = frozenset({(1, 1), (1, 2), (5, 1), (5, 2), (5, 3), (10, 1), (10, 2), (10, 3), (10, 4), (10, 5), (12, 24), (12, 25), (12, 31)})
HOLIDAY_FACTOR = 0.65
LEVEL_VIEWS, YEARLY_GROWTH, SEASON = 3000.0, 0.06, 0.08

INTEREST_FLOOR, INTEREST_CARRIED = 0.35, 0.30
RECOMMENDED_GAIN, RECOMMENDED_FROM, RECOMMENDED_WIDTH = 0.50, 0.85, 0.05
NOISE = 0.13


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """A series of daily views.

    Attributes:
        views: per day, in order of time.
        expected: what the process itself expected of each day, given the days before; None for the user's own file.
        label: where the numbers come from: "synthetic, seed 0" or the file's name.
    """

    views: tuple[float, ...]
    expected: tuple[float, ...] | None
    label: str

    def num_heldout(self) -> int:
        """Days held out, the last ones."""
        return int(len(self.views) * HELDOUT_FRACTION)

    def num_train(self, days: int, train_days: int | None = None) -> int:
        """Days that a model which looks back `days` days is trained to predict.

        Args:
            train_days: as many are wanted, the last before the held-out ones; None takes all.

        Raises:
            BadValueError: there are not so many.
        """
        most = len(self.views) - self.num_heldout() - first_predicted(days)
        if train_days is not None and train_days > most:
            raise BadValueError(
                f"--train-days {train_days} is more than the {most:,} days that {self.label!r} has between the {first_predicted(days)} "
                "to look back on and the held-out ones; give fewer, or leave it out for all"
            )
        return most if train_days is None else train_days


def first_predicted(days: int) -> int:
    """Index of the first day that is predicted."""
    return max(LONGEST_WINDOW, days)


def synthetic(seed: int) -> Views:
    """Five years of views from a seeded process.

    views(t) = level(t) · weekday(t) · holiday(t) · interest(t)

    - level: 3,000 views, 6 % more per year, with a season of ±8 %.
    - weekday: see WEEKDAY_FACTORS. holiday: 0.65 on fixed dates, which no model is told.
    - interest(t) = 0.35 + 0.30·interest(t-1) + 0.50·sigmoid((interest(t-1) - 0.85) / 0.05) + 0.13·noise(t): a channel
      that did well yesterday is recommended today, and one that did badly is not. The sigmoid is the switch between the
      two, and makes tomorrow a genuinely nonlinear function of the days before; noise is standard normal.

    A model sees past views only, so more days tell it more (the weekday, the level behind the noise), a straight line
    misses the switch, and nothing can do better than the process's own expectation by more than luck.
    """
    draw = random.Random(seed)
    views, expected, interest = [], [], 1.0
    for t in range(NUM_DAYS):
        scale = _scale(t)
        recommended = RECOMMENDED_GAIN / (1 + math.exp(-(interest - RECOMMENDED_FROM) / RECOMMENDED_WIDTH))
        mean = INTEREST_FLOOR + INTEREST_CARRIED * interest + recommended
        interest = max(0.05, mean + NOISE * draw.gauss(0, 1))
        views.append(scale * interest)
        expected.append(scale * mean)
    return Views(views=tuple(views), expected=tuple(expected), label=f"synthetic, seed {seed}")


def _scale(t: int) -> float:
    day = FIRST_DAY + datetime.timedelta(days=t)
    level = LEVEL_VIEWS * (1 + YEARLY_GROWTH * t / 365) * (1 + SEASON * math.sin(2 * math.pi * t / 365.25))
    return level * WEEKDAY_FACTORS[day.weekday()] * (HOLIDAY_FACTOR if (day.month, day.day) in HOLIDAYS else 1.0)


def load(data: str | None, *, seed: int, days: int) -> Views:
    """The user's own file, or the synthetic series.

    Raises:
        BadValueError: a malformed row, named by its line, too few days for a model that looks back `days` days, or no variation.
        UnavailableError: the file cannot be read.
    """
    series = synthetic(seed) if data is None else Views(views=read_views(data), expected=None, label=data)
    needed = first_predicted(days) + MIN_PREDICTED_DAYS
    if len(series.views) < needed:
        raise BadValueError(
            f"{series.label!r} has {len(series.views)} days of views; expected {needed} or more: {first_predicted(days)} to look back on "
            f"(the same for every model, so that losses compare) and {MIN_PREDICTED_DAYS} to predict"
        )
    past = series.views[: -series.num_heldout()]
    if min(past) == max(past):
        raise BadValueError(
            f"{series.label!r} has {past[0]:g} views on every training day; expected numbers that vary: there is nothing to learn"
        )
    return series


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Normalised views, cut into what a model sees and what it is to predict.

    Attributes:
        mean, std: of the views of all days before the held-out ones (population), however few are trained on, so that losses
            compare; a normalised value is (views - mean) / std.
        inputs: per predicted day the `days` values before it, the oldest first.
        targets: per predicted day its value.
        num_train: how many of them, from the first, are for training.
    """

    mean: float
    std: float
    inputs: list[list[float]]
    targets: list[float]
    num_train: int


def windows(series: Views, days: int, train_days: int | None = None) -> Windows:
    """Cut a series for a model that looks back `days` days; its held-out days come after all training days.

    Args:
        train_days: see Views.num_train; the held-out days are the same for any.

    Raises:
        BadValueError: see Views.num_train.

    >>> cut = windows(synthetic(0), 7)
    >>> len(cut.inputs[0]), cut.num_train, len(cut.targets) - cut.num_train
    (7, 1405, 365)
    >>> few = windows(synthetic(0), 7, 30)
    >>> few.num_train, few.inputs[30:] == cut.inputs[1405:]
    (30, True)
    """
    past = series.views[: -series.num_heldout()]
    mean = math.fsum(past) / len(past)
    std = math.sqrt(math.fsum((v - mean) ** 2 for v in past) / len(past))
    values = [(v - mean) / std for v in series.views]
    num_train = series.num_train(days, train_days)
    predicted = range(len(values) - series.num_heldout() - num_train, len(values))
    return Windows(
        mean=mean,
        std=std,
        inputs=[values[t - days : t] for t in predicted],
        targets=[values[t] for t in predicted],
        num_train=num_train,
    )


def naive_losses(series: Views, cut: Windows) -> dict[str, float]:
    """Held-out mean squared error, in normalised views, of predictors that need no training."""
    values = [(v - cut.mean) / cut.std for v in series.views]
    heldout = range(len(values) - series.num_heldout(), len(values))

    def loss(predict: list[float]) -> float:
        return math.fsum((predict[t] - values[t]) ** 2 for t in heldout) / len(heldout)

    return {
        "mean of the days before": loss([0.0] * len(values)),
        "as yesterday": loss([0.0, *values[:-1]]),
        "as a week ago": loss([0.0] * 7 + values[:-7]),
    }


def bound_loss(series: Views, cut: Windows) -> float | None:
    """Held-out loss of the process's own expectation, which also knows the holidays; None for the user's own file."""
    if series.expected is None:
        return None
    heldout = range(len(series.views) - series.num_heldout(), len(series.views))
    return math.fsum(((series.expected[t] - series.views[t]) / cut.std) ** 2 for t in heldout) / len(heldout)
