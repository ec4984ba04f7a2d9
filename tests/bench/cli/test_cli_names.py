"""Names as people type them, through the verbs: what was taken is said on stderr and in the answer, and a count fills --gpus."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.library.estimates import compare_hardware, estimate

TRAINING = ("--model", "llama-3-8b", "--tokens", "1T")
MINE = '{"id": "mine", "bf16_flop_per_s": 250e12, "memory_bytes": 80e9, "memory_bytes_per_s": 1.2e12}'


def test_a_short_name_is_said_on_stderr_and_at_the_head_of_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", *TRAINING, "--hardware", "8xH100"]) == 0
    shown = capsys.readouterr()
    assert "· taking '8xH100' as 8 x h100-sxm5-80gb, the usual form; others: h100-nvl-94gb, h100-pcie-80gb" in shown.err
    head = shown.out.splitlines()[:4]
    assert any("taking '8xH100' as 8 x h100-sxm5-80gb" in line for line in head)


def test_a_short_name_gives_the_figures_of_the_id(capsys: pytest.CaptureFixture[str]) -> None:
    answers = []
    for named in (("--hardware", "8xH100"), ("--hardware", "h100-sxm5-80gb", "--gpus", "8")):
        assert main(["estimate", *TRAINING, *named, "--format", "json"]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert list(answers[0].pop("taken_for")) == ["8xH100"]
    assert answers[0].pop("conditions")[1:] == answers[1].pop("conditions")
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("hardware", "gpus", "num_devices"),
    [("8xH100", "8", 8), ("p5.48xlarge", None, 8), ("p5.48xlarge", "64", 64), ("h100", "16", 16), ("v5p-128", None, 64)],
)
def test_a_count_agrees_with_the_option_or_fills_it(hardware: str, gpus: str | None, num_devices: int) -> None:
    assert estimate(model="llama-3-8b", tokens="1T", hardware=hardware, gpus=gpus, utilization=0.4).num_devices == num_devices


@pytest.mark.parametrize(
    ("hardware", "message"),
    [
        ("8xH100", "--hardware names 8 devices, --gpus was 9; leave one of the two out"),
        ("p5.48xlarge", "--hardware names 8 devices, --gpus was 9, so many or a multiple of them with --gpus"),
        ("h100 96gb", "unknown GPU 'h100 96gb'; did you mean 'h100-pcie-80gb' or 'h100-sxm5-80gb'"),
        ("rtx 6000", "'rtx 6000' alone is no product here; it may be short for: rtx-6000-ada-48gb, "),
    ],
)
def test_a_name_that_contradicts_is_one_line(capsys: pytest.CaptureFixture[str], hardware: str, message: str) -> None:
    assert main(["estimate", *TRAINING, "--hardware", hardware, "--gpus", "9"]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_names_with_different_counts_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare-hardware", *TRAINING, "--hardware", "8xh100,16xa100"]) == 2
    assert "--hardware names 8 and 16 devices; expected one number for all" in capsys.readouterr().err


def test_single_steps_are_of_one_of_the_devices_that_were_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "--model", "llama-3-8b", "--hardware", "8xH100"]) == 0
    assert "the answer is of one of them" in capsys.readouterr().err


def test_one_device_by_two_names_is_compared_once() -> None:
    answer = compare_hardware(model="llama-3-8b", tokens="1T", hardware="h100,H100 SXM,a100", gpus=8, utilization=0.4)
    assert [row["hardware"] for row in answer.tables()[0].rows] == ["h100-sxm5-80gb", "a100-sxm4-80gb"]


@pytest.mark.parametrize("verb", ["estimate", "plan", "compare-hardware"])
def test_a_device_of_ones_own_is_estimated_on(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, *TRAINING, "--hardware", MINE, "--gpus", "64"]) == 0
    assert "mine" in capsys.readouterr().out


def test_a_claim_on_a_device_of_ones_own_is_judged_on_all_hardware(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-claim", *TRAINING, "--hardware", MINE, "--gpus", "64", "--days", "90"]) == 0
    assert "64 x mine" in capsys.readouterr().out


def test_a_claim_without_a_number_of_devices_is_asked_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-claim", *TRAINING, "--hardware", "h100", "--days", "90"]) == 2
    assert "on how many devices? Give --gpus NUM" in capsys.readouterr().err


def test_a_what_if_takes_short_names_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--model", "llama-2-7b", "--hardware", "a100", "--gpus", "8", "--what-if", "hardware=h100"]) == 0
    assert "taking 'h100' as h100-sxm5-80gb" in capsys.readouterr().out
    assert main(["plan", "--model", "llama-2-7b", "--hardware", "a100", "--gpus", "8", "--what-if", "hardware=8xh100"]) == 2
    assert "also says how many" in capsys.readouterr().err


def test_an_exact_name_is_not_remarked_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", *TRAINING, "--hardware", "h100-sxm5-80gb", "--gpus", "8", "--utilization", "0.4", "--format", "json"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "taken_for" not in shown.out


def test_another_name_of_a_shape_is_said_at_the_head(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--model", "deepseek-ai/DeepSeek-R1", "--format", "json"]) == 0
    shown = capsys.readouterr()
    answer = json.loads(shown.out)
    assert answer["model"] == "deepseek-v3"
    assert answer["taken_for"] == {"deepseek-ai/DeepSeek-R1": "deepseek-ai/DeepSeek-R1, the shape of deepseek-v3"}
    assert "DeepSeek-R1, the shape of deepseek-v3" in shown.err


def test_a_quantised_copys_name_gives_fewer_bytes_and_the_same_flop() -> None:
    whole, quarter = (estimate(model=name) for name in ("llama-2-13b", "TheBloke/Llama-2-13B-chat-GPTQ"))
    assert quarter.forward_flop == whole.forward_flop
    assert quarter.inference_memory_bytes < whole.inference_memory_bytes / 2


def test_a_size_is_a_dense_llama_and_the_rule_is_in_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--model", "13b", "-v"]) == 0
    shown = capsys.readouterr()
    assert "taking '13b' as a dense Llama of 13,015,864,320 parameters: 40 layers of width 5,120" in shown.err
    assert "layers interpolated between the published sizes" in " ".join(shown.out.split())


def test_a_folder_is_its_config_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text('{"model_type": "gpt2"}', encoding="utf-8")
    answers = []
    for words in (("--model", str(tmp_path / "mine")), ("--config", str(tmp_path / "mine"))):
        assert main(["show", *words, "--format", "json"]) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1]


def test_the_hubs_cache_is_read_and_named_as_the_hub_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "models--somebody--new-thing" / "snapshots" / "0a1b"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "gpt2"}', encoding="utf-8")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert main(["show", "--model", "somebody/new-thing", "--format", "json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["model"] == "somebody/new-thing"
    assert "taking 'somebody/new-thing' by its config.json on this machine" in shown.err


def test_nothing_is_fetched_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert main(["show", "--model", "somebody/new-thing"]) == 2
    assert "`hf download somebody/new-thing config.json` and --config FILE" in capsys.readouterr().err
    assert main(["show", "--model", "somebody/new-thing", "--fetch"]) == 2
    assert "cannot fetch http://127.0.0.1:9/somebody/new-thing/resolve/main/config.json" in capsys.readouterr().err
