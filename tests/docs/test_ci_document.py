"""docs/ci.md: its workflow is short, valid and balanced, and its commands, run here on a repository with two commits, judge them right."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.cli.verbs import verb_parser
from tests.support.checkout import ROOT

PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
MAX_LINES = 20
BASE = "${{ github.event.pull_request.base.sha }}"
PATIENCE_S = 1200
TURNS, FEWER_TURNS = "a b b a a b b a a b", "a b b a a b"


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def steps() -> list[dict[str, Any]]:
    (job,) = yaml.safe_load(block("yaml"))["jobs"].values()
    return list(job["steps"])


def commands() -> list[str]:
    return [step["run"] for step in steps() if "run" in step]


WRITES_A_RECORD = """
import os, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.support.selftest_records import run_of, steady
from bench.records.draft import write
out = Path(os.environ["RECORDS"])
out.mkdir(parents=True, exist_ok=True)
run = run_of(steady({seconds} * (1 + len(list(out.iterdir())) / 1000)), f"run-{{os.getpid()}}", **{fields})
write(run, out / f"{{run.run_id}}.json")
sys.exit({code})
"""
"""A training script that trains nothing and writes the record of one that took so long."""


def training(seconds: float, *, code: int = 0, **fields: str) -> str:
    return WRITES_A_RECORD.format(root=str(ROOT), seconds=seconds, fields=fields, code=code)


def run_workflow(folder: Path, before: str, after: str, turns: str) -> tuple[int, str, str]:
    """The workflow's commands, on a repository whose last two commits hold the two scripts: exit code, summary, errors.

    Left out: what `uses:` an action (the clone is here, so is this Python), and the installation: two programs on the path stand for it.
    """
    clone, programs, summary = folder / "clone", folder / "programs", folder / "summary.md"
    for made in (clone, programs):
        made.mkdir(parents=True)
    for name, words in {"python": "", "sixnd": "-m bench"}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (programs / name).chmod(0o755)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false", "-C", str(clone)]
    subprocess.run([*git, "init", "-q"], check=True)
    for script in (before, after):
        (clone / "train.py").write_text(script)
        subprocess.run([*git, "add", "train.py"], check=True)
        subprocess.run([*git, "commit", "-qm", "x", "--allow-empty"], check=True)
    base = subprocess.run([*git, "rev-parse", "HEAD~1"], check=True, capture_output=True, text=True).stdout.strip()
    said = ""
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "GITHUB_WORKSPACE": str(clone),
        "GITHUB_STEP_SUMMARY": str(summary),
        "OMP_NUM_THREADS": "1",
    }
    for command in commands()[1:]:
        script = folder / "step.sh"  # as GitHub runs it: a file, by bash -e
        script.write_text(command.replace(BASE, base).replace(TURNS, turns))
        done = subprocess.run(
            ["bash", "-e", str(script)], cwd=clone, env=environ, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        said += done.stderr
        if done.returncode:
            return done.returncode, summary.read_text() if summary.exists() else "", said
    return 0, summary.read_text(), said


def test_the_workflow_is_short_and_whole() -> None:
    workflow = yaml.safe_load(block("yaml"))
    assert len(block("yaml").splitlines()) <= MAX_LINES
    assert set(workflow) == {"name", True, "jobs"}  # yaml reads the word `on` as true
    assert workflow[True] == "pull_request"
    assert [("uses" in step) != ("run" in step) for step in steps()] == [True] * len(steps())
    assert steps()[0]["with"] == {"fetch-depth": 0}, "the base commit must be there"
    assert commands()[0].startswith("pip install ")


@pytest.mark.parametrize("command", commands())
def test_every_command_is_one_that_bash_can_read(command: str) -> None:
    done = subprocess.run(["bash", "-n"], input=command.replace(BASE, "0" * 40), text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_both_sides_run_equally_often_and_neither_is_always_first() -> None:
    (turns,) = re.findall(r"for side in ([ab ]+);", "\n".join(commands()))
    assert turns == TURNS
    order = turns.split()
    assert order.count("a") == order.count("b") == 5
    places = {side: [at for at, each in enumerate(order) if each == side] for side in "ab"}
    assert abs(sum(places["a"]) - sum(places["b"])) <= 1, "a steady drift meets both alike"


def test_the_comparison_is_one_that_the_program_reads() -> None:
    (words,) = re.findall(r"sixnd (compare .*?) >>", "\n".join(commands()))
    verb, *given = words.split()
    options = verb_parser(verb).parse_strictly(given)
    assert (options["threshold"], options["format"]) == (0.05, "github")
    assert (options["a"], options["b"]) == ("records/a", "records/b")


def test_the_training_script_is_python() -> None:
    compile(block("python"), "train.py", "exec")


def test_the_page_is_linked_from_the_readme() -> None:
    assert "(docs/ci.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("after", "code", "headline"),
    [
        (training(1.2), 1, "### SLOWER: B takes 1.2"),
        (training(0.5, status="failed", status_reason="out of memory"), 2, "### INCOMPARABLE: B cannot be held against A: run-"),
    ],
    ids=["slower", "broken off"],
)
def test_the_commands_judge_a_change_by_its_records(after: str, code: int, headline: str, tmp_path: Path) -> None:
    got, summary, said = run_workflow(tmp_path, training(1.0), after, FEWER_TURNS)
    assert (got, summary[: len(headline)]) == (code, headline), said
    assert summary.count("<details>") == summary.count("</details>") == 1


@pytest.mark.slow
@pytest.mark.parametrize("after", [training(1.0), training(0.5)], ids=["same", "faster"])
def test_the_commands_let_a_good_change_pass(after: str, tmp_path: Path) -> None:
    code, summary, said = run_workflow(tmp_path, training(1.0), after, TURNS)
    assert code == 0, said
    assert summary.startswith(("### SAME", "### FASTER"))


def test_a_training_that_ends_with_an_error_ends_the_job(tmp_path: Path) -> None:
    code, summary, _ = run_workflow(tmp_path, training(1.0), training(0.5, code=3), FEWER_TURNS)
    assert (code, summary) == (3, "")


@pytest.mark.slow
def test_the_page_s_own_training_is_judged_as_it_stands_and_slowed_down(tmp_path: Path) -> None:
    """Six processes with torch each: the same is not called slower, and with 200 ms more a step, much beside any noise, it is."""
    script = block("python").replace("* 100", "* 30")
    slowed = script.replace("    optimizer.step()\n", "    optimizer.step()\n    __import__('time').sleep(0.2)\n")
    assert slowed != script != block("python")
    code, summary, said = run_workflow(tmp_path / "slowed", script, slowed, FEWER_TURNS)
    assert (code, summary[:11]) == (1, "### SLOWER:"), said
    code, summary, said = run_workflow(tmp_path / "same", script, script, FEWER_TURNS)
    assert code == 0, f"{summary}{said}"
