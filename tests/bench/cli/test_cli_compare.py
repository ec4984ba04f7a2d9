"""`compare`: every verdict has its exit code, every wrong request one line."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from bench.records.draft import write
from bench.records.environment import DeviceFacts, Environment
from bench.records.proof import Proof
from bench.records.record import Measurement, Phase
from bench.runs import interleave
from reports.render import RENDERERS
from tests.support.selftest_records import IDLE, MACHINE, run_of, saved, selftest_record, steady
from tests.support.tiny_models import CEILINGS, record


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without runs/, where the newest self-test would be looked for."""
    monkeypatch.chdir(tmp_path)


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("b", "verdict", "code"),
    [
        (run_of(steady(1.0)), "SAME", 0),
        (run_of(steady(0.8)), "FASTER", 0),
        (run_of(steady(1.2)), "SLOWER", 1),
        (run_of((0.9, 1.2, 1.1)), "AMBIGUOUS", 0),
        (run_of(steady(1.0), request={"batch": 2}), "INCOMPARABLE", 2),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("as_folder", [True, False])
def test_each_verdict_has_its_exit_code(
    b: Measurement, verdict: str, code: int, as_folder: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = [saved(tmp_path / "a", run_of(steady(1.0))), saved(tmp_path / "b", b)]
    if not as_folder:
        sides = [str(next(Path(side).glob("*.json"))) for side in sides]
    assert main(["compare", *sides]) == code
    out, err = capsys.readouterr()
    assert out.startswith(f"{verdict}: ")
    assert ("error: INCOMPARABLE" in err) is (code == 2)


@pytest.mark.parametrize("style", list(RENDERERS))
def test_every_format_holds_the_verdict(style: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sides = [saved(tmp_path / name, run_of(steady(s))) for name, s in (("a", 1.0), ("b", 1.2))]
    assert main(["compare", *sides, "--format", style]) == 1
    assert "SLOWER" in capsys.readouterr().out


def test_json_and_csv_hold_base_units_and_only_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = run_of(steady(1.0), request={"attn": "eager", "seed": 0}), run_of(steady(1.2), request={"attn": "sdpa", "seed": 0})
    sides = [saved(tmp_path / "a", a), saved(tmp_path / "b", b)]
    main(["compare", *sides, "--format", "json"])
    body = json.loads(capsys.readouterr().out)
    assert (body["verdict"], body["threshold_fraction"], body["noise_floor_fraction"]) == ("SLOWER", 0.03, None)
    assert body["rows"][0]["change_fraction"] == pytest.approx(0.2)
    assert (body["rows"][0]["a_s"], body["rows"][0]["b_s"]) == (pytest.approx(1.0, rel=1e-3), pytest.approx(1.2, rel=1e-3))
    assert body["differences"]["rows"] == [{"what": "request.attn", "a": "eager", "b": "sdpa"}]
    main(["compare", *sides, "--format", "csv"])
    row = next(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert float(row["low_fraction"]) < 0.2 < float(row["high_fraction"])


def test_the_threshold_and_the_confidence_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sides = [saved(tmp_path / name, run_of(steady(s))) for name, s in (("a", 1.0), ("b", 1.1))]
    assert main(["compare", *sides, "--threshold", "20%"]) == 0
    assert main(["compare", *sides, "--threshold", "0.05", "--confidence", "99%"]) == 1
    capsys.readouterr()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--threshold", "0"], "threshold"),
        (["--threshold", "much"], "threshold"),
        (["--confidence", "100%"], "confidence"),
        (["--confidence", "0.3"], "--confidence 0.3: expected 0.5 to 0.999"),
        (["--normalise", "peak"], "invalid choice: 'peak'"),
        (["--repeats", "3"], "--repeats belongs to --interleave"),
        (["--out", "x"], "--out belongs to --interleave"),
        (["--noise-floor", "none.json"], "cannot read the record 'none.json'"),
    ],
)
def test_wrong_options_are_one_line(options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    side = saved(tmp_path / "a", run_of(steady(1.0)))
    assert main(["compare", side, side, *options]) == 2
    assert said in one_line(capsys)


def test_a_broken_record_is_named_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    side = saved(tmp_path / "a", run_of(steady(1.0)))
    cut = tmp_path / "cut.json"
    cut.write_text('{"run_id": "x", "sta')
    assert main(["compare", side, str(cut)]) == 2
    assert "cut.json' is not JSON or was cut off" in one_line(capsys)
    assert main(["compare", side, "nowhere"]) == 2
    assert "no record or folder 'nowhere'" in one_line(capsys)


def test_a_broken_record_beside_good_ones_is_named_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sides = [saved(tmp_path / name, run_of(steady(1.0))) for name in ("a", "b")]
    (tmp_path / "b" / "cut.json").write_text("{")
    assert main(["compare", *sides]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("SAME")
    assert err.startswith("warning: ")
    assert "cut.json" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("empty", [run_of(()), dataclasses.replace(run_of(()), phases=())])
def test_a_gate_that_measured_nothing_fails(empty: Measurement, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sides = [saved(tmp_path / "a", run_of(steady(1.0))), saved(tmp_path / "b", empty)]
    assert main(["compare", *sides]) == 2
    assert "nothing was measured in" in one_line(capsys)


def test_a_training_that_did_not_train_is_not_called_faster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sides = [saved(tmp_path / "a", run_of(steady(1.0))), saved(tmp_path / "b", run_of(steady(0.1), proof=IDLE))]
    assert main(["compare", *sides]) == 2
    assert "did not do its work (loss is finite and falls" in capsys.readouterr().err


def test_a_record_damaged_inside_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = run_of(steady(1.0), "bad", proof={"loss_first": "low", "loss_last": 1.0})
    sides = [saved(tmp_path / "a", run_of(steady(1.0))), saved(tmp_path / "b", damaged)]
    assert main(["compare", *sides]) == 2
    assert """0-bad.json' is damaged at proof.loss_first: found "low", expected a number""" in one_line(capsys)


def test_tokens_without_the_number_that_was_to_be_are_no_proof_of_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sides = [saved(tmp_path / "a", run_of(steady(1.0))), saved(tmp_path / "b", run_of(steady(1.0), proof=Proof(num_new_tokens=3)))]
    assert main(["compare", *sides]) == 2
    assert "did not do its work (tokens generated" in capsys.readouterr().err


def test_machines_are_compared_by_their_ceilings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """B is twice as fast on a machine four times as fast: by its own ceilings it does worse."""
    fast = tuple(dataclasses.replace(c, value=4 * c.value) for c in CEILINGS)
    phases = [(Phase(name="train_step", samples_s=steady(s)),) for s in (1.0, 0.5)]
    a, b = (record("train", phases=timed, ceilings=held) for timed, held in zip(phases, (CEILINGS, fast), strict=True))
    b = dataclasses.replace(b, environment=Environment(device=DeviceFacts(name="another device")))
    sides = [saved(tmp_path / "a", a), saved(tmp_path / "b", b)]
    assert main(["compare", *sides, "--across", "device"]) == 0
    assert "--normalise ceiling takes their ceilings out" in capsys.readouterr().out
    assert main(["compare", *sides, "--normalise", "ceiling", "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["rows"][0]["change_fraction"] == pytest.approx(1.0)


def test_the_newest_noise_floor_of_the_machine_goes_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = (saved(tmp_path / name, run_of(steady(s))) for name, s in (("a", 1.0), ("b", 1.1)))
    old, new = selftest_record(drift=0.3), dataclasses.replace(selftest_record(drift=0.01), created_utc="2026-02-01T00:00:00+00:00")
    elsewhere = dataclasses.replace(new, environment=Environment(device=DeviceFacts(name="other")), created_utc="2026-03-01T00:00:00+00:00")
    for at, made in enumerate((old, new, elsewhere)):
        write(dataclasses.replace(made, run_id=f"{at}-selftest"), tmp_path / "a" / f"{at}-selftest-selftest-1.json")
    assert main(["compare", a, b, "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["noise_floor_record"] == "1-selftest"
    assert main(["compare", a, b, "--noise-floor", f"{a}/0-selftest-selftest-1.json"]) == 0
    assert "two runs of the same thing differ by up to 90 %" in capsys.readouterr().out
    assert main(["compare", a, b, "--noise-floor", f"{a}/2-selftest-selftest-1.json"]) == 2
    assert "ran on other, the records on a scripted device" in one_line(capsys)


def test_two_commands_are_run_by_turns_in_fresh_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def run(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert words[1:4] == ["-m", "bench", "run"]
        model, folder = words[words.index("--model") + 1], Path(words[words.index("--out") + 1])
        order.append(f"{folder.name}:{'compile' if '--compile' in words else model}")
        made = run_of(steady(1.0 + len(order) / 1000), f"{len(order)}")  # each process a little slower
        saved(folder, dataclasses.replace(made, environment=MACHINE))
        return subprocess.CompletedProcess(words, 1, "", "")

    monkeypatch.setattr(interleave.subprocess, "run", run)
    code = main(["compare", "--interleave", "run --model gpt2", "run --model gpt2 --compile", "--repeats", "3", "--out", "here"])
    out, err = capsys.readouterr()
    assert order == ["a:gpt2", "b:compile", "b:compile", "a:gpt2", "a:gpt2", "b:compile"]
    assert code == 0, err
    assert "3 records" in out
    assert "repeat 3 of 3, B: run --model gpt2 --compile" in err


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("report runs", "two commands that begin with `run`, not 'report runs'"),
        ("", "two commands that begin with `run`"),
        ("run --model 'gpt2", "cannot read the command"),
        ("run --model gpt2 --out x", "leave it out; the --out of the comparison says where records go"),
    ],
)
def test_other_commands_are_not_interleaved(command: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--interleave", "run --model gpt2", command]) == 2
    assert said in one_line(capsys)


def test_a_process_that_is_refused_ends_the_interleaving_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--interleave", "run --model nope", "run --model gpt2"]) == 2
    err = capsys.readouterr().err
    assert "ended with exit code 2: error: unknown model 'nope'" in err
    assert "Traceback" not in err
