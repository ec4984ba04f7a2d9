"""Every verb on streams that are closed, full, gone, or a narrow terminal: its result or one line, and never silence or a trace."""

from __future__ import annotations

import functools
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.cli.verbs import VERBS
from tests.support.checkout import ROOT
from tests.support.odd_streams import STATES, Answer, answers

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")

RECORD = str(next(path for path in sorted((ROOT / "results").rglob("*.json")) if path.stat().st_size < 100_000))

CHEAP: dict[str, list[str]] = {
    "run": ["--model", "linreg-1d", "--device", "abacus"],
    "estimate": ["--model", "gpt2"],
    "plan": ["--model", "gpt2", "--hardware", "a100-sxm4-80gb", "--gpus", "8"],
    "fit": ["--model", "gpt2", "--seq-len", "1024", "--hardware", "a100-sxm4-80gb"],
    "serve": ["--model", "gpt2", "--hardware", "a100-sxm4-80gb", "--input", "500"],
    "compare-hardware": ["--model", "gpt2", "--tokens", "1B", "--gpus", "8", "--hardware", "a100-sxm4-80gb"],
    "show": ["--model", "gpt2"],
    "translate": ["--model", "gpt2", "--mfu", "0.4", "--from", "full", "--to", "palm"],
    "check-claim": ["--model", "gpt2", "--tokens", "1B", "--hardware", "a100-sxm4-80gb", "--gpus", "8", "--days", "14"],
    "diagnose": ["--model", "gpt2", "--mfu", "0.3", "--hardware", "a100-sxm4-80gb", "--gpus", "8", "--seq-len", "1024"],
    "disclose": ["--model", "gpt2", "--tokens", "1B", "--hardware", "a100-sxm4-80gb", "--hours", "90"],
    "web": ["--port", "abacus"],
    "calibrate": ["--device", "abacus"],
    "validate": ["--constants"],
    "report": [RECORD],
    "doctor": [],
    "compare": [RECORD, RECORD],
    "import": ["no-such-file.json"],
    "selftest": ["--device", "abacus"],
    "list": ["formats"],
    "completion": ["bash"],
    "man": [],
}
"""Words of each verb that cost no measurement; where nothing is without one, a request that is refused."""


def codes_as(verb: str, usual: Answer) -> set[int]:
    """The exit codes that are the verb's usual one; doctor's is 1 where this machine is busy at the moment that it looks."""
    return {0, 1} if verb == "doctor" else {usual.code}


@functools.cache
def matrix() -> dict[tuple[str, str], Answer]:
    """What each verb did in each state."""
    cells = [(verb, state) for verb in CHEAP for state in STATES]
    return dict(zip(cells, answers([([verb, *CHEAP[verb]], state) for verb, state in cells]), strict=True))


def test_every_verb_is_in_the_matrix() -> None:
    assert set(CHEAP) == set(VERBS)


def test_the_cheap_words_are_answered_or_refused_in_one_line() -> None:
    refused = {verb for verb in CHEAP if matrix()[verb, "as usual"].code == 2}
    assert refused == {"run", "calibrate", "selftest", "import", "web"}
    for verb in CHEAP:
        usual = matrix()[verb, "as usual"]
        assert bool(usual.out) == (verb not in refused), verb
        assert usual.err.count("\n") == (verb in refused), verb


@pytest.mark.parametrize("verb", CHEAP)
@pytest.mark.parametrize("state", ["stderr closed", "stderr full", "stderr's reader gone"])
def test_without_a_stderr_the_result_and_the_exit_code_are_as_usual(verb: str, state: str) -> None:
    usual, given = matrix()[verb, "as usual"], matrix()[verb, state]
    assert given.code in codes_as(verb, usual)
    assert given.err == ""
    if verb != "doctor":  # it tells the load of this moment
        assert given.out == usual.out


