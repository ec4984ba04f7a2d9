"""`diagnose` through the command line: what it asks for, what it exits with, what its json holds."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from bench.cli.main import main
from tests.support.error_lines import complaint

RUN = "diagnose llama-2-7b --hardware a100-sxm4-80gb --gpus 8 --seq-len 4096"


def answered(capsys: pytest.CaptureFixture[str], words: str, code: int) -> dict[str, Any]:
    assert main([*shlex.split(words), "--format", "json"]) == code
    body: dict[str, Any] = json.loads(capsys.readouterr().out)
    return body


@pytest.mark.parametrize(
    ("words", "verdict", "code"),
    [
        (f"{RUN} --tokens-per-s 3700 --per gpu", "NORMAL", 0),
        (f"{RUN} --tokens-per-s 29600 --per job", "NORMAL", 0),
        (f"{RUN} --tokens-per-s 6100 --per gpu", "FAST BUT POSSIBLE", 0),
        (f"{RUN} --tokens-per-s 900 --per gpu", "SLOW", 1),
        (f"{RUN} --tokens-per-s 29600 --per gpu", "IMPOSSIBLE", 1),
        (f"{RUN} --tokens-per-s 3700 --per gpu --mfu 0.15", "MISCOUNTED", 1),
        ("diagnose llama-2-7b --tokens-per-s 3700 --seq-len 4096", "UNKNOWN", 1),
        (
            "diagnose mistral-7b --method lora --step-time 3.9s --batch 16 --grad-accum 4 --seq-len 128 --hardware a40 --gpus 1",
            "NORMAL",
            0,
        ),
        ("diagnose --step-time 2.07s --hardware h100-pcie-80gb --gpus 2 --against 1.27s --against-gpus 1", "SLOW", 1),
        ("diagnose --samples-per-s 21.9 --flop-per-sample 16.5G --hardware rtx-3090-ti-24gb --gpus 1 --dtype fp16", "SLOW", 1),
    ],
)
def test_each_verdict_has_its_exit_code(words: str, verdict: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    body = answered(capsys, words, code)
    assert body["verdict"] == verdict
    assert [row["cause"] for row in body["rows"]] == [cause for cause in body["causes"] if cause != "none"]
    assert all(row["check"] for row in body["rows"])


def test_the_figure_that_is_wrong_is_the_one_that_nothing_expects(capsys: pytest.CaptureFixture[str]) -> None:
    """3,700 tokens/s lie in the interval and 15 % do not: the rate stands, and the utilization is said to be the wrong one."""
    assert main(shlex.split(f"{RUN} --tokens-per-s 3700 --per gpu --mfu 0.15")) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "15.0 % of peak is the figure that is wrong" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (RUN, "what was observed? Give --tokens-per-s"),
        (f"{RUN} --tokens-per-s 3700", "of one of them, or of the whole job? Add --per gpu or --per job"),
        (f"{RUN} --step-time 1.9", "step-time '1.9' has no unit; expected such as 1.9s"),
        (f"{RUN} --mfu 0", "mfu '0' is out of range"),
        (f"{RUN} --mfu 0.4 --layout zero=three", "layout part 'zero=three'; expected KEY=NUMBER"),
        (f"{RUN} --mfu 0.4 --against-gpus 1", "--against-gpus and --against-hardware are of --against"),
        ("diagnose no-such-model --mfu 0.4", "no-such-model"),
    ],
)
def test_a_wrong_request_is_one_line(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in complaint(shlex.split(words), capsys)


def test_rows_of_ones_own_come_out_with_id_verdict_causes_and_value(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from estimators.validation.table import DIAGNOSIS_COLUMNS

    cells = {
        "id": "mine",
        "quantity": "tokens",
        "value": "10",
        "scope": "job",
        "num_gpus": "2",
        "layout": "tp=2",
        "batch": "1 sample of 5 tokens",
    }
    path = tmp_path / "mine.csv"
    row = ",".join(f'"{(cells | {"config": "1 step"}).get(name, "")}"' for name in DIAGNOSIS_COLUMNS)
    path.write_text(",".join(DIAGNOSIS_COLUMNS) + "\n" + row + "\n", encoding="utf-8")
    (case,) = answered(capsys, f"validate --rows {path}", 0)["cases"]
    assert case == {"id": "mine", "verdict": "MISCOUNTED", "causes": ["tp_counted"], "value": 5.0, "unit": "tokens"}


SERVED = "diagnose llama-3-8b --phase decode --hardware rtx-4090-24gb"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (f"{SERVED} --tokens-per-s 52 --weights nonsense", "weights stored as 'nonsense' are unknown"),
        (
            f"{SERVED} --tokens-per-s 360 --batch 8",
            "a rate at 8 requests at once: of one of them, or of all? Add --per",
        ),
        (f"{RUN} --tokens-per-s 3700 --per request", "--per request is of a server"),
        (f"{RUN} --mfu 0.4 --layout tp=3", "layout tp=3 does not share out 8 devices"),
    ],
)
def test_what_is_ambiguous_or_unknown_is_refused_and_not_assumed(capsys: pytest.CaptureFixture[str], words: str, said: str) -> None:
    assert said in complaint(shlex.split(words), capsys)


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (f"{SERVED} --requests-per-s 5", "the rate of tokens"),
        (f"{SERVED} --step-time 20ms", "the batch"),
        (f"{RUN} --wall-time 10h", "what was done in that time"),
        (
            "diagnose llama-3-8b --step-time 14s --batch 8 --grad-accum 2 --seq-len 2048 --hardware 4090",
            "the number of devices",
        ),
    ],
)
def test_of_figures_that_make_no_rate_the_one_fact_that_lacks_is_named(
    capsys: pytest.CaptureFixture[str], words: str, missing: str
) -> None:
    body = answered(capsys, words, 1)
    assert [line.partition(",")[0] for line in body["missing"]] == [missing]


def test_a_cause_that_nothing_speaks_for_is_not_stated_as_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(f"{RUN} --tokens-per-s 1e9 --per gpu")) == 1
    assert "IMPOSSIBLE, 1e+09 tokens/s per device" in (out := capsys.readouterr().out)
    assert ": perhaps the work of the whole run" in " ".join(out.split())


def test_what_explains_a_figure_of_a_run_that_is_normal_is_no_suspect(capsys: pytest.CaptureFixture[str]) -> None:
    """16 micro-batches make a step of 15 s: 2 x 16 x 8 sequences of 2,048 tokens, and nothing is wrong with it."""
    words = f"{RUN} --seq-len 2048 --batch 2 --grad-accum 16 --step-time 15s --layout zero=3"
    body = answered(capsys, words, 0)
    assert (body["verdict"], body["explained_by"]) == ("NORMAL", ["grad_accum_in_step"])
    assert main(shlex.split(words)) == 0
    shown = capsys.readouterr().out
    assert ("what explains it" in shown, "suspect" in shown) == (True, False)


LORA = "diagnose llama-3.1-8b --hardware h100-sxm5-80gb --gpus 6 --seq-len 2048 --method lora --tokens-per-s 3000 --per gpu"


@pytest.mark.parametrize("layout", ["tp=2", "pp=2", "zero=3"])
def test_a_stated_layout_of_an_adapters_training_is_the_one_that_is_predicted(layout: str, capsys: pytest.CaptureFixture[str]) -> None:
    body = answered(capsys, f"{LORA} --layout {layout}", 1)
    assert f"{layout}," in next(note for note in body["notes"] if note.startswith("expected: predicted"))


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_layout_that_cannot_be_cut_is_said_and_is_no_lack_of_memory(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(f"{LORA} --method {method} --layout tp=3")) in (0, 1)
    said = " ".join(capsys.readouterr().out.split())
    assert "no step of the stated layout is predicted: tp=3 does not divide 32 heads" in said
    assert "does not fit" not in said


def test_another_run_is_said_where_a_prediction_decides(capsys: pytest.CaptureFixture[str]) -> None:
    """3,700 beside 4,000 tokens/s: 92.5 % of it; the verdict rests on the model's interval."""
    words = f"{RUN} --tokens-per-s 3700 --per gpu --against 4000"
    assert any("beside the other run" in note and "92.5 %" in note for note in answered(capsys, words, 0)["notes"])
    assert main(shlex.split(words)) == 0
    assert "beside the other run" in capsys.readouterr().out
