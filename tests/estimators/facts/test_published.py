"""Prices and published runs: ranges that follow from their rows, and utilisation by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from estimators.errors import BadValueError
from estimators.facts import data, published_runs, registry
from estimators.facts.prices import PROVIDER_KINDS
from estimators.facts.published_runs import PublishedRun, median, summarize, utilization
from estimators.facts.registry import hardware
from estimators.spec import Source
from estimators.units import HOUR_S


def test_every_quote_is_dated_and_of_a_known_device() -> None:
    seen = 0
    for hardware_id in registry.hardware_ids():
        for price in registry.prices(hardware_id):
            seen += price.num_quotes
            assert price.provider_kind in PROVIDER_KINDS
            assert 0 < price.low_usd_per_gpu_hour <= price.median_usd_per_gpu_hour <= price.high_usd_per_gpu_hour
            assert all(re.fullmatch(r"20\d\d-\d\d-\d\d", day) for day in (price.first_seen, price.last_seen))
            assert len(set(price.providers)) == price.num_quotes == len(price.providers)
    assert seen == len(Path(data.file("prices.csv")).read_text(encoding="utf-8").splitlines()) - 1


def test_h100_quotes_make_the_range_that_they_span() -> None:
    by_kind = {price.provider_kind: price for price in registry.prices("h100-sxm5-80gb")}
    # AWS 6.88, GCP 11.0612, Azure 12.29, all seen on 2026-09-27.
    hyperscaler = by_kind["hyperscaler"]
    assert (hyperscaler.low_usd_per_gpu_hour, hyperscaler.median_usd_per_gpu_hour, hyperscaler.high_usd_per_gpu_hour) == (
        6.88,
        11.0612,
        12.29,
    )
    assert hyperscaler.providers == ("AWS", "Azure", "GCP")
    assert hyperscaler.last_seen == "2026-09-27"


def test_a_median_is_the_middle_or_the_mean_of_two() -> None:
    assert median([1.0, 2.0, 9.0]) == 2.0
    assert median([1.0, 2.0, 4.0, 9.0]) == 3.0


def run(**changes: Any) -> PublishedRun:
    """6 · 1e9 · 1e12 FLOP in 10,000 A100-hours: 6e21 / (3.6e7 s · 312e12 FLOP/s) = 0.5342 of the peak."""
    fields: dict[str, Any] = {
        "name": "toy",
        "params": 10**9,
        "active_params": None,
        "tokens": 10**12,
        "seq_len": 2048,
        "hardware_id": "a100-sxm4-80gb",
        "num_devices": 8,
        "device_seconds": 10_000.0 * HOUR_S,
        "reported_mfu": None,
        "training_flop": None,
        "dtype": "bf16",
        "confidence": "high",
        "source": Source(title="toy"),
    }
    return PublishedRun(**fields | changes)


A100 = hardware("a100-sxm4-80gb")


def test_utilization_is_reported_or_derived_or_unknown() -> None:
    assert utilization(run(reported_mfu=0.41), A100) == (0.41, "published")
    share = utilization(run(), A100)
    assert share is not None
    assert share[0] == pytest.approx(0.5342, abs=5e-5)
    assert share[1] == "derived"
    assert utilization(run(training_flop=3 * 10**21), A100) == (share[0] / 2, "derived")
    assert utilization(run(active_params=5 * 10**8), A100) == (share[0] / 2, "derived")
    assert utilization(run(tokens=None), A100) is None
    assert utilization(run(device_seconds=None), A100) is None


def test_llama_2_7b_reached_39_percent() -> None:
    # 6 · 6,738,415,616 · 2e12 FLOP over 184,320 h · 3,600 s · 312e12 FLOP/s, by hand: 8.0861e22 / 2.07028e23.
    llama = next(r for r in registry.published_runs() if r.name == "Llama 2 7B")
    share = utilization(llama, hardware(llama.hardware_id))
    assert share == (pytest.approx(0.39058, abs=1e-5), "derived")


def test_a_run_above_the_peak_is_dropped_and_counted() -> None:
    runs = [run(reported_mfu=0.3), run(reported_mfu=0.4), run(reported_mfu=0.5), run(device_seconds=10.0)]
    found = summarize(runs, hardware, A100.architecture)
    assert (found.low, found.median, found.high, found.num_runs) == (0.3, 0.4, 0.5, 3)
    assert found.source.title.endswith("; 1 left out, above the peak")


def test_mixtures_of_experts_and_doubtful_runs_make_no_range() -> None:
    dense = [run(reported_mfu=0.3, name=str(i)) for i in range(3)]
    found = summarize(
        [*dense, run(reported_mfu=0.1, active_params=1), run(reported_mfu=0.9, confidence="low")], hardware, A100.architecture
    )
    assert (found.low, found.high, found.runs) == (0.3, 0.3, ("0", "1", "2"))


def test_an_architecture_with_few_runs_gets_the_range_of_all_hardware_and_says_so() -> None:
    found = registry.utilization_range("b200-sxm-180gb")
    everywhere = registry.utilization_range()
    assert found.scope == "all hardware, as none is on Blackwell (GB100)"
    assert (found.low, found.median, found.high) == (everywhere.low, everywhere.median, everywhere.high)
    assert everywhere.scope == "all hardware"


def test_the_claim_of_phi_2_lies_above_every_other_published_a100_run() -> None:
    phi_2 = next(r for r in registry.published_runs() if r.name == "Phi-2")
    claim = utilization(phi_2, A100)
    assert claim is not None
    a100 = registry.utilization_range("a100-sxm4-80gb")
    assert a100.high < claim[0] == pytest.approx(0.6445, abs=5e-5)
    assert "Phi-2" not in a100.runs
    assert a100.num_runs == len(a100.runs) > 20


def test_every_published_run_has_a_share_and_a_source() -> None:
    for known in registry.published_runs():
        share = utilization(known, hardware(known.hardware_id))
        assert share is not None, known.name
        assert 0.05 < share[0] <= 1, known.name
        assert known.source.url.startswith("https://")


def test_a_bad_cell_in_published_runs_is_refused() -> None:
    cells = dict.fromkeys(published_runs.RUN_COLUMNS, "1") | {"dtype": "fp8", "confidence": "high"}
    with pytest.raises(BadValueError, match=r"published_runs.csv, line 3: dtype is 'fp8'; expected one of: bf16, fp16"):
        published_runs.run_from(data.Row(data.file("published_runs.csv"), 3, cells))


def test_a_range_names_an_architecture_only_where_its_runs_are_on_it() -> None:
    by_name = {run.name: run for run in registry.published_runs()}
    for name in registry.hardware_ids():
        found, architecture = registry.utilization_range(name), hardware(name).architecture
        ran_on = {hardware(by_name[run].hardware_id).architecture for run in found.runs}
        assert false_scope(found.scope, architecture, ran_on) == "", name


def false_scope(scope: str, architecture: str, ran_on: set[str]) -> str:
    """What is wrong with a scope; empty where nothing is."""
    if scope == architecture:
        return "" if ran_on == {architecture} else f"runs on {ran_on} stand for {architecture}"
    return "" if scope.startswith("all hardware, as ") and scope.endswith(f" on {architecture}") else "it does not say why"


def test_a_scope_that_hides_where_its_runs_were_is_noticed() -> None:
    assert false_scope("Blackwell (GB100)", "Blackwell (GB100)", {"Ampere (GA100)"})
    assert false_scope("all hardware", "Blackwell (GB100)", {"Ampere (GA100)"}) == "it does not say why"
