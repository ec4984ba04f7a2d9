"""--image-size: what each sample is, said by every verb and changed by one word."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.cli.main import main


def said(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main([*words, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_an_image_of_384_pixels_costs_what_torchvision_publishes(capsys: pytest.CaptureFixture[str]) -> None:
    """ViT-B/16 at 384: 55.48 G multiply-adds (torchvision's table of weights, vit_b_16 SWAG_E2E). 0.1 %: the head, to four digits."""
    shown = said(capsys, "show", "--model", "vit-base-patch16-224", "--image-size", "384")
    assert shown["forward_flop"] == pytest.approx(2 * 55.48e9, rel=1e-3)
    assert "each sample is an image of 384 x 384 pixels; --image-size changes it" in shown["conditions"]


@pytest.mark.parametrize(
    ("model", "line"),
    [
        ("resnet-50", "each sample is an image of 224 x 224 pixels"),
        ("swin-tiny-patch4-window7-224", "each sample is an image of 224 x 224 pixels"),
        ("whisper-small", "the encoder reads 1,500 positions, 30 s of audio"),
    ],
)
def test_a_model_says_what_its_samples_are(model: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert line in said(capsys, "show", "--model", model)["conditions"]


def test_a_training_on_larger_images_costs_more_and_names_them_in_its_checks(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("estimate", "--model", "dinov2-small", "--tokens", "1M")
    small, large = (said(capsys, *words, "--image-size", size) for size in ("224x224", "224x448"))
    assert small["training_flop"] < large["training_flop"] < 2.2 * small["training_flop"]
    assert main([*words, "--image-size", "224x448", "--explain"]) == 0
    assert "--model dinov2-small --image-size 224x448" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("model", "size", "match"),
    [
        ("resnet-50", "384", "resnet-50 reads an image of 224 x 224 pixels, not an image of 384 x 384 pixels"),
        ("gpt2", "384", "gpt2 reads tokens, not an image of 384 x 384 pixels"),
        ("swin-tiny-patch4-window7-224", "384", "its windows are laid out for that size"),
        ("vit-base-patch16-224", "8", "has no patch of 16 x 16"),
        ("vit-base-patch16-224", "0", "image-size '0' is out of range"),
        ("vit-base-patch16-224", "384xlarge", "image-size 'large'"),
    ],
)
def test_a_size_that_is_not_read_is_one_line(model: str, size: str, match: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--model", model, "--image-size", size]) == 2
    err = capsys.readouterr().err
    assert match in err
    assert err.count("\n") == 1
