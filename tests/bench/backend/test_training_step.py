"""One training step: what is predicted of it on fake tensors is what runs, and it gives the model back as it was."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.backend.device import choose
from bench.backend.models import language_model, random_language_model
from bench.backend.operators.profiler import num_operators
from bench.backend.operators.trace import fake
from bench.backend.steps.training import TrainingStep, gradients, prepared
from bench.calibration import step_operators
from bench.calibration.traced_step import profiled, step_of
from bench.cli.main import main
from bench.records import calibration_file
from bench.records.request import Request
from bench.runs.decide import decide
from bench.workloads.article.engine import engine
from bench.workloads.article.networks import build
from bench.workloads.article.run import ArticleRun
from bench.workloads.article.training import Trainer, optimizer_of
from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import estimate
from estimators.facts.registry import model_entry
from estimators.spec import Case, Workload
from tests.support.calibrations import whole
from tests.support.tiny_models import config, decided, write_config

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
ADAMW: dict[str, Any] = {"optimizer": "adamw", "learning_rate": 1e-4}
IDS = torch.arange(80).view(4, 20)
"""Longer than the window of tiny Mistral, so that a mask is needed there; several rows in half a batch too, since the stride of a
single one means nothing, and is another on fake tensors."""

SETTINGS = [
    {"recompute": recompute, "accumulation": accumulation, "optimizer": optimizer}
    for recompute in ("none", "full")
    for accumulation in (1, 2)
    for optimizer in ("adamw", "sgd")
]

EVERY_PAIR = {"none-1-adamw-fp32", "none-2-sgd-bf16", "full-1-sgd-fp32", "full-2-adamw-bf16", "full-1-adamw-bf16", "none-2-adamw-fp32"}
"""Of settings and dtypes, so many that any two values meet; the others are among the slow tests."""

CASES = [
    pytest.param(settings, dtype, id=name, marks=() if name in EVERY_PAIR else pytest.mark.slow)
    for settings in SETTINGS
    for dtype in ("fp32", "bf16")
    for name in ["-".join([*map(str, settings.values()), dtype])]
]


class Operators(TorchDispatchMode):
    """Counts every operator with all that it is given: shapes, strides and dtypes of tensors, and everything else as it is written."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[tuple[str, ...]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.namespace != "prim":
            self.seen[str(func), *(_written(leaf) for leaf in tree_leaves((args, kwargs)))] += 1
        return out


def _written(leaf: Any) -> str:
    return f"{tuple(leaf.shape)} {leaf.stride()} {leaf.dtype}" if isinstance(leaf, torch.Tensor) else str(leaf)


def shallow(family: str) -> dict[str, Any]:
    return config(family) | {"n_layer" if family == "gpt2" else "num_hidden_layers": 1}


def real(family: str) -> nn.Module:
    return random_language_model(shallow(family), attn="sdpa", dtype=torch.float32, device=CPU, seed=0).eval()


def operators_of(model: nn.Module, ids: torch.Tensor, accelerator: Any, **settings: Any) -> Counter[tuple[str, ...]]:
    """Of the second step, which finds the optimizer's state: forward, backward and update."""
    with TrainingStep(model, ids, accelerator, **ADAMW | settings) as step:
        step()
        with Operators() as operators:
            step()
    return operators.seen


def run_and_predicted(family: str, dtype: str, **settings: Any) -> tuple[Counter[tuple[str, ...]], Counter[tuple[str, ...]]]:
    with engine(choose("cpu"), dtype) as (accelerator, _):
        ran = operators_of(real(family), IDS, accelerator, **settings)
    with engine(choose("cpu"), dtype) as (accelerator, _), fake():
        model = language_model(shallow(family), attn="sdpa")
        assert all(isinstance(parameter, FakeTensor) for parameter in model.parameters())
        predicted = operators_of(model, torch.zeros(IDS.shape, dtype=torch.long), accelerator, **settings)
    return ran, predicted


