"""Rates of training on images: held to trainings that the constants have not seen, and to physics."""

from __future__ import annotations

import pytest

from estimators.architectures.from_config import model_from_config
from estimators.facts.registry import hardware, model_entry
from estimators.spec import Model, Workload
from estimators.training.sample_rates import borrowed_kind, kind_of, rate_of, rates_from, sample_rates
from tools import fit_sample_rates

ROWS = fit_sample_rates.rows()
MEASURED_ON = sample_rates().measured_on


def shipped(name: str) -> Model:
    entry = model_entry(name)
    return model_from_config(entry.config, entry.id, entry.source)


def test_a_measured_row_is_what_its_publisher_prints() -> None:
    """timm: ResNet-50 on an RTX 3090, 1,218.01 samples/s at 512; NeMo: ViT g/14, 693 samples/s of 8 A100 are 1.478 s at 128 each."""
    resnet = next(row for row in ROWS if row.name == "resnet50" and row.device.id == MEASURED_ON)
    giant = next(row for row in ROWS if row.name == "ViT g/14" and row.device.id == "a100-sxm4-80gb")
    assert resnet.batch / resnet.seconds == pytest.approx(1218.01)
    assert giant.seconds == pytest.approx(1.478, abs=0.001)


def test_nothing_measured_beats_physics() -> None:
    for row in ROWS:
        flop = sum(op.count * (op.flop + op.backward_flop) for op in row.ops)
        assert flop / row.device.peak(row.dtype) < row.seconds


def test_rows_that_constants_have_not_seen_lie_in_the_interval() -> None:
    """An interval is to hold 75 to 85 % of unseen rows of the device, or more where there are few: 28 rows here, 5 elsewhere."""
    said = fit_sample_rates.left_out(ROWS, MEASURED_ON)
    spread = sample_rates().spread
    for kind, device_is_it, least in (("same", True, 0.75), ("other", False, 1.0)):
        ratios = [ratio for ratio, row in zip(said, ROWS, strict=True) if (row.device.id == MEASURED_ON) == device_is_it]
        inside = sum(1 / spread[kind] <= ratio <= spread[kind] for ratio in ratios)
        assert inside / len(ratios) >= least
    assert max(said) < 1.15
    assert min(said) > 0.85


def test_the_shipped_constants_are_those_of_the_shipped_rows() -> None:
    here = [row for row in ROWS if row.device.id == MEASURED_ON]
    for kind, constants in sample_rates().constants.items():
        assert fit_sample_rates.fitted([row for row in here if row.kind == kind]) == constants


@pytest.mark.parametrize(
    ("name", "kind", "borrowed"),
    [
        ("vit-base-patch16-224", "transformer", None),
        ("dinov2-base", "transformer", None),
        ("swin-tiny-patch4-window7-224", "windowed", None),
        ("convnext-tiny-224", "inverted", None),
        ("resnet-50", "convolution", None),
        ("mobilenet-v2-1.0-224", None, None),
        ("whisper-tiny", None, "transformer"),
        ("clip-vit-base-patch32", None, "transformer"),
        ("bert-base-uncased", None, None),
        ("t5-small", None, None),
    ],
)
def test_a_model_has_the_class_of_its_layers_or_none(name: str, kind: str | None, borrowed: str | None) -> None:
    assert (kind_of(shipped(name)), borrowed_kind(shipped(name))) == (kind, borrowed)


@pytest.mark.parametrize("device", ["rtx-3090-24gb", "h100-sxm5-80gb", "rtx-4090-24gb"])
@pytest.mark.parametrize("name", ["vit-huge-patch14-224-in21k", "resnet-152", "whisper-large-v3"])
def test_no_rate_beats_the_peak_and_the_interval_holds_it(name: str, device: str) -> None:
    model, where = shipped(name), hardware(device)
    rate = rate_of(model, where, "bf16", 448 if name.startswith("whisper") else 1)
    assert rate is not None
    ops = model.ops(Workload(phase="train", seq_len=448 if name.startswith("whisper") else 1))
    assert rate.low_s < rate.seconds < rate.high_s
    assert rate.seconds >= sum(op.count * (op.flop + op.backward_flop) for op in ops) / where.peak("bf16")


def test_a_class_without_rows_says_so() -> None:
    rate = rate_of(shipped("whisper-large-v3"), hardware("rtx-a6000-48gb"), "bf16", 448)
    assert rate is not None
    assert "no measured training is of such a model" in rate.said
    assert rate.high_s / rate.seconds == pytest.approx(1.6)


def test_other_formats_than_those_measured_have_no_rate() -> None:
    assert rate_of(shipped("resnet-50"), hardware("h100-sxm5-80gb"), "fp8") is None


def test_the_file_is_read_as_it_is_written() -> None:
    body = {
        "constants": {"inverted": {"products": 1.0, "traffic": 2.0, "scores": 3.0}},
        "measured_on": "x",
        "other": 1.5,
        "spread": {"same": 1.1},
    }
    assert (rates_from(body).other, rates_from(body).constants["inverted"].scores) == (1.5, 3.0)
