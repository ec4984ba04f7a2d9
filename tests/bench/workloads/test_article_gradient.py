"""The article's loop, written out by hand: our training through torch and accelerate takes the same steps."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch

from bench.records.asked import Asked
from bench.records.draft import Draft
from bench.records.request import Request
from bench.runs.decide import decide
from bench.sampling.clock import HostClock
from bench.workloads.article import views
from bench.workloads.article.batches import Rows, loader
from bench.workloads.article.engine import engine
from bench.workloads.article.networks import build
from bench.workloads.article.run import ArticleRun
from bench.workloads.article.subjects import _squared_error
from bench.workloads.article.training import Trainer, TrainingLimits, optimizer_of, train
from bench.workloads.article.workload import train_and_report

LINE = {"model_type": "dense_network", "widths": [1, 1], "activation": "none"}
X, Y = [-1.5, 0.25, 2.0, 0.5], [1.0, -0.5, 3.0, 0.125]


def article_step(b: float, w: float, xs: list[float], ys: list[float], learning_rate: float) -> tuple[float, float]:
    """One iteration of the article's loop. Its gradients, one per sample, are averaged.

    gradient_b = -2 * (Y - (b + w * X));  gradient_w = -2 * X * (Y - (b + w * X))
    """
    gradient_b = math.fsum(-2 * (y - (b + w * x)) for x, y in zip(xs, ys, strict=True)) / len(xs)
    gradient_w = math.fsum(-2 * x * (y - (b + w * x)) for x, y in zip(xs, ys, strict=True)) / len(xs)
    return b - learning_rate * gradient_b, w - learning_rate * gradient_w


def decided(config: dict[str, Any] = LINE, **fields: Any) -> ArticleRun:
    run = decide(Request(model="linreg-1d" if config == LINE else "own", config=config, task="train", device="cpu", **fields))
    assert isinstance(run, ArticleRun)
    return run


def trained_line(num_steps: int, learning_rate: float, config: dict[str, Any] = LINE) -> list[float]:
    """b and w after so many steps of our own training, b first."""
    run = decided(config, learning_rate=learning_rate)
    rows = Rows(torch.tensor(X)[:, None], torch.tensor(Y)[:, None])
    with engine(run.device, run.dtype) as (accelerator, _):
        network = build(config)
        model, optimizer, batches = accelerator.prepare(network, optimizer_of(run, network), loader(rows, 4, num_ranks=1, seed=None))
        trainer = Trainer(accelerator=accelerator, model=model, optimizer=optimizer, schedule=None, losses=_squared_error, batch=4)
        log = train(trainer, batches, TrainingLimits(epochs=num_steps), HostClock(), after_epoch=lambda epoch: None)
    assert len(log.steps) == num_steps
    layer = network[0]
    return [layer.bias.item(), layer.weight.item()]


def test_the_first_step_is_the_one_worked_by_hand() -> None:
    # b = w = 0: gradient_b = -2·mean(Y) = -2·0.90625, gradient_w = -2·mean(X·Y) = -2·(-1.5 - 0.125 + 6 + 0.0625)/4.
    assert trained_line(1, 0.01) == pytest.approx([0.01 * 2 * 0.90625, 0.01 * 2 * 4.4375 / 4], rel=1e-6)


@pytest.mark.parametrize("learning_rate", [0.01, 0.1])
@pytest.mark.parametrize("num_steps", [1, 2, 3, 10, 50])
def test_every_step_equals_the_articles_formulas(num_steps: int, learning_rate: float) -> None:
    b = w = 0.0
    for _ in range(num_steps):
        b, w = article_step(b, w, X, Y, learning_rate)
    assert trained_line(num_steps, learning_rate) == pytest.approx([b, w], rel=1e-5)


def test_a_step_with_another_factor_would_be_found() -> None:
    halved = article_step(0.0, 0.0, X, Y, 0.01 / 2)  # as if the loss were halved, a common convention
    assert trained_line(1, 0.01) != pytest.approx(halved, rel=1e-2)


def test_the_whole_one_day_training_is_the_articles_loop_of_1000_epochs(tmp_path: Path) -> None:
    series = views.synthetic(0)
    cut = views.windows(series, 1)
    xs, ys = [x for (x,) in cut.inputs], cut.targets
    fit, held = slice(0, cut.num_train), slice(cut.num_train, None)
    b = w = 0.0
    for _ in range(1000):
        b, w = article_step(b, w, xs[fit], ys[fit], 0.01)

    def loss(part: slice) -> float:
        return math.fsum((y - (b + w * x)) ** 2 for x, y in zip(xs[part], ys[part], strict=True)) / len(xs[part])

    draft = Draft(model="linreg-1d", task="train", request=Asked(model="linreg-1d", task="train"), out=tmp_path)
    train_and_report(decided(), draft)
    assert draft.proof.num_steps == 1000
    assert draft.proof.num_samples == 1000 * cut.num_train
    assert draft.learning.train_loss == pytest.approx(loss(fit), rel=1e-5)
    assert draft.learning.heldout_loss == pytest.approx(loss(held), rel=1e-5)
    # Before training b = w = 0 predicts 0: the loss is the mean square of the targets.
    assert draft.proof.loss_first == pytest.approx(math.fsum(y * y for y in ys[fit]) / cut.num_train, rel=1e-5)
    # RMSE in views: undo the normalisation.
    assert draft.learning.heldout_rmse_views == pytest.approx(math.sqrt(loss(held)) * cut.std, rel=1e-5)


def test_gradient_descent_ends_where_least_squares_does(tmp_path: Path) -> None:
    # Closed form for one input: w = cov(x, y) / var(x), b = mean(y) - w·mean(x).
    cut = views.windows(views.synthetic(2), 1)
    xs, ys = [x for (x,) in cut.inputs][: cut.num_train], cut.targets[: cut.num_train]
    mx, my = fmean(xs), fmean(ys)
    w = fmean([(x - mx) * (y - my) for x, y in zip(xs, ys, strict=True)]) / fmean([(x - mx) ** 2 for x in xs])
    best = fmean([(y - (my + w * (x - mx))) ** 2 for x, y in zip(xs, ys, strict=True)])
    draft = Draft(model="linreg-1d", task="train", request=Asked(model="linreg-1d", task="train"), out=tmp_path)
    train_and_report(decided(seed=2), draft)
    assert draft.learning.train_loss == pytest.approx(best, rel=1e-4)
