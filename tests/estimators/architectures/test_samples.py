"""What one sample is: images of a size and audio of a length, against torch on the meta device and against the batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bench.backend.counting import meta
from estimators.architectures.from_config import model_from_config
from estimators.counting.rules_of_thumb import rules
from estimators.errors import BadValueError
from estimators.facts.registry import model_entry
from estimators.samples import Audio, Image, Sample
from estimators.spec import Model, Workload
from tests.support.encoders_and_images import step


def shipped(name: str) -> Model:
    return model_from_config(model_entry(name).config, name)


@pytest.mark.parametrize(
    ("name", "asked"), [("vit-base-patch16-224", True), ("deit-base-distilled-patch16-224", True), ("dinov2-small", False)]
)
@pytest.mark.parametrize("size", [(224, 224), (384, 384), (240, 500)])
def test_images_of_another_size_cost_what_torch_counts(name: str, asked: bool, size: tuple[int, int]) -> None:
    """DINOv2 interpolates its positions by itself, the others where they are asked to."""
    module = meta.meta_model(model_entry(name).config).eval()
    keywords: dict[str, Any] = {"interpolate_pos_encoding": True} if asked else {}
    counter = meta.flop_counter()
    with counter:
        module(pixel_values=torch.zeros(2, 3, *size, device="meta"), **keywords)
    counted = step(shipped(name), Workload(batch=2, sample=Image(height=size[0], width=size[1])))
    assert counted.forward_flop == counter.get_total_flops()
    assert counted.params == sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "sample"),
    [
        ("vit-base-patch16-224", Image(height=224, width=224)),
        ("resnet-50", Image(height=224, width=224)),
        ("clip-vit-base-patch32", Image(height=224, width=224)),
        ("swin-tiny-patch4-window7-224", Image(height=224, width=224)),
        ("whisper-small", Audio(duration_s=30)),
    ],
)
def test_a_model_says_what_it_was_made_to_read(name: str, sample: Sample) -> None:
    model = shipped(name)
    assert model.sample == sample
    assert model.ops(Workload(sample=sample)) == model.ops(Workload())


@pytest.mark.parametrize(("duration_s", "windows"), [(0.5, 1), (30, 1), (30.5, 2), (3600, 120)])
def test_audio_is_read_in_windows_of_30_s(duration_s: float, windows: int) -> None:
    """Radford et al. 2022 (arXiv 2212.04356), section 3.8: long audio is transcribed in windows of 30 s."""
    whisper, sample = shipped("whisper-small"), Audio(duration_s=duration_s)
    for words in ({"phase": "prefill", "seq_len": 4}, {"phase": "decode", "context_len": 9}, {"phase": "train", "seq_len": 20}):
        w = Workload(**{"batch": 2, **words}, sample=sample)  # type: ignore[arg-type]
        assert whisper.ops(w) == whisper.ops(Workload(**{"batch": 2 * windows, **words}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "sample"), [("vit-base-patch16-224", Image(height=384, width=384)), ("whisper-small", Audio(duration_s=90))]
)
def test_rules_of_thumb_are_explained_for_every_sample(name: str, sample: Sample) -> None:
    explained = rules(shipped(name), Workload(phase="train", batch=2, sample=sample))
    assert [rule.unexplained_flop for rule in explained] == [0] * len(explained)


@pytest.mark.parametrize(
    ("name", "sample", "said"),
    [
        ("gpt2", Image(height=224, width=224), "gpt2 reads tokens, not an image of 224 x 224 pixels"),
        ("bert-base-uncased", Audio(duration_s=1.5), "bert-base-uncased reads tokens, not 1.5 s of audio"),
        ("linreg-7d", Audio(duration_s=1), "linreg-7d reads numbers, not 1 s of audio"),
        ("resnet-50", Image(height=384, width=384), "resnet-50 reads an image of 224 x 224 pixels, not an image of 384 x 384 pixels"),
        ("swin-tiny-patch4-window7-224", Image(height=384, width=384), "its windows are laid out for that size"),
        ("clip-vit-base-patch32", Image(height=336, width=336), "clip-vit-base-patch32 reads an image of 224 x 224 pixels"),
        ("vit-base-patch16-224", Image(height=8, width=224), "an image of 8 x 224 pixels has no patch of 16 x 16"),
        ("vit-base-patch16-224", Audio(duration_s=1), "reads an image of 224 x 224 pixels, not 1 s of audio"),
        ("whisper-small", Image(height=224, width=224), "whisper-small reads 30 s of audio, not an image of 224 x 224 pixels"),
        ("t5-small", Audio(duration_s=1), "t5-small reads tokens, not 1 s of audio"),
    ],
)
def test_samples_that_a_model_does_not_read_are_refused_in_one_line(name: str, sample: Sample, said: str) -> None:
    with pytest.raises(BadValueError, match=said):
        shipped(name).ops(Workload(phase="train", sample=sample))


def test_adapters_read_what_their_model_reads() -> None:
    from estimators.architectures.adapters import with_adapters

    with pytest.raises(BadValueError, match="reads tokens, not an image of 224 x 224 pixels"):
        with_adapters(shipped("gpt2"), rank=8).ops(Workload(sample=Image(height=224, width=224)))


@pytest.mark.parametrize("size", [(0, 224), (224, 10**6)])
def test_an_image_without_pixels_or_of_too_many_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(BadValueError, match=f"an image of {size[0]} x {size[1]} pixels; expected sides from 1 to 100,000"):
        Image(height=size[0], width=size[1])


@pytest.mark.parametrize("duration_s", [0, -1, float("inf"), float("nan")])
def test_audio_without_a_length_is_refused(duration_s: float) -> None:
    with pytest.raises(BadValueError, match="expected more than 0, at most 1,000,000"):
        Audio(duration_s=duration_s)
