"""A training is the same with and without a watcher: losses to the bit, weights, random numbers, graphs."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from bench.callbacks import SixndCallback, Watch, lightning_callback, watch
from tests.support.tiny_models import CEILINGS
from tests.support.trainings_by_trainer import trainer
from tests.support.watched_trainings import batches, only_record, tiny_model

pytestmark = pytest.mark.usefixtures("one_thread")

X = [torch.randn(4, 8, generator=torch.Generator().manual_seed(seed)) for seed in range(6)]


class Net(nn.Module):
    """Two layers and a dropout; checkpointed where asked for."""

    def __init__(self, checkpoints: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.5), nn.BatchNorm1d(16))
        self.head, self.checkpoints = nn.Linear(16, 2), checkpoints

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = checkpoint(self.body, x, use_reentrant=False) if self.checkpoints else self.body(x)
        return self.head(h)  # type: ignore[no-any-return]


def end_of(model: nn.Module, losses: list[float]) -> tuple[Any, ...]:
    """All that a training leaves: its losses, weights and buffers, and the generators as they stand."""
    state = [tensor.tolist() for tensor in model.state_dict().values()]
    return losses, state, torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random(), model.training


def seed() -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


def loop(out: Path | None, net: nn.Module, *, accumulate: int = 1, autocast: bool = False) -> tuple[Any, ...]:
    """A loop of one's own."""
    seed()
    net.load_state_dict({name: torch.full_like(t, 0.1) if t.is_floating_point() else t for name, t in net.state_dict().items()})
    optimizer, losses = torch.optim.SGD(net.parameters(), lr=0.1), []
    loader: Any = X if out is None else watch(X, net, out=out, every=0, ceilings=CEILINGS, accumulate=accumulate)
    for number, x in enumerate(loader):
        with torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext():
            loss = net(x).pow(2).mean() / accumulate
        loss.backward()
        losses.append(float(loss.detach()))
        if (number + 1) % accumulate == 0:
            optimizer.step()
            optimizer.zero_grad()
        if out is not None:
            loader.loss(loss)
    return end_of(net, losses)


class Doubled(Net):
    """Its forward is replaced by a function that holds it."""

    def __init__(self) -> None:
        super().__init__()
        plain = self.forward
        self.forward = lambda x: 2 * plain(x)  # type: ignore[method-assign]


def compiled(how: str) -> nn.Module:
    net: Any = Net()
    options = {"backend": "aot_eager", "fullgraph": True}
    if how == "wrapped":
        return torch.compile(net, **options)  # type: ignore[no-any-return]
    if how == "in place":
        net.compile(**options)
    else:
        net.forward = torch.compile(net.forward, **options)
    return net  # type: ignore[no-any-return]


def adapted() -> nn.Module:
    peft = pytest.importorskip("peft", reason="peft is an optional dependency")
    return peft.get_peft_model(Net(), peft.LoraConfig(r=2, target_modules=["head", "body.0"], lora_dropout=0.3))  # type: ignore[no-any-return]