@pytest.mark.parametrize(("settings", "dtype"), CASES)
def test_the_predicted_step_has_the_operators_of_the_one_that_runs(settings: dict[str, Any], dtype: str) -> None:
    ran, predicted = run_and_predicted("gpt2", dtype, **settings)
    assert ran - predicted == Counter()
    assert predicted - ran == Counter()


@pytest.mark.parametrize("family", ["llama", "phi", "mistral"])
def test_the_predicted_step_of_other_families_too(family: str) -> None:
    ran, predicted = run_and_predicted(family, "bf16", recompute="full", accumulation=2)
    assert ran == predicted


def test_steps_that_differ_have_different_operators() -> None:
    """So that the equality above says something."""
    with engine(choose("cpu"), "fp32") as (accelerator, _):
        each = [operators_of(real("gpt2"), IDS, accelerator, **settings) for settings in SETTINGS]
    with engine(choose("cpu"), "bf16") as (accelerator, _):
        each.append(operators_of(real("gpt2"), IDS, accelerator))
    assert all(first != second for index, first in enumerate(each) for second in each[:index])


def test_without_being_told_of_plain_sequences_a_step_without_values_would_have_another_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import nullcontext

    monkeypatch.setattr("bench.backend.operators.trace.plain_sequences", nullcontext)
    ran, predicted = run_and_predicted("gpt2", "fp32")
    assert ran != predicted


@pytest.mark.parametrize(("family", "left_out"), [("gpt2", 0), ("llama", 2 * 2 * 8 * 64 * 32)])
def test_recomputed_products_are_those_of_the_op_table(family: str, left_out: int) -> None:
    """But torch stops to recompute where the last tensor that backward needs is there: the last matrix of a layer of Llama, of
    64 x 32 weights, is not multiplied again by 2 x 8 tokens. That of GPT-2 is, since dropout follows it."""
    calls, updates = step_operators.work(decided(family, "train", batch=2, seq_len=8, recompute="full"), 2**40)
    workload = Workload(phase="train", batch=2, seq_len=8, dtype="fp32", recompute="full")
    model = model_from_config(config(family), "tiny")
    flop = sum(call.piece.count * call.piece.flop for call in calls if call.piece.group in ("matmul", "attention"))
    assert flop == estimate(Case(model=model, workload=workload)).flop["hardware"] - 4 * left_out
    four_layers = random_language_model(config(family), attn="sdpa", dtype=torch.float32, device=CPU, seed=0)
    assert sum(update.count for update in updates) == len(list(four_layers.parameters()))


def test_accumulated_micro_batches_have_the_gradient_and_the_loss_of_the_whole_batch() -> None:
    """Cross-entropy is a mean over positions, of which both halves have as many; fp32 sums in another order. Llama has no dropout."""
    found = []
    with engine(choose("cpu"), "fp32") as (accelerator, _):
        for accumulation in (1, 2):
            model = real("llama")
            with TrainingStep(model, IDS, accelerator, **ADAMW, accumulation=accumulation) as step:
                loss = step.forward_backward()
                found.append((float(loss), torch.cat([gradient.flatten() for gradient in gradients(model)])))
    (loss, gradient), (mean, accumulated) = found
    assert mean == pytest.approx(loss, rel=1e-6)
    assert torch.allclose(accumulated, gradient, rtol=1e-4, atol=1e-7)


