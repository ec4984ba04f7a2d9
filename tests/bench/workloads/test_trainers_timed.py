"""Fine-tunings by transformers' Trainer and by TRL's SFTTrainer take about what `run --method` says before, from `calibrate`.

Witness: the trainers' own callbacks and the machine's clock, in a process that measures nothing else.
"""

from __future__ import annotations

import functools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

from bench.records.record import read_folder
from tests.support.word_tokenizer import word_tokenizer

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

CONFIG: dict[str, Any] = {
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "hidden_size": 256,
    "intermediate_size": 768,
    "vocab_size": 4096,
    "max_position_embeddings": 256,
}
ROWS, LENGTH, STEPS, FIRST = 4, 128, 24, 4
RANK = 8
FACTOR = 1.35
"""Of a machine that does other things beside; with nothing beside, the Trainer's two were within 1.08."""

LORA = ("--lora-rank", str(RANK), "--lora-targets", "all-linear")


@pytest.fixture(scope="module")
def predicted_s(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., float]:
    """Seconds of a step that `run --method` predicts, from a calibration made just before."""
    folder = tmp_path_factory.mktemp("predicted")
    environ = os.environ | {"XDG_DATA_HOME": str(folder / "data"), "OMP_NUM_THREADS": "1"}
    config = folder / "config.json"
    config.write_text(json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"], **CONFIG}))

    def bench(*words: str) -> None:
        command = [sys.executable, "-m", "bench", *words]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr

    bench("calibrate", "--quick", "--device", "cpu")

    @functools.cache
    def asked(method: str, *words: str) -> float:
        out = folder / method
        job = ["--method", method, "--batch", str(ROWS), "--seq-len", str(LENGTH), "--precision", "fp32", "--steps", "8"]
        bench("run", "--config", str(config), "--task", "train", "--device", "cpu", *job, *words, "--out", str(out))
        ((record,), _) = read_folder(out)
        assert record.estimate.local is not None
        return record.estimate.local.seconds_s

    return asked


class Stopwatch(TrainerCallback):  # type: ignore[misc]
    """Seconds from the beginning of a step to its end, as the trainer says them."""

    def __init__(self) -> None:
        self.begun, self.steps_s = 0.0, list[float]()

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.begun = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.steps_s.append(time.perf_counter() - self.begun)


def examples() -> list[dict[str, list[int]]]:
    drawn = torch.randint(1, 62, (STEPS * ROWS, LENGTH), generator=torch.Generator().manual_seed(0)).tolist()
    return [{"input_ids": ids, "labels": ids, "attention_mask": [1] * LENGTH} for ids in drawn]


def llama(layers: int) -> Any:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**{**CONFIG, "num_hidden_layers": layers}, pad_token_id=0))


def arguments(folder: Path, kind: Any = TrainingArguments, **more: Any) -> Any:
    quiet = {"use_cpu": True, "report_to": [], "disable_tqdm": True, "save_strategy": "no", "logging_strategy": "no", "max_steps": STEPS}
    return kind(output_dir=str(folder), per_device_train_batch_size=ROWS, bf16=False, **(quiet | more))


def seconds(trainer: Any) -> float:
    """Of a step, the first ones left out."""
    watch = Stopwatch()
    trainer.add_callback(watch)
    trainer.train()
    assert len(watch.steps_s) == STEPS
    return statistics.median(watch.steps_s[FIRST:])


def by_trainer(folder: Path, adapters: Any, layers: int = CONFIG["num_hidden_layers"]) -> float:
    model = llama(layers)
    if adapters is not None:
        model = pytest.importorskip("peft").get_peft_model(model, adapters)
    return seconds(Trainer(model, arguments(folder), train_dataset=examples()))


def by_trl(folder: Path, adapters: Any, layers: int = CONFIG["num_hidden_layers"]) -> float:
    trl, datasets = (pytest.importorskip(name) for name in ("trl", "datasets"))
    as_they_are = {"max_length": None, "dataset_kwargs": {"skip_prepare_dataset": True}}
    trainer = trl.SFTTrainer(
        llama(layers),
        arguments(folder, trl.SFTConfig, gradient_checkpointing=False, **as_they_are),
        train_dataset=datasets.Dataset.from_list(examples()),
        peft_config=adapters,
        processing_class=word_tokenizer(),
    )
    return seconds(trainer)


def adapters_of(method: str) -> Any:
    if method == "full":
        return None
    peft = pytest.importorskip("peft")
    return peft.LoraConfig(r=RANK, target_modules="all-linear", task_type="CAUSAL_LM")


def agree(what: str, took_s: float, said_s: float) -> None:
    print(f"{what}: {took_s * 1e3:.1f} ms, predicted {said_s * 1e3:.1f} ms, {said_s / took_s - 1:+.1%}")
    assert 1 / FACTOR < said_s / took_s < FACTOR


@pytest.mark.parametrize(("method", "words"), [("full", ()), ("lora", LORA)])
def test_a_step_by_the_trainer(method: str, words: tuple[str, ...], predicted_s: Callable[..., float], tmp_path: Path) -> None:
    said_s = predicted_s(method, *words)
    agree(f"Trainer, {method}", by_trainer(tmp_path, adapters_of(method)), said_s)


@pytest.mark.parametrize(("method", "words"), [("full", ()), ("lora", LORA)])
def test_a_step_by_trl(method: str, words: tuple[str, ...], predicted_s: Callable[..., float], tmp_path: Path) -> None:
    """TRL's head computes the logits again for backward, and each token's entropy: what that adds is seen on a model of one layer."""
    said_s, adapters = predicted_s(method, *words), adapters_of(method)
    of_head_s = by_trl(tmp_path, adapters, layers=1) - by_trainer(tmp_path, adapters, layers=1)
    agree(f"SFTTrainer, {method}, {of_head_s * 1e3:.1f} ms of its head left out", by_trl(tmp_path, adapters) - of_head_s, said_s)
