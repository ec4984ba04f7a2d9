"""Joules a token: gross and net of idle, prefill and decode apart, by the instrument that read them; short windows are named."""

from __future__ import annotations

import dataclasses

import pytest

from bench.records.environment import Environment, ObserverCost
from bench.records.record import Measurement
from reports.checks.conditions import clocks_verdict
from reports.energy import phase_energies
from reports.views.records.energy import energy_table
from reports.views.records.measured import tables
from tests.support.tiny_models import record


def read(task: str, **power: float | None) -> Measurement:
    return dataclasses.replace(record(task), power=dict(power))


def test_joules_a_token_of_prefill_by_hand() -> None:
    """2 samples of 8 tokens: 320 J gross are 20 J a token; 60 W at rest over 2 s are 120 J less: 12.5 J a token."""
    (found,) = phase_energies(read("prefill", prefill_energy_j=320.0, prefill_window_s=2.0, idle_power_w=60.0))
    assert (found.num_items, found.per_item_j, found.net_j, found.net_per_item_j, found.is_short) == (16, 20.0, 200.0, 12.5, False)


def test_joules_a_token_of_decode_are_of_single_tokens() -> None:
    (found,) = phase_energies(read("decode", decode_energy_j=320.0, decode_window_s=4.0))
    assert (found.num_items, found.per_item_j, found.net_j) == (4, 80.0, None)


def test_instruments_are_rows_of_their_own() -> None:
    made = read("decode", decode_energy_j=320.0, decode_cpu_package_energy_j=40.0, decode_window_s=4.0, idle_cpu_package_power_w=5.0)
    rows = energy_table(made).rows
    assert [(row["energy_j"], row["net_energy_j"]) for row in rows] == [(320.0, None), (40.0, 20.0)]
    assert [str(row["instrument"])[:4] for row in rows] == ["NVML", "RAPL"]


def test_a_short_window_is_named_in_the_table() -> None:
    (row,) = energy_table(read("prefill", prefill_energy_j=30.0, prefill_window_s=0.9)).rows
    assert row["tag"] == "measured, window too short"


def test_an_idle_power_above_the_use_gives_no_net_energy_and_never_a_negative_one() -> None:
    (row,) = energy_table(read("prefill", prefill_energy_j=30.0, prefill_window_s=2.0, idle_power_w=60.0)).rows
    assert row["net_energy_j"] is None


@pytest.mark.parametrize("power", [{}, {"prefill_energy_j": None, "prefill_window_s": 2.0}])
def test_without_a_counter_there_is_no_table(power: dict[str, float | None]) -> None:
    made = read("prefill", **power)
    assert energy_table(made).rows == []
    assert "energy" not in {table.key for table in tables(made)}


@pytest.mark.parametrize(
    ("power", "verdict"),
    [
        ({}, None),
        ({"throttled_fraction": None}, None),
        ({"throttled_fraction": 0.0}, "clean"),
        ({"throttled_fraction": 0.1}, "throttled"),
        ({"throttled_fraction": 0.0, "power_capped_s": 0.3}, "throttled"),
    ],
)
def test_the_verdict_on_the_clocks(power: dict[str, float | None], verdict: str | None) -> None:
    assert clocks_verdict(read("prefill", **power)) == verdict


def observed(*wall_ratios: float) -> list[str]:
    cost = ObserverCost(step_s=0.01, wall_ratios=wall_ratios, processor_ratios=(1.002,) * len(wall_ratios))
    notes = tables(dataclasses.replace(record("prefill"), environment=Environment(observer=cost)))[0].notes
    return [note for note in notes if "nstruments" in note]


def test_what_the_instruments_cost_is_a_line_with_its_interval() -> None:
    cost = "Instruments cost +0.4 % (95 %: +0.1 to +0.6 %) of a step of 10.0 ms, measured here, on and off, interleaved, in 6 rounds."
    assert observed(1.001, 1.002, 1.004, 1.004, 1.005, 1.006) == [cost]


def test_a_cost_that_the_machine_s_noise_hides_is_not_given_as_a_figure() -> None:
    (line,) = observed(0.6, 0.9, 1.0, 1.0, 1.2, 1.4)
    assert line.startswith("What the instruments cost a step of 10.0 ms is lost in this machine's noise (95 %: -40.0 to +40.0 %)")
    assert "processor time +0.2 %" in line
    assert observed(1.5) == []
