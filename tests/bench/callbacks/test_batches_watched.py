"""Rows, tokens and samples of whole trainings in a plain loop and in Lightning: three counters in the record, by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from bench.callbacks import lightning_callback, watch
from bench.callbacks.batches import BatchSize
from bench.cli.main import main
from bench.records.record import Measurement
from tests.support.watched_trainings import only_record

pytestmark = pytest.mark.usefixtures("one_thread")

Forward = Callable[[Any, Any], torch.Tensor]


def small() -> nn.Module:
    return nn.Linear(8, 2)


def watched(folder: Path, net: nn.Module, data: Sequence[Any], forward: Forward, **options: Any) -> Measurement:
    """Train on the batches; `forward` makes a loss of the network and a batch."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    batches = watch(data, net, out=folder, every=0, ceilings=False, **options)
    for batch in batches:
        loss = forward(net, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        batches.loss(loss)
    return only_record(folder)


def by_name(net: Any, batch: Any) -> torch.Tensor:
    loss: torch.Tensor = net(**batch).loss
    return loss


def test_every_choice_is_a_row_of_its_own(tmp_path: Path) -> None:
    t = pytest.importorskip("transformers")
    sizes: dict[str, Any] = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 32}
    net = t.BertForMultipleChoice(t.BertConfig(vocab_size=32, **sizes))
    batch = {"input_ids": torch.zeros(4, 3, 16, dtype=torch.long), "labels": torch.zeros(4, dtype=torch.long)}
    made = watched(tmp_path, net, [batch, batch], by_name)
    assert made.proof.num_tokens == 2 * 4 * 3 * 16 == 384  # W05
    assert (made.request.batch, made.request.seq_len) == (12, 16)
    assert "num_loss_tokens" not in made.proof  # its labels are choices


