"""Sentences about published runs and about what a device is, for every kind of device: each says what its figures are of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from estimators.facts.registry import hardware, hardware_ids, utilization_range
from estimators.training.answer import predict
from estimators.training.layouts.global_batch import Batch
from estimators.training.question import Question
from reports.views.training.conditions import device_lines
from reports.views.training.predicted import answer_table
from tests.support.ideal_machine import model

PARTS = ("mi250x-128gb", "tpu-v2", "tpu-v3", "tpu-v7x", "trainium1", "trainium2", "gpu-max-1550", "gb200-186gb", "gb300-288gb")


@pytest.mark.parametrize("hardware_id", ["b200-sxm-180gb", "mi355x-288gb", "tpu-v5p", "a100-sxm4-80gb", "rtx-4090-24gb"])
def test_a_doubt_names_whose_runs_it_rests_on(hardware_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("estimators.training.prediction.Prediction.utilization", lambda *_: 0.9)
    question = Question(
        model=model("gpt2"), hardware=hardware(hardware_id), seq_len=1024, tokens=10**9, num_devices=1, batch=Batch(sequences=8)
    )
    doubts = [note for note in answer_table(predict(question)).notes if note.startswith("Doubt it")]
    published = utilization_range(hardware_id)
    assert len(doubts) == 1
    assert f"a dense language model on {published.scope}; the highest has {100 * published.high:.1f} %" in doubts[0]
    assert ("all hardware" in doubts[0]) == (hardware_id != "a100-sxm4-80gb")


@pytest.mark.parametrize("hardware_id", PARTS)
def test_a_part_of_what_is_sold_says_so_wherever_it_is_chosen(hardware_id: str, tables_of: Any) -> None:
    line = f"{hardware_id}: one device is {hardware(hardware_id).one_device}"
    dtype = next(name for name in ("bf16", "fp16", "fp32") if name in hardware(hardware_id).peak_flop_per_s)
    asked = SimpleNamespace(model="pythia-160m", hardware=hardware_id, dtype=dtype)
    for verb, text in tables_of(asked).items():
        assert line in text, verb


def test_a_whole_card_says_nothing() -> None:
    assert device_lines(hardware(name) for name in ("h100-sxm5-80gb", "mi300x-192gb")) == []
    assert len(device_lines(hardware(name) for name in hardware_ids())) == sum(bool(hardware(name).one_device) for name in hardware_ids())


@pytest.fixture
def tables_of() -> Any:
    """Verb -> the text of its answer."""
    import sixnd

    def ask(asked: SimpleNamespace) -> dict[str, str]:
        common = vars(asked)
        training = common | {"tokens": "10B", "gpus": 8}
        answers = {
            "estimate": sixnd.estimate(**training),
            "estimate at a utilization": sixnd.estimate(**training, utilization=0.3),
            "single steps": sixnd.estimate(**common),
            "compare-hardware": sixnd.compare_hardware(**training),
            "compare-hardware at a utilization": sixnd.compare_hardware(**training, utilization=0.3),
            "plan": sixnd.plan(**training),
            "check-claim": sixnd.check_claim(**training, days=100),
        }
        lines = {
            verb: [text for table in answer.tables() for text in (*table.conditions, *table.notes)] for verb, answer in answers.items()
        }
        return {verb: "\n".join(texts) for verb, texts in lines.items()}

    return ask


@pytest.mark.parametrize(("hardware_id", "own"), [("b200-sxm-180gb", False), ("tpu-v5p", False), ("a100-sxm4-80gb", True)])
def test_a_verdict_on_a_claim_names_whose_runs_it_rests_on(hardware_id: str, own: bool) -> None:
    import sixnd

    answer = sixnd.check_claim(model="llama-3-8b", tokens="1T", hardware=hardware_id, gpus=1024, days=30)
    title = answer.tables()[0].title
    assert ("(on all hardware, as " in title) == (not own), title
    assert "below every published run" in title
