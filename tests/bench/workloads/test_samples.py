"""Runs of models of images, speech, latents, and images beside a text: counted as estimated, timed, proved, and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bench.backend.models import with_random_weights
from bench.backend.operators.trace import calls_of
from bench.backend.sample_networks import network_of
from bench.calibration import step_operators
from bench.calibration.check import cases
from bench.calibration.traced_step import step_of
from bench.cli.main import main
from bench.records.record import Measurement, read_folder
from bench.records.request import Request
from bench.records.run_estimate import workload_of
from bench.runs.decide import decide
from bench.runs.measure import measure
from bench.workloads.samples import task
from bench.workloads.samples.run import SampleRun
from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import estimate
from estimators.errors import BadValueError, DoesNotFitError
from estimators.spec import Case, Workload
from reports.checks.crosscheck import crosscheck, failed
from tests.bench.runs.test_measure import after
from tests.support.diffusers_models import SMALL as DIFFUSERS
from tests.support.whole_vision_language import config_of

pytestmark = pytest.mark.usefixtures("quick")

VIT = {
    "model_type": "vit",
    "architectures": ["ViTForImageClassification"],
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
    "num_channels": 3,
    "num_labels": 10,
}
WHISPER = {
    "model_type": "whisper",
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "vocab_size": 60,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "num_mel_bins": 8,
    "max_source_positions": 1500,
    "max_target_positions": 40,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
BERT = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "vocab_size": 50,
    "max_position_embeddings": 24,
    "type_vocab_size": 2,
}
TINY: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[int, str]]] = {
    "vit": (VIT, {"batch": 3}, (3, "image")),
    "whisper": (WHISPER, {"batch": 2, "seq_len": 6}, (60, "audio second")),
    "bert": (BERT, {"batch": 2, "seq_len": 6}, (12, "token")),
    "llava": (config_of("llava"), {"batch": 2, "images": 2, "image_size": (30, 90), "text_tokens": 7}, (2, "example")),
    "smolvlm": (config_of("smolvlm"), {"batch": 1, "images": 1, "image_size": (100, 60), "text_tokens": 5}, (1, "example")),
    "qwen2_5_vl": (config_of("qwen2_5_vl"), {"batch": 1, "images": 2, "image_size": (140, 196), "text_tokens": 9}, (1, "example")),
    "llama4": (config_of("llama4"), {"batch": 1, "images": 1, "image_size": (50, 120), "text_tokens": 7}, (1, "example")),
    "mllama": (config_of("mllama"), {"batch": 2, "images": 2, "image_size": (50, 70), "text_tokens": 7}, (2, "example")),
    "dit": (DIFFUSERS["dit"][0], {"batch": 2, "image_size": (128, 128)}, (2, "image")),
}
"""A configuration, what is asked of it, and what a step of it processes in the user's units."""


def asked(name: str, **changes: Any) -> Request:
    if name == "dit":
        pytest.importorskip("diffusers")
    config, sizes, _ = TINY[name]
    usual = {"task": "train", "device": "cpu", "dtype": "fp32", "steps": 3, "config": config}
    return Request(model=name, **{**usual, **sizes, **changes})


def measured(name: str, out: Path, **changes: Any) -> Measurement:
    return measure(asked(name, **changes), hub_id=None, out=out, say=lambda _: None)


QUICKLY = ("llava",)
"""Of TINY, what a default run of the tests takes; the others are slow together."""
ALL = [pytest.param(name, marks=() if name in QUICKLY else pytest.mark.slow) for name in TINY]


@pytest.mark.parametrize("name", ALL)
def test_a_training_step_is_counted_by_torch_as_estimated_learns_and_is_kept(name: str, tmp_path: Path) -> None:
    record = measured(name, tmp_path)
    assert failed(crosscheck(record)) == ()
    by_torch = {count.quantity: count.value for count in record.counts if count.route == "torch meta"}
    assert {"params", "forward_flop", "backward_flop"} == by_torch.keys()
    assert None not in by_torch.values()
    step = record.phase("train_step")
    assert step is not None
    assert (step.items_per_sample, step.item) == TINY[name][2]
    assert record.proof.loss_last is not None
    assert record.request.weights_label == "random weights"
    (again,), problems = read_folder(tmp_path)
    assert (again, problems) == (record, [])


