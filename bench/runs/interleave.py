"""Two commands run interleaved, each time in a fresh process: what drifts on the machine drifts for both."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.machine.environment import PROJECT
from bench.records.draft import stamp
from estimators.errors import BadValueError, UnavailableError

MAX_COMPLAINT = 200


def by_turns(command_a: str, command_b: str, *, repeats: int, out: Path, say: Callable[[str], None]) -> tuple[Path, Path]:
    """Run `python -m bench COMMAND` for A and B alternately (ABBA, so that neither is always first).

    Args:
        command_a, command_b: of `run`, without --out.
        repeats: processes of each.
        out: a folder for this comparison is made there, with one for the records of each side.
        say: tells the user what is happening.

    Returns:
        The folders of A's and of B's records.

    Raises:
        BadValueError: no command of `run`, or one that says where its records go.
        UnavailableError: a process was refused or died; its last line says why.
    """
    words = [_words(command) for command in (command_a, command_b)]
    folder = out / f"interleaved-{stamp()}"
    sides = (folder / "a", folder / "b")
    for turn in range(repeats):
        for side in (0, 1) if turn % 2 == 0 else (1, 0):
            say(f"repeat {turn + 1} of {repeats}, {'AB'[side]}: {shlex.join(words[side])}")
            _run(words[side], sides[side])
    return sides


def _words(command: str) -> list[str]:
    """A command as words.

    >>> _words("run --model gpt2")
    ['run', '--model', 'gpt2']
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise BadValueError(f"cannot read the command {command[:80]!r}: {error}") from None
    if not words or words[0] != "run":
        raise BadValueError(f"--interleave takes two commands that begin with `run`, not {command[:80]!r}; quote each of them whole")
    if any(word.split("=")[0] == "--out" for word in words):
        raise BadValueError(f"--out in {command[:80]!r}: leave it out; the --out of the comparison says where records go")
    return words


def _num_records(folder: Path) -> int:
    return sum(1 for _ in folder.glob("*.json"))


def _run(words: Sequence[str], folder: Path) -> None:
    """One process that writes one record. Exit code 1 is a failed check: its record is there, and the comparison judges it."""
    paths = os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH"))))
    before = _num_records(folder)
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words, "--out", str(folder)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env=os.environ | {"PYTHONPATH": paths},
    )
    if done.returncode not in (0, 1) or _num_records(folder) == before:
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no message")
        raise UnavailableError(f"`{shlex.join(words)}` ended with exit code {done.returncode}: {last.strip()[:MAX_COMPLAINT]}")
