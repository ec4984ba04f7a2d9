"""Tokens of transformers' Trainer and of TRL's SFTTrainer: Trainer's own count, and by hand; padding, and what bears a loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bench.callbacks.batches import BatchSize
from bench.records.record import Measurement
from tests.support.watched_trainings import only_record

transformers = pytest.importorskip("transformers")

from bench.callbacks import SixndCallback  # noqa: E402  needs transformers

pytestmark = pytest.mark.usefixtures("one_thread")

VOCABULARY = 64
ARGUMENTS: dict[str, Any] = {"use_cpu": True, "report_to": [], "disable_tqdm": True, "save_strategy": "no", "logging_steps": 1}
LENGTHS = (3, 9, 5, 7, 4, 8, 6, 2)
"""Of the eight documents of a data set."""


def llama(**config: Any) -> Any:
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2, "hidden_size": 16, "intermediate_size": 32}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=VOCABULARY, **(sizes | config)))


def documents() -> list[dict[str, Any]]:
    return [{"input_ids": torch.arange(1, length + 1), "labels": torch.arange(1, length + 1)} for length in LENGTHS]


def padded(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Rows of one batch, as long as its longest, padded on the right."""
    length = max(len(row["input_ids"]) for row in rows)

    def stacked(name: str, fill: int) -> torch.Tensor:
        return torch.stack([torch.nn.functional.pad(row[name], (0, length - len(row[name])), value=fill) for row in rows])

    return {
        "input_ids": stacked("input_ids", 0),
        "attention_mask": (stacked("input_ids", 0) > 0).long(),
        "labels": stacked("labels", -100),
    }


def train(folder: Path, model: Any, data: Any, collate: Any = padded, size: Any = None, **options: Any) -> tuple[Any, Measurement]:
    """A training of one epoch, two rows a batch."""
    torch.manual_seed(0)
    arguments = transformers.TrainingArguments(
        str(folder / "out"), per_device_train_batch_size=2, num_train_epochs=1, **(ARGUMENTS | options)
    )
    callback = SixndCallback(out=folder / "runs", ceilings=False, size=size)
    trainer = transformers.Trainer(model, arguments, train_dataset=data, data_collator=collate, callbacks=[callback])
    trainer.train()
    return trainer, only_record(folder / "runs")


@pytest.mark.parametrize("accumulate", [1, 2])
def test_tokens_without_padding_are_trainers_own_count(accumulate: int, tmp_path: Path) -> None:
    options = {"include_num_input_tokens_seen": "non_padding", "gradient_accumulation_steps": accumulate}
    trainer, made = train(tmp_path, llama(), documents(), **options)
    assert made.proof.num_tokens == sum(LENGTHS) == trainer.state.num_input_tokens_seen
    assert made.proof.num_loss_tokens == sum(LENGTHS) - len(LENGTHS)  # the first of each document is predicted by nothing


def test_positions_are_tokens_and_padding_together(tmp_path: Path) -> None:
    trainer, made = train(tmp_path, llama(), documents(), include_num_input_tokens_seen="all")
    assert made.proof.num_tokens is not None
    assert made.proof.num_padding is not None
    assert made.proof.num_tokens + made.proof.num_padding == trainer.state.num_input_tokens_seen
    history = [entry for entry in trainer.state.log_history if "tokens_per_s" in entry]
    assert history
    assert all(entry["loss_tokens_per_s"] < entry["tokens_per_s"] for entry in history)


def test_documents_in_one_row_without_a_mask_are_their_positions(tmp_path: Path) -> None:
    collate = transformers.DataCollatorWithFlattening(return_position_ids=True)
    rows = [{name: values.tolist() for name, values in row.items()} for row in documents()]
    trainer, made = train(tmp_path, llama(), rows, collate, include_num_input_tokens_seen="all")
    assert made.proof.num_tokens == sum(LENGTHS) == trainer.state.num_input_tokens_seen
    assert made.proof.num_loss_tokens == sum(LENGTHS) - len(LENGTHS)
    assert "num_padding" not in made.proof