def test_source_and_target_of_an_encoder_decoder_are_tokens(tmp_path: Path) -> None:
    t = pytest.importorskip("transformers")
    sizes: dict[str, Any] = {"vocab_size": 32, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    net = t.T5ForConditionalGeneration(t.T5Config(decoder_start_token_id=0, **sizes))
    mask, labels = torch.ones(4, 16, dtype=torch.long), torch.zeros(4, 6, dtype=torch.long)
    mask[0, 10:], labels[1, 4:] = 0, -100
    batch = {"input_ids": torch.zeros(4, 16, dtype=torch.long), "attention_mask": mask, "labels": labels}
    made = watched(tmp_path, net, [batch] * 3, by_name)
    # By hand, a step: 64 positions of the source, 6 of them padding; 24 of the target, 2 of them padding.
    assert made.proof.watched is not None
    assert made.proof.watched.tokens_per_step == (58 + 22,) * 3
    assert (made.proof.num_tokens, made.proof.num_padding, made.proof.num_loss_tokens) == (240, 24, 66)
    assert (made.request.batch, made.request.seq_len) == (4, 16)


class TestThreeCounters:
    def made(self, folder: Path, **changes: Any) -> Measurement:
        """A causal model on 2 rows of 8, 3 positions of padding on the left of the second, a loss on the last three of each."""
        t = pytest.importorskip("transformers")
        sizes: dict[str, Any] = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 32}
        net = t.LlamaForCausalLM(t.LlamaConfig(vocab_size=32, **sizes))
        ids = torch.arange(16).reshape(2, 8)
        mask, labels = torch.ones_like(ids), ids.clone()
        mask[1, :3], labels[:, :5] = 0, -100
        return watched(folder, net, [{"input_ids": ids, "attention_mask": mask, "labels": labels} | changes] * 4, by_name)

    def test_they_stand_in_the_record_and_report_prints_them(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        made = self.made(tmp_path)
        assert (made.proof.num_tokens, made.proof.num_padding, made.proof.num_loss_tokens) == (4 * 13, 4 * 3, 4 * 6)
        assert made.proof.watched is not None
        assert made.proof.watched.loss_tokens_per_step == (6,) * 4
        (path,) = tmp_path.glob("*.json")
        assert main(["report", str(path), "-v"]) == 0
        lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
        said = {cells[0]: next(cell for cell in cells[1:] if cell).strip() for cells in lines if len(cells) > 1}
        assert said["tokens, padding left out"] == "52"
        assert said["positions of padding, computed beside them"] == "12"
        assert said["tokens that bear a loss"] == "24"

    def test_where_every_label_is_trained_the_first_of_each_row_bears_no_loss(self, tmp_path: Path) -> None:
        ids = torch.arange(16).reshape(2, 8)
        made = self.made(tmp_path, labels=ids, attention_mask=None)
        assert (made.proof.num_tokens, made.proof.num_loss_tokens) == (4 * 16, 4 * 2 * 7)
        assert "num_padding" not in made.proof

    def test_where_no_label_is_trained_no_token_bears_a_loss(self, tmp_path: Path) -> None:
        made = self.made(tmp_path, labels=torch.full((2, 8), -100))
        assert made.proof.num_loss_tokens == 0
        assert made.proof.loss_finite is False  # W36: the mean of nothing

    def test_a_record_from_before_is_read(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.made(tmp_path)
        (path,) = tmp_path.glob("*.json")
        text = path.read_text()
        for field in ("num_padding", "num_loss_tokens", "loss_tokens_per_step"):
            assert f'"{field}"' in text
            text = text.replace(f'"{field}"', f'"a_later_{field}"')
        path.write_text(text)
        assert main(["report", str(path), "-v"]) == 0
        assert "padding, of all positions" in capsys.readouterr().out


def test_lists_of_images_and_targets_are_their_samples(tmp_path: Path) -> None:
    images = [torch.randn(1, 4, 8)] * 8

    def forward(net: Any, batch: Any) -> torch.Tensor:
        loss: torch.Tensor = net(torch.stack(batch[0])).pow(2).mean()
        return loss

    assert watched(tmp_path, small(), [(images, [{"boxes": torch.zeros(3, 4)}] * 8)] * 3, forward).proof.num_samples == 24


def test_batches_of_unlike_rows_are_summed(tmp_path: Path) -> None:
    made = watched(tmp_path, small(), [torch.randn(rows, 8) for rows in (1, 2, 1, 5)], lambda net, x: net(x).pow(2).mean())
    assert made.proof.num_samples == 9  # W22
    assert made.proof.watched is not None
    assert made.proof.watched.training_flop == 9 * 2 * (2 * 8 * 2)  # forward, and the weights' gradient


@dataclasses.dataclass
class Columns:
    x: Any
    y: Any = None


class Closed:
    """A batch that says nothing of its size."""

    def __init__(self, x: torch.Tensor) -> None:
        self._x = x


class TestKindsOfBatches:
    @pytest.mark.parametrize("kind", [Columns, lambda x: x.numpy(), lambda x: (x.numpy(), np.zeros(4))])
    def test_dataclasses_and_arrays_are_sized(self, kind: Any, tmp_path: Path) -> None:
        def forward(net: Any, batch: Any) -> torch.Tensor:
            first = batch.x if isinstance(batch, Columns) else torch.as_tensor(batch[0] if isinstance(batch, tuple) else batch)
            loss: torch.Tensor = net(first).pow(2).mean()
            return loss

        assert watched(tmp_path, small(), [kind(torch.randn(4, 8))] * 4, forward).proof.num_samples == 16  # W09

    def test_of_a_kind_that_says_nothing_the_time_is_known_and_report_says_why_no_more_is(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        batches = [Closed(torch.ones(4, 8))] * 4
        made = watched(tmp_path, small(), batches, lambda net, batch: net(batch._x).pow(2).mean())
        reason = "no tensor, list or input_ids in a batch of type Closed"
        assert (made.status, made.proof.num_steps, made.unavailable["batch size"]) == ("complete", 4, reason)
        assert "num_samples" not in made.proof
        phase = made.phase("train_step")
        assert phase is not None
        assert (phase.item, phase.items_per_sample, made.request.batch, made.request.seq_len) == ("step", 1, None, None)
        assert main(["report", str(tmp_path), "-v"]) == 0
        (path,) = tmp_path.glob("*.json")
        assert main(["report", str(path), "-v"]) == 0
        assert reason in " ".join(capsys.readouterr().out.split())

    @pytest.mark.parametrize("size", [lambda _: 4, lambda _: BatchSize(rows=4, length=1, item="sample")])
    def test_a_size_of_ones_own_stands_in(self, size: Any, tmp_path: Path) -> None:
        batches = [Closed(torch.ones(4, 8))] * 4
        made = watched(tmp_path, small(), batches, lambda net, batch: net(batch._x).pow(2).mean(), size=size)
        assert made.proof.num_samples == 16

    def test_samples_among_tokens_are_no_sum(self, tmp_path: Path) -> None:
        text = {"input_ids": torch.zeros(4, 8, dtype=torch.long), "x": torch.randn(4, 8)}
        batches = [text, {"x": torch.randn(4, 8)}] * 2
        made = watched(tmp_path, small(), batches, lambda net, batch: net(batch["x"]).pow(2).mean())
        assert made.unavailable["batch size"] == "a batch of samples among batches of tokens"
        assert not {"num_tokens", "num_samples"} & made.proof.stated().keys()

    def test_two_loaders_side_by_side_are_two_batches_and_one_loaders_columns_are_one(self, tmp_path: Path) -> None:
        def loader(rows: int) -> Any:
            return DataLoader(TensorDataset(torch.randn(4 * rows, 8), torch.randn(4 * rows, 8)), batch_size=rows)

        def forward(net: Any, batch: Any) -> torch.Tensor:
            loss: torch.Tensor = net(batch[0][0]).pow(2).mean()
            return loss

        assert watched(tmp_path / "two", small(), zip(loader(4), loader(8), strict=True), forward).proof.num_samples == 48  # type: ignore[arg-type]
        pairs = [((torch.randn(8), torch.randn(8)), (torch.randn(8), torch.randn(8)))] * 8
        assert watched(tmp_path / "one", small(), DataLoader(pairs, batch_size=4), forward).proof.num_samples == 8  # type: ignore[arg-type]


class TestLightning:
    def made(self, folder: Path, loaders: Any, forward: Callable[[nn.Module, Any], Any], **options: Any) -> Measurement:
        lightning = pytest.importorskip("lightning.pytorch")

        class Module(lightning.LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.net = small()

            def training_step(self, batch: Any, batch_idx: int) -> Any:
                return forward(self.net, batch)

            def configure_optimizers(self) -> Any:
                return torch.optim.SGD(self.parameters(), lr=0.01)

        quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False, "logger": False}
        callback = lightning_callback(out=folder, every=0, ceilings=False, **options)
        lightning.Trainer(max_epochs=1, accelerator="cpu", callbacks=[callback], **quiet).fit(Module(), loaders)
        return only_record(folder)

    def rows(self, count: int, size: int, *columns: int) -> Any:
        return DataLoader(TensorDataset(*(torch.randn(count, width) for width in (8, *columns))), batch_size=size)

    @pytest.mark.parametrize("columns", [(), (8,)])  # columns that are alike could be two batches in a loop that names no loaders
    def test_the_batches_of_all_loaders_are_added(self, columns: tuple[int, ...], tmp_path: Path) -> None:
        loaders = {"a": self.rows(32, 4, *columns), "b": self.rows(64, 8, *columns)}
        made = self.made(tmp_path, loaders, lambda net, batch: sum(net(part[0]).pow(2).mean() for part in batch.values()))
        assert made.proof.num_steps == 8
        assert made.proof.num_samples == 8 * (4 + 8) == 96  # W08

    def test_a_loader_that_has_ended_adds_nothing(self, tmp_path: Path) -> None:
        pytest.importorskip("lightning.pytorch")
        from lightning.pytorch.utilities import CombinedLoader

        loaders = CombinedLoader([self.rows(8, 4, 8), self.rows(32, 8, 8)], "max_size")  # of 2 and of 4 batches
        made = self.made(tmp_path, loaders, lambda net, batch: sum(net(part[0]).pow(2).mean() for part in batch if part is not None))
        assert (made.proof.num_steps, made.proof.num_samples) == (4, 8 + 32)

    def test_a_dataclass_is_sized_and_what_says_nothing_takes_a_size_of_ones_own(self, tmp_path: Path) -> None:
        data = [torch.randn(8)] * 12

        def loader(kind: Any) -> Any:
            return DataLoader(data, batch_size=4, collate_fn=lambda rows: kind(torch.stack(rows)))  # type: ignore[arg-type]

        assert self.made(tmp_path / "a", loader(Columns), lambda net, batch: net(batch.x).pow(2).mean()).proof.num_samples == 12
        closed = self.made(tmp_path / "b", loader(Closed), lambda net, batch: net(batch._x).pow(2).mean())
        assert (closed.status, closed.proof.num_steps, closed.proof.num_samples) == ("complete", 3, None)
        told = self.made(tmp_path / "c", loader(Closed), lambda net, batch: net(batch._x).pow(2).mean(), size=lambda batch: len(batch._x))
        assert told.proof.num_samples == 12
