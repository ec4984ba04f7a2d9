"""A fine-tuning has one memory and one step, whichever verb is asked: estimate of one step, of tokens and of a data set, plan, fit."""

from __future__ import annotations

from typing import Any

import pytest

import sixnd
from estimators.frozen import replace
from estimators.training.layouts import fine_tuning

DEVICE = "h200-sxm-141gb"
METHODS: dict[str, dict[str, Any]] = {
    "LoRA": {"lora_rank": 16},
    "LoRA, all linear": {"lora_rank": 64, "lora_targets": "all-linear"},
    "QLoRA": {"lora_rank": 16, "base_format": "nf4"},
    "QLoRA, GPTQ": {"lora_rank": 8, "base_format": "gptq-4-128"},
    "upper layers": {"frozen_layers": 16},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "no more": {},
    "checkpointing none": {"checkpointing": "none"},
    "TRL": {"framework": "trl"},
    "axolotl, checkpointing": {"framework": "axolotl", "checkpointing": "full"},
    "unsloth": {"framework": "unsloth"},
    "8-bit AdamW": {"optimizer": "adamw-8bit"},
    "fp16": {"dtype": "fp16"},
}
MODELS = ("qwen2-0.5b", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gemma-2-2b", "phi-2", "qwen1.5-moe-a2.7b")))


def fitted(given: dict[str, Any], **more: Any) -> Any:
    """The answer of `fit`, which calls three things otherwise."""
    words = dict(given)
    theirs: dict[str, Any] = {"precision": words.pop("dtype", None), "method": "freeze" if "frozen_layers" in words else ()}
    if words.pop("optimizer", None):
        theirs["optimizer"] = "adamw_bnb_8bit"
    return sixnd.fit(**words, **theirs, **more)


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("model", MODELS)
def test_verbs_hold_the_same_bytes(model: str, method: dict[str, Any], setting: dict[str, Any]) -> None:
    given = {"model": model, "hardware": DEVICE, "seq_len": 512, **method, **setting}
    said = fitted(given, batch=2, accumulation=2)
    assert sixnd.estimate(**given, batch=2, accumulation=2).training_memory_bytes == said.allocated_bytes
    again = "none" if setting.get("checkpointing") == "none" else "full"
    layout = f"dp=1,zero=0,micro_batch=2,recompute={again}"
    planned = sixnd.plan(**given, gpus=1, memory_margin=0, layout=layout, global_batch="4seq")
    assert round(planned.tables()[0].rows[-1]["memory_bytes"]) == said.allocated_bytes
    counted = sixnd.estimate(**given, gpus=1, tokens=10**6, layout=layout, global_batch="4seq")
    assert round(counted.allocated_bytes) == said.allocated_bytes
    assert counted.needed_bytes == pytest.approx(said.allocated_bytes + said.reserve_bytes, abs=1)  # of which fit rounds both
    assert counted.fits == said.fits


@pytest.mark.parametrize(("zero", "sharding"), [(0, "ddp"), (1, "zero-1"), (2, "zero-2"), (3, "fsdp")])
@pytest.mark.parametrize("method", [METHODS["LoRA"], METHODS["QLoRA"]], ids=["LoRA", "QLoRA"])
def test_several_devices_hold_the_same_bytes(zero: int, sharding: str, method: dict[str, Any]) -> None:
    given = {"model": "llama-3.1-8b", "hardware": DEVICE, "gpus": 4, "seq_len": 1024, **method}
    said = sixnd.fit(**given, batch=2, accumulation=2, sharding=sharding)
    layout = f"dp=4,zero={zero},micro_batch=2,recompute=full"
    planned = sixnd.plan(**given, layout=layout, global_batch="16seq")
    assert round(planned.tables()[0].rows[-1]["memory_bytes"]) == said.allocated_bytes
    assert round(sixnd.estimate(**given, tokens=10**6, layout=layout, global_batch="16seq").allocated_bytes) == said.allocated_bytes


JOBS: dict[str, dict[str, Any]] = {
    "one device": {"model": "llama-3.1-8b", "lora_rank": 16},
    "a small device": {"model": "qwen2.5-7b", "lora_rank": 16, "hardware": "rtx-4090-24gb"},
    "4 bits": {"model": "qwen2.5-7b", "lora_rank": 16, "base_format": "nf4", "hardware": "rtx-4090-24gb"},
    "eight devices": {"model": "llama-3.1-8b", "lora_rank": 16, "gpus": 8},
    "shared out": {"model": "llama-3-70b", "lora_rank": 16, "gpus": 4},
    "three devices": {"model": "llama-3.1-8b", "lora_rank": 16, "gpus": 3},
    "TRL": {"model": "qwen2.5-7b", "lora_rank": 16, "framework": "trl", "gpus": 2},
    "without checkpointing": {"model": "qwen2-1.5b", "lora_rank": 16, "checkpointing": "none"},
}


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
@pytest.mark.parametrize("length", [512, 2048])
def test_tokens_and_samples_of_so_many_tokens_take_the_same_time(job: dict[str, Any], length: int) -> None:
    given = {"gpus": 1, "hardware": DEVICE, **job}
    samples = 16 * 15 * 64 + 5  # of which the last step is not full
    by_tokens = sixnd.estimate(**given, tokens=samples * length, seq_len=length)
    by_samples = sixnd.estimate(**given, method="lora", examples=samples, mean_tokens=length, max_length=length, epochs=1)
    planned = sixnd.plan(**given, tokens=samples * length, seq_len=length)
    assert by_tokens.step_time_s == by_samples.step_time_s == planned.step_time_s
    assert planned.run_s == by_samples.wall_s
    assert by_tokens.layout == planned.layout
    assert by_tokens.allocated_bytes == by_samples.allocated_bytes == planned.memory_bytes
    assert by_tokens.global_batch == by_samples.micro_batch * by_samples.accumulation * given["gpus"]


def test_another_memory_of_layouts_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = fine_tuning.tuning_job
    monkeypatch.setattr(fine_tuning, "tuning_job", lambda job, layout: replace(real(job, layout), loss="chunked"))
    with pytest.raises(AssertionError):
        test_verbs_hold_the_same_bytes("qwen2-0.5b", METHODS["LoRA"], {})
