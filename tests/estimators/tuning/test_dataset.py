"""Examples to steps: counts by hand, laws, and what a wrong file or a wrong number is answered with."""

from __future__ import annotations

from pathlib import Path

import pytest

from estimators.errors import BadValueError
from estimators.lengths import lengths_of, read_lengths, stated_lengths
from estimators.tuning.dataset import Batching, data_set

TEN = lengths_of([4, 7, 2, 6, 5, 1, 4, 3, 2, 30], source="ten samples", loss_tokens=[2, 7, 1, 3, 5, 1, 1, 1, 1, 10])


def test_three_counters_of_padded_rows_by_hand() -> None:
    """Rows of 10 at most: the sample of 30 is cut to its first 10 tokens, of which its prompt of 20 leaves none that bear loss. 44 tokens
    are left of 64; in one batch of ten all are padded to 10."""
    answer = data_set(TEN, Batching(max_length=10, micro_batch=10, epochs=2))
    assert (answer.real_tokens, answer.lost_tokens, answer.long_samples) == (44, 20, 1)
    assert answer.loss_tokens == 2 + 7 + 1 + 3 + 5 + 1 + 1 + 1 + 1
    assert answer.processed_tokens == 100
    assert answer.padding_fraction == pytest.approx(0.56)
    assert (answer.num_rows, answer.steps_per_epoch, answer.num_steps, answer.longest_row) == (10, 1, 2, 10)
    assert answer.row_lengths == ((10, 1.0),)


def test_packing_by_hand() -> None:
    """As in test_packing, with a row more for what was cut to a whole one: five rows of 50 tokens for 44, in two steps of four."""
    answer = data_set(TEN, Batching(max_length=10, micro_batch=2, num_devices=2, packing="ffd", pads_rows=True))
    assert (answer.num_rows, answer.steps_per_epoch, answer.processed_tokens, answer.longest_row) == (5, 2, 50, 10)
    assert answer.square_share == (16 + 49 + 4 + 36 + 25 + 1 + 16 + 9 + 4 + 100) / 500
    assert answer.padding_fraction == pytest.approx(6 / 50)
    free = data_set(TEN, Batching(max_length=10, micro_batch=2, packing="ffd"))
    assert (free.processed_tokens, free.padding_fraction) == (44, 0)


def test_what_is_too_long_is_cut_dropped_or_split() -> None:
    cut, drop, split = (data_set(TEN, Batching(max_length=10, long_samples=word)) for word in ("cut", "drop", "split"))
    assert (cut.real_tokens, cut.num_rows, cut.lost_tokens) == (44, 10, 20)
    assert (drop.real_tokens, drop.num_rows, drop.lost_tokens) == (34, 9, 30)
    assert (split.real_tokens, split.num_rows, split.lost_tokens) == (64, 12, 0)
    assert split.loss_tokens == TEN.num_loss_tokens
    assert [answer.long_fraction for answer in (cut, drop, split)] == [0.1, 0.1, 0.1]


def test_steps_are_those_of_the_issue_formula() -> None:
    """ceil(ceil(examples / (micro-batch x GPUs)) / accumulation) x epochs: Alpaca, 4 a device on 8, 4 accumulated, 3 epochs: 1,626 passes,
    407 steps an epoch, 1,221 in all."""
    alpaca = data_set(stated_lengths(52002, 118, 320), Batching(max_length=512, micro_batch=4, num_devices=8, accumulation=4, epochs=3))
    assert (alpaca.steps_per_epoch, alpaca.num_steps) == (407, 1221)
    assert data_set(TEN, Batching(max_length=64, epochs=0.25)).num_steps == 3  # a quarter of ten, and a last one that is begun


