"""Requests: lengths and arrivals by hand, the same again by the same seed, and what a wrong file is answered with."""

from __future__ import annotations

from pathlib import Path

import pytest

from estimators.errors import BadValueError
from estimators.frozen import replace
from estimators.lengths import lengths_of_count, stated_lengths, uniform_lengths
from estimators.serving.requests import Requests, at_once, at_rate, closed_loop, parse_lengths, read_requests

THOUSAND = lengths_of_count(1000, 50, source="fifty")


def test_lengths_as_people_write_them(tmp_path: Path) -> None:
    held = tmp_path / "lengths.csv"
    held.write_text("tokens\n5\n7\n", encoding="utf-8")
    assert parse_lengths("1k", 4, "prompts").by_length == ((1000, 4),)
    assert parse_lengths("10..19", 10, "prompts").by_length == tuple((tokens, 1) for tokens in range(10, 20))
    assert parse_lengths("118:320", 52002, "prompts").by_length == stated_lengths(52002, 118, 320).by_length
    assert parse_lengths(str(held), 5, "prompts").by_length == ((5, 3), (7, 2))


@pytest.mark.parametrize("text", ["", "ten", "20..10", "10..", "300:100", "0", "-5", "1.5", "nowhere.csv"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(BadValueError, match=r"expected|is not"):
        parse_lengths(text, 4, "prompts")


def test_a_range_is_spread_evenly_and_its_mean_is_the_middle() -> None:
    spread = uniform_lengths(1000, 512, 1024)
    assert spread.num_samples == 1000
    assert spread.mean_tokens == pytest.approx(768, abs=0.51)
    assert (spread.by_length[0][0], spread.longest) == (512, 1024)


def test_an_order_is_drawn_once_for_a_seed_and_loses_no_length() -> None:
    spread = uniform_lengths(100, 1, 100)
    assert spread.in_turn(3) == spread.in_turn(3) != spread.in_turn(4)
    assert sorted(spread.in_turn(3)) == list(range(1, 101))


def test_arrivals_of_a_rate_are_ascending_drawn_by_the_seed_and_have_that_rate() -> None:
    many = lengths_of_count(10, 20_000, source="many")
    requests = at_rate(many, many, 5.0, seed=1)
    assert requests == at_rate(many, many, 5.0, seed=1)
    assert requests.arrival_s is not None
    assert requests.arrival_s[-1] == pytest.approx(20_000 / 5, rel=0.03)  # the standard deviation of 20,000 gaps is 0.7 %
    gaps = [second - first for first, second in zip(requests.arrival_s, requests.arrival_s[1:], strict=False)]
    mean = sum(gaps) / len(gaps)
    assert sum((gap - mean) ** 2 for gap in gaps) / len(gaps) == pytest.approx(mean**2, rel=0.06)  # as of an exponential distribution


def test_a_closed_loop_has_users_and_no_stamps_and_a_batch_arrives_at_once() -> None:
    assert (closed_loop(THOUSAND, THOUSAND, 8).users, closed_loop(THOUSAND, THOUSAND, 8).arrival_s) == (8, None)
    assert at_once(THOUSAND, THOUSAND).arrival_s == (0.0,) * 50
    assert at_once(THOUSAND, THOUSAND).mean_input_tokens == 1000


@pytest.mark.parametrize(
    ("wrong", "about"),
    [
        ({"arrival_s": None}, "by neither"),
        ({"users": 3}, "in a closed loop, or by neither"),
        ({"arrival_s": None, "users": 0}, "0 users"),
        ({"arrival_s": (1.0, 0.5)}, "in order"),
        ({"arrival_s": (0.0, float("nan"))}, "in order"),
        ({"arrival_s": (-1.0, 0.5)}, "in order"),
        ({"output_tokens": (1,)}, "as many"),
        ({"output_tokens": (1, 0)}, "without tokens"),
    ],
)
def test_requests_that_cannot_be_are_refused(wrong: dict[str, object], about: str) -> None:
    good = Requests(input_tokens=(5, 6), output_tokens=(1, 2), arrival_s=(0.0, 1.0))
    with pytest.raises(BadValueError, match=about):
        replace(good, **wrong)


def test_a_rate_that_is_none_is_refused() -> None:
    with pytest.raises(BadValueError, match="expected a positive number"):
        at_rate(THOUSAND, THOUSAND, 0)


def test_a_file_of_requests_is_read_in_order_of_arrival(tmp_path: Path) -> None:
    held = tmp_path / "requests.csv"
    held.write_text("id,arrival_s,input_tokens,output_tokens\na,1.5,10,3\nb,0.25,20,4\n", encoding="utf-8")
    requests = read_requests(str(held))
    assert (requests.arrival_s, requests.input_tokens, requests.output_tokens) == ((0.25, 1.5), (20, 10), (4, 3))


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("", "no column"),
        ("arrival_s,input_tokens\n1,2\n", "no column output_tokens"),
        ("arrival_s,input_tokens,output_tokens\n", "or no line"),
        ("arrival_s,input_tokens,output_tokens\nsoon,2,3\n", "line 2: arrival_s is 'soon'"),
        ("arrival_s,input_tokens,output_tokens\n0,2,3\n-1,2,3\n", "line 3: arrival_s is '-1'"),
        ("arrival_s,input_tokens,output_tokens\n1,2.5,3\n", "expected a whole number"),
        ("arrival_s,input_tokens,output_tokens\n1,2,0\n", "output_tokens is '0'"),
        ("arrival_s,input_tokens,output_tokens\n1,2\n", "output_tokens is ''"),
        ("arrival_s,input_tokens,output_tokens\n1,nan,2\n", "input_tokens is 'nan'"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path: Path, text: str, about: str) -> None:
    held = tmp_path / "requests.csv"
    held.write_text(text, encoding="utf-8")
    with pytest.raises(BadValueError, match=about) as error:
        read_requests(str(held))
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_one_line() -> None:
    with pytest.raises(BadValueError, match="cannot read"):
        read_requests("nowhere.csv")
