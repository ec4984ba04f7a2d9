"""`disclose`: totals are the sum of the records, what no meter read is unavailable, and each form is what its reader loads."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard, ModelCardData

import sixnd
from bench.cli.main import main
from bench.records.draft import write
from bench.records.environment import DeviceFacts, Environment
from bench.records.experiments import experiment_of
from bench.records.record import Measurement, Phase
from estimators.errors import BadRecordError, BadValueError, PhysicsError, UnknownNameError
from estimators.facts.registry import hardware
from tests.support.checkout import ROOT
from tests.support.codecarbon_files import emissions
from tests.support.tiny_models import record

A100 = hardware("a100-sxm4-80gb")
ON_GPU = Environment(device=DeviceFacts(kind="cuda", name="NVIDIA A100-SXM4-80GB", memory_total_bytes=80 * 2**30))
NO_METER = {"energy_j": "NVML cannot be read", "cpu_package_energy_j": "no RAPL counters here"}
WORDS = {"what": "llama-3.1-8b", "method": "lora", "tokens": "2B", "hardware": "h100-sxm5-80gb", "gpus": 8, "hours": 30}


def made(name: str, *, steps: int = 100, **fields: Any) -> Measurement:
    """A training on an A100 whose steps take 36 s each, as many as given, the first of them a warm-up."""
    phase = Phase(name="train_step", samples_s=(36.0,) * (steps - 1), warmup_s=(36.0,))
    return dataclasses.replace(
        record("train", hardware=A100), run_id=name, phases=(phase,), environment=ON_GPU, unavailable=NO_METER, **fields
    )


def folder_of(folder: Path, *records: Measurement) -> Path:
    folder.mkdir(exist_ok=True)
    for each in records:
        write(each, folder / f"{each.run_id}.json")
    return folder


METER = {"energy_j": 3.6e6, "cpu_package_energy_j": None, "window_s": 3000.0}
"""One kilowatt-hour of the GPU; the processors were not read."""


def test_the_disclosure_of_the_shipped_results_is_the_sum_of_their_records() -> None:
    """Summed from the files' own json: steps times FLOP of a step, and seconds of each phase that times no other one again."""
    flop, seconds, ran = 0, [], 0
    for path in sorted((ROOT / "results").rglob("*.json")):
        body = json.loads(path.read_text(encoding="utf-8"))
        if body.get("run_id") is None or body["request"]["task"] == "estimate":
            continue
        ran += 1
        phases = {phase["name"]: phase for phase in body["phases"]}
        parts = {"prefill", "decode", "between"} if body["request"]["task"] == "generate" else {"epoch"}
        seconds += [s for name, p in phases.items() if name not in parts for s in (*p["samples_s"], *p["warmup_s"])]
        if body["request"]["task"] == "train":
            num_steps = len(phases["train_step"]["samples_s"]) + len(phases["train_step"]["warmup_s"])
            assert num_steps == body["proof"]["num_steps"]
            flop += num_steps * body["estimate"]["phases"]["train_step"]["flop"]["full"]
    answer = sixnd.disclose(ROOT / "results")
    assert (answer.num_experiments, answer.architecture_flop) == (ran, flop)
    assert answer.device_hours == pytest.approx(math.fsum(seconds) / 3600, rel=1e-12)
    assert (answer.energy_measured_j, answer.carbon_measured_kg, answer.co2_eq_emissions) == (None, None, None)
    assert answer.num_unmetered == ran
    assert "no RAPL counters" in (answer.unavailable or {})["energy_measured_j"]


def test_totals_of_records_are_kept_apart_by_how_they_ended(tmp_path: Path) -> None:
    """100, 50, 10 and 25 steps of 36 s: 1, 0.5, 0.1 and 0.25 device hours; a broken-off run counts its time and its compute."""
    folder = folder_of(
        tmp_path / "runs",
        made("a", power=METER),
        made("b", steps=50, status="failed", status_reason="out of memory"),
        made("c", steps=10, status="partial", status_reason="interrupted"),
    )
    folder_of(folder / "tries", made("d", steps=25))
    answer = sixnd.disclose(folder, preliminary=folder / "tries", carbon=100, pue=1.5)
    rows = {row["standing"]: row for row in answer.tables()[0].rows}
    hours = {"complete": 1.0, "preliminary": 0.25, "broken off": 0.1, "failed": 0.5, "all": 1.85}
    assert {name: row["device_hours"] for name, row in rows.items()} == pytest.approx(hours)
    assert rows["all"]["architecture_flop"] == sum(row["architecture_flop"] for name, row in rows.items() if name != "all")
    assert answer.energy_measured_j == 3.6e6
    assert answer.carbon_measured_kg == pytest.approx(0.150), "1 kWh at a PUE of 1.5 and 100 g/kWh"
    estimated_j = A100.power_w * 0.76 * 0.85 * 3600
    assert answer.energy_estimated_j == pytest.approx(estimated_j), "the board's limit for the 0.85 hours that no meter read"
    assert "broken off" in answer.forms["neurips"]
    assert "0.76" in answer.text(verbose=True)
    assert "Meters read 83.3 % of the device time" in answer.text(), "a window of 3,000 s in an hour"


