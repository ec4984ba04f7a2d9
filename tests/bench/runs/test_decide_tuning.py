"""A fine-tuning as a run asks for it is the job that `fit` describes in the same words; what cannot be run is one line."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from bench.backend import tuned_model
from bench.cli import fit as fit_verb
from bench.cli.parser import Parser
from bench.runs.decide import decide
from bench.runs.decisions import fit as fitting
from estimators.errors import BadValueError, DoesNotFitError, MissingPackageError, SixndError, UnavailableError
from estimators.facts.registry import hardware
from tests.support.tiny_models import asked
from tests.support.tuned_models import tuning_run


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"lora_rank": 8}, "--lora-rank is of a fine-tuning; add --method full or lora or qlora"),
        ({"precision": "bf16"}, "--precision is of a fine-tuning"),
        ({"method": "lora", "task": "prefill"}, "--method lora is of a training; add --task train"),
        ({"method": "grpo"}, "--method 'grpo' is not measured here; expected one of: full, lora, qlora"),
        ({"method": "full", "layers": 2}, "leave --layers or --method out"),
        ({"method": "full", "lora_rank": 8}, "--lora-rank is of adapters; with --method full leave it out"),
        ({"method": "full", "dtype": "bf16", "precision": "bf16"}, "leave --dtype out"),
        ({"method": "full", "dtype": "fp64"}, "cannot train in 'fp64'; expected one of: bf16, fp16, pure-bf16"),
        ({"method": "full", "precision": "pure-fp16"}, "fp16 needs a GPU to train"),
        ({"method": "full", "optimizer": "adam_w"}, "unknown optimizer 'adam_w'"),
    ],
)
def test_a_wrong_request_is_one_line(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SixndError) as refused:
        decide(asked("gpt2", **({"task": "train", "device": "cpu"} | fields)))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_without_peft_the_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingPackageError, match=r"run --method lora needs peft: .*install .*\[tuning\]"):
        decide(asked("llama", "train", device="cpu", method="lora"))


def test_what_bitsandbytes_cannot_multiply_here_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("peft")
    pytest.importorskip("bitsandbytes")

    def fail(*_: object) -> None:
        raise RuntimeError("no kernel\nfor this device")

    monkeypatch.setattr(tuned_model, "_quantised_linear", fail)
    with pytest.raises(UnavailableError, match="does not run 4-bit weights on cpu: no kernel; take --method lora"):
        decide(asked("llama", "train", device="cpu", method="qlora"))


def test_formats_that_nothing_here_quantises_to_are_refused() -> None:
    pytest.importorskip("peft")
    with pytest.raises(BadValueError, match="--base-format awq: a run quantises to nf4 or nf4-double; `fit` estimates the others"):
        decide(asked("llama", "train", device="cpu", method="qlora", base_format="awq"))


def test_the_job_is_what_fit_describes() -> None:
    """`fit --framework transformers --loss plain` with the same words."""
    parser = Parser()
    fit_verb.add_arguments(parser)
    words = "--config x --method full --hardware h100-sxm5-80gb --batch 2 --seq-len 40 --framework transformers --loss plain"
    given = parser.parse_args([*words.split(), "--optimizer", "sgd", "--checkpointing", "full"])
    run = tuning_run("llama", method="full", optimizer="sgd", recompute="full")
    assert run.job is not None
    assert fit_verb.decided(fit_verb.Options(**vars(given)), run.job.model, hardware("h100-sxm5-80gb")) == run.job


def test_a_fine_tuning_that_does_not_fit_says_which_flag_makes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    run = tuning_run("llama", method="full")
    needs = sum(fitting.held(run, run.job.model).values())  # type: ignore[union-attr, arg-type]
    less = sum(fitting.held(tuning_run("llama", method="full", recompute="full"), run.job.model).values())  # type: ignore[union-attr, arg-type]
    assert less < needs
    monkeypatch.setattr(type(run.device), "memory_available_bytes", lambda _: fitting.demanded_bytes({"all": needs}) - 1)
    monkeypatch.setattr(fitting, "SPARE_FRACTION", 0.0)
    with pytest.raises(DoesNotFitError, match="make it fit with --recompute full"):
        fitting.demand_fit(run, run.job.model)  # type: ignore[union-attr, arg-type]
