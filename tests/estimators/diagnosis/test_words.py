"""Numbers with units in sentences, and nothing else of them."""

from __future__ import annotations

import pytest

from estimators.diagnosis.observed import Figure
from estimators.diagnosis.words import figures_in, others_in


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2674 prompt+answer tokens, 3348 with padding, 30.27 s", [("tokens", 2674), ("tokens", 3348), ("wall_time_s", 30.27)]),
        ("mbs 1, gbs 16, 500 steps, 13.5 h", [("steps", 500), ("wall_time_s", 48600)]),
        ("33.7 s per iteration of 262,144 tokens", [("step_time_s", 33.7), ("tokens", 262144)]),
        ("step 1.93 s; no accumulation", [("step_time_s", 1.93)]),
        ("180 FPS without synchronize", [("samples_per_s", 180)]),
        ("5,502,402,560 tokens in 147.75 minutes on 8 H100", [("tokens", 5502402560), ("wall_time_s", 8865)]),
        ("after one step with 5-token samples on 2 GPUs, tp 2", [("steps", 1)]),
        ("275.6 TFLOP/s/GPU logged", [("flop_per_s", 275.6e12)]),
        ("a 7B with vocab 50368 and 12 layers", []),
        ("1,5 s is no number of ours", []),
    ],
)
def test_every_number_with_a_unit_is_read_and_no_other(text: str, expected: list[tuple[str, float]]) -> None:
    found = [said.figure for said in figures_in(text)]
    assert [figure.quantity for figure in found] == [quantity for quantity, _ in expected]
    assert [figure.value for figure in found] == pytest.approx([value for _, value in expected])


def test_another_run_is_one_of_the_same_quantity_with_its_devices() -> None:
    main = Figure(quantity="step_time_s", value=4.5, digits=2)
    _, (other,) = others_in("8 H100: 4.5 s/it; 8 A800: 2.2 s/it at the same batch.", main, 8)
    assert (other.figure.value, other.num_devices, other.hardware) == (2.2, 8, "A800")
    faster = Figure(quantity="step_time_s", value=0.03, digits=1)
    _, (first,) = others_in("115 ms a step on 2 nodes of 8 H100, 30 ms on 8 nodes", faster, 64)
    assert first.figure.value == pytest.approx(0.115)
    assert first.num_devices == 16


def test_a_difference_to_another_run_is_no_figure_of_its_own() -> None:
    main = Figure(quantity="wall_time_s", value=135.78, digits=5)
    _, (other,) = others_in("takes 135.8 s on a rented 8 x H100, about 0.7 s more than the record", main, 8)
    assert other.figure.value == pytest.approx(135.08)


def test_a_number_without_unit_is_of_the_mains_quantity_only_at_the_end_of_a_clause() -> None:
    main = Figure(quantity="requests_per_s", value=3.6, digits=2)
    _, others = others_in("3.6 requests/s for LLaMA 7B on an H800; the README has 10.6.", main, 1)
    assert [other.figure.value for other in others] == [10.6]
