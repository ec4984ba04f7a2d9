"""Whole models that hear count like torch: parameters, forward and backward FLOP, each part frozen too; tokens by the processor's rule."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForMultimodalLM
from transformers.models.qwen2_audio.processing_qwen2_audio import Qwen2AudioProcessor
from transformers.models.voxtral.processing_voxtral import VoxtralProcessor
from transformers.models.whisper.feature_extraction_whisper import WhisperFeatureExtractor

from bench.backend.counting import meta
from bench.backend.models import hf_config
from estimators.architectures.builders.hearing import HEARING, hearing
from estimators.architectures.fields import Fields
from estimators.architectures.joined import Side
from estimators.architectures.speech_language import Hearing, SpeechLanguage
from estimators.counting.estimate import count_params, estimate
from estimators.errors import BadValueError, NoOpTableError
from estimators.facts.registry import model_entry, model_ids
from estimators.samples import Audio, Spoken
from estimators.spec import Case, Source, Workload
from tests.support.drawn_decoders import Config
from tests.support.whole_vision_language import LLAMA, QWEN, counted

AUDIO_TOKEN = 45
WHISPER: Config = {"num_mel_bins": 8, "max_source_positions": 40}
SMALL: dict[str, Config] = {
    "qwen2_audio": {
        "text_config": QWEN | {"hidden_size": 32},
        "audio_config": WHISPER | {"d_model": 24, "encoder_layers": 3, "encoder_attention_heads": 2, "encoder_ffn_dim": 40},
    },
    "voxtral": {
        "text_config": LLAMA | {"head_dim": 8},
        "audio_config": WHISPER | {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 48},
    },
}


def built(name: str, duration_s: float) -> SpeechLanguage:
    config = SMALL[name] | {"model_type": name}
    return hearing(Fields(config, name), name, Source(title=name), Spoken(audio=Audio(duration_s=duration_s), text_tokens=7))


def torchs(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    config = SMALL[name] | {"model_type": name, "audio_token_id": AUDIO_TOKEN}
    model: torch.nn.Module = AutoModelForMultimodalLM.from_config(hf_config(config), attn_implementation="eager")
    return model.train()


def inputs(model: SpeechLanguage, batch: int) -> dict[str, Any]:
    """One step's inputs: spectrograms of whole windows, and as many tokens as the rule says among others."""
    audio = model.example.audio
    windows, frames = model.hearing.windows(audio), 2 * model.hearing.positions
    row = [1] * model.example.text_tokens + [AUDIO_TOKEN] * model.audio_tokens
    ids = torch.tensor([row] * batch)
    heard = torch.zeros(batch * windows, frames, dtype=torch.long)
    heard[:, : math.ceil(round(audio.duration_s * 100, 6))] = 1
    given = {"input_ids": ids, "labels": ids.clamp(max=44), "attention_mask": torch.ones_like(ids)}
    given["input_features"] = torch.rand(batch * windows, 8, frames)
    return given if model.hearing.in_windows else given | {"feature_attention_mask": heard}


LENGTHS = [("qwen2_audio", 0.8), ("qwen2_audio", 0.37), ("voxtral", 0.8), ("voxtral", 2.0)]


@pytest.mark.parametrize(("name", "duration_s"), LENGTHS)
def test_the_whole_model_counts_like_torch(name: str, duration_s: float) -> None:
    model, module = built(name, duration_s), torchs(name)
    forward, backward = counted(module, inputs(model, batch=2), train=True)
    said = estimate(Case(model=model, workload=Workload(phase="train", batch=2)))
    assert type(module).__name__ == model.runs
    assert said.params == meta.params_of(module)
    assert (said.forward_flop, said.backward_flop) == (forward, backward)
    names = [op.name for op in model.ops(Workload())]
    assert len(names) == len(set(names))


HELD: list[tuple[Side, ...]] = [("audio",), ("audio", "projector"), ("audio", "language"), ("language",)]


