"""The grammar's text: its entropy by two routes, its ideal reader by the chain rule, its lines by enumeration."""

from __future__ import annotations

import math
import statistics

import pytest

from bench.workloads.article import text


def test_every_line_can_come_about_in_one_way_only() -> None:
    # If two ways led to the same line, the entropy of the choices would be above that of the lines.
    by_lines = -math.fsum(p * math.log(p) for p in text.lines().values())
    assert text.entropy_nats() == pytest.approx(by_lines, rel=1e-12)
    assert math.fsum(text.lines().values()) == pytest.approx(1, abs=1e-12)


def test_a_grammar_with_two_ways_to_one_line_would_be_found() -> None:
    twice = text.Choice(((1.0, "on\n"), (1.0, ("o", "n\n")), (2.0, "off\n")))
    by_lines = -math.fsum(p * math.log(p) for p in text.lines(twice).values())
    assert by_lines == pytest.approx(math.log(2))
    assert text.entropy_nats(twice) == pytest.approx(by_lines + math.log(2) / 2)


def test_lines_end_with_the_only_newline_they_hold_so_that_none_is_the_start_of_another() -> None:
    assert all(line.index("\n") == len(line) - 1 for line in text.lines())


def test_the_mean_length_is_that_of_the_enumerated_lines() -> None:
    assert text.mean_length() == pytest.approx(math.fsum(p * len(line) for line, p in text.lines().items()), rel=1e-12)


def test_the_entropy_of_a_small_grammar_is_that_worked_by_hand() -> None:
    # One fair coin, then after heads another one: H = ln 2 + 1/2 ln 2; lengths 1, 2, 2 with 1/2, 1/4, 1/4.
    coins = text.Choice(((1.0, "t"), (1.0, ("h", text.Choice(((1.0, "h"), (1.0, "t")))))))
    assert text.lines(coins) == {"t": 0.5, "hh": 0.25, "ht": 0.25}
    assert text.entropy_nats(coins) == pytest.approx(1.5 * math.log(2))
    assert text.mean_length(coins) == pytest.approx(1.5)


@pytest.mark.parametrize("line", sorted(text.lines())[::50])
def test_the_ideal_reader_pays_for_a_line_what_the_line_is_worth(line: str) -> None:
    # Chain rule: after a newline, -sum ln P(character | before) = -ln P(line).
    assert math.fsum(text.ideal_losses("\n" + line)) == pytest.approx(-math.log(text.lines()[line]), rel=1e-9)


def test_the_ideal_readers_predictions_sum_to_one_wherever_a_window_starts() -> None:
    window = text.generate(40, seed=3)
    for end in (1, 5, 20, 39):
        before = window[:end]
        total = 0.0
        for character in text.alphabet():
            try:
                total += math.exp(-text.ideal_losses(before + character)[-1])
            except AssertionError:  # the grammar cannot go on like that
                continue
        assert total == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_ideal_reader_of_a_long_text_pays_the_entropy_rate(seed: int) -> None:
    # Far from the start the reader knows where it is; per block of about ten lines the mean has a normal error.
    losses = text.ideal_losses(text.generate(60_500, seed))[500:]
    blocks = [statistics.fmean(losses[i : i + 500]) for i in range(0, len(losses) - 499, 500)]
    error = statistics.stdev(blocks) / math.sqrt(len(blocks))
    assert abs(statistics.fmean(blocks) - text.entropy_rate_nats()) < 5 * error
    assert error < 0.03 * text.entropy_rate_nats()


def test_knowing_less_costs_more() -> None:
    assert text.entropy_rate_nats() < text.unigram_entropy_nats() < math.log(len(text.alphabet()))


def test_the_frequencies_behind_the_unigram_entropy_are_those_of_the_text() -> None:
    written = text.generate(200_000, seed=0)
    shares = [written.count(character) / len(written) for character in text.alphabet()]
    assert -math.fsum(p * math.log(p) for p in shares if p) == pytest.approx(text.unigram_entropy_nats(), rel=0.01)


def test_text_has_the_length_asked_for_repeats_by_seed_and_is_grammatical_throughout() -> None:
    written = text.generate(5000, seed=1)
    assert len(written) == 5000
    assert written == text.generate(5000, seed=1) != text.generate(5000, seed=2)
    right, complete = text.grammatical_lines(written)
    assert right == complete > 50
    assert set(written) <= set(text.alphabet())


def test_a_line_that_the_grammar_cannot_write_is_counted_as_wrong() -> None:
    good = sorted(text.lines())[0]
    assert text.grammatical_lines(f"cut\n{good}nonsense.\n{good}cut") == (2, 3)


def test_the_alphabet_fits_the_vocabulary_of_the_shipped_model() -> None:
    from estimators.facts.registry import model_entry

    assert len(text.alphabet()) <= model_entry("tiny-gpt").config["vocab_size"]
