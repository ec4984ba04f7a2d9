"""The grammar: verbs, help, exit codes, one line per error, stdout for the result alone."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli import main as cli
from bench.cli import verbs
from bench.cli.main import main
from bench.cli.parser import Parser
from bench.cli.verbs import VERBS, verb_module, verb_parser
from estimators import __version__
from estimators.errors import BadValueError, PhysicsError
from tests.support.checkout import ROOT
from tools.cli_page import reference
from tools.module_imports import modules


def bench(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "bench", *words], capture_output=True, text=True, cwd=ROOT, check=False, **options)  # type: ignore[call-overload,no-any-return]


def test_help_names_every_verb_and_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out, err = capsys.readouterr()
    assert not err
    for verb, line in VERBS.items():
        assert f"{verb} " in out
        assert line in out


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"sixnd {__version__}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example_of_itself(verb: str) -> None:
    text = verb_parser(verb).format_help()
    assert f"python -m bench {verb} " in text.split("options:")[0].split("\n", 1)[1]
    assert "--format" in text
    assert "--output" in text


def destinations(parser: Parser) -> set[str]:
    """Where the parser of a verb puts what is given, but for the output, which `main` takes for itself."""
    return {action.dest for action in parser._actions} - {"help", "format", "output", "verbose", "quiet", "plot"}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_has_a_typed_field_for_each_of_its_options(verb: str) -> None:
    module = verb_module(verb)
    assert destinations(verb_parser(verb)) == set(module.Options._fields)
    assert inspect.signature(module.run).parameters["options"].annotation == "Options"


def test_an_option_without_a_field_would_be_found() -> None:
    parser = verb_parser("report")
    parser.add_argument("--colour")
    assert destinations(parser) - set(verb_module("report").Options._fields) == {"colour"}


def readers_of_argparse(sources: dict[str, str]) -> list[str]:
    """Modules that name what argparse hands out; only values and frozen options leave the parser."""
    return [name for name, source in sources.items() if re.search(r"\bNamespace\b", source)]


def test_no_module_sees_what_argparse_hands_out() -> None:
    assert readers_of_argparse({name: path.read_text(encoding="utf-8") for name, path in modules(ROOT)}) == []


def test_a_module_that_saw_it_would_be_found() -> None:
    assert readers_of_argparse({"bench.cli.show": "def run(args: argparse.Namespace) -> int: ..."}) == ["bench.cli.show"]


def test_options_that_lack_a_field_or_have_one_more_are_refused() -> None:
    options = verb_module("report").Options
    for given in ({"folder": Path("runs")}, {"folder": Path("runs"), "waterfall": False, "colour": "red"}):
        with pytest.raises(TypeError, match=r"waterfall|colour"):
            options(**given)


def test_the_reference_page_is_fresh() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert page == reference(), "run: python -m tools.cli_page > docs/cli.md"


def test_the_reference_page_would_be_stale_with_one_verb_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(verbs.GROUPS["Look up"], "list", "another line")
    assert reference() != (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["estimat"], "unknown verb 'estimat'; did you mean 'estimate'?"),
        (["frobnicate"], "unknown verb 'frobnicate'. List them with"),
        (["estimate"], "one of the arguments --model --config is required"),
        (["estimate", "--model", "gpt2", "--config", "x"], "not allowed with argument"),
        (["estimate", "--model"], "argument --model: expected one argument"),
        (["estimate", "--model", "gpt2", "--tokns", "1B"], "unknown option '--tokns'; did you mean '--tokens'"),
        (["estimate", "--model", "gpt2", "--utilisation=0.4"], "unknown option '--utilisation'; did you mean '--utilization'"),
        (["estimate", "--model", "gpt2", "stray"], "unexpected 'stray': the model is --model gpt2 already"),
        (["show", "--modle", "phi-2"], "unknown option '--modle'; did you mean '--model'"),
        (["run", "--modle=phi-2"], "unknown option '--modle'; did you mean '--model'"),
        (["estimate", "--tokens", "1B", "--modle", "phi-2"], "unknown option '--modle'; did you mean '--model'"),
        (["show", "-m", "phi-2"], "unknown option '-m'"),
        (["show", "--seq-len", "-5", "--model", "gpt2"], "seq-len '-5' is out of range"),
        (["estimate", "--model", "gpt2", "--tok", "1B"], "unknown option '--tok'"),
        (["estimate", "--model", "gpt2", "--format", "yaml"], "invalid choice: 'yaml'"),
        (["report"], "the following arguments are required"),
        (["--model", "gpt2"], "'--model' stands where a verb is expected: one of estimate, plan"),
        (["llama3"], "'llama3' is a model; expected a verb before it: python -m bench estimate llama3"),
        (["phi-2"], "'phi-2' is a model; expected a verb before it: python -m bench estimate phi-2, or python -m bench show phi-2"),
        (["list", "modles"], "unknown list 'modles'; did you mean 'models'?"),
        (["show", "--model", "gpt2", "--phase", "sideways"], "invalid choice: 'sideways'"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_2(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err


def raising(error: BaseException) -> Callable[[list[str]], int]:
    def dispatch(_: object) -> int:
        raise error

    return dispatch


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (BadValueError("wrong\nin two lines"), 2, "error: wrong in two lines\n"),
        (PhysicsError("faster than light"), 1, "error: faster than light\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
    ],
)
def test_each_kind_of_error_has_its_exit_code(
    error: BaseException, code: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "dispatch", raising(error))
    assert main([]) == code
    assert capsys.readouterr().err == line


def test_a_bug_is_not_dressed_up_as_a_wrong_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "dispatch", raising(ZeroDivisionError("ours")))
    with pytest.raises(ZeroDivisionError, match="ours"):
        main([])


def test_the_process_answers_on_stdout_and_exits_0() -> None:
    done = bench("list", "formats", "--format", "csv")
    assert done.returncode == 0
    assert not done.stderr
    assert done.stdout.splitlines()[0] == "format,description"


def test_the_process_complains_on_stderr_without_a_traceback() -> None:
    done = bench("estimate", "--model", "gpt-33")
    assert done.returncode == 2
    assert not done.stdout
    assert done.stderr.startswith("error: unknown model 'gpt-33'; did you mean ")
    assert done.stderr.count("\n") == 1


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m bench list hardware --format json | head -c 10; echo; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == "0"
    assert not done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", ["list formats", "estimate --help", "--help", "--version"])
def test_a_full_disk_on_stdout_is_one_line_and_exit_2(words: str, unbuffered: str) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bench", *words.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot write to standard output: No space left on device")
    assert done.stderr.count("\n") == 1


def test_a_terminal_that_knows_no_unicode_gets_a_result_anyway() -> None:
    done = bench("show", "--model", "gpt2", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "124,439,808" in done.stdout


class TestOutputFile:
    def test_it_holds_what_stdout_would(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["list", "formats", "--format", "md"]) == 0
        printed = capsys.readouterr().out
        path = tmp_path / "formats.md"
        assert main(["list", "formats", "--format", "md", "--output", str(path)]) == 0
        assert capsys.readouterr().out == ""
        assert path.read_text(encoding="utf-8") == printed
        assert [p.name for p in tmp_path.iterdir()] == ["formats.md"]

    def test_a_folder_that_is_not_there_is_one_line(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["list", "formats", "--output", str(tmp_path / "no" / "file")]) == 2
        err = capsys.readouterr().err
        assert "No such file or directory; name a file in a writable folder with --output" in err
        assert err.count("\n") == 1

    def test_a_folder_in_place_of_a_file_is_one_line_and_stays(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["list", "formats", "--output", str(tmp_path)]) == 2
        assert "Is a directory" in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []

    def test_a_name_with_a_null_in_it_is_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["list", "formats", "--output", "a\0b"]) == 2
        assert "embedded null" in capsys.readouterr().err

    def test_an_earlier_file_survives_a_failed_write(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "table.csv"
        path.write_text("earlier")
        monkeypatch.setattr(os, "fsync", raising(OSError(28, "No space left on device")))
        assert main(["list", "formats", "--output", str(path)]) == 2
        assert path.read_text() == "earlier"
        assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]

    def test_a_device_is_written_and_stays_a_device(self) -> None:
        assert main(["list", "formats", "--output", os.devnull]) == 0
        assert not Path(os.devnull).is_file()

    def test_a_link_is_followed(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path / "file")
        assert main(["list", "formats", "--output", str(tmp_path / "link")]) == 0
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "file").is_file()


@pytest.mark.parametrize(("has_torch", "num_frozen"), [(False, 1), (True, 0)])
def test_a_process_ends_without_looking_for_cycles_unless_torch_may_hold_some(
    has_torch: bool, num_frozen: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frozen: list[str] = []
    monkeypatch.setattr(cli.gc, "freeze", lambda: frozen.append(capsys.readouterr().out))
    monkeypatch.setattr(sys, "argv", ["sixnd", "--version"])
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    if has_torch:
        monkeypatch.setitem(sys.modules, "torch", sys)
    assert cli.process() == 0
    assert frozen == [f"sixnd {__version__}\n"] * num_frozen