@pytest.mark.parametrize("held", HELD, ids=" ".join)
@pytest.mark.parametrize("name", SMALL)
def test_a_frozen_part_counts_like_torch(name: str, held: tuple[Side, ...]) -> None:
    model, module = built(name, 0.8).holding(frozenset(held)), torchs(name)
    sides = {
        "language": ("model.language_model", "lm_head"),
        "projector": ("model.multi_modal_projector",),
        "audio": ("model.audio_tower",),
    }
    for part, parameter in module.named_parameters():
        if part.startswith(tuple(begin for side in held for begin in sides[side])):
            parameter.requires_grad_(False)
    _, backward = counted(module, inputs(model, batch=2), train=True)
    said = estimate(Case(model=model, workload=Workload(phase="train", batch=2)))
    assert said.backward_flop == backward


DURATIONS_S = (0.05, 1.0, 3.17, 9.999, 12.345, 29.99, 30.0)


@pytest.mark.parametrize("duration_s", DURATIONS_S)
def test_qwen2_audio_has_the_tokens_of_its_processor(duration_s: float) -> None:
    extractor = WhisperFeatureExtractor(feature_size=128)
    heard = extractor(np.zeros(round(16000 * duration_s)), sampling_rate=16000, return_attention_mask=True, padding="max_length")
    frames = int(heard["attention_mask"].sum())
    expected = (((frames - 1) // 2 + 1) - 2) // 2 + 1  # Qwen2AudioProcessor._process_audio
    assert "(((l - 1) // 2 + 1) - 2) // 2 + 1" in _source(Qwen2AudioProcessor._process_audio)
    assert Hearing(window_s=30.0, positions=1500, merge=2, in_windows=False).tokens(Audio(duration_s=duration_s)) == expected


def _source(function: Any) -> str:
    import inspect

    return inspect.getsource(function)


@pytest.mark.parametrize("duration_s", [1.0, 30.0, 30.5, 100.0])
def test_voxtral_has_the_windows_of_its_processor(duration_s: float) -> None:
    """A token is four positions of 20 ms: 375 in a window of 30 s."""
    audio = [np.zeros(round(16000 * duration_s))]
    holder = type("Holder", (), {"feature_extractor": WhisperFeatureExtractor(feature_size=128)})()
    padded = {key: VoxtralProcessor.audio_kwargs[key] for key in ("sampling_rate", "padding", "truncation", "pad_to_multiple_of")}
    windows = VoxtralProcessor._retrieve_input_features(holder, audio, 3000, return_tensors="pt", **padded).shape[0]
    rule = Hearing(window_s=30.0, positions=1500, merge=4, in_windows=True)
    assert rule.windows(Audio(duration_s=duration_s)) == windows
    assert rule.tokens(Audio(duration_s=duration_s)) == 375 * windows


def test_what_the_processor_would_cut_off_is_refused() -> None:
    with pytest.raises(BadValueError, match=r"31 s of audio: its processor keeps the first 30 s"):
        Hearing(window_s=30.0, positions=1500, merge=2, in_windows=False).tokens(Audio(duration_s=31.0))


def test_a_family_that_does_not_hear_is_refused_by_name() -> None:
    with pytest.raises(NoOpTableError, match="model_type 'llava' has no op table with audio beside text"):
        hearing(Fields({"model_type": "llava"}, "m"), "m", Source(title="m"), Spoken(audio=Audio(duration_s=1.0)))


HEARS = [name for name in model_ids() if (entry := model_entry(name)).whole and entry.whole["model_type"] in HEARING]


@pytest.mark.parametrize("name", HEARS)
def test_a_shipped_model_has_the_published_number_of_parameters_language_part_and_whole(name: str) -> None:
    entry = model_entry(name)
    assert entry.whole_config
    model = hearing(Fields(entry.whole_config, name), name, entry.source, Spoken(audio=Audio(duration_s=30.0), text_tokens=100))
    assert count_params(model.ops(Workload())) == entry.whole_params
    assert count_params(model.language.ops(Workload())) == entry.published_params
