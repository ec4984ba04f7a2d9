"""The check of a calibration: every workload predicted first, then measured, one after another."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.backend.device import Device
from bench.calibration.predict import StepPrediction
from bench.records import typed_json
from bench.records.calibration import Calibration
from bench.records.estimated import PredictedStep
from bench.records.record import Measurement
from bench.records.request import Request
from bench.records.run_estimate import with_layers
from bench.runs.measure import measure
from bench.runs.suites import SUITES
from estimators.errors import SixndError
from estimators.facts.pipelines import denoiser_config
from estimators.facts.registry import model_entry

Say = Callable[[str], None]

SLICE_LAYERS = 4
"""Of a model too large to run whole: its true width, this many layers, and its head."""


SMALL_VLM = "a small LLaVA"
SMALL_VISION_LANGUAGE: dict[str, Any] = {
    "model_type": "llava",
    "image_token_index": 8191,
    "vision_config": {
        "model_type": "clip_vision_model",
        "hidden_size": 192,
        "intermediate_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 3,
        "image_size": 224,
        "patch_size": 16,
    },
    "text_config": {
        "model_type": "llama",
        "vocab_size": 8192,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 6,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "max_position_embeddings": 2048,
    },
}
"""A whole vision-language model that a laptop steps in a second: a tower as narrow as ViT-Tiny's, layers as wide as SmolLM2-135M's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckCase:
    """One workload of the check: what to ask for, under a name."""

    name: str
    request: Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One workload predicted and measured; `reason` says why where it was not."""

    name: str
    prediction: PredictedStep | None
    record: Measurement | None
    reason: str = ""


def cases(device: str, quick: bool) -> list[CheckCase]:
    """The article's models, then GPT-2 whole and Phi-2 sliced: prefill, decode, training; then small models of samples."""
    listed = []
    steps = 200 if quick else 400
    for name in dict.fromkeys(run.model for run in SUITES["article"].runs):
        entry = model_entry(name)
        if entry.config.get("model_type") == "dense_network" or name == "tiny-gpt":
            few = (10 if quick else 20) if name == "tiny-gpt" else steps
            asked = Request(model=name, config=dict(entry.config), task="train", device=device, steps=few)
            listed.append(CheckCase(name=f"{name}, training step", request=asked))
    for name, layers in (("gpt2", None), ("phi-2", SLICE_LAYERS)):
        config = dict(model_entry(name).config)
        shown = name if layers is None else f"{name} ({layers} layers)"
        for task, seq_len, dtype in (("prefill", 256, None), ("decode", 128, None), ("train", 128, "fp32")):
            asked = Request(
                model=shown,
                config=config if layers is None else with_layers(config, layers),
                task=task,
                seq_len=seq_len,
                new_tokens=17 if task == "decode" else None,
                dtype=dtype,
                device=device,
                steps=5 if quick else 11,
            )
            listed.append(CheckCase(name=f"{shown}, {task}", request=asked))
    return [*listed, *_of_samples(device, quick)]


def _of_samples(device: str, quick: bool) -> list[CheckCase]:
    """A training step and a forward pass of models of images, speech, latents, and images beside a text."""
    listed = []
    for name, config, images in (
        ("vit-tiny", None, None),
        ("whisper-tiny", None, None),
        ("dit-s-2", denoiser_config("dit-s-2")[1], None),
        (SMALL_VLM, dict(SMALL_VISION_LANGUAGE), 1),
    ):
        for task in ("forward", "train"):
            asked = Request(
                model=name,
                config=dict(model_entry(name).config) if config is None else config,
                task=task,
                images=images,
                dtype="fp32",
                device=device,
                steps=5 if quick else 11,
            )
            listed.append(CheckCase(name=f"{name}, {task}", request=asked))
    return listed


def check(chosen: list[CheckCase], device: Device, calibration: Calibration, *, out: Path, say: Say) -> Iterator[Checked]:
    """Predict, write the prediction down, measure; one workload at a time.

    Args:
        out: folder of the records; predictions.jsonl in it is written before each measurement.
    """
    for case in chosen:
        say(f"{case.name}: predicting")
        kept: list[PredictedStep] = []

        def keep(prediction: StepPrediction, name: str = case.name, kept: list[PredictedStep] = kept) -> None:
            kept.append(prediction.kept())
            with open(out / "predictions.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps({"workload": name, **typed_json.plain(kept[-1])}, allow_nan=False) + "\n")

        try:
            record = measure(case.request, hub_id=None, out=out, say=say, calibration=calibration, on_prediction=keep)
        except SixndError as error:
            yield Checked(name=case.name, prediction=kept[-1] if kept else None, record=None, reason=str(error))
            continue
        yield Checked(
            name=case.name,
            prediction=kept[-1] if kept else None,
            record=record,
            reason="" if kept else record.unavailable.get("estimate.local", ""),
        )