LOOPS: dict[str, Callable[[Path | None], tuple[Any, ...]]] = {
    "plain": lambda out: loop(out, Net()),
    "accumulation": lambda out: loop(out, Net(), accumulate=2),
    "autocast": lambda out: loop(out, Net(), autocast=True),
    "checkpointing": lambda out: loop(out, Net(checkpoints=True)),
    "replaced forward": lambda out: loop(out, Doubled()),
    "adapters": lambda out: loop(out, adapted()),
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_plain_loop_is_the_same(name: str, tmp_path: Path) -> None:
    assert LOOPS[name](tmp_path) == LOOPS[name](None)
    assert only_record(tmp_path).proof.num_steps == 6 // (2 if name == "accumulation" else 1)


@pytest.mark.parametrize("how", ["wrapped", "in place", "forward"])
def test_a_compiled_model_stays_one_graph_and_the_record_says_that_it_is_compiled(how: str, tmp_path: Path) -> None:
    from torch._dynamo.utils import counters

    ends, graphs = [], []
    for out in (tmp_path, None):
        torch._dynamo.reset()
        counters.clear()
        ends.append(loop(out, compiled(how)))
        graphs.append((counters["stats"]["unique_graphs"], dict(counters["graph_break"])))
    assert ends[0] == ends[1]
    assert graphs[0] == graphs[1] == (1, {})
    assert only_record(tmp_path).request.compile is True


class Bigram(nn.Module):
    """The least that a Trainer trains."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.drop = nn.Embedding(128, 8), nn.Linear(8, 128), nn.Dropout(0.1)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.head(self.drop(self.body(input_ids)))
        return {"loss": nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()), "logits": logits}


TRAINERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulation": {"gradient_accumulation_steps": 2},
    "autocast": {"bf16": True},
    "checkpointing": {"gradient_checkpointing": True},
    "compile": {"torch_compile": True, "torch_compile_backend": "aot_eager"},
}


@pytest.mark.parametrize("name", TRAINERS)
def test_a_trainer_is_the_same(name: str, tmp_path: Path) -> None:
    def train(out: Path | None) -> tuple[tuple[Any, ...], tuple[int, dict[str, int]]]:
        from torch._dynamo.utils import counters

        seed()
        torch._dynamo.reset()
        counters.clear()
        watching = [] if out is None else [SixndCallback(out=out, ceilings=CEILINGS)]
        model = Bigram() if name == "compile" else None
        made = trainer(tmp_path, *watching, num_rows=8, logging_steps=1, model=model, **TRAINERS[name])
        made.train()
        losses = [entry["loss"] for entry in made.state.log_history if "loss" in entry]
        return end_of(made.model, losses), (counters["stats"]["unique_graphs"], dict(counters["graph_break"]))

    watched, alone = train(tmp_path / "runs"), train(None)
    assert watched == alone
    assert alone[1] == (int(name == "compile"), {})
    made = only_record(tmp_path / "runs")
    assert made.request.compile is (name == "compile")
    assert made.proof.num_tokens == 8 * 14


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_loop_by_accelerate_is_the_same(accumulate: int, tmp_path: Path) -> None:
    from accelerate import Accelerator

    def train(out: Path | None) -> tuple[Any, ...]:
        seed()
        accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulate)
        model, losses = tiny_model(), []
        model, optimizer = accelerator.prepare(model, torch.optim.AdamW(model.parameters(), lr=1e-3))
        with nullcontext() if out is None else Watch(model, accelerator, out=out, every=0, ceilings=CEILINGS) as w:
            for batch in batches(4):
                with accelerator.accumulate(model), nullcontext() if w is None else w.step(batch):
                    loss = model(**batch).loss
                    accelerator.backward(loss)
                    optimizer.step()
                    optimizer.zero_grad()
                    losses.append(float(loss.detach()))
        return end_of(model, losses)

    assert train(tmp_path) == train(None)
    assert only_record(tmp_path).proof.num_steps == 4 // accumulate


@pytest.mark.parametrize("accumulate", [1, 2])
def test_lightning_is_the_same(accumulate: int, tmp_path: Path) -> None:
    package = pytest.importorskip("lightning.pytorch", reason="Lightning is an optional dependency")

    class Module(package.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net, self.losses = Net(), []

        def training_step(self, batch: Any, number: int) -> Any:
            loss = self.net(batch).pow(2).mean()
            self.losses.append(float(loss.detach()))
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    def train(out: Path | None) -> tuple[Any, ...]:
        seed()
        module = Module()
        watching = [] if out is None else [lightning_callback(out=out, every=0, ceilings=CEILINGS)]
        package.Trainer(
            max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, callbacks=watching,
            enable_model_summary=False, default_root_dir=tmp_path, accumulate_grad_batches=accumulate,
        ).fit(module, torch.utils.data.DataLoader(X, batch_size=None))  # fmt: skip
        return end_of(module, module.losses)

    assert train(tmp_path / "runs") == train(None)
    assert only_record(tmp_path / "runs").proof.num_steps == 6 // accumulate


_OF_THIS_FILE = np.random.default_rng(0)


class Drawing(nn.Module):
    """Its forward draws from a generator that is named here."""

    generators: dict[str, Callable[[], float]]
    of_its_class = random.Random(0)

    def __init__(self, source: str) -> None:
        super().__init__()
        self.layer, self.source = nn.Linear(8, 8), source
        self.own = np.random.RandomState(0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        draws: dict[str, Callable[[], float]] = {
            "torch": lambda: float(torch.rand(())),
            "numpy": np.random.rand,
            "python": random.random,
            "its file": _OF_THIS_FILE.random,
            "its class": self.of_its_class.random,
            "itself": self.own.rand,
        }
        return self.layer(x) * (1 + draws[self.source]())  # type: ignore[no-any-return]


@pytest.mark.parametrize("source", ["torch", "numpy", "python", "its file", "its class", "itself"])
def test_a_forward_that_draws_draws_the_same_numbers(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ceiling(*_: Any) -> Any:
        return CEILINGS[int(torch.rand(()) + np.random.rand() + random.random()) * 0]

    monkeypatch.setattr("bench.callbacks.context.matmul_ceiling", ceiling)
    monkeypatch.setattr("bench.callbacks.context.bandwidth_ceiling", ceiling)
    ends = []
    for out in (tmp_path, None):
        _OF_THIS_FILE.bit_generator.state = np.random.default_rng(0).bit_generator.state
        Drawing.of_its_class.seed(0)
        seed()
        net, losses = Drawing(source), []
        for x in X if out is None else watch(X, net, out=out, every=0):
            losses.append(float(net(x).sum().detach()))
        ends.append(end_of(net, losses))
    assert ends[0] == ends[1]


def test_layers_without_a_shape_are_watched_from_the_first_pass_on(tmp_path: Path) -> None:
    def train(out: Path | None) -> list[float]:
        seed()
        net, losses = nn.Sequential(nn.LazyLinear(16), nn.ReLU(), nn.LazyLinear(2)), []
        optimizer: Any = None
        for x in (loader := X if out is None else watch(X, net, out=out, every=0, ceilings=CEILINGS)):
            loss = net(x).pow(2).mean()
            optimizer = optimizer or torch.optim.SGD(net.parameters(), lr=0.1)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(float(loss.detach()))
            if out is not None:
                loader.loss(loss)  # type: ignore[union-attr]
        return losses

    assert train(tmp_path) == train(None)
    made = only_record(tmp_path)
    assert (made.status, made.proof.num_steps, made.proof.num_samples) == ("complete", 6, 24)
    assert made.proof.params_changed is True
