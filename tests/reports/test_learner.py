"""What a suite's records show together: which network overfits, the rule of thumb with its numbers, where a generation's FLOP go."""

from __future__ import annotations

import dataclasses

import pytest

from bench.records.asked import Asked
from bench.records.estimated import Estimated
from bench.records.learning import CurvePoint, Learning, ViewsScale
from bench.records.record import Measurement
from estimators.architectures.from_config import model_from_config
from estimators.facts.registry import model_entry
from estimators.inference.generation import generation, generation_flop_by_component
from reports.learned import by_rule, learned, overfit
from reports.pages.learner import learner_pictures
from reports.summary import tables
from reports.views.counting.counted import rule_tables
from reports.views.records.learner import learner_lines, learner_tables
from tests.support.pictured import axes_not_said, figure_of, points_not_held, words_not_held
from tests.support.tiny_models import record


def of_views(look_back: int, train_days: int, heldout: list[float], *, params: int = 100, hidden: tuple[int, ...] = (9,)) -> Measurement:
    """A training on views by its curve; one that was not asked for a part of the days has all of 1,405."""
    curve = tuple(CurvePoint(epoch=at, train_loss=0.5 / at, heldout_loss=loss) for at, loss in enumerate(heldout, start=1))
    learning = Learning(
        normalised_by=ViewsScale(mean_views=1.0, std_views=1.0),
        num_train=train_days,
        curve=curve,
        train_loss=curve[-1].train_loss,
        heldout_loss=heldout[-1],
        loss_unit="squared",
    )
    asked = Asked(
        model="mlp",
        task="train",
        config={"model_type": "dense_network", "widths": [look_back, *hidden, 1]},
        epochs=len(heldout),
        train_days=None if train_days == 1405 else train_days,
    )
    made = record("train")
    return dataclasses.replace(
        made, run_id=f"{look_back}-{train_days}-{params}", request=asked, learning=learning, estimate=Estimated(params=params)
    )


LINES = [of_views(1, 1405, [0.9, 0.7], params=2, hidden=()), of_views(7, 1405, [0.8, 0.5], params=8, hidden=())]
FEW = of_views(28, 90, [0.9, 0.6, 1.5], params=900)
SUITE = [*LINES, FEW, of_views(28, 90, [0.9, 0.8, 0.82], params=50), of_views(28, 365, [0.8, 0.5, 0.51], params=900)]


def test_the_one_that_lost_most_after_its_best_epoch_overfits() -> None:
    worst = overfit(learned(SUITE))
    assert worst is not None
    assert (worst.record.run_id, worst.best_epoch, worst.best_heldout_loss, worst.heldout_loss) == ("28-90-900", 2, 0.6, 1.5)
    assert overfit(learned([each for each in SUITE if each is not FEW])) is None
    assert overfit([]) is None


def test_two_lines_say_that_days_help_and_what_overfits() -> None:
    assert learner_lines(SUITE) == [
        "More days to look back on help: held-out loss of the straight lines 0.7 with 1, 0.5 with 7",
        "Overfitting: 900 parameters on 90 days: held-out loss 0.6 after 2 epochs, 1.5 after 3; training loss 0.167",
    ]


def test_records_without_few_days_keep_the_one_table_of_before() -> None:
    assert learner_tables(LINES) == []


def test_a_training_without_a_curve_or_of_mails_is_passed_over() -> None:
    assert learned([record("train"), dataclasses.replace(FEW, learning=FEW.learning.replaced(curve=()))]) == []


@pytest.mark.parametrize("hostile", [False, True])
def test_the_pictures_show_no_figure_that_their_tables_do_not_hold(hostile: bool) -> None:
    pytest.importorskip("matplotlib")
    suite = SUITE
    if hostile:
        suite = [dataclasses.replace(each, request=each.request.replaced(model="</svg><b>$x$")) for each in SUITE]
    shown = [*tables(suite), *learner_tables(suite)]
    pictures = [picture for picture in learner_pictures(shown) if picture.table in ("views", "curve")]
    assert [picture.table for picture in pictures] == ["views", "views", "curve"]
    for picture in pictures:
        figure, table = figure_of(picture, shown), picture.table_in(shown)
        assert points_not_held(figure, table) == [], picture.title
        assert words_not_held(figure, table) == [], picture.title
        assert axes_not_said(figure, table) == [], picture.title
        assert "<b>" not in picture.svg(shown)


def test_the_rule_has_the_run_s_numbers() -> None:
    # GPT-3 paper, table D.1: 6 x 174.6e9 x 300e9 = 3.14e23; a step of 2 sequences of 5 tokens through 100 parameters is 6 x 100 x 10.
    gpt_3 = dataclasses.replace(
        record("generate"),
        request=Asked(model="gpt-3-175b", task="estimate", tokens=300 * 10**9),
        estimate=Estimated(params=174_604_259_328, training_flop=323 * 10**21),
    )
    step = record("train")
    (small, large) = by_rule([gpt_3, step, FEW])
    assert f"{large.rule_flop:.3g}" == "3.14e+23"
    assert f"{large.ratio:.2f}" == "0.97"
    asked = step.request
    assert small.rule_flop == 6 * small.params * (asked.batch or 0) * (asked.seq_len or 0)
    assert small.rule == large.rule == "6·N·D"
    # of the generation the passes are a prompt and one token less than it writes
    made = record("generate")
    (generated,) = by_rule([made])
    assert generated.rule == "2·N·D"
    assert generated.rule_flop == made.estimate.phases["generate"].rule_flop


@pytest.mark.parametrize("name", ["phi-2", "gpt2"])
def test_the_parts_of_a_generation_add_up_to_it(name: str) -> None:
    entry = model_entry(name)
    model = model_from_config(entry.config, entry.id)
    parts = generation_flop_by_component(model, prompt_tokens=10, new_tokens=40, rows=5)
    assert sum(parts.values()) == generation(model, prompt_tokens=10, new_tokens=40, batch=1, beams=5).flop["full"]
    assert next(iter(parts)) == "mlp"


def test_a_rule_of_thumb_per_token_stands_only_beside_models_of_tokens() -> None:
    step = record("train")
    assert list(rule_tables(step))
    assert not list(rule_tables(dataclasses.replace(step, request=FEW.request)))
