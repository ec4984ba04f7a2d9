"""Software that trains adapters over 4-bit weights is refused where all of a model is trained, by every verb that takes it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.cli.main import main
from estimators.cost.layout import Layout
from estimators.cost.software import stacks
from estimators.facts.registry import hardware
from estimators.method import TrainingMethod
from estimators.training.layouts.job import Job
from estimators.validation.model import shipped_model

SAID = "software transformers-qlora trains adapters over 4-bit weights, but llama-2-7b has none; give another"
TRAINING = ("--model", "llama-2-7b", "--tokens", "1B", "--gpus", "8", "--seq-len", "512")


def job(stack_id: str) -> Job:
    return Job(model=shipped_model("llama-2-7b"), hardware=hardware("h100-sxm5-80gb"), seq_len=512, stack_id=stack_id)


@pytest.mark.parametrize(
    ("words", "before"),
    [
        (("estimate", *TRAINING, "--hardware", "rtx-4090-24gb", "--software", "transformers-qlora"), "error: "),
        (("plan", *TRAINING, "--hardware", "rtx-4090-24gb", "--software", "transformers-qlora"), "error: "),
        (("plan", *TRAINING, "--hardware", "h100-sxm5-80gb", "--what-if", "software=transformers-qlora"), "error: "),
        (
            ("compare-hardware", *TRAINING, "--hardware", "rtx-4090-24gb,h100-sxm5-80gb", "--software", "transformers-qlora"),
            "error: no answer on 2 kinds of device: ",
        ),
    ],
    ids=lambda given: given[0] if isinstance(given, tuple) else "",
)
def test_every_verb_refuses_it_in_one_line(words: tuple[str, ...], before: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(list(words)) == 2
    assert capsys.readouterr().err == f"{before}{SAID}\n"


@pytest.mark.parametrize("stack_id", sorted(set(stacks()) - {"transformers-qlora"}))
def test_other_software_trains_a_whole_model(stack_id: str) -> None:
    assert job(stack_id).software.dequantise_bytes == 0


def test_adapters_are_let_through_over_4_bit_weights_or_not_and_frozen_layers_as_well() -> None:
    """It is transformers with peft, which trains any of these."""
    whole = job("megatron-core")
    for method in (TrainingMethod(rank=8, base_format="nf4"), TrainingMethod(rank=8), TrainingMethod(frozen_layers=16)):
        ledger = replace(whole, method=method, stack_id="transformers-qlora").predict(Layout()).ledger
        assert (ledger.parts["dequantise"] > 0) == (method.base_format == "nf4")