def test_a_run_whose_file_lies_there_twice_is_counted_once(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "runs", made("a", power=METER))
    folder_of(folder / "copy", made("a", power=METER))
    answer = sixnd.disclose(folder)
    assert (answer.num_experiments, answer.energy_measured_j) == (1, 3.6e6)
    assert "2 files hold 1 records" in answer.text(verbose=True)


def test_a_measured_and_an_estimated_energy_are_added_up_in_a_card_alone_which_says_so(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "runs", made("a", power=METER), made("b"))
    answer = sixnd.disclose(folder, location="FR", pue=1.2)
    block = answer.co2_eq_emissions
    assert block is not None
    assert block["emissions"] == pytest.approx(1000 * ((answer.carbon_measured_kg or 0) + (answer.carbon_estimated_kg or 0)), rel=1e-5)
    assert "1.00 kWh measured" in str(block["source"])
    assert "estimated (1 of 2 experiments) added up here" in str(block["source"])


def test_the_card_is_what_huggingface_hub_loads_and_writes_again(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    command = ["disclose", str(folder_of(tmp_path / "runs", made("a", power=METER))), "--location", "FR", "--pue", "1.2"]
    assert main([*command, "--format", "model-card", "--output", str(path)]) == 0
    card = ModelCard.load(path)
    block = card.data.co2_eq_emissions
    assert block["emissions"] == pytest.approx(56.039 * 1.2), "grams of one kWh: France's 56.039 g, as our file has it, and the PUE"
    assert (block["training_type"], block["geographical_location"]) == ("pre-training", "France")
    assert block["hardware_used"] == "NVIDIA A100-SXM4-80GB (80.0 GiB)"
    again = ModelCardData(co2_eq_emissions=block)
    assert ModelCard(f"---\n{again.to_yaml()}\n---\n").data.co2_eq_emissions == block


def test_without_energy_a_card_has_no_block_but_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["disclose", str(ROOT / "results" / "cpu-amd-epyc" / "check"), "--format", "model-card"]) == 0
    text = capsys.readouterr().out
    assert "co2_eq_emissions" not in text
    assert "Energy: unavailable: processors: no RAPL counters here" in text


def test_codecarbon_file_is_grams_at_its_own_country_and_not_added_to_records(tmp_path: Path) -> None:
    (tmp_path / "emissions.csv").write_text(emissions({}), encoding="utf-8")
    alone = sixnd.disclose(tmp_path / "emissions.csv")
    assert (alone.location, alone.training_type) == ("France", None), "codecarbon does not tell what it tracked"
    assert sixnd.disclose(tmp_path / "emissions.csv", training_type="fine-tuning").co2_eq_emissions["training_type"] == "fine-tuning"
    assert alone.carbon_measured_kg == pytest.approx(0.4 * 0.056039)
    assert alone.energy_not_stated_j == pytest.approx(0.05 * 3.6e6)
    assert "codecarbon itself says 83.5 g" in alone.text(verbose=True)
    beside = sixnd.disclose(folder_of(tmp_path, made("a", power=METER)))
    assert (beside.num_experiments, beside.energy_measured_j) == (1, 3.6e6)
    assert "1 of codecarbon's files lie beside" in beside.text(verbose=True)


def test_a_training_in_words_counts_what_estimate_counts_and_multiplies_by_hand() -> None:
    """8 x 30 h x 989.4 TFLOP/s x 26.2 %, and 700 W x 0.76 x 240 h."""
    answer = sixnd.disclose(**WORDS, utilization=0.25)
    estimated = sixnd.estimate(
        model="llama-3.1-8b", tokens="2B", lora_rank=16, seq_len=2048, hardware="h100-sxm5-80gb", gpus=8, utilization=0.25
    )
    assert answer.architecture_flop == estimated.training_flop
    assert answer.device_time_flop == pytest.approx(hardware("h100-sxm5-80gb").peak("bf16") * 240 * 3600 * 0.25)
    assert answer.difference_fraction == pytest.approx((answer.device_time_flop or 0) / (answer.architecture_flop or 1) - 1)
    assert answer.energy_estimated_j == pytest.approx(700 * 0.76 * 240 * 3600)
    assert (answer.energy_measured_j, answer.training_type, answer.pue) == (None, "fine-tuning", None)
    metered = sixnd.disclose(**WORDS, kwh=130)
    assert (metered.energy_measured_j, metered.energy_estimated_j) == (130 * 3.6e6, None)


