"""What is learned: samples, loss, and what is reported of a trained model. One function per subject of the article."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from bench.records.learning import Learning, ViewsScale
from bench.workloads.article import mails, text, views
from bench.workloads.article.batches import Rows

Score = Callable[[Tensor, Tensor], Tensor]
"""Outputs and targets of a batch -> one number per sample."""

HELDOUT_WINDOWS, TRAIN_WINDOWS = 256, 1600


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One thing to learn.

    Attributes:
        item: what a sample consists of: sample, or token where a sample is a text.
        items_per_row: tokens that a sample's text is long; 1 otherwise.
        train, heldout: the samples.
        num_scored: training samples whose loss is reported (all of them would cost as much as an epoch of training).
        losses: what training minimises; scores: what else is reported, by name.
        facts: what is known before training: the data, the loss's unit, what needs no training, the best possible.
        derived: from the scores of a trained model, whatever reads better in another unit.
    """

    item: str = "sample"
    items_per_row: int = 1
    train: Rows
    heldout: Rows
    num_scored: int
    losses: Score
    scores: Mapping[str, Score] = field(default_factory=dict)
    facts: Learning
    derived: Callable[[Mapping[str, float]], Learning] = lambda scores: Learning()


def _squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().sum(1)


def daily_views(data: str | None, *, seed: int, days: int, train_days: int | None = None) -> Subject:
    """The user's own views or synthetic ones, for a network that looks back `days` days.

    Args:
        train_days: to train on; None takes all.

    Raises:
        BadValueError, UnavailableError: see views.load and views.Views.num_train.
    """
    series = views.load(data, seed=seed, days=days)
    cut = views.windows(series, days, train_days)
    inputs, targets = torch.tensor(cut.inputs), torch.tensor(cut.targets)[:, None]
    facts = Learning(
        data=series.label,
        loss_unit="mean squared error of a day's views, in squared standard deviations of the days before the held-out ones",
        normalised_by=ViewsScale(mean_views=cut.mean, std_views=cut.std),
        baseline_losses=views.naive_losses(series, cut),
    )
    bound = views.bound_loss(series, cut)
    if bound is not None:
        facts |= Learning(bound_loss=bound, bound="held-out loss of the process's own expectation, which no model beats but by luck")
    return Subject(
        train=Rows(inputs[: cut.num_train], targets[: cut.num_train]),
        heldout=Rows(inputs[cut.num_train :], targets[cut.num_train :]),
        num_scored=cut.num_train,
        losses=_squared_error,
        facts=facts,
        derived=lambda scores: Learning(
            train_rmse_views=math.sqrt(scores["train_loss"]) * cut.std,
            heldout_rmse_views=math.sqrt(scores["heldout_loss"]) * cut.std,
        ),
    )


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, targets, reduction="none")


def _is_right(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.argmax(1) == targets).float()


def spam_mails(data: str | None, *, seed: int) -> Subject:
    """The user's own mails or synthetic ones.

    Raises:
        BadValueError, UnavailableError: see mails.load.
    """
    inbox = mails.load(data, seed=seed)
    num_train = len(inbox.labels) - int(len(inbox.labels) * views.HELDOUT_FRACTION)
    features = mails.normalised(inbox.features, num_train).float()
    heldout = inbox.labels[num_train:]
    rate = inbox.labels[:num_train].double().mean().clamp(1e-6, 1 - 1e-6)
    facts = Learning(
        data=inbox.label,
        loss_unit="nats per mail (cross-entropy of its class)",
        baseline_losses={"share of spam in training": -float(torch.where(heldout == 1, rate.log(), torch.log1p(-rate)).mean())},
        baseline_accuracy=float((heldout == (1 if rate > 0.5 else 0)).double().mean()),
    )
    if inbox.log_odds is not None:
        odds = inbox.log_odds[num_train:]
        facts |= Learning(
            bound_loss=float(functional.binary_cross_entropy_with_logits(odds, heldout.double())),
            bound_accuracy=float(((odds > 0) == (heldout == 1)).double().mean()),
            bound="Bayes' rule over the process itself, on the same held-out mails; no classifier beats it but by luck",
        )
    return Subject(
        train=Rows(features[:num_train], inbox.labels[:num_train]),
        heldout=Rows(features[num_train:], heldout),
        num_scored=num_train,
        losses=_cross_entropy,
        scores={"accuracy": _is_right},
        facts=facts,
    )


def _next_character(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean over a window's T - 1 predicted characters. outputs (B, T, V), targets (B, T)."""
    return functional.cross_entropy(outputs[:, :-1].transpose(1, 2), targets[:, 1:], reduction="none").mean(1)


def short_lines(*, seed: int, seq_len: int) -> Subject:
    """Synthetic text in windows of `seq_len` characters."""
    count = TRAIN_WINDOWS + HELDOUT_WINDOWS
    index = {character: i for i, character in enumerate(text.alphabet())}
    written = text.generate(count * seq_len, seed)
    ids = torch.tensor([index[c] for c in written]).view(count, seq_len)
    heldout_text = written[TRAIN_WINDOWS * seq_len :]
    ideal = [loss for i in range(0, len(heldout_text), seq_len) for loss in text.ideal_losses(heldout_text[i : i + seq_len])]
    train, heldout = Rows(ids[:TRAIN_WINDOWS], ids[:TRAIN_WINDOWS]), Rows(ids[TRAIN_WINDOWS:], ids[TRAIN_WINDOWS:])
    return Subject(
        item="token",
        items_per_row=seq_len,
        train=train,
        heldout=heldout,
        num_scored=HELDOUT_WINDOWS,
        losses=_next_character,
        facts=Learning(
            data=f"synthetic, seed {seed}",
            loss_unit="nats per character (cross-entropy of the next one)",
            baseline_losses={
                "every character equally likely": math.log(len(text.alphabet())),
                "how common each character is": text.unigram_entropy_nats(),
            },
            bound_loss=math.fsum(ideal) / len(ideal),
            bound="a reader who knows the grammar, on the same held-out windows; no model beats it but by luck",
            entropy_rate_nats_per_character=text.entropy_rate_nats(),
        ),
    )
