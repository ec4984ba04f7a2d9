"""Mails for the spam classifier: the synthetic process, the best that any classifier can do on it, the user's own file."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.workloads.article.tables import NUM_MAIL_FEATURES, read_mails
from estimators.errors import BadValueError

NUM_MAILS = 4601
SPAM_FRACTION = 0.394
"""UCI Spambase has 1,813 spams among 4,601 mails."""
NUM_WORDS = 54
"""48 words and 6 characters, each a count. The last three features are of runs of capital letters: mean, longest, total."""
LENGTHS = (50.0, 100.0, 200.0, 400.0)
LENGTH_WEIGHTS = (0.25, 0.35, 0.25, 0.15)
MEDIAN_RATE, RATE_SPREAD, CLASS_SPREAD = 0.25, 0.8, 0.55
RUNS_BEYOND_FIRST = (4.0, 7.0)
RUN_ENDS = (0.45, 0.35)
"""Ham, spam: mean number of further runs of capitals, and the chance that a run ends after a letter."""
MIN_MAILS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Mails:
    """Mails and their labels.

    Attributes:
        features: (mails, 57), float64, counts as drawn or read.
        labels: (mails,), 1 for spam.
        log_odds: (mails,), exact log of P(spam | features) / P(ham | features); None for the user's own file.
        label: where they come from.
    """

    features: Tensor
    labels: Tensor
    log_odds: Tensor | None
    label: str


def synthetic(seed: int, num_mails: int = NUM_MAILS) -> Mails:
    """Mails from a seeded process whose classes overlap.

    - spam with probability 0.394; a length of 50, 100, 200 or 400 words, the same for both and never shown.
    - 54 counts, Poisson with mean rate·length/100. A word's rate is log-normal around 0.25 per hundred words; its spam
      and ham rates lie a log-normal factor apart, so most words tell a little and none tells all.
    - capitals: 1 + Poisson runs of geometric length, more and longer in spam; shown as mean, longest and total.

    The words' rates are drawn from the seed too: each seed is another language.
    """
    draw = torch.Generator().manual_seed(seed)
    rates = _word_rates(draw)
    labels = (torch.rand(num_mails, generator=draw, dtype=torch.float64) < SPAM_FRACTION).long()
    lengths = torch.tensor(LENGTHS, dtype=torch.float64)[torch.multinomial(torch.tensor(LENGTH_WEIGHTS), num_mails, True, generator=draw)]
    counts = torch.poisson(rates[labels] * lengths[:, None] / 100, generator=draw)
    capitals = _capitals(labels, draw)
    features = torch.cat([counts, capitals], dim=1)
    assert features.shape[1] == NUM_MAIL_FEATURES
    return Mails(features=features, labels=labels, log_odds=_log_odds(features, rates), label=f"synthetic, seed {seed}")


def _word_rates(draw: torch.Generator) -> Tensor:
    """Per hundred words: row 0 of ham, row 1 of spam."""
    common = MEDIAN_RATE * torch.exp(RATE_SPREAD * torch.randn(NUM_WORDS, generator=draw, dtype=torch.float64))
    apart = CLASS_SPREAD * torch.randn(NUM_WORDS, generator=draw, dtype=torch.float64)
    return torch.stack([common * torch.exp(-apart / 2), common * torch.exp(apart / 2)])


def _capitals(labels: Tensor, draw: torch.Generator) -> Tensor:
    """(mails, 3): mean, longest and total length of the runs of capitals."""
    runs = 1 + torch.poisson(torch.tensor(RUNS_BEYOND_FIRST, dtype=torch.float64)[labels], generator=draw)
    uniform = torch.rand(len(labels), int(runs.max()), generator=draw, dtype=torch.float64)
    stays = torch.log1p(-torch.tensor(RUN_ENDS, dtype=torch.float64))[labels]
    lengths = 1 + torch.floor(torch.log1p(-uniform) / stays[:, None])  # geometric, by inversion
    lengths *= torch.arange(uniform.shape[1]) < runs[:, None]
    total = lengths.sum(1)
    return torch.stack([total / runs, lengths.amax(1), total], dim=1)


def _log_odds(features: Tensor, rates: Tensor) -> Tensor:
    """Exact log odds of spam, by Bayes' rule over the process above.

    log P(x | class) = log sum over lengths n of P(n) · prod_i Poisson(x_i; rate_i·n/100)  +  log P(capitals | class).
    The number of runs is total / mean. Given it and the total, every split into runs is equally likely in both
    classes (the geometric has no memory), so the longest run tells nothing more. Factors that are the same for
    both classes (1/x_i!, binomials) are left out.
    """
    counts, mean, total = features[:, :NUM_WORDS], features[:, NUM_WORDS], features[:, -1]
    runs = (total / mean).round()
    log_likelihoods = []
    for rate, beyond, ends in zip(rates, RUNS_BEYOND_FIRST, RUN_ENDS, strict=True):
        expected = rate[None, :] * torch.tensor(LENGTHS, dtype=torch.float64)[:, None] / 100  # (lengths, words)
        words = counts @ expected.log().T - expected.sum(1) + torch.tensor(LENGTH_WEIGHTS, dtype=torch.float64).log()
        ends = torch.tensor(ends, dtype=torch.float64)
        capitals = (
            (runs - 1) * torch.tensor(beyond, dtype=torch.float64).log() - beyond + runs * ends.log() + (total - runs) * torch.log1p(-ends)
        )
        log_likelihoods.append(torch.logsumexp(words, dim=1) + capitals)
    prior = torch.tensor(SPAM_FRACTION / (1 - SPAM_FRACTION), dtype=torch.float64).log()
    return log_likelihoods[1] - log_likelihoods[0] + prior


def load(data: str | None, *, seed: int) -> Mails:
    """The user's own mails, or the synthetic ones, in a seeded random order (Spambase's file holds all spam first).

    Raises:
        BadValueError: a malformed line, too few mails, or only one class.
        UnavailableError: the file cannot be read.
    """
    if data is None:
        mails = synthetic(seed)
    else:
        rows, labels = read_mails(data, NUM_MAIL_FEATURES)
        if len(rows) < MIN_MAILS or not 0 < sum(labels) < len(labels):
            raise BadValueError(f"{data!r} has {len(rows)} mails, {sum(labels)} of them spam; expected {MIN_MAILS} or more, of both kinds")
        mails = Mails(features=torch.tensor(rows, dtype=torch.float64), labels=torch.tensor(labels), log_odds=None, label=data)
    order = torch.randperm(len(mails.labels), generator=torch.Generator().manual_seed(seed))
    odds = None if mails.log_odds is None else mails.log_odds[order]
    return Mails(features=mails.features[order], labels=mails.labels[order], log_odds=odds, label=mails.label)


def normalised(features: Tensor, num_train: int) -> Tensor:
    """log(1 + count), then minus the mean and over the standard deviation of the training mails; a constant feature becomes 0."""
    values = torch.log1p(features.clamp_min(0))
    std, mean = torch.std_mean(values[:num_train], dim=0, correction=0)
    return (values - mean) / torch.where(std > 0, std, torch.ones_like(std))