def test_thresholds_are_told_with_both_readings_date_source_and_no_advice() -> None:
    """Llama 3 8B: 6 x 8.03e9 x 15e12 = 7.2e23, above 1e23 and below 1e25."""
    answer = sixnd.disclose("llama-3-8b", tokens="15T", hardware="h100-sxm5-80gb", gpus=16_000, hours=81)
    rows = {row["threshold"]: row for row in answer.tables()[-1].rows}
    assert {name: row["passed"] for name, row in rows.items() if row["role"] == "provider"} == {
        "systemic-risk": "no",
        "general-purpose-indicative": "yes",
        "general-purpose-presumed": "yes",
    }
    assert [row["amount_flop"] for row in rows.values()] == [1e25, 1e23, 1e23, None, 3.3e22]
    law = answer.forms["ai-act"]
    assert "Not legal advice" in law
    assert "2024-06-13" in law
    assert "FLOP/s" not in law.replace("TFLOP/s", "")
    tuned = sixnd.disclose("llama-3-8b", method="lora", tokens="2B", hardware="h100-sxm5-80gb", gpus=8, hours=30)
    third = next(row for row in tuned.tables()[-1].rows if row["threshold"] == "modifier-one-third")
    assert third["amount_flop"] == pytest.approx((answer.architecture_flop or 0) / 3), "its 15 T tokens are published"


def test_forms_for_papers_answer_and_escape(tmp_path: Path) -> None:
    answer = sixnd.disclose(folder_of(tmp_path / "runs", made("a", power=METER)))
    assert r"\item[] Answer: \answerYes{}" in answer.forms["neurips"]
    assert "NVIDIA A100-SXM4-80GB (80.0 GiB)" in answer.forms["neurips"]
    assert answer.forms["latex"].startswith(r"\paragraph{")
    assert r"\begin{longtable}" in answer.forms["latex"]
    assert r"26.2 \%" in answer.forms["latex"] or r" \%" in answer.forms["latex"]


def test_work_that_no_device_could_have_done_is_told_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    phase = Phase(name="train_step", samples_s=(1e-9,) * 10)
    impossible = dataclasses.replace(made("a"), phases=(phase,))
    assert main(["disclose", str(folder_of(tmp_path / "runs", impossible))]) == 1
    assert "impossible:" in capsys.readouterr().out
    with pytest.raises(PhysicsError, match=r"impossible: 2,000,000,000 tokens of llama-3.1-8b, lora take"):
        sixnd.disclose(**{**WORDS, "hours": "10min"})


def test_ranks_and_readings_of_the_same_steps_are_counted_once() -> None:
    steps = (
        Phase(name="train_step", samples_s=(2.0, 2.0)),
        Phase(name="host_step", samples_s=(1.9, 1.9)),
        Phase(name="load", samples_s=(5.0,)),
    )
    several = dataclasses.replace(made("a"), phases=steps)
    several = dataclasses.replace(several, proof=several.proof.replaced(num_ranks=4))
    assert experiment_of(several).device_s == pytest.approx(4 * 9.0)
    sliced = experiment_of(dataclasses.replace(made("c"), phases=(Phase(name="train_step@2", samples_s=(1.0,)),)))
    assert (sliced.device_s, sliced.architecture_flop) == (1.0, None), "a slice's step is not the whole model's"
    nothing = experiment_of(dataclasses.replace(made("b"), phases=(), status="failed"))
    assert (nothing.device_s, nothing.reason("device_s")) == (None, "it ended before anything was timed")


@pytest.mark.parametrize(
    ("asked", "error", "about"),
    [
        ({}, BadValueError, "disclose what"),
        ({"what": "nowhere/"}, BadRecordError, "no record folder"),
        ({"what": "llama-3-8b"}, BadValueError, "needs --tokens, --hardware, --hours"),
        ({"what": "lama-3-8b", "tokens": 1, "hardware": "h100", "hours": 1}, UnknownNameError, "did you mean"),
        ({"what": str(ROOT / "results"), "location": "Frnace"}, UnknownNameError, "did you mean 'France'"),
        ({"what": str(ROOT / "results"), "pue": 0.9}, BadValueError, "from 1 to 3"),
        ({"what": str(ROOT / "results"), "tokens": "1B"}, BadValueError, "--tokens is of a training in words"),
        ({"what": "llama-3-8b", "model": "phi-2"}, BadValueError, "the model is phi-2 already"),
        ({**WORDS, "method": "full", "lora_rank": 8}, BadValueError, "are of adapters"),
    ],
)
def test_a_wrong_request_is_answered_with_what_to_type(asked: dict[str, Any], error: type[Exception], about: str) -> None:
    with pytest.raises(error, match=about):
        sixnd.disclose(**asked)


def test_a_folder_without_either_says_how_to_fill_it(tmp_path: Path) -> None:
    with pytest.raises(BadRecordError, match="neither a record nor codecarbon"):
        sixnd.disclose(tmp_path)