@pytest.mark.parametrize("name", ["vit", pytest.param("llava", marks=pytest.mark.slow)])
def test_a_forward_pass_is_told_in_the_users_units(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = measured(name, tmp_path, task="forward")
    assert failed(crosscheck(record)) == ()
    assert record.proof.logits_finite
    assert main(["report", str(tmp_path / f"{record.run_id}.json")]) == 0
    out = capsys.readouterr().out
    assert f"{name}: forward pass in" in out
    assert f"{TINY[name][2][1]}s per second" in out


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", ["train", "forward"])
def test_the_operators_of_a_step_before_it_runs_are_those_that_the_real_one_dispatches(name: str, kind: str) -> None:
    run = decide(asked(name, task=kind))
    assert isinstance(run, SampleRun)
    calls, _ = step_operators.work(run, run.device.cache_bytes())
    model = with_random_weights(lambda: run.network.build("sdpa", torch.float32), dtype=torch.float32, device=torch.device("cpu"), seed=0)
    with step_of(model, run.network.drawn(0), run) as step:
        really = calls_of(lambda: [*step()], run.device.cache_bytes())
    expected = estimate(Case(model=run.op_table, workload=workload_of(run)))
    assert flop_of(calls) == flop_of(really) == expected.forward_flop + expected.backward_flop


def flop_of(calls: Any) -> int:
    return sum(call.piece.count * call.piece.flop for call in calls)


def test_ctrl_c_keeps_the_steps_that_were_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = task.with_random_weights

    def broken(*args: Any, **kwargs: Any) -> Any:
        model: Any = real(*args, **kwargs)
        model.forward = after(3, KeyboardInterrupt(), model.forward)
        return model

    monkeypatch.setattr(task, "with_random_weights", broken)
    with pytest.raises(KeyboardInterrupt):
        measured("vit", tmp_path)
    (record,), _ = read_folder(tmp_path)
    assert (record.status, [phase.name for phase in record.phases]) == ("partial", ["load", "train_step"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": "prefill"}, "--task prefill is of causal language models; vit has train and forward"),
        ({"weights": "somewhere"}, "--weights has no meaning for a step of vit on made-up samples"),
        ({"recompute": "full"}, "--recompute has no meaning for a step of vit"),
        ({"seq_len": 7}, "--seq-len 7: the samples of vit say how long they are"),
        ({"text_tokens": 7}, "--text-tokens is of examples with images"),
    ],
)
def test_what_a_model_of_samples_does_not_take_is_refused_in_a_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadValueError, match=said) as refused:
        decide(asked("vit", **changes))
    assert "\n" not in str(refused.value)


def test_a_batch_too_large_is_refused_before_anything_is_drawn() -> None:
    with pytest.raises(DoesNotFitError, match="make it fit with --batch 1"):
        decide(asked("vit", batch=2**20))


def test_a_pipeline_without_a_denoiser_that_is_run_says_what_takes_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["run", "sdxl", "--out", str(tmp_path), "--device", "cpu", "--dtype", "bf16", "--task", "forward"]) == 2
    first, *_, error = capsys.readouterr().err.splitlines()
    assert "sdxl is a diffusion pipeline: its denoiser is run, one step of it" in first
    assert "show and estimate take it" in error


def test_inputs_are_drawn_alike_for_a_seed_and_never_zero() -> None:
    network = network_of(VIT, model_from_config(VIT, "vit"), Workload(phase="train", batch=2))
    one, other = network.drawn(5), network.drawn(5)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert float(one["pixel_values"].std()) == pytest.approx(1, abs=0.05)
    assert not torch.equal(one["pixel_values"], network.drawn(6)["pixel_values"])


def test_the_check_of_a_calibration_has_a_step_of_each_kind_of_sample() -> None:
    names = [case.name for case in cases("cpu", quick=True)]
    for name in ("vit-tiny", "whisper-tiny", "dit-s-2", "a small LLaVA"):
        assert {f"{name}, train", f"{name}, forward"} <= set(names)
    assert len(names) == len(set(names))
