"""Mails: the posterior is Bayes' rule worked out again and calibrated, training mails alone normalise, files are read strictly."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from bench.workloads.article import mails
from estimators.errors import BadValueError, UnavailableError


def poisson(count: float, mean: float) -> float:
    return math.exp(count * math.log(mean) - mean - math.lgamma(count + 1))


def negative_binomial(total: float, runs: float, ends: float) -> float:
    """Probability that `runs` geometric lengths, each at least 1, sum to `total`."""
    ways = math.lgamma(total) - math.lgamma(runs) - math.lgamma(total - runs + 1)
    return math.exp(ways + runs * math.log(ends) + (total - runs) * math.log(1 - ends))


def likelihood(features: list[float], rates: list[float], beyond: float, ends: float) -> float:
    counts, (mean, _, total) = features[:54], features[54:]
    runs = round(total / mean)
    words = sum(
        weight * math.prod(poisson(c, r * length / 100) for c, r in zip(counts, rates, strict=True))
        for length, weight in ((50, 0.25), (100, 0.35), (200, 0.25), (400, 0.15))
    )
    return words * poisson(runs - 1, beyond) * negative_binomial(total, runs, ends)


def test_the_log_odds_are_bayes_rule_over_the_process_written_out_mail_by_mail() -> None:
    found = mails.synthetic(5, num_mails=50)
    ham, spam = mails._word_rates(torch.Generator().manual_seed(5)).tolist()
    assert found.log_odds is not None
    for row, log_odds in zip(found.features.tolist(), found.log_odds.tolist(), strict=True):
        by_hand = 0.394 * likelihood(row, spam, 7.0, 0.35) / (0.606 * likelihood(row, ham, 4.0, 0.45))
        assert log_odds == pytest.approx(math.log(by_hand), abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_the_posterior_is_calibrated(seed: int) -> None:
    # A true posterior p has E[y - p] = 0 on every set chosen by p, and E[(y - p)^2] = E[p (1 - p)].
    found = mails.synthetic(seed, num_mails=20_000)
    assert found.log_odds is not None
    p, y = torch.sigmoid(found.log_odds), found.labels.double()
    for low, high in ((0.0, 1.0), (0.0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.0)):
        chosen = (p >= low) & (p <= high)
        error = (p * (1 - p))[chosen].mean().sqrt() / chosen.sum().sqrt()
        assert abs((y - p)[chosen].mean()) < 5 * error
    squares = (y - p).square() - p * (1 - p)
    assert abs(squares.mean()) < 5 * squares.std() / math.sqrt(len(y))


@pytest.mark.parametrize("seed", range(3))
def test_the_classes_overlap_so_that_no_rule_is_always_right(seed: int) -> None:
    found = mails.synthetic(seed)
    assert found.log_odds is not None
    right = ((found.log_odds > 0) == (found.labels == 1)).double().mean()
    assert 0.85 < right < 0.99
    assert found.labels.double().mean() == pytest.approx(0.394, abs=5 * math.sqrt(0.394 * 0.606 / 4601))


def test_a_mail_has_the_57_features_of_the_layout_and_its_runs_of_capitals_agree() -> None:
    found = mails.synthetic(0)
    assert found.features.shape == (4601, 57)
    mean, longest, total = found.features[:, 54:].T
    runs = total / mean
    assert torch.allclose(runs, runs.round(), atol=1e-6)
    assert bool((longest <= total).all())
    assert bool((longest >= mean - 1e-9).all())
    assert bool((found.features >= 0).all())


def test_the_same_seed_draws_the_same_mails_and_another_seed_others() -> None:
    assert torch.equal(mails.load(None, seed=1).features, mails.load(None, seed=1).features)
    assert not torch.equal(mails.load(None, seed=1).features, mails.load(None, seed=2).features)


def test_mails_are_normalised_by_the_training_mails_alone() -> None:
    features = mails.synthetic(0, num_mails=300).features
    features[:, 7] = 4.0  # a constant tells nothing and must not become NaN
    changed = features.clone()
    changed[200:] *= 50
    one, other = mails.normalised(features, 200), mails.normalised(changed, 200)
    assert torch.equal(one[:200], other[:200])
    assert not torch.equal(one[200:], other[200:])
    kept = [i for i in range(57) if i != 7]
    assert torch.allclose(one[:200, kept].mean(0), torch.zeros(56, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(one[:200, kept].std(0, correction=0), torch.ones(56, dtype=torch.float64), atol=1e-9)
    assert bool((one[:, 7] == 0).all())


def line(label: object, value: object = "0.5") -> str:
    return ",".join(["0.1"] * 56 + [str(value), str(label)]) + "\n"


def write(folder: Path, text: str) -> str:
    path = folder / "spam.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_file_in_the_layout_of_spambase_is_read_and_shuffled_by_the_seed(tmp_path: Path) -> None:
    # Spambase's own file lists all spam first: taken as it is, the held-out fifth would hold ham alone.
    path = write(tmp_path, "".join(line(1, i) for i in range(40)) + "".join(line(0, 100 + i) for i in range(60)))
    found, again, other = mails.load(path, seed=0), mails.load(path, seed=0), mails.load(path, seed=1)
    assert torch.equal(found.features, again.features)
    assert not torch.equal(found.features, other.features)
    assert sorted(found.features[:, 56].tolist()) == [*range(40), *range(100, 160)]
    assert torch.equal(found.labels, (found.features[:, 56] < 100).long())
    assert 0 < int(found.labels[80:].sum()) < 20
    assert found.log_odds is None
    assert found.label == path


def test_a_header_is_skipped(tmp_path: Path) -> None:
    header = ",".join(f"word_{i}" for i in range(57)) + ",class\n"
    assert len(mails.load(write(tmp_path, header + line(1) * 30 + line(0) * 30), seed=0).labels) == 60


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (line(1) + "1,2,3\n", "line 2 has 3 columns; expected 57 numbers and then 1"),
        (line(1) + line(2), "line 2: label '2'; expected 57 numbers"),
        (line(1) + line(0, "much"), "line 2, column 57: 'much' is not a number"),
        (line(1) + line(0, "inf"), "line 2, column 57: 'inf' is not a number"),
        (line("spam") + line(0), "line 1, column 58: 'spam' is not a number"),
        (line(1) * 30 + line(0) * 19, "has 49 mails, 30 of them spam; expected 50 or more, of both kinds"),
        (line(1) * 60, "has 60 mails, 60 of them spam; expected 50 or more, of both kinds"),
        ("", "has 0 mails"),
    ],
)
def test_a_file_that_is_no_table_of_mails_is_refused(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(BadValueError, match=match):
        mails.load(write(tmp_path, text), seed=0)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot read the data"):
        mails.load(str(tmp_path / "none.csv"), seed=0)
