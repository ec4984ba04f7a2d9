"""Trainings that a watcher once ended: by a line, a record, a batch, the order of events. They go on; the record says what it lacks."""

from __future__ import annotations

import io
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import Trainer

from bench.callbacks import Watch, watch
from bench.cli.main import main
from tests.support.checkout import ROOT
from tests.support.tiny_models import CEILINGS
from tests.support.trainings_by_trainer import callback, rows, trainer
from tests.support.watched_trainings import only_record

pytestmark = pytest.mark.usefixtures("one_thread")

OFF: dict[str, Any] = {"every": 0, "ceilings": False}
X = [torch.randn(4, 8, generator=torch.Generator().manual_seed(seed)) for seed in range(4)]


def train(data: Any, watched: Any = None, forward: Callable[[nn.Module, Any], torch.Tensor] | None = None) -> list[float]:
    """A loop over a linear layer; `watched` makes what is gone through of the data and the network."""
    torch.manual_seed(0)
    net, losses = nn.Linear(8, 2), []
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    batches = watched(data, net) if watched else data
    for batch in batches:
        loss = forward(net, batch) if forward else net(batch).pow(2).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if watched:
            batches.loss(loss)
    return losses


class Tee:
    """Somebody's stream: it can write and nothing else."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text


class TestStderr:
    @pytest.mark.parametrize("kind", ["tee", "ascii", "closed", "none", "broken"])
    def test_whatever_stderr_is_the_training_goes_on(self, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bench.callbacks.console.LEAST_LINE_S", 0.0)
        streams: dict[str, Any] = {
            "tee": Tee(),
            "ascii": io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict"),
            "closed": io.StringIO(),
            "none": None,
            "broken": open("/dev/full", "w"),  # noqa: SIM115
        }
        streams["closed"].close()
        monkeypatch.setattr("sys.stderr", streams[kind])
        monkeypatch.setattr("sys.stdout", out := io.StringIO())
        assert train(X, lambda data, net: watch(data, net, out=tmp_path, every=1, ceilings=CEILINGS)) == train(X)
        made = only_record(tmp_path)
        assert (made.status, made.proof.num_steps) == ("complete", 4)
        assert out.getvalue() == ""
        assert ("progress lines" in made.unavailable) == (kind in ("closed", "broken"))
        if kind == "tee":
            assert streams[kind].text.count("step ") == 3
        if kind == "ascii":
            streams[kind].flush()
            assert rb"step 1 \xb7 " in streams[kind].buffer.getvalue()

    def test_without_a_stderr_lines_do_not_go_to_stdout(self, tmp_path: Path) -> None:
        """As with 2>&- of a shell, where Python has no sys.stderr at all."""
        code = (
            "import torch; from torch import nn; from bench.callbacks import watch; net = nn.Linear(8, 2)\n"
            f"for x in watch([torch.zeros(4, 8)] * 3, net, out={str(tmp_path)!r}, every=1, ceilings=False): net(x)\n"
            "print('saved')"
        )
        shell = ["sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, code]
        done = subprocess.run(shell, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        assert (done.returncode, done.stdout) == (0, "saved\n")
        assert only_record(tmp_path).proof.num_steps == 3


class TestDisk:
    def test_a_disk_that_is_full_at_the_end_is_a_warning(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)

        def filling() -> Iterator[torch.Tensor]:
            for number, x in enumerate(X * 5):
                if number == 5:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
                yield x

        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            losses = train(filling(), lambda data, net: watch(data, net, out=tmp_path, **OFF))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)
        assert losses == train(X * 5)
        assert list(tmp_path.iterdir()) == []
        assert "sixnd: writing the record failed, the training goes on: cannot write the record" in capsys.readouterr().err

    @pytest.mark.parametrize("autosave", [False, True])
    def test_a_folder_that_was_removed_meanwhile_is_a_warning(
        self, autosave: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / "runs"
        if autosave:
            monkeypatch.setattr("bench.callbacks.writer.EARLY_S", -1.0)
            monkeypatch.setattr("bench.callbacks.writer.AUTOSAVE_S", -1.0)

        def removing() -> Iterator[torch.Tensor]:
            for number, x in enumerate(X * 2):
                if number == 1:
                    shutil.rmtree(out)
                yield x

        assert train(removing(), lambda data, net: watch(data, net, out=out, **OFF)) == train(X * 2)
        said = capsys.readouterr().err
        assert said.count("writing the record failed, the training goes on") == 1
        assert said.count("saving the record failed, the training goes on") == autosave

    def test_so_it_is_in_a_trainer(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        made = trainer(tmp_path, callback(tmp_path), num_rows=8)
        shutil.rmtree(tmp_path / "runs")
        (tmp_path / "runs").write_text("a file now")
        assert made.train().global_step == 4
        assert "the training goes on: cannot write records to" in capsys.readouterr().err


class TestBatches:
    def test_batches_of_numpy_or_of_a_class_of_ones_own_cost_no_training(self, tmp_path: Path) -> None:
        @dataclass
        class Batch:
            x: torch.Tensor

        for number, (data, unpack) in enumerate(
            [
                ([x.numpy() for x in X], torch.from_numpy),
                ([Batch(x) for x in X], lambda batch: batch.x),
                (["text", "of", "some", "kind"], lambda text: X[len(text) - 2]),
                ([None] * 4, lambda _: X[0]),
                ([{"x": torch.tensor(1.0)}] * 4, lambda _: X[0]),
            ]
        ):

            def forward(net: nn.Module, batch: Any, unpack: Any = unpack) -> torch.Tensor:
                loss: torch.Tensor = net(unpack(batch)).pow(2).mean()
                return loss

            out = tmp_path / str(number)
            assert train(data, lambda data, net, out=out: watch(data, net, out=out, **OFF), forward) == train(data, None, forward)
            made = only_record(out)
            assert (made.status, made.proof.num_steps, len(made.proof.watched.losses)) == ("complete", 4, 4)
            assert main(["report", str(out), "-v"]) in (0, 1)

    def test_a_size_of_ones_own_that_fails_costs_the_figure(self, tmp_path: Path) -> None:
        def size(batch: Any) -> Any:
            raise KeyError("length")

        train(X, lambda data, net: watch(data, net, out=tmp_path, size=size, **OFF))
        made = only_record(tmp_path)
        assert made.proof.num_steps == 4
        assert made.unavailable["batch size"] == "KeyError: 'length'"

    def test_a_dataclass_in_lightning(self, tmp_path: Path) -> None:
        package = pytest.importorskip("lightning.pytorch", reason="Lightning is an optional dependency")
        from bench.callbacks import lightning_callback

        @dataclass
        class Batch:
            x: torch.Tensor

        class Module(package.LightningModule):  # type: ignore[misc,name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.net = nn.Linear(8, 2)

            def training_step(self, batch: Any, number: int) -> Any:
                return self.net(batch.x).pow(2).mean()

            def configure_optimizers(self) -> Any:
                return torch.optim.SGD(self.parameters(), lr=0.1)

        made = package.Trainer(
            max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, default_root_dir=tmp_path, callbacks=[lightning_callback(out=tmp_path / "runs", **OFF)],
        )  # fmt: skip
        made.fit(Module(), torch.utils.data.DataLoader([Batch(x) for x in X], batch_size=None))
        assert made.global_step == 4
        assert only_record(tmp_path / "runs").proof.num_steps == 4


class TestOrder:
    def test_a_loss_before_the_first_step_is_one_line(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with Watch(nn.Linear(8, 2), out=tmp_path, **OFF) as w:
            w.loss(1.0)
            with w.step(X[0]):
                w.loss(2.0)
        assert capsys.readouterr().err.splitlines() == [
            "sixnd: taking the loss failed, the training goes on: a loss was given before the first step; give it inside a step"
        ]
        assert only_record(tmp_path).proof.watched.losses == (2.0,)

    def test_events_in_any_order_are_no_error(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        w = Watch(nn.Linear(8, 2), out=tmp_path, **OFF)
        for event in (w.end, w.flush, w.resume, w.hold, w.drop, lambda: w.end(last=True), w.arrived, w.arrived, lambda: w.end(last=True)):
            event()
        w.begin(X[0])
        w.end()
        w.finish()
        assert w.finish() is not None
        assert "watching" not in capsys.readouterr().err

    def test_a_stream_whose_epochs_end_inside_a_step(self, tmp_path: Path) -> None:
        """20 rows in batches of 4, two a step: the fifth batch of an epoch is not stepped on, and its gradient goes into the next step."""

        class Stream(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
            def __iter__(self) -> Iterator[Any]:
                return iter(rows(20, padding=0))

        made = trainer(tmp_path, callback(tmp_path), per_device_train_batch_size=4, gradient_accumulation_steps=2, max_steps=4)
        made.train_dataset = Stream()
        assert made.train().global_step == 4
        # By hand: two steps of two batches in each of two epochs, and the batch between them: 9 batches of 4 rows of 16.
        assert made.state.global_step == only_record(tmp_path / "runs").proof.num_steps == 4
        assert only_record(tmp_path / "runs").proof.num_tokens == 9 * 4 * 16 == 576

    @pytest.mark.parametrize("fails_in_step", [1, 3])
    def test_a_batch_size_that_is_found_by_trying_leaves_one_record(
        self, fails_in_step: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        class Small(Trainer):
            num_steps = 0

            def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
                self.num_steps += 1
                if inputs["input_ids"].shape[0] > 2 and self.num_steps >= fails_in_step:
                    raise RuntimeError("CUDA out of memory. Tried to allocate")
                return super().training_step(model, inputs, *args, **kwargs)

        made = trainer(
            tmp_path, callback(tmp_path), kind=Small, num_rows=40, per_device_train_batch_size=8, auto_find_batch_size=True, max_steps=4
        )
        made.train()
        written = only_record(tmp_path / "runs")
        assert ("BegunAnew" in {finding.code for finding in written.warnings}) == (fails_in_step > 1)
        assert (written.status, written.proof.num_steps, written.proof.num_tokens) == ("complete", 4, 4 * 2 * 14)
        capsys.readouterr()
        assert main(["report", str(tmp_path / "runs"), "-v"]) == 0
