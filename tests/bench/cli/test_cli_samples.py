"""Images, videos and text in the user's units: what `show` takes, and what it refuses in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli.amounts import demand_images
from bench.cli.main import main
from estimators.architectures.traced import TracedModel
from estimators.errors import BadValueError
from estimators.spec import Source
from tests.support.whole_vision_language import config_of


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["show", *words]) == 0
    return capsys.readouterr().out


def test_the_whole_model_is_shown_with_what_an_image_becomes(capsys: pytest.CaptureFixture[str]) -> None:
    """1,024 x 768 pixels are 1,036 x 756 in whole tokens of 28: 37 x 27 = 999; two of them and 300 tokens of text are 2,298."""
    out = shown(capsys, "qwen2.5-vl-7b", "--images", "2", "--image-size", "1024x768", "--text-tokens", "300", "--phase", "train")
    assert "8,292,166,656 parameters" in out
    assert "a sequence of 2,298 tokens" in out
    assert "999 tokens of the text" in out
    assert "trained: vision, projector, language; frozen: nothing" in out


def test_what_is_frozen_is_said_and_has_no_weight_gradient(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("llava-1.5-7b", "--images", "1", "--phase", "train", "--json")
    whole, held = (json.loads(shown(capsys, *words, *more)) for more in ((), ("--freeze", "vision,projector")))
    assert held["trainable_params"] == 6738939904  # the language part's published count
    assert held["training_flop"] < whole["training_flop"]
    assert "frozen: vision, projector" in shown(capsys, *words[:-1], "--freeze", "vision,projector")


def test_adapters_leave_the_tower_frozen(capsys: pytest.CaptureFixture[str]) -> None:
    """Rank 8 on queries and values of 32 layers: 8·(4096 + 4096)·2·32."""
    body = json.loads(shown(capsys, "llava-1.5-7b", "--images", "1", "--phase", "train", "--lora-rank", "8", "--json"))
    assert body["trainable_params"] == 8 * 8192 * 2 * 32


def test_a_video_is_taken_by_its_length_and_rate(capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, "qwen2-vl-2b", "--video", "60s@2fps", "--image-size", "448")
    assert "each sample is 120 frames of 448 x 448 pixels" in out
    assert "the video is 60 pictures" in out


def test_a_configuration_of_a_file_is_taken_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config_of("llava")), encoding="utf-8")
    assert "vision.layer.attention.query" in shown(capsys, "--config", str(path), "--images", "1", "--text-tokens", "5")


def test_a_recording_is_heard_in_windows(capsys: pytest.CaptureFixture[str]) -> None:
    """70 s are three windows of 30, each of (30 / 0.02) / 4 = 375 tokens; with 40 of text 1,165."""
    out = shown(capsys, "voxtral-mini-3b", "--audio", "70s", "--text-tokens", "40", "--phase", "train")
    assert "each sample is 70 s of audio and 40 tokens of text: a sequence of 1,165 tokens" in out
    assert "the recording is 3 windows of 30 s for the tower, padded where it is shorter, and 1,125 tokens of the text" in out
    assert "trained: audio, projector, language; frozen: nothing" in out


def test_hours_of_audio_are_cut_into_samples(capsys: pytest.CaptureFixture[str]) -> None:
    """10 hours are 1,200 windows of 30 s, or 600 samples of a minute of two windows: as much for the tower."""
    words = ["estimate", "voxtral-mini-3b", "--audio-hours", "10", "--hardware", "h100-sxm5-80gb", "--json"]
    answers = []
    for more in ((), ("--audio", "60s")):
        assert main([*words, *more]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert all("on 10 hours of audio" in answer["title"] for answer in answers)
    assert [answer["tokens"] for answer in answers] == [1200, 600]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("llava-1.5-7b", "--audio", "3s"), "llava-1.5-7b hears no recording beside text"),
        (("voxtral-mini-3b", "--audio", "3s", "--freeze", "vision"), "has no such part; expected some of: audio, projector, language"),
        (("voxtral-mini-3b", "--audio", "3s", "--images", "1"), "--images and --audio both"),
        (("qwen2-audio-7b", "--audio", "31s"), "keeps the first 30 s of a recording"),
        (("llama-3-8b", "--images", "2"), "llama-3-8b reads no images beside text"),
        (("llava-1.5-7b", "--text-tokens", "2"), "--text-tokens is of samples with images"),
        (("llava-1.5-7b", "--freeze", "vision"), "--freeze is of samples with images"),
        (("llava-1.5-7b", "--images", "1", "--video", "1s@1fps"), "--images and --video both"),
        (("llava-1.5-7b", "--images", "1", "--freeze", "head"), "freeze 'head' is no part"),
        (("llava-1.5-7b", "--images", "1", "--freeze", "vision", "--lora-rank", "8"), "--freeze beside --lora-rank"),
        (("llava-1.5-7b", "--images", "1", "--freeze", "vision,projector,language"), "nothing is left to train"),
        (("llava-1.5-7b", "--images", "9"), "more than the 4,096 that llava-1.5-7b was made for"),
        (("llava-1.5-7b", "--images", "1", "--seq-len", "7"), "--seq-len 7: a sequence is as long as the sample"),
        (("llava-1.5-7b", "--images", "1", "--phase", "decode"), "--phase decode"),
        (("llava-1.5-7b", "--video", "1s"), "has no rate"),
        (("llava-1.5-7b", "--video", "1s@2fps"), "how this model's processor cuts videos is not covered"),
        (("qwen2-vl-2b", "--images", "1", "--image-size", "9x2000"), "one side over 200 times the other"),
    ],
)
def test_what_cannot_be_is_one_line(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", *words]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("·")]
    assert len(error) == 1
    assert said in error[0]


def estimated(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["estimate", *words]) == 0
    return capsys.readouterr().out


def test_a_vision_language_training_is_predicted_part_by_part(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("qwen2.5-vl-7b", "--images", "2", "--image-size", "1024x768", "--text-tokens", "300", "--examples", "100k", "--epochs", "2")
    screen = estimated(capsys, *words, "--hardware", "h100-sxm5-80gb", "--gpus", "8")
    out = " ".join(screen.split())
    assert "qwen2.5-vl-7b on 100,000 examples, 2 epochs: about" in out
    assert "the language part as a decoder on sequences of 2,298 tokens" in out
    assert "tower and projector: predicted" in out
    assert len(screen.splitlines()) <= 30


def test_freezing_the_tower_costs_less_and_freezing_most_less_still(capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        "llava-1.5-7b",
        "--images",
        "1",
        "--text-tokens",
        "300",
        "--examples",
        "1k",
        "--hardware",
        "a100-sxm4-80gb",
        "--gpus",
        "8",
        "--json",
    )
    hours = [
        json.loads(estimated(capsys, *words, *more))["gpu_hours"]
        for more in ((), ("--freeze", "vision"), ("--freeze", "vision,language"), ("--lora-rank", "8"))
    ]
    assert hours[0] > hours[1] > hours[2]
    assert hours[1] > hours[3]


def test_images_and_hours_of_audio_are_counted_as_they_are_given(capsys: pytest.CaptureFixture[str]) -> None:
    """1.28 M images 300 times; 1,000 h are 120,000 windows of 30 s, each of 448 tokens, 3 times."""
    device = ("--hardware", "a100-sxm4-80gb", "--gpus", "8", "--json")
    images = json.loads(estimated(capsys, "vit-b-16", "--images-total", "1.28M", "--epochs", "300", *device))
    audio = json.loads(estimated(capsys, "whisper-large-v3", "--audio-hours", "1000", "--epochs", "3", *device))
    assert images["tokens"] == 300 * 1280000
    assert audio["tokens"] == 3 * 120000 * 448
    assert "on 1.28 M images, 300 epochs" in estimated(capsys, "vit-b-16", "--images-total", "1.28M", "--epochs", "300", *device[:-1])
    assert "on 1,000 hours of audio, 3 epochs" in estimated(
        capsys, "whisper-large-v3", "--audio-hours", "1000", "--epochs", "3", *device[:-1]
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("llava-1.5-7b", "--images", "1"), "add --examples NUM"),
        (("vit-b-16", "--images-total", "9", "--examples", "9"), "--examples are of samples with"),
        (("llama-3-8b", "--images-total", "9"), "--images-total is of a model of images"),
        (("vit-b-16", "--audio-hours", "9"), "--audio-hours is of a model of speech"),
        (("vit-b-16", "--audio-hours", "9", "--images-total", "9"), "are of different models"),
        (("vit-b-16", "--images-total", "9", "--tokens", "9"), "--tokens has no part in"),
        (("whisper-tiny", "--audio-hours", "0"), "audio-hours"),
    ],
)
def test_an_estimate_that_cannot_be_is_one_line(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", *words]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("·")]
    assert len(error) == 1
    assert said in error[0]


def test_an_image_of_a_pipeline_is_counted_part_by_part(capsys: pytest.CaptureFixture[str]) -> None:
    """60 runs of the U-Net at 6,761,236,398,080 FLOP are 405.7 TFLOP of it (counted by diffusers)."""
    body = json.loads(shown(capsys, "sdxl", "--image-size", "1024", "--denoising-steps", "30", "--guidance", "--json"))
    flop = {row["part"]: row["flop"] for row in body["tables"][0]["rows"]} if "tables" in body else {}
    assert body["generation_flop"] > 60 * 6761236398080
    assert not flop or flop["denoiser"] == 60 * 6761236398080
    once = json.loads(shown(capsys, "sdxl", "--denoising-steps", "30", "--json"))
    assert once["generation_flop"] < body["generation_flop"]


def test_a_denoiser_is_trained_on_images_with_its_encoders_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("DiT-XL/2", "--images-total", "1.28M", "--epochs", "2", "--image-size", "256", "--hardware", "a100-sxm4-80gb", "--gpus", "8")
    out = " ".join(estimated(capsys, *words).split())
    assert "dit-xl-2 on 1.28 M images, 2 epochs" in out
    assert "left out: the autoencoder and text encoders" in out
    assert "counted as diffusers' DiTTransformer2DModel" in shown(capsys, "dit-xl-2")


def test_a_video_that_is_made_is_shown_and_trained_on(capsys: pytest.CaptureFixture[str]) -> None:
    """5 s at 16 frames a second are 81 frames with the first, 21 of the latent."""
    video = ("wan2.1-1.3b", "--video", "5s@16fps", "--image-size", "480x832")
    out = shown(capsys, *video, "--denoising-steps", "50", "--guidance")
    assert "Making a video with wan2.1-t2v-1.3b" in out
    assert "weights in bf16: 13.4 GiB of all parts, 10.6 GiB the largest" in " ".join(out.split())
    assert "a video of 81 frames of 480 x 832 pixels, a latent of 21 x 60 x 104" in out
    assert "counted as diffusers' WanTransformer3DModel" in shown(capsys, *video)
    trained = estimated(capsys, *video, "--examples", "1M", "--hardware", "h100-sxm5-80gb", "--gpus", "64")
    assert "wan2.1-t2v-1.3b on 1.00 M videos" in trained


def test_guidance_of_a_distilled_model_is_said_to_be_no_second_pass(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("flux-dev", "--denoising-steps", "28")
    guided = shown(capsys, *words, "--guidance")
    assert "one pass a step, --guidance or not" in " ".join(guided.split())
    both = [json.loads(shown(capsys, *words, *more, "--json")) for more in ((), ("--guidance",))]
    assert both[0]["generation_flop"] == both[1]["generation_flop"]
    assert both[1]["passes_per_step"] == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sdxl", "--video", "2s@16fps"), "makes images, not videos"),
        (("wan2.1-1.3b", "--video", "2s@16fps", "--text-tokens", "7"), "--text-tokens has no part in a video"),
        (("llama-3-8b", "--denoising-steps", "3"), "are of diffusion pipelines"),
        (("sdxl", "--guidance"), "add --denoising-steps"),
        (("sdxl", "--denoising-steps", "3", "--image-size", "1000"), "give sides that 32 divides"),
        (("sdxl", "--seq-len", "3"), "takes single samples"),
    ],
)
def test_a_generation_that_cannot_be_is_one_line(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", *words]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("·")]
    assert len(error) == 1
    assert said in error[0]


def test_a_rate_is_said_in_samples_or_in_times_real_time(capsys: pytest.CaptureFixture[str]) -> None:
    """A window of 30 s that takes t seconds of one device is 30 / t times as fast as it is heard."""
    device = ("--hardware", "a100-sxm4-80gb", "--gpus", "8")
    out = estimated(capsys, "vit-b-16", "--images-total", "1M", *device)
    assert "samples/s on 8 devices;" in out
    body = json.loads(estimated(capsys, "whisper-tiny", "--audio-hours", "100", *device, "--json"))
    assert body["samples_per_s_per_device"] * body["gpu_hours"] * 3600 == pytest.approx(100 * 120)
    assert "times as fast as it is heard on 8 devices;" in estimated(capsys, "whisper-tiny", "--audio-hours", "100", *device)


def test_a_claim_on_images_needs_its_devices(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "vit-b-16", "--images-total", "1M", "--hardware", "a100-sxm4-80gb", "--days", "3"]) == 2
    assert "--days is a claim about a run: add its --gpus" in capsys.readouterr().err


def test_the_whole_models_published_count_stands_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("qwen2.5-vl-7b", "--images", "1", "--examples", "1k", "--hardware", "a100-sxm4-80gb", "-v")
    assert "8,292,166,656 parameters (published: 8,292,166,656)" in estimated(capsys, *words)


def test_a_part_of_a_pipeline_is_shown_by_its_own_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stable Diffusion's autoencoder: 83,653,863 parameters (published), of which a 3 x 3 filter of 3 channels into 128 reads the image."""
    config = {"_class_name": "AutoencoderKL", "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "latent_channels": 4}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    out = shown(capsys, "--config", str(path), "--image-size", "256")
    assert "83,653,863 parameters" in out
    assert "counted as diffusers' AutoencoderKL" in out
    assert main(["show", "--config", str(path), "--image-size", "100"]) == 2
    assert "give sides that 8 divides" in capsys.readouterr().err


def test_what_finds_objects_is_asked_about_images_of_any_size(capsys: pytest.CaptureFixture[str]) -> None:
    """A photo of 800 x 1,333 pixels has maps of 25 x 42 in the place of 25 x 34 positions, and padding is an image like any other."""
    out = shown(capsys, "facebook/detr-resnet-50", "--image-size", "800x1333", "--phase", "train")
    assert "each sample is an image of 800 x 1333 pixels, or a smaller one padded to it; --image-size changes it" in out
    assert "frozen, as its class trains it: 222,400 parameters of the backbone" in out
    out = estimated(capsys, "rtdetr-r50vd", "--images-total", "118k", "--epochs", "72", "--hardware", "a100-sxm4-80gb", "--gpus", "8")
    assert "on 118,000 images, 72 epochs" in out
    assert "left out: queries that training adds of boxes with noise" in out
    assert main(["show", "rtdetr-r50vd", "--image-size", "800x1066"]) == 2
    assert "multiples of 32, such as 800 x 1088" in capsys.readouterr().err


def test_images_are_what_a_claim_and_a_choice_of_device_are_about(capsys: pytest.CaptureFixture[str]) -> None:
    """DETR's authors: 300 epochs of 118,000 images on 16 V100 in 3 days (from memory, unchecked); in fp32, as was usual.

    A step costs thrice the forward pass of 162.3 GFLOP, less twice the 26.8 of the first filter and stage, which are not trained, and less
    7.0 of two filters behind them, whose input needs no gradient.
    """
    claim = ("--hardware", "v100-sxm2-16gb", "--gpus", "16", "--days", "3", "--dtype", "fp32", "--json")
    bodies = []
    for word in ("--tokens", "--images-total"):
        assert main(["check-claim", "detr-resnet-50", word, "35.4M", *claim]) == 0
        bodies.append(json.loads(capsys.readouterr().out))
    assert bodies[0] == bodies[1]
    step = 3 * 162.3e9 - 2 * 26.8e9 - 7.0e9
    claimed = 35.4e6 * step / (16 * 3 * 86400 * 15.7e12)
    assert bodies[0]["implied_utilization_fraction"] == pytest.approx(claimed, rel=0.001)
    assert main(["compare-hardware", "detr-resnet-50", "--images-total", "1M", "--hardware", "a100-sxm4-80gb,h100-sxm5-80gb", "-q"]) == 0
    assert "1.00 M samples" in capsys.readouterr().out
    assert main(["check-claim", "llama-3-8b", "--images-total", "9", *claim]) == 2
    assert "--images-total is of a model of images; llama-3-8b reads tokens: give --tokens" in capsys.readouterr().err


TEXT = {"model_type": "qwen3_moe", "hidden_size": 64, "num_hidden_layers": 2}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            {"model_type": "kimi_k25", "text_config": TEXT, "vision_config": {}},
            "only the language part of model_type 'kimi_k25' has an op table",
        ),
        (
            {"model_type": "qwen3_omni_moe", "thinker_config": {"text_config": TEXT, "vision_config": {}}},
            "only the language part of model_type 'qwen3_omni_moe' has an op table",
        ),
        ({"model_type": "siglip", "text_config": {}, "vision_config": {}}, "model_type 'siglip' has no language part that reads images"),
    ],
)
@pytest.mark.parametrize("size", [(), ("--image-size", "448")])
def test_images_of_a_whole_that_no_table_is_of_are_refused_and_not_dropped(
    config: dict[str, object], said: str, size: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    assert main(["show", "--config", str(path), "--images", "2", *size]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("reads", "said"),
    [
        ("pixel_values 3 x 224 x 224", ""),
        ("input_features 3000 x 80", "reads samples of input_features 3000 x 80: give --tokens, one for each"),
    ],
)
def test_a_traced_model_of_images_is_asked_for_images(reads: str, said: str) -> None:
    model = TracedModel(
        name="traced", source=Source(title="t"), runs="M", traced_from="transformers", tables={"train": ()}, takes="sample", reads=reads
    )
    if not said:
        demand_images(model)
        return
    with pytest.raises(BadValueError, match=said):
        demand_images(model)
