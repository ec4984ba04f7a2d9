"""Daily views: the synthetic process does what its docstring says, the split keeps the future out, the user's file is read strictly."""

from __future__ import annotations

import datetime
import math
import statistics
from pathlib import Path

import pytest

from bench.workloads.article import views
from estimators.errors import BadValueError, UnavailableError

FRIDAY, SATURDAY, SUNDAY = 4, 5, 6


def weekday_means(series: views.Views) -> list[float]:
    days = [views.FIRST_DAY + datetime.timedelta(days=t) for t in range(len(series.views))]
    return [statistics.fmean(v for v, d in zip(series.views, days, strict=True) if d.weekday() == k) for k in range(7)]


def test_the_same_seed_draws_the_same_views_and_another_seed_others() -> None:
    assert views.synthetic(3) == views.synthetic(3)
    assert views.synthetic(3).views != views.synthetic(4).views


def test_the_synthetic_days_are_five_whole_years_of_which_the_last_is_held_out() -> None:
    # 2017 to 2021 with the leap day of 2020: 4 x 365 + 366 days, 365 of them in 2021.
    series = views.synthetic(0)
    assert len(series.views) == 4 * 365 + 366
    assert series.num_heldout() == 365
    first_heldout = views.FIRST_DAY + datetime.timedelta(days=len(series.views) - series.num_heldout())
    assert first_heldout == datetime.date(2021, 1, 1)


@pytest.mark.parametrize("seed", range(5))
def test_friday_and_saturday_are_the_weak_days_and_sunday_the_strong_one(seed: int) -> None:
    means = weekday_means(views.synthetic(seed))
    assert sorted(range(7), key=means.__getitem__)[:2] == [SATURDAY, FRIDAY]
    assert max(range(7), key=means.__getitem__) == SUNDAY


@pytest.mark.parametrize("seed", range(5))
def test_what_the_process_expects_is_off_by_the_noise_it_states_and_not_on_average(seed: int) -> None:
    # By the docstring views - expected = level·weekday·holiday · 0.13 · standard normal.
    series = views.synthetic(seed)
    assert series.expected is not None
    noise = [(v - e) / (views._scale(t) * 0.13) for t, (v, e) in enumerate(zip(series.views, series.expected, strict=True))]
    assert abs(statistics.fmean(noise)) < 5 / math.sqrt(len(noise))
    assert abs(statistics.pstdev(noise) - 1) < 5 / math.sqrt(2 * len(noise))


def test_a_good_day_is_followed_by_a_better_one_than_a_straight_line_through_the_extremes_says() -> None:
    # The switch: far below and far above 0.85 the expectation has the slope 0.30 alone, across it 0.50 is gained.
    def expected(interest: float) -> float:
        return 0.35 + 0.30 * interest + 0.50 / (1 + math.exp(-(interest - 0.85) / 0.05))

    below, across, above = expected(0.5) - expected(0.4), expected(0.9) - expected(0.8), expected(1.3) - expected(1.2)
    assert below == pytest.approx(0.03, abs=1e-3)
    assert above == pytest.approx(0.03, abs=1e-3)
    assert across > 5 * below


@pytest.mark.parametrize("days", [1, 7, 28, 56])
def test_every_model_predicts_the_same_days(days: int) -> None:
    series = views.synthetic(0)
    cut, shortest = views.windows(series, days), views.windows(series, 1)
    assert cut.targets == shortest.targets
    assert cut.num_train == shortest.num_train == series.num_train(days) == 1826 - 365 - 56


@pytest.mark.parametrize("days", [1, 7, 56, 100])
def test_a_window_holds_the_days_just_before_the_one_it_predicts(days: int) -> None:
    series = views.synthetic(0)
    cut = views.windows(series, days)
    values = [(v - cut.mean) / cut.std for v in series.views]
    first = max(56, days)
    for i in (0, 1, cut.num_train - 1, cut.num_train, len(cut.targets) - 1):
        assert cut.inputs[i] == values[first + i - days : first + i]
        assert cut.targets[i] == values[first + i]


def test_few_days_are_the_last_before_the_held_out_ones_and_losses_stay_in_the_same_unit() -> None:
    series = views.synthetic(0)
    whole, few = views.windows(series, 28), views.windows(series, 28, 90)
    assert (few.num_train, len(few.targets)) == (90, 90 + 365)
    assert few.targets == whole.targets[-90 - 365 :]
    assert few.inputs == whole.inputs[-90 - 365 :]
    assert (few.mean, few.std) == (whole.mean, whole.std)
    with pytest.raises(BadValueError, match="--train-days 1406 is more than the 1,405 days that 'synthetic, seed 0' has"):
        views.windows(series, 28, 1406)


def test_nothing_of_the_held_out_year_reaches_training() -> None:
    series = views.synthetic(0)
    train_days = len(series.views) - series.num_heldout()
    changed = views.Views(views=(*series.views[:train_days], *(9.0 * v for v in series.views[train_days:])), expected=None, label="")
    one, other = views.windows(series, 28), views.windows(changed, 28)
    assert (one.mean, one.std) == (other.mean, other.std)
    assert one.inputs[: one.num_train] == other.inputs[: other.num_train]
    assert one.targets[: one.num_train] == other.targets[: other.num_train]
    assert one.targets[one.num_train :] != other.targets[other.num_train :]