@pytest.mark.parametrize("verb", CHEAP)
@pytest.mark.parametrize(("state", "reason"), [("stdout closed", "it is closed"), ("stdout full", "No space left on device")])
def test_without_a_stdout_there_is_one_line_and_exit_2(verb: str, state: str, reason: str) -> None:
    usual, given = matrix()[verb, "as usual"], matrix()[verb, state]
    assert given.code == 2
    if usual.code == 2 and (state == "stdout full" or verb == "web"):
        assert given.err == usual.err  # refused before there was anything to write; web's port as it is read
    else:
        assert given.err == f"error: cannot write to standard output: {reason}; write to a file with --output FILE\n"


@pytest.mark.parametrize("verb", CHEAP)
@pytest.mark.parametrize("state", ["both closed", "both full"])
def test_without_both_the_exit_code_is_left(verb: str, state: str) -> None:
    assert matrix()[verb, state] == Answer(2, "", "")


@pytest.mark.parametrize("verb", CHEAP)
def test_a_reader_that_has_gone_ends_a_verb_without_complaint(verb: str) -> None:
    usual, given = matrix()[verb, "as usual"], matrix()[verb, "stdout's reader gone"]
    assert (given.code, given.err) == ((2, usual.err) if usual.code == 2 else (0, ""))


@pytest.mark.parametrize("verb", CHEAP)
def test_a_dumb_terminal_of_20_columns_gets_lines_and_no_command(verb: str) -> None:
    usual, given = matrix()[verb, "as usual"], matrix()[verb, "dumb terminal"]
    assert given.code in codes_as(verb, usual)
    shown = (given.out + given.err).replace("\r\n", "\n")
    assert all(character == "\n" or character.isprintable() for character in shown)
    answer = (usual.out or usual.err).splitlines()[0]
    assert verb == "doctor" or set(answer.split()) <= set(shown.split())


RUN = ["run", "--model", "linreg-1d", "--preset", "quick", "--steps", "5", "--format", "json", "--out"]


def test_a_run_without_a_stderr_prints_its_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert main([*RUN, str(tmp_path)]) in (0, 1)  # 1 where this machine is too busy for a check to pass
    assert sys.stderr is None
    assert_result(capsys.readouterr().out, tmp_path)


@pytest.mark.slow
def test_a_process_without_a_stderr_prints_its_result(tmp_path: Path) -> None:
    words = " ".join([sys.executable, "-m", "bench", *RUN, str(tmp_path), "2>&-"])
    done = subprocess.run(["bash", "-c", words], stdout=subprocess.PIPE, text=True, cwd=ROOT, timeout=240, check=False)
    assert done.returncode in (0, 1)
    assert_result(done.stdout, tmp_path)


def assert_result(printed: str, folder: Path) -> None:
    assert json.loads(printed)
    (record,) = folder.glob("*.json")
    assert json.loads(record.read_text(encoding="utf-8"))["status"] == "complete"


def test_a_result_goes_to_a_file_where_there_is_no_stdout(tmp_path: Path) -> None:
    file = tmp_path / "formats.csv"
    words = f"{sys.executable} -m bench list formats --format csv --output {file} >&- 2>&- <&-"
    done = subprocess.run(["bash", "-c", words], cwd=ROOT, env=os.environ, timeout=120, check=False)
    assert done.returncode == 0
    assert file.read_text(encoding="utf-8").startswith("format,description\n")


class Tee:
    """A stdout that somebody wrote: it is written to, and no more."""

    encoding = "ascii"

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text.encode("ascii").decode()


def test_somebodys_own_stdout_gets_the_result_in_its_own_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    tee = Tee()
    monkeypatch.setattr(sys, "stdout", tee)
    assert main(["show", "--model", "gpt2"]) == 0
    assert "124,439,808" in tee.text


def test_a_stdout_that_was_closed_in_python_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    assert main(["list", "formats"]) == 2
    assert capsys.readouterr().err == "error: cannot write to standard output: it is closed; write to a file with --output FILE\n"
