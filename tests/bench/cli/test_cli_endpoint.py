"""`run --endpoint`: a server that answers already, loaded by a tool that is installed, or by a stand-in for one on PATH."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.records.record import read_folder
from bench.runs import load_tools
from bench.runs.load_tools import TOOLS, EndpointLoad
from tests.support.load_results import path_of

URL = "http://127.0.0.1:9/v1"
ARGUMENTS = ["run", "--endpoint", URL, "--model", "some-name", "-q"]
STAND_IN = """#!{python}
import pathlib, shutil, sys, time
words = sys.argv[1:]
pathlib.Path({seen!r}).write_text("\\n".join(words))
print("loading")
folder = pathlib.Path(words[words.index("--result-dir") + 1])
if {leaves}:
    shutil.copy({result!r}, folder / words[words.index("--result-filename") + 1])
sys.stdout.flush()
time.sleep({waits})
print("the server went away")
sys.exit({code})
"""


def _stand_in(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    result: str = "vllm_detailed.json",
    leaves: bool = True,
    code: int = 0,
    waits: float = 0,
) -> Path:
    """A tool called vllm, the only one on PATH; the file where it writes its command line."""
    programs = folder / "programs"
    programs.mkdir()
    seen = folder / "seen.txt"
    tool = programs / "vllm"
    tool.write_text(
        STAND_IN.format(python=sys.executable, seen=str(seen), result=path_of(result), leaves=leaves, code=code, waits=waits),
        encoding="utf-8",
    )
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return seen


def test_the_tools_file_becomes_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    seen = _stand_in(tmp_path, monkeypatch)
    assert main([*ARGUMENTS, "--concurrency", "2", "--requests", "8", "--out", str(tmp_path / "runs")]) == 0
    assert "output tokens/s" in capsys.readouterr().out.splitlines()[0]
    records, problems = read_folder(tmp_path / "runs")
    assert problems == []
    (record,) = records
    assert record.status == "complete"
    assert record.proof.served is not None
    words = seen.read_text(encoding="utf-8").split("\n")
    assert words[:2] == ["bench", "serve"]
    assert words[words.index("--base-url") + 1] == "http://127.0.0.1:9"
    assert words[words.index("--max-concurrency") + 1] == "2"
    assert words[words.index("--model") + 1] == "some-name"
    assert not list(tmp_path.glob("sixnd-load-*"))


def test_a_tool_that_fails_is_one_line_with_its_last_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _stand_in(tmp_path, monkeypatch, leaves=False, code=3)
    assert main([*ARGUMENTS, "--out", str(tmp_path / "runs")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert "vllm ended with 3 and no result: the server went away" in line
    assert not (tmp_path / "runs").exists()


def test_a_tool_that_does_not_end_is_ended_and_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _stand_in(tmp_path, monkeypatch, waits=120)
    monkeypatch.setattr(load_tools, "LONGEST_S", 1.0)
    assert main([*ARGUMENTS, "--out", str(tmp_path / "runs")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert "vllm did not end within 1 s, and was ended" in line


def test_what_no_server_can_have_found_is_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _stand_in(tmp_path, monkeypatch)
    assert main(["run", "--endpoint", URL, "--model", "llama-3.1-405b", "--hardware", "1xt4", "-q", "--out", str(tmp_path / "runs")]) == 1
    assert not list((tmp_path / "runs").glob("*.json"))
    assert list(tmp_path.glob("sixnd-load-*/result.json"))


def test_an_interrupt_ends_the_tool_and_keeps_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = _stand_in(tmp_path, monkeypatch, waits=120)
    command = [sys.executable, "-m", "bench", *ARGUMENTS, "--out", str(tmp_path / "runs")]
    child = subprocess.Popen(command, env=os.environ | {"TMPDIR": str(tmp_path)}, stderr=subprocess.PIPE, text=True)
    limit = time.monotonic() + 60
    while not list(tmp_path.glob("sixnd-load-*/result.json")) and time.monotonic() < limit:
        time.sleep(0.05)
    assert seen.exists()
    time.sleep(0.3)
    begun = time.monotonic()
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert time.monotonic() - begun < 40
    assert child.returncode == 130, err
    assert "Traceback" not in err
    records, _ = read_folder(tmp_path / "runs")
    assert [record.status for record in records] == ["partial"]
    assert list(tmp_path.glob("sixnd-load-*/words.txt"))


def test_no_tool_is_one_line_with_the_commands_that_install_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(ARGUMENTS) == 2
    err = capsys.readouterr().err
    assert all(tool.install in err for tool in TOOLS.values())
    assert main([*ARGUMENTS, "--tool", "guidellm"]) == 2
    assert "pip install guidellm" in capsys.readouterr().err
    assert main([*ARGUMENTS, "--tool", "ab"]) == 2
    assert "expected one of: vllm, guidellm, aiperf" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["http://10.0.0.1:8000/v1", "https://example.org/v1", "http://127.0.0.1.example.org/v1", "http://[::2]/v1"])
def test_another_machine_is_loaded_only_where_it_is_named(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = _stand_in(tmp_path, monkeypatch)
    asked = ["run", "--endpoint", url, "--model", "some-name", "-q", "--out", str(tmp_path / "runs")]
    assert main(asked) == 2
    assert "--allow-host" in capsys.readouterr().err
    assert not seen.exists()
    host = url.split("//")[1].split("/")[0].strip("[]").split("]")[0].removesuffix(":8000")
    assert main([*asked, "--allow-host", host]) == 0
    assert seen.exists()


@pytest.mark.parametrize("url", ["8000", "ftp://127.0.0.1/v1", "http://", "http://127.0.0.1:port/v1", "http://[::1"])
def test_what_is_no_address_is_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--endpoint", url, "--model", "some-name"]) == 2
    assert "is no address" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--endpoint", URL, "--config", "config.json"], "needs --model"),
        ([*ARGUMENTS, "--task", "train"], "--task serve"),
        ([*ARGUMENTS, "--device", "cpu"], "leave --device out"),
        ([*ARGUMENTS, "--max-time", "5"], "leave --max-time out"),
        ([*ARGUMENTS, "--text-tokens", "0"], "leave --text-tokens out"),
        ([*ARGUMENTS, "--compile"], "leave --compile out"),
        ([*ARGUMENTS, "--checkpointing", "full"], "leave --checkpointing out"),
        ([*ARGUMENTS, "--preset", "quick"], "leave --preset out"),
        ([*ARGUMENTS, "--rate", "1", "--concurrency", "1"], "give one of them"),
        (["run", "gpt2", "--tool", "vllm"], "of --endpoint"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


def test_every_tool_has_the_load_in_its_words(tmp_path: Path) -> None:
    for load, said in ((_load(concurrency=3), "3"), (_load(concurrency=None, rate=2.5), "2.5")):
        for tool in TOOLS.values():
            words = tool.words(load, tmp_path)
            assert "None" not in " ".join(words)
            for value in (said, "5", "17", "9"):
                assert any(value in word for word in words), (tool.program, value)


def _load(concurrency: int | None, rate: float | None = None) -> EndpointLoad:
    return EndpointLoad(
        url=URL, model="name", tokenizer="", requests=5, concurrency=concurrency, rate=rate, prompt_tokens=17, output_tokens=9
    )


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("guidellm") is None, reason="guidellm is not on PATH")
def test_guidellm_loads_its_own_mock_server(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    words = {word: place for place, word in enumerate(["<unk>", *(f"word{number}" for number in range(500))])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>").save_pretrained(str(tmp_path / "tokenizer"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        ["guidellm", "mock-server", "--port", str(port), "--model", "mock", "--ttft-ms", "20", "--itl-ms", "5"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    reaper = threading.Timer(240, server.kill)
    reaper.start()
    try:
        limit = time.monotonic() + 90
        while time.monotonic() < limit:
            with socket.socket() as door:
                if door.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        asked = ["run", "--endpoint", f"http://127.0.0.1:{port}/v1", "--model", "mock", "--tool", "guidellm", "--concurrency", "2"]
        asked += ["--requests", "6", "--seq-len", "16", "--new-tokens", "16", "--tokenizer", str(tmp_path / "tokenizer")]
        assert main([*asked, "-q", "--out", str(tmp_path / "runs")]) == 0
    finally:
        reaper.cancel()
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    (record,), problems = read_folder(tmp_path / "runs")
    assert problems == []
    assert record.proof.served is not None