def test_the_training_days_are_normalised_to_mean_0_and_standard_deviation_1() -> None:
    series = views.synthetic(0)
    cut = views.windows(series, 1)
    past = series.views[: -series.num_heldout()]
    assert cut.mean == pytest.approx(statistics.fmean(past))
    assert cut.std == pytest.approx(statistics.pstdev(past))


def test_naive_losses_and_the_bound_are_those_of_a_series_worked_by_hand() -> None:
    # 8 training days of 0 and 2 (mean 1, standard deviation 1), 2 held-out days of 4 and 1: normalised 3 and 0.
    series = views.Views(views=(0, 2, 0, 2, 0, 2, 0, 2, 4, 1), expected=(0, 2, 0, 2, 0, 2, 0, 2, 3, 1), label="by hand")
    cut = views.Windows(mean=1.0, std=1.0, inputs=[], targets=[], num_train=0)
    losses = views.naive_losses(series, cut)
    assert losses["mean of the days before"] == pytest.approx((3**2 + 0**2) / 2)
    assert losses["as yesterday"] == pytest.approx(((3 - 1) ** 2 + (0 - 3) ** 2) / 2)
    assert losses["as a week ago"] == pytest.approx(((3 - 1) ** 2 + (0 - -1) ** 2) / 2)
    assert views.bound_loss(series, cut) == pytest.approx((1**2 + 0**2) / 2)


@pytest.mark.parametrize("seed", range(5))
def test_the_process_itself_predicts_better_than_anything_naive(seed: int) -> None:
    series = views.synthetic(seed)
    cut = views.windows(series, 1)
    bound = views.bound_loss(series, cut)
    assert bound is not None
    assert bound < min(views.naive_losses(series, cut).values())


def write(folder: Path, text: str) -> str:
    path = folder / "views.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


def days_of(values: list[float]) -> str:
    first = datetime.date(2020, 2, 1)
    return "".join(f"{first + datetime.timedelta(days=t)},{v}\n" for t, v in enumerate(values))


@pytest.mark.parametrize("head", ["", "date,views\n", "Date, Views\n", "\ufeffdate,views\n"])
def test_a_file_of_dates_and_views_is_read_with_or_without_a_header(tmp_path: Path, head: str) -> None:
    values = [float(t % 9) for t in range(200)]
    series = views.load(write(tmp_path, head + days_of(values)), seed=0, days=7)
    assert list(series.views) == values
    assert series.expected is None
    assert series.label.endswith("views.csv")
    assert views.bound_loss(series, views.windows(series, 7)) is None


def test_a_file_of_views_alone_is_read_and_empty_lines_are_skipped(tmp_path: Path) -> None:
    values = [float(t % 9) for t in range(200)]
    series = views.load(write(tmp_path, "views\n\n" + "\n\n".join(str(v) for v in values) + "\n"), seed=0, days=7)
    assert list(series.views) == values


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("2020-02-03", "line 3 has 1 columns where the first had 2"),
        ("2020-02-03,many", "line 3: 'many' is not a number of views"),
        ("2020-02-03,-1", "line 3: '-1' is not a number of views"),
        ("2020-02-03,nan", "line 3: 'nan' is not a number of views"),
        ("2020-02-03,1e300", "line 3: '1e300' is not a number of views"),
        ("2020-02-30,1", "line 3: '2020-02-30' is no date"),
        ("2020-02-04,1", "line 3: 2020-02-04 follows 2020-02-02; expected one line per day"),
        ("2020-02-02,1", "line 3: 2020-02-02 follows 2020-02-02"),
    ],
)
def test_a_malformed_line_is_named_by_its_number(tmp_path: Path, line: str, match: str) -> None:
    with pytest.raises(BadValueError, match=match):
        views.load(write(tmp_path, f"2020-02-01,5\n2020-02-02,6\n{line}\n"), seed=0, days=1)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "has 0 days of views; expected 106 or more"),
        ("1,2,3\n", "line 1 has 3 columns; expected date,views"),
        ("day,count\n2020-02-01,5\n", "line 1: 'count' is not a number"),
        (days_of([float(t) for t in range(105)]), "has 105 days of views; expected 106 or more: 56 to look back on"),
        (days_of([5.0] * 200), "has 5 views on every training day"),
    ],
)
def test_a_file_that_teaches_nothing_is_refused(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(BadValueError, match=match):
        views.load(write(tmp_path, text), seed=0, days=1)


def test_the_shortest_file_that_is_accepted_leaves_days_to_train_and_days_to_hold_out(tmp_path: Path) -> None:
    series = views.load(write(tmp_path, days_of([float(t) for t in range(106)])), seed=0, days=1)
    assert (series.num_train(1), series.num_heldout()) == (106 - 21 - 56, 21)


def test_a_longer_look_back_needs_a_longer_file(tmp_path: Path) -> None:
    path = write(tmp_path, days_of([float(t) for t in range(140)]))
    with pytest.raises(BadValueError, match="expected 150 or more: 100 to look back on"):
        views.load(path, seed=0, days=100)


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"cannot read the data .*No such file"):
        views.load(str(tmp_path / "none.csv"), seed=0, days=1)
    with pytest.raises(UnavailableError, match=r"cannot read the data .*Is a directory"):
        views.load(str(tmp_path), seed=0, days=1)
    (tmp_path / "picture.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(BadValueError, match="not UTF-8 text"):
        views.load(str(tmp_path / "picture.csv"), seed=0, days=1)
    with pytest.raises(UnavailableError, match=r"cannot read the data .*null byte"):
        views.load("a\0b", seed=0, days=1)