def test_an_encoder_decoder_computes_source_and_target(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"vocab_size": VOCABULARY, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    model = transformers.T5ForConditionalGeneration(transformers.T5Config(decoder_start_token_id=0, **sizes))
    rows = [row | {"labels": row["labels"][:2]} for row in documents()]
    trainer, made = train(tmp_path, model, rows, include_num_input_tokens_seen="non_padding")
    assert trainer.state.num_input_tokens_seen == sum(LENGTHS)  # Trainer counts the source alone
    assert made.proof.num_tokens == sum(LENGTHS) + 2 * len(LENGTHS)
    assert made.proof.num_loss_tokens == 2 * len(LENGTHS)  # an encoder-decoder's labels are shifted before


def test_a_size_of_ones_own_is_given_what_forward_was_given(tmp_path: Path) -> None:
    seen: list[set[str]] = []

    def size(batch: dict[str, Any]) -> BatchSize:
        seen.append(set(batch))
        return BatchSize(rows=10, length=1, item="sample")

    _, made = train(tmp_path, llama(), documents(), size=size)
    assert made.proof.num_samples == 4 * 10
    assert all({"input_ids", "attention_mask", "labels"} <= names for names in seen)


class TestSupervisedFineTuning:
    """TRL's SFTTrainer on documents of tokens."""

    def train(self, folder: Path, rows: list[dict[str, Any]], **options: Any) -> tuple[Any, Measurement]:
        trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
        from tokenizers import Tokenizer
        from tokenizers.models import WordLevel

        words = Tokenizer(WordLevel({"[UNK]": 0, "[PAD]": 1, "[EOS]": 2, **{f"w{i}": i for i in range(3, VOCABULARY)}}, unk_token="[UNK]"))
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]", eos_token="[EOS]")
        fixed = ARGUMENTS | {
            "max_length": 16,
            "per_device_train_batch_size": 2,
            "num_train_epochs": 1,
            "bf16": False,
            "gradient_checkpointing": False,
        }
        arguments = trl.SFTConfig(str(folder / "out"), include_num_input_tokens_seen="all", **(fixed | options))
        callback = SixndCallback(out=folder / "runs", ceilings=False)
        data = datasets.Dataset.from_list(rows)
        trainer = trl.SFTTrainer(llama(), arguments, train_dataset=data, processing_class=tokenizer, callbacks=[callback])
        trainer.train()
        return trainer, only_record(folder / "runs")

    def rows(self) -> list[dict[str, Any]]:
        return [{"input_ids": list(range(3, 3 + length))} for length in LENGTHS]

    def test_padded(self, tmp_path: Path) -> None:
        trainer, made = self.train(tmp_path, self.rows())
        assert made.proof.num_tokens == sum(LENGTHS)
        assert made.proof.num_tokens + (made.proof.num_padding or 0) == trainer.state.num_input_tokens_seen
        assert made.proof.num_loss_tokens == sum(LENGTHS) - len(LENGTHS)

    @pytest.mark.parametrize("options", [{"padding_free": True, "max_length": None}, {"packing": True}])
    def test_documents_in_one_row(self, options: dict[str, Any], tmp_path: Path) -> None:
        trainer, made = self.train(tmp_path, self.rows(), **options)
        assert made.proof.num_tokens == sum(LENGTHS) == trainer.state.num_input_tokens_seen
        assert made.proof.num_loss_tokens == sum(LENGTHS) - len(LENGTHS)

    def test_a_loss_on_completions_alone(self, tmp_path: Path) -> None:
        rows = [{"input_ids": list(range(3, 3 + n)), "completion_mask": [0] * (n - 1) + [1]} for n in LENGTHS]
        _, made = self.train(tmp_path, rows, completion_only_loss=True)
        assert (made.proof.num_tokens, made.proof.num_loss_tokens) == (sum(LENGTHS), len(LENGTHS))