def test_a_step_clears_the_gradients_of_the_one_before() -> None:
    with engine(choose("cpu"), "fp32") as (accelerator, _):
        model = real("llama")
        with TrainingStep(model, IDS, accelerator, **ADAMW) as step:
            step.forward_backward()
            first = [gradient.clone() for gradient in gradients(model)]
            step.forward_backward()
            assert all(map(torch.equal, first, gradients(model)))


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_model_is_given_back_as_it_was(dtype: str) -> None:
    """In evaluation mode, in its own dtype, without checkpoints and without gradients."""
    model = real("llama")

    def seen() -> Counter[tuple[str, ...]]:
        with Operators() as operators:
            model(input_ids=IDS, labels=IDS, use_cache=False).loss.backward()
        model.zero_grad(set_to_none=True)
        return operators.seen

    before = seen()
    with engine(choose("cpu"), dtype) as (accelerator, _):
        with TrainingStep(model, IDS, accelerator, **ADAMW, recompute="full") as step:
            step()
        assert gradients(model) == []
    assert not model.training
    assert seen() == before


def test_a_model_that_was_trained_before_is_trained_in_the_same_precision_again() -> None:
    model, seen = real("gpt2"), []
    for _ in range(2):
        with engine(choose("cpu"), "bf16") as (accelerator, _):
            seen.append(operators_of(model, IDS, accelerator))
    assert seen[0] == seen[1]
    assert any("bfloat16" in part for call in seen[1] for part in call)


@pytest.mark.parametrize("task", ["prefill", "decode"])
def test_a_step_of_inference_has_the_operators_that_were_predicted(task: str) -> None:
    run = decided("llama", task, batch=2, seq_len=8, **({"new_tokens": 4} if task == "decode" else {}))
    calls, updates = step_operators.work(run, 2**40)
    model = random_language_model(run.config, attn="sdpa", dtype=torch.float32, device=CPU, seed=0)
    with step_of(model, torch.ones(2, 8, dtype=torch.long), run) as step:
        assert profiled(step, run.device)["num_profiled_ops"] == step_operators.num_ops(calls, updates)


@pytest.mark.parametrize("name", ["linreg-1d", "tiny-gpt"])
def test_a_step_of_the_article_has_the_operators_that_were_predicted(name: str) -> None:
    request = Request(model=name, config=dict(model_entry(name).config), task="train", device="cpu")
    run = decide(request, None)
    assert isinstance(run, ArticleRun)
    calls, updates = step_operators.work(run, 2**40)
    network, given = build(run.config), run.subject.train.__getitems__(torch.arange(run.batch))
    with engine(run.device, run.dtype) as (accelerator, _):
        model, optimizer = prepared(accelerator, network, optimizer_of(run, network))
        trainer = Trainer(
            accelerator=accelerator, model=model, optimizer=optimizer, schedule=None, losses=run.subject.losses, batch=run.batch
        )
        assert num_operators(lambda: trainer.forward_backward(*given)) == sum(call.piece.count for call in calls)
    assert sum(update.count for update in updates) == len(list(network.parameters()))


@pytest.mark.parametrize("dtype", [pytest.param("fp32", marks=pytest.mark.slow), "bf16"])
def test_run_states_as_many_operators_predicted_as_it_dispatched_with_recomputation(
    dtype: str, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calibration_file, "find", lambda *_: whole())
    monkeypatch.setattr(step_operators, "entries", lambda *_, **__: [])  # each operator timed alone: nothing that this is about
    folder = write_config(tmp_path / "tiny", "gpt2")
    out = tmp_path / "runs"
    argv = ["run", "--config", str(folder), "--task", "train", "--recompute", "full", "--waterfall", "--device", "cpu"]
    main([*argv, "--dtype", dtype, "--batch", "1", "--seq-len", "8", "--steps", "2", "--preset", "quick", "--out", str(out)])
    (path,) = out.glob("*.json")
    local = json.loads(path.read_text())["estimate"]["local"]
    assert local["num_ops"] == local["num_profiled_ops"]
    stated = f"over {local['num_ops']:,} operators; the step that ran had {local['num_ops']:,}."
    assert stated in " ".join(capsys.readouterr().out.split())
    without = step_operators.work(decided("gpt2", "train", batch=1, seq_len=8, dtype=dtype), 2**40)
    assert step_operators.num_ops(*without) < local["num_ops"]
