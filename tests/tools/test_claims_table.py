"""The published runs as claims: by hand, against what their authors print, and no run joined to a model of another size."""

from __future__ import annotations

import pytest

from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import count_active_params, count_params
from estimators.facts.registry import model_entry, published_runs
from estimators.spec import Workload
from estimators.units import HOUR_S
from tools.claims_page import checked, claims_table, flop_table

ROWS = {row["run"]: row for row in claims_table().rows}
RUNS = {run.name: run for run in published_runs()}


@pytest.mark.parametrize("name", [run.name for run in published_runs() if run.model_id])
def test_a_run_is_joined_to_a_model_of_its_size(name: str) -> None:
    """Names round: Phi-4's 14B are 14.7B, Falcon 40B's paper says 41.8B and its checkpoint holds 41.3B."""
    run, entry = RUNS[name], model_entry(RUNS[name].model_id)
    ops = model_from_config(entry.config, entry.id, entry.source).ops(Workload(phase="train"))
    if run.params and name != "Phi-3.5-MoE":  # 16 experts of 3.8B each are 60.8B by name; they share the attention
        assert count_params(ops) == pytest.approx(run.params, rel=0.05)
    if run.active_params:
        assert count_active_params(ops) == pytest.approx(run.active_params, rel=0.11)


def test_llama_2_by_hand() -> None:
    """Touvron et al. 2023, table 2: 184,320 A100-hours for 2T tokens; 6·6,738,415,616·2e12 FLOP at 312e12 a second."""
    row = ROWS["Llama 2 7B"]
    device_s = 184_320 * HOUR_S
    assert row["six_nd_fraction"] == pytest.approx(6 * 6_738_415_616 * 2e12 / (device_s * 312e12))
    # products: all parameters but the table and the norms; the square: 12·32·4096·4096 FLOP per token, forward and backward
    products = 6 * (6_738_415_616 - 32_000 * 4096 - 65 * 4096)
    assert row["full_fraction"] == pytest.approx((products + 12 * 32 * 4096 * 4096) * 2e12 / (device_s * 312e12))
    assert row["causal_fraction"] == pytest.approx((products + 6 * 32 * 4096 * 4096) * 2e12 / (device_s * 312e12))


def test_llama_3_1_prints_the_flop_of_the_rule() -> None:
    """Dubey et al. 2024, section 3.2: 3.8e25 FLOP for 15.6T tokens, which is 6·N·D to the digits printed."""
    row = next(row for row in flop_table().rows if row["run"] == "Llama 3.1 405B")
    assert row["six_nd_over_printed_fraction"] == pytest.approx(0, abs=0.05 / 3.8)


def test_a_difference_stands_only_beside_a_printed_utilization() -> None:
    """Chowdhery et al. 2022 print 46.2 % for PaLM 540B; Llama 3's authors 38 to 43 %."""
    beside = {name for name, row in ROWS.items() if row["difference_fraction"] is not None}
    assert beside == {name for name, row in ROWS.items() if row["reported_fraction"] is not None} == {"PaLM 540B", "Llama 3.1 405B"}
    for name in beside:
        row = ROWS[name]
        share = row["six_nd_fraction"] if row["full_fraction"] is None else row["full_fraction"]
        assert row["difference_fraction"] == pytest.approx(float(share or 0) - float(row["reported_fraction"] or 0))


def test_a_run_without_a_model_or_hours_is_no_claim() -> None:
    assert checked(RUNS["LLaMA 7B"]) is None
    assert checked(RUNS["Nemotron-4 340B"]) is None
    assert "Nemotron-4 340B" not in ROWS