def test_laws_of_padding() -> None:
    lengths = stated_lengths(5000, 200, 600)
    answers = [data_set(lengths, Batching(max_length=1024, micro_batch=size)) for size in (1, 2, 4, 8, 16)]
    processed = [answer.processed_tokens for answer in answers]
    assert processed == sorted(processed)
    assert answers[0].padding_fraction == pytest.approx(0, abs=1e-12)
    assert answers[-1].processed_tokens <= 1024 * 5000
    for answer in answers:
        assert sum(share for _, share in answer.row_lengths) == pytest.approx(1)
        assert answer.mean_row * answer.num_rows == pytest.approx(answer.processed_tokens, rel=0.01)  # the last micro-batch is smaller
        assert answer.real_tokens <= answer.packed_tokens <= answer.processed_tokens + 1e-6
        assert 0 <= answer.grouping_saves_fraction <= answer.padding_fraction


def test_a_stated_distribution_has_the_mean_and_percentile_it_was_asked_for() -> None:
    for samples, mean, p95 in ((52002, 118, 320), (1000, 3234, 8000), (10**6, 50, 60), (7, 900, 1000)):
        lengths = stated_lengths(samples, mean, p95)
        assert lengths.num_samples == samples
        assert lengths.mean_tokens == pytest.approx(mean, rel=0.02)
        assert lengths.percentile(0.95) == pytest.approx(p95, rel=0.02 if samples > 100 else 0.1)
    assert stated_lengths(10, 100).counts == ((100, 0, 10),)
    assert "log-normal" in stated_lengths(10, 100, 200).source


@pytest.mark.parametrize(("mean", "p95"), [(100, 90), (100, 400), (100, 387)])
def test_a_percentile_that_no_log_normal_has_is_refused(mean: float, p95: float) -> None:
    with pytest.raises(BadValueError, match=r"expected more than the mean and less than 3\.87 times it"):
        stated_lengths(1000, mean, p95)


def test_lengths_of_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,tokens,loss_tokens\nx,10,4\ny,20,20\n")
    (tmp_path / "b.csv").write_text("10\n20\n\n20\n")
    (tmp_path / "c.csv").write_text("Length,samples\n10,3\n20,1\n")
    a, b, c = (read_lengths(str(tmp_path / name)) for name in ("a.csv", "b.csv", "c.csv"))
    assert (a.num_samples, a.num_tokens, a.num_loss_tokens) == (2, 30, 24)
    assert (b.by_length, b.num_loss_tokens) == (((10, 1), (20, 2)), None)
    assert (c.num_samples, c.num_tokens) == (4, 50)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty; expected a column tokens"),
        ("a,b\n1,2\n", "has no column of lengths; expected one called tokens or"),
        ("tokens\n12\n-3\n", "line 3: '-3'; expected a whole number from 1"),
        ("tokens\n0\n", "line 2: '0'; expected a whole number from 1"),
        ("tokens\n", "no samples; expected one at least"),
        ("tokens,loss_tokens\n5,6\n", "line 2: '6'; expected a whole number from 0 to 5"),
        ("tokens\n١٢\n", "expected a whole number"),
        ("tokens\n99999999999999999999\n", "expected a whole number"),
    ],
)
def test_a_wrong_file_of_lengths_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "lengths.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadValueError, match=said.replace("(", r"\(")) as error:
        read_lengths(str(path))
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_and_one_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(BadValueError, match="cannot read"):
        read_lengths(str(tmp_path / "none.csv"))
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadValueError, match="not UTF-8"):
        read_lengths(str(tmp_path / "binary.csv"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epochs": 0}, "0 epochs; expected more than 0"),
        ({"micro_batch": 0}, "micro_batch is 0"),
        ({"packing": "knapsack"}, "packing 'knapsack' is unknown; expected one of: ffd, bfd, wrapped"),
        ({"long_samples": "keep"}, "long samples 'keep'"),
        ({"packing": "ffd", "is_grouped": True}, "leave one of the two out"),
    ],
)
def test_wrong_batching_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(BadValueError, match=said):
        Batching(**({"max_length": 16} | changes))  # type: ignore[arg-type]


def test_dropping_everything_is_refused() -> None:
    with pytest.raises(BadValueError, match="no samples"):
        data_set(lengths_of([100, 200], source="two"), Batching(max_length=50, long_samples="drop"))
