"""`estimate --from FILE` on a data set reads the files that `fit --from` reads, and answers what the same job by options is answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import sixnd
from estimators.errors import BadValueError
from tests.support.tuning_files import AXOLOTL

SAMPLES: dict[str, Any] = {"examples": 5_000, "mean_tokens": 300, "p95_tokens": 900, "hardware": "a100-sxm4-80gb"}
SAME = (
    *("wall_s", "step_time_s", "num_steps", "micro_batch", "accumulation", "allocated_bytes", "needed_bytes", "processed_tokens"),
    *("cost_usd_median", "packing", "epochs", "max_length", "trained_params", "method"),
)

FILES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "QLoRA": (
        {"use_peft": True, "lora_r": 16, "load_in_4bit": True, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 8},
        {"method": "qlora", "lora_rank": 16, "batch": 2, "accumulation": 8},
    ),
    "LoRA, nothing recomputed": (
        {"use_peft": True, "lora_r": 8, "gradient_checkpointing": False, "num_train_epochs": 2},
        {"method": "lora", "lora_rank": 8, "checkpointing": "none", "epochs": 2},
    ),
    "full, packed": ({"packing": True, "max_length": 2048}, {"method": "full", "packing": True, "max_length": 2048}),
}


def written(folder: Path, body: dict[str, Any]) -> str:
    path = folder / "args.json"
    path.write_text(json.dumps({"model_name_or_path": "Qwen/Qwen2.5-1.5B", "max_length": 1024} | body), encoding="utf-8")
    return f"trl={path}"


@pytest.mark.parametrize(("body", "options"), FILES.values(), ids=FILES)
def test_a_file_and_its_options_are_one_job(body: dict[str, Any], options: dict[str, Any], tmp_path: Path) -> None:
    file = sixnd.estimate(from_file=written(tmp_path, body), **SAMPLES)
    said = sixnd.estimate(**({"model": "qwen2.5-1.5b", "framework": "trl", "max_length": 1024} | options), **SAMPLES)
    assert {name: getattr(file, name) for name in SAME} == {name: getattr(said, name) for name in SAME}


def test_memory_is_that_of_fit_by_the_same_file(tmp_path: Path) -> None:
    path = written(tmp_path, FILES["QLoRA"][0])
    data = sixnd.estimate(from_file=path, **{**SAMPLES, "mean_tokens": 1024, "p95_tokens": None})
    assert data.allocated_bytes == sixnd.fit(from_files=path, hardware="a100-sxm4-80gb").allocated_bytes


def test_options_go_before_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, FILES["QLoRA"][0])
    assert sixnd.estimate(from_file=path, batch=4, **SAMPLES).micro_batch == 4
    assert sixnd.estimate(from_file=path, model="llama-3.2-1b", **SAMPLES).model == "llama-3.2-1b"


def test_another_framework_s_file_is_read_as_well(tmp_path: Path) -> None:
    path = tmp_path / "axolotl.yml"
    path.write_text(AXOLOTL, encoding="utf-8")
    answer = sixnd.estimate(from_file=path, gpus=4, **SAMPLES)
    assert (answer.framework, answer.packing) == ("axolotl", "ffd")


def test_a_file_that_is_none_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadValueError, match="names no model"):
        sixnd.estimate(from_file=_nameless(tmp_path), **SAMPLES)


def _nameless(folder: Path) -> str:
    path = folder / "none.json"
    path.write_text(json.dumps({"use_peft": True, "lora_r": 8, "max_length": 512}), encoding="utf-8")
    return f"trl={path}"
