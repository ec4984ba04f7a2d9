"""--dtype: formats with shared scales in every verb, torch's names, and what a device has no peak for."""

from __future__ import annotations

from typing import Any

import pytest

import sixnd
from bench.cli.arguments import dtype
from bench.cli.main import main
from estimators.errors import BadValueError

B200 = {"model": "llama-3-8b", "hardware": "b200-sxm-180gb"}


@pytest.mark.parametrize("name", ["mxfp8", "mxfp4", "nvfp4"])
def test_every_verb_prices_formats_with_shared_scales(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    training = {**B200, "dtype": name, "tokens": "1T", "gpus": 64}
    for answer in (
        sixnd.estimate(**training),
        sixnd.estimate(**training, utilization=0.3),
        sixnd.estimate(**B200, dtype=name, prompt_tokens=64),
        sixnd.plan(**training),
        sixnd.compare_hardware(**training),
        sixnd.check_claim(**training, days=100),
        sixnd.show(model="llama-3-8b", dtype=name),
    ):
        assert name in answer.text(verbose=True)
    words = ["--model", "llama-3-8b", "--mfu", "0.3", "--from", "full", "--to", "6nd", "--hardware", "b200-sxm-180gb", "--dtype", name]
    assert main(["translate", *words, "-v"]) == 0
    assert f"{name}: dense peak" in capsys.readouterr().out


def test_fewer_bits_take_less_time_and_memory() -> None:
    by_dtype = {name: sixnd.plan(**B200, gpus=64, dtype=name) for name in ("bf16", "mxfp8", "nvfp4")}
    assert by_dtype["bf16"].step_time_s > by_dtype["mxfp8"].step_time_s > by_dtype["nvfp4"].step_time_s
    held: list[Any] = [sixnd.estimate(**B200, dtype=name, prompt_tokens=64).inference_memory_bytes for name in ("mxfp8", "nvfp4", "mxfp4")]
    assert held == sorted(held, reverse=True)


@pytest.mark.parametrize(
    ("given", "name"),
    [("BF16", "bf16"), ("bfloat16", "bf16"), ("torch.float16", "fp16"), ("half", "fp16"), ("float32", "fp32"), ("float8_e4m3fn", "fp8")],
)
def test_torchs_names_are_known(given: str, name: str) -> None:
    assert dtype(given) == name


@pytest.mark.parametrize(
    ("hardware", "name", "has"),
    [("h100-sxm5-80gb", "nvfp4", "fp8"), ("mi355x-288gb", "nvfp4", "mxfp4"), ("a100-sxm4-80gb", "mxfp8", "int8")],
)
def test_a_format_that_a_device_does_not_have_is_refused_with_those_that_it_has(hardware: str, name: str, has: str) -> None:
    with pytest.raises(BadValueError, match=rf"{hardware} has no published dense peak for {name}; it has one for: .*{has}"):
        sixnd.plan(model="llama-3-8b", hardware=hardware, gpus=8, dtype=name)
