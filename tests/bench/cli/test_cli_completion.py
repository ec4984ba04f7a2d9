"""Completion in a shell, and the manual page: made from the parsers that read the command line."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.cli.candidates import candidates
from bench.cli.completion import SCRIPTS
from bench.cli.main import main
from bench.cli.man import page
from bench.cli.verbs import VERBS, verb_parser
from estimators.facts.registry import hardware_ids, model_ids
from tests.support.checkout import ROOT

DRIVEN = {
    "bash": 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _sixnd; printf "%s\\n" "${COMPREPLY[@]}"',
    "zsh": 'compdef() { :; }; compadd() { shift; print -l -- "$@"; }; _files() { :; }; '
    'source "$1"; shift; words=("$@"); CURRENT=$#; _sixnd',
}
"""A shell -> what makes it complete the words after the script's path, without a terminal."""


class TestCandidates:
    def test_of_nothing_are_the_verbs(self) -> None:
        assert set(candidates([])) == set(candidates([""])) == {*VERBS, "help", "version"}

    @pytest.mark.parametrize("verb", VERBS)
    def test_of_a_dash_are_the_options_as_the_help_spells_them(self, verb: str) -> None:
        found = candidates([verb, "--"])
        assert set(found) == {name for action in verb_parser(verb)._actions for name in action.option_strings if name.startswith("--")}

    @pytest.mark.parametrize(
        ("words", "found"),
        [
            (["help", "sh"], ["show"]),
            (["show", "phi-2"[:4]], [name for name in model_ids() if name.startswith("phi-")]),
            (["show", "--model", "PHI-2"], ["phi-2"]),
            (["show", "phi-2", ""], []),
            (["show", "--model", "phi-2", ""], []),
            (["estimate", "--mf"], ["--mfu"]),
            (["estimate", "--mfu", ""], []),
            (["estimate", "--hardware", ""], list(hardware_ids())),
            (["estimate", "--gpu", "b200"], [name for name in hardware_ids() if name.startswith("b200")]),
            (["plan", "--hardware", "b200-sxm-180gb,h200-sxm"], ["b200-sxm-180gb,h200-sxm-141gb"]),
            (["show", "--phase=pre"], ["--phase=prefill"]),
            (["show", "--phase", "=", "pre"], ["prefill"]),
            (["list", "gp"], ["gpus"]),
            (["translate", "--from", "palm"], ["palm"]),
            (["run", "--preset", "qu"], ["quick"]),
            (["show", "--format", "j"], ["json"]),
            (["report", ""], []),
            (["show", "--output", ""], []),
            (["frobnicate", ""], []),
            (["completion", "z"], ["zsh"]),
        ],
    )
    def test_are_what_the_parser_would_take(self, words: list[str], found: Sequence[str]) -> None:
        assert candidates(words) == list(found)

    @pytest.mark.parametrize("words", [["show", ""], ["run", "--"], ["estimate", "--hardware", ""]])
    def test_import_nothing_heavy(self, words: list[str]) -> None:
        code = (
            f"import sys; from bench.cli.main import main; main(['completion', 'words', '--', *{words}]); "
            "sys.exit(' '.join({'torch', 'transformers', 'pandas'} & set(sys.modules)) or 0)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout


def shell_finds(shell: str, words: Sequence[str], folder: Path) -> list[str]:
    """What a shell that read the script completes the last word to; `sixnd` is this checkout."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    (folder / "bin").mkdir()
    command = folder / "bin" / "sixnd"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bench "$@"\n')
    command.chmod(0o755)
    script = folder / "script"
    script.write_text(SCRIPTS[shell])
    done = subprocess.run(
        [program, "-c", DRIVEN[shell], shell, str(script), *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": f"{folder / 'bin'}:/usr/bin:/bin"},
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize("shell", DRIVEN)
@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["sixnd", "sel"], ["selftest"]),
        (["sixnd", "show", "phi-2"], ["phi-2"]),
        (["sixnd", "estimate", "phi-2", "--hardware", "h200-s"], ["h200-sxm-141gb"]),
        (["sixnd", "estimate", "--utili"], ["--utilization"]),
        (["sixnd", "report", ""], []),
    ],
)
def test_a_shell_completes_by_the_script_it_was_given(shell: str, words: list[str], found: list[str], tmp_path: Path) -> None:
    assert shell_finds(shell, words, tmp_path) == found


def test_fish_completes_by_the_script_it_was_given(tmp_path: Path) -> None:
    if (fish := shutil.which("fish")) is None:
        pytest.skip("fish is not installed")
    command = tmp_path / "sixnd"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bench "$@"\n')
    command.chmod(0o755)
    code = f"set -x PATH {tmp_path} $PATH; {SCRIPTS['fish']}; complete -C 'sixnd sel'"
    done = subprocess.run([fish, "--no-config", "-c", code], capture_output=True, text=True, cwd=ROOT, check=True, timeout=60)
    assert done.stdout.split() == ["selftest"]


@pytest.mark.parametrize("shell", SCRIPTS)
def test_a_script_is_printed_as_it_is(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert capsys.readouterr().out == SCRIPTS[shell]


class TestManualPage:
    def test_holds_every_verb_and_option(self) -> None:
        text = page().replace(r"\-", "-")
        for verb in VERBS:
            part = text.split(f'.SS "{verb} ', 1)[1].split(".SS")[0]
            for action in verb_parser(verb)._actions:
                for name in action.option_strings:
                    assert action.dest == "help" or name in part, (verb, name)

    def test_calls_the_program_by_the_name_of_the_page(self) -> None:
        text = page().replace(r"\-", "-")
        assert "python -m bench" not in text
        assert "sixnd estimate --model llama-2-7b" in text

    def test_no_line_of_text_is_taken_for_a_command(self) -> None:
        known = {".TH", ".SH", ".SS", ".PP", ".TP", ".nf", ".fi", ".B", ".I", ".nh", ".ad"}
        assert {line.split()[0] for line in page().splitlines() if line.startswith((".", "'"))} <= known

    @pytest.mark.skipif(shutil.which("groff") is None, reason="groff reads the page")
    def test_groff_finds_no_fault_in_it(self) -> None:
        done = subprocess.run(["groff", "-man", "-ww", "-Tascii", "-z"], input=page(), capture_output=True, text=True, check=True)
        assert done.stderr == ""
