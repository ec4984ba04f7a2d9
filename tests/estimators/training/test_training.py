"""Whole trainings against what the papers report."""

from __future__ import annotations

import pytest

from estimators.architectures.from_config import model_from_config
from estimators.errors import BadValueError
from estimators.facts.registry import hardware, model_entry
from estimators.spec import Model
from estimators.training.at_utilization import devices_for_deadline, implied_utilization, tokens_for_budget, training_flop, training_run
from estimators.units import DAY_S

A100 = hardware("a100-sxm4-80gb")
BILLION, TRILLION = 10**9, 10**12

TABLE_D1 = {
    "gpt-3-small": 2.25e20,
    "gpt-3-medium": 6.41e20,
    "gpt-3-large": 1.37e21,
    "gpt-3-xl": 2.38e21,
    "gpt-3-2.7b": 4.77e21,
    "gpt-3-6.7b": 1.20e22,
    "gpt-3-13b": 2.31e22,
    "gpt-3-175b": 3.14e23,
}
"""Training FLOP at 300B tokens. Source: Brown et al. 2020 (arXiv 2005.14165), table D.1."""


def shipped(name: str) -> Model:
    return model_from_config(model_entry(name).config, name)


@pytest.mark.parametrize(("name", "published_flop"), TABLE_D1.items())
def test_table_d1_of_the_gpt_3_paper_is_6nd(name: str, published_flop: float) -> None:
    """Three printed digits, from parameters rounded to three or four: half a percent."""
    assert training_flop(shipped(name), 300 * BILLION, 2048)["6nd"] == pytest.approx(published_flop, rel=0.006)


def test_gpt_3_and_phi_2_under_every_convention() -> None:
    """Reference values to seven digits: torch's counter on meta for `full`, Megatron's equation for `hardware`."""
    for name, tokens, full, causal, recomputed in (
        ("gpt-3", 300 * BILLION, 3.229120e23, 3.185634e23, 4.301788e23),
        ("phi-2", 1400 * BILLION, 2.505887e22, 2.364958e22, 3.304482e22),
    ):
        flop = training_flop(shipped(name), tokens, 2048)
        assert flop["full"] == pytest.approx(full, rel=2e-7)
        assert flop["causal"] == pytest.approx(causal, rel=2e-7)
        assert flop["hardware"] == pytest.approx(recomputed, rel=2e-7)


def test_gpt_3_on_1024_a100_takes_the_34_days_of_the_megatron_paper() -> None:
    """140 TFLOP/s per GPU counts recomputation: 34 days by 8TP/(nX), equation 4; the exact count gives 34.7. arXiv 2104.04473."""
    run = training_run(
        shipped("gpt-3"), tokens=300 * BILLION, seq_len=2048, hardware=A100, num_devices=1024, utilization=140 / 312, counted_as="hardware"
    )
    assert run.wall_s / DAY_S == pytest.approx(34.7, abs=0.05)
    assert run.gpu_days == pytest.approx(1024 * run.wall_s / DAY_S)


def test_phi_2s_claim_implies_63_to_65_percent_by_the_rule_of_thumb() -> None:
    """Model card: 1.4T tokens, 96 A100-80GB, 14 days."""
    flop = training_flop(shipped("phi-2"), 1400 * BILLION, 2048)
    by_rule = implied_utilization(flop["6nd"], hardware=A100, num_devices=96, wall_s=14 * DAY_S)
    by_card = implied_utilization(6 * 2_700_000_000 * 1400 * BILLION, hardware=A100, num_devices=96, wall_s=14 * DAY_S)
    counted = implied_utilization(flop["full"], hardware=A100, num_devices=96, wall_s=14 * DAY_S)
    assert (round(by_card, 3), round(by_rule, 3), round(counted, 2)) == (0.626, 0.644, 0.69)


def test_a_share_above_the_peak_is_given_for_the_claim_to_judge() -> None:
    assert implied_utilization(10**24, hardware=A100, num_devices=8, wall_s=DAY_S) == pytest.approx(10**24 / (8 * DAY_S * 312e12))


def test_inverse_questions_lead_back_to_the_same_run() -> None:
    model = shipped("llama-2-7b")
    run = training_run(model, tokens=2 * TRILLION, seq_len=4096, hardware=A100, num_devices=512, utilization=0.5)
    back = tokens_for_budget(model, seq_len=4096, hardware=A100, gpu_seconds=run.gpu_seconds, utilization=0.5)
    assert back == pytest.approx(2 * TRILLION, abs=4096)
    assert devices_for_deadline(model, tokens=2 * TRILLION, seq_len=4096, hardware=A100, wall_s=run.wall_s, utilization=0.5) == 512
    assert implied_utilization(run.training_flop["full"], hardware=A100, num_devices=512, wall_s=run.wall_s) == pytest.approx(0.5)


def test_energy_is_the_board_limit_times_device_time() -> None:
    run = training_run(shipped("gpt2"), tokens=BILLION, seq_len=1024, hardware=A100, num_devices=1, utilization=0.4)
    assert run.energy_j == pytest.approx(400 * run.gpu_seconds)


@pytest.mark.parametrize("utilization", [0.0, -0.1, 1.01])
def test_a_utilization_outside_0_to_1_is_refused(utilization: float) -> None:
    with pytest.raises(BadValueError, match="expected a fraction of peak above 0 and up to 1"):
        training_run(shipped("gpt2"), tokens=BILLION, seq_len=1024, hardware=A100, num_devices=1, utilization=utilization)


@pytest.mark.parametrize("num_devices", [0, 10**9])
def test_an_absurd_number_of_devices_is_refused(num_devices: int) -> None:
    with pytest.raises(BadValueError, match="devices is out of range"):
        training_run(shipped("gpt2"), tokens=BILLION, seq_len=1024, hardware=A100, num_devices=num_devices, utilization=0.4)
