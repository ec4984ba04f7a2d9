"""The README: short, in two languages with one set of commands, all of which are commands."""

from __future__ import annotations

import re
import shlex

import pytest

from bench.cli.main import main
from bench.cli.verbs import verb_parser
from tests.support.checkout import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")
MAX_BYTES = 10_000
QUESTIONS = 16

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BENCH = re.compile(r"^(?:\$ )?(?:.* && )?(?:\S*/)?python -m bench (.+)$")
"""A command begins its line, or follows another; what an error or an answer says of one is prose."""
CELL = re.compile(r"^\|.*\| `sixnd (.+)` \|$", re.MULTILINE)
"""The command of a row of "your question, your command"."""
COMPUTES = ("estimate", "compare-hardware", "show", "list")
"""Verbs that need nothing but the installed package: they are run; the others are parsed."""


def commands(text: str) -> list[str]:
    """What stands after `python -m bench` in the code blocks of a document, and after `sixnd` in its tables of commands."""
    lines = (line.split("  #")[0].rstrip() for language, block in FENCE.findall(text) if language != "text" for line in block.splitlines())
    return [*(found[1] for line in lines if (found := BENCH.search(line)) and not line.startswith(" ")), *CELL.findall(text)]


DOCUMENTED = sorted({command for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")) for command in commands(path.read_text("utf-8"))})


def attempt(command: str) -> int:
    """Run a command that computes; parse any other. Raises RequestError for one that does not parse."""
    verb, *words = shlex.split(command)
    if verb in COMPUTES:
        return main([verb, *words])
    verb_parser(verb).parse_strictly(words)
    return 0


@pytest.mark.parametrize("command", DOCUMENTED)
def test_every_command_in_the_documents_is_one(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert attempt(command) == 0
    assert capsys.readouterr().out or command.split()[0] not in COMPUTES


def test_a_documented_command_with_a_wrong_name_would_be_found(capsys: pytest.CaptureFixture[str]) -> None:
    (command,) = commands("```bash\npython -m bench list modles   # the names\n```\n")
    assert command == "list modles"
    assert attempt(command) == 2
    assert "did you mean 'models'" in capsys.readouterr().err
    assert commands("| What? | `sixnd list modles` |") == [command]
    assert commands("```console\n$ .venv/bin/python -m bench list modles\nsome output\n```\n") == [command]


def test_a_command_that_an_error_names_is_no_command_of_the_document() -> None:
    assert commands("```python\nUnknownNameError: unknown; list them with: python -m bench list TEXT; or --config FILE\n```\n") == []


def test_the_readme_is_read_in_two_minutes() -> None:
    assert len(README.encode()) <= MAX_BYTES
    assert len(CHINESE.splitlines()) <= 60


def test_the_readme_has_a_command_for_each_of_sixteen_questions() -> None:
    assert len(CELL.findall(README)) == QUESTIONS
    assert len({command.split()[0] for command in CELL.findall(README)}) >= 9


def set_up(page: str) -> list[str]:
    """The lines that make an environment."""
    return [line for _, block in FENCE.findall(page) for line in block.splitlines() if line.startswith("python3 ")]


def test_both_readmes_have_the_same_commands_in_the_same_order() -> None:
    assert CELL.findall(CHINESE) == CELL.findall(README)
    assert set_up(CHINESE) == set_up(README) == [command_block("one"), command_block("two")]


@pytest.mark.parametrize("changed", ["--deadline 31d", "--deadline"])
def test_a_command_that_the_other_readme_lacks_would_be_found(changed: str) -> None:
    assert CELL.findall(CHINESE.replace("--deadline 30d", changed)) != CELL.findall(README)


def command_block(name: str) -> str:
    """The one line of the code block under `<!-- command one -->` or `<!-- command two -->`."""
    found = re.findall(rf"^<!-- command {name} -->\n```bash\n(.*)\n```$", README, re.MULTILINE)
    assert len(found) == 1, f"the README has {len(found)} command {name}"
    return str(found[0])


def test_command_one_makes_an_environment_installs_and_runs_phi_2() -> None:
    make, install, run = command_block("one").split(" && ")
    assert make == "python3 -m venv .venv"
    assert install == ".venv/bin/pip install '.[run]'"
    assert run == ".venv/bin/python -m bench run --model phi-2"


def test_command_two_makes_an_environment_installs_and_runs_the_tests() -> None:
    assert command_block("two").split(" && ") == [
        "python3 -m venv .venv",
        ".venv/bin/pip install '.[test]'",
        ".venv/bin/pytest -n 2 --dist loadfile",
    ]
