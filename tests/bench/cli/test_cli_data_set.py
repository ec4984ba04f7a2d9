"""`estimate` of a fine-tuning on a data set: one screen, the whole of it in json, and what a wrong request is answered with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import sixnd
from bench.cli.main import main
from reports.screen import HEIGHT

QWEN = ("estimate", "qwen2.5-7b", "--method", "lora", "--hardware", "4090")
SAMPLES = ("--examples", "50k", "--mean-tokens", "400", "--p95-tokens", "1100")


def said(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main([*words, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_lora_of_qwen_on_50k_examples_on_a_4090_is_one_screen(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours, money, fits: in the first sentence of at most 30 lines of 100 columns."""
    monkeypatch.setenv("COLUMNS", "100")
    assert main([*QWEN, *SAMPLES, "--epochs", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    first = " ".join(lines[:2])
    assert first.startswith("LoRA of qwen2-7b on 50.0 k samples x 3 epochs: ")
    assert " h on 1 x rtx-4090-24gb, about $" in first
    assert "fits, " in first
    assert len(lines) <= HEIGHT
    assert max(map(len, lines)) <= 100


def test_figures_follow_from_one_another(capsys: pytest.CaptureFixture[str]) -> None:
    found = said(capsys, *QWEN, *SAMPLES, "--epochs", "3", "--batch", "2", "--accumulation", "8", "--max-length", "4096")
    assert found["num_steps"] == 3 * found["steps_per_epoch"] == 3 * 3125  # ceil(ceil(50,000 / 2) / 8)
    assert found["wall_s"] == pytest.approx(found["num_steps"] * found["step_time_s"])
    assert found["gpu_hours"] == pytest.approx(found["wall_s"] / 3600)
    assert found["cost_usd_median"] == pytest.approx(0.445 * found["gpu_hours"])  # the middle of the 4090's quotes
    assert found["energy_j"] == pytest.approx(0.76 * 450 * found["wall_s"])
    assert sum(found["ledger"].values()) == pytest.approx(found["step_time_s"])
    assert found["real_tokens"] < found["processed_tokens"]
    assert found["padding_fraction"] == pytest.approx(1 - found["real_tokens"] / found["processed_tokens"])
    assert found["loss_tokens"] is None
    assert found["step_time_low_s"] < found["step_time_s"] < found["step_time_high_s"]
    assert found["trained_params"] == 28 * 16 * ((3584 + 3584) + (3584 + 512))  # peft's default: queries and values, rank 16


def test_files_of_lengths_and_three_numbers_of_them_agree(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "lengths.csv"
    path.write_text("tokens,loss_tokens,samples\n300,100,1000\n", encoding="utf-8")
    whole = ("estimate", "smollm2-135m", "--method", "full", "--hardware", "4090", "--batch", "4")
    read = said(capsys, *whole, "--lengths", str(path))
    stated = said(capsys, *whole, "--examples", "1000", "--mean-tokens", "300")
    assert read["step_time_s"] == stated["step_time_s"]
    assert (read["num_steps"], read["loss_tokens"], read["padding_fraction"]) == (250, 100_000, 0)


def test_a_measured_step_scales_all_and_narrows_the_interval(capsys: pytest.CaptureFixture[str]) -> None:
    words = (*QWEN, *SAMPLES, "--batch", "2", "--accumulation", "8")
    free, held = said(capsys, *words), said(capsys, *words, "--measured-step", "1.9s")
    assert held["step_time_s"] == pytest.approx(1.9)
    assert held["measured_over_predicted"] == pytest.approx(1.9 / free["step_time_s"])
    assert held["wall_s"] == pytest.approx(1.9 * held["num_steps"])
    width = [found["step_time_high_s"] / found["step_time_low_s"] for found in (free, held)]
    assert width[1] < width[0]


def test_packing_saves_what_the_screen_promised(capsys: pytest.CaptureFixture[str]) -> None:
    words = (*QWEN, *SAMPLES, "--batch", "8", "--framework", "trl", "--max-length", "2048")
    padded, packed, grouped = (said(capsys, *words, *more) for more in ((), ("--packing",), ("--group-by-length",)))
    assert packed["processed_tokens"] == pytest.approx(padded["processed_tokens"] * (1 - padded["packing_saves_fraction"]))
    assert grouped["processed_tokens"] == pytest.approx(padded["processed_tokens"] * (1 - padded["grouping_saves_fraction"]))
    assert packed["num_steps"] == padded["packed_steps"]
    assert packed["wall_s"] < padded["wall_s"]
    assert packed["packing"] == "bfd"


def test_more_devices_are_faster_and_preferences_slower(capsys: pytest.CaptureFixture[str]) -> None:
    words = (*QWEN, *SAMPLES, "--batch", "1", "--accumulation", "8")
    one, two = said(capsys, *words), said(capsys, *words, "--gpus", "2")
    assert 0.4 < two["wall_s"] / one["wall_s"] < 0.7
    assert two["ledger"]["wait"] > 0
    pairs = said(capsys, "estimate", "qwen2.5-7b", "--method", "dpo", "--lora-rank", "16", "--hardware", "4090", *words[6:])
    assert 2 < pairs["wall_s"] / one["wall_s"] < 4  # two rows a pair, and a reference's forward pass beside them


GRPO = ("estimate", "qwen2.5-7b", "--method", "grpo,lora", "--hardware", "h100-sxm5-80gb", "--examples", "7500", "--mean-tokens", "180")


def test_grpo_names_rollout_steps_and_gradient_steps(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """8 x 8 answers on 4 devices are 32 prompts of 8 answers: 235 rollout steps of 7,500 prompts, two updates each where reused."""
    words = (*GRPO, "--completion-tokens", "800", "--batch", "8", "--accumulation", "8", "--gpus", "4", "--reuse", "2")
    found = said(capsys, *words)
    assert (found["prompts_per_step"], found["rollouts_per_step"], found["num_rollout_steps"]) == (32, 256, 235)
    assert (found["gradient_steps_per_rollout_step"], found["num_gradient_steps"]) == (2, 470)
    assert sum(found["phases_s"].values()) == pytest.approx(found["rollout_step_s"])
    assert found["wall_s"] == pytest.approx(235 * found["rollout_step_s"])
    monkeypatch.setenv("COLUMNS", "100")
    assert main([*words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("GRPO with LoRA of qwen2-7b on 7.50 k prompts: at least ")
    assert len(lines) <= HEIGHT
    assert "235 rollout steps" in "\n".join(lines)
    assert "memory: an update fits" in "\n".join(lines)
    assert found["verdict"] == "FITS"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "how long are they in the mean? add --completion-tokens"),
        (("--completion-tokens", "100", "--packing"), "has no part in grpo"),
        (("--completion-tokens", "100", "--batch", "3"), "no whole number of prompts with 8 each"),
    ],
)
def test_what_grpo_lacks_is_said(words: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*GRPO, *words]) == 2
    assert expected in capsys.readouterr().err.strip().splitlines()[-1]


def test_samples_of_a_file_are_counted_by_a_tokenizer(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    tokenizers, transformers = pytest.importorskip("tokenizers"), pytest.importorskip("transformers")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>").save_pretrained(tmp_path / "tokenizer")
    data = tmp_path / "train.jsonl"
    data.write_text("".join(json.dumps({"prompt": "a b", "completion": " c d e"}) + "\n" for _ in range(40)), encoding="utf-8")
    words = ("--data", str(data), "--tokenizer", str(tmp_path / "tokenizer"), "--batch", "4")
    found = said(capsys, "estimate", "smollm2-135m", "--method", "full", "--hardware", "4090", *words)
    assert (found["num_samples"], found["num_steps"], found["real_tokens"], found["loss_tokens"]) == (40, 10, 200, 120)


def test_what_does_not_fit_says_so_in_its_first_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "llama-3-8b", "--method", "full", "--hardware", "4090", *SAMPLES]) == 0
    assert "does NOT fit" in capsys.readouterr().out.split("\n\n")[0]


def test_the_library_gives_the_same_answer(capsys: pytest.CaptureFixture[str]) -> None:
    answer = sixnd.estimate(model="qwen2.5-7b", method="lora", examples=50_000, mean_tokens=400, p95_tokens=1100, hardware="4090", epochs=3)
    assert answer.wall_s == said(capsys, *QWEN, *SAMPLES, "--epochs", "3")["wall_s"]
    assert answer.fits is True
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--method", "lora", "--hardware", "4090"), "fine-tuning on what? add --data FILE --tokenizer DIR, --lengths FILE, or --examples"),
        (("--method", "lora", *SAMPLES), "needs a device: add --hardware"),
        (("--method", "lorra", *SAMPLES), "unknown method 'lorra'; expected one of: full, lora, qlora"),
        ((*SAMPLES, "--lengths", "x.csv"), "--lengths and --examples all say how long samples are"),
        (("--mean-tokens", "5"), "--mean-tokens and --p95-tokens describe --examples"),
        (("--examples", "5"), "--examples needs --mean-tokens"),
        (("--data", "x.jsonl"), "--data needs --tokenizer DIR"),
        ((*SAMPLES, "--hardware", "4090", "--reuse", "2"), "are of --method grpo"),
        ((*SAMPLES, "--hardware", "4090", "--method", "freeze"), "freeze is not timed on a data set"),
        ((*SAMPLES, "--tokenizer", "x"), "--tokenizer counts the tokens of --data"),
        ((*SAMPLES, "--hardware", "4090", "--tokens", "1B"), "--tokens has no part in a fine-tuning on a data set"),
        ((*SAMPLES, "--hardware", "4090", "--seq-len", "512"), "give --max-length for the most"),
        (
            (*SAMPLES, "--hardware", "4090", "--method", "full", "--lora-rank", "8"),
            "--lora-rank is of adapters; with --method full leave it out",
        ),
        ((*SAMPLES, "--hardware", "4090", "--measured-step", "1.9"), "has no unit; expected such as 1.9s"),
        ((*SAMPLES, "--hardware", "4090", "--packing", "knapsack"), "packing 'knapsack' is unknown"),
        ((*SAMPLES, "--hardware", "4090", "--packing", "--group-by-length"), "leave one of the two out"),
        ((*SAMPLES, "--hardware", "4090", "--framework", "keras"), "keras"),
        (
            ("--examples", "100", "--mean-tokens", "100", "--p95-tokens", "900", "--hardware", "4090"),
            "give a file of lengths in their place",
        ),
    ],
)
def test_a_wrong_request_is_one_line_and_2(words: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "qwen2.5-7b", *words]) == 2
    complaint = capsys.readouterr().err.strip().splitlines()[-1]
    assert expected in complaint
