"""Command lines of `bench` in processes whose standard streams are closed, full, gone, or a narrow terminal.

`python -m tests.support.odd_streams` reads `[[words, state], ...]` as JSON and answers with what each process did. Each command line
runs in a fork of one process that has answered it before, so that a matrix of them takes seconds. Python makes a stream whose
descriptor is closed None when it starts; so does the fork.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.cli.main import main
from tests.support.checkout import ROOT

COLUMNS = 20

CLOSED, FULL, GONE, FILE, TERMINAL = "closed", "full", "gone", "file", "terminal"

STATES: dict[str, tuple[str, str]] = {
    "as usual": (FILE, FILE),
    "stdout closed": (CLOSED, FILE),
    "stderr closed": (FILE, CLOSED),
    "both closed": (CLOSED, CLOSED),
    "stdout full": (FULL, FILE),
    "stderr full": (FILE, FULL),
    "both full": (FULL, FULL),
    "stdout's reader gone": (GONE, FILE),
    "stderr's reader gone": (FILE, GONE),
    "dumb terminal": (TERMINAL, TERMINAL),
}
"""What stdout and stderr are."""


@dataclass(frozen=True)
class Answer:
    """What a process did: its exit code, and what it wrote."""

    code: int
    out: str
    err: str


def answers(asked: Sequence[tuple[Sequence[str], str]]) -> list[Answer]:
    """What each command line did in its state."""
    words = [sys.executable, "-m", "tests.support.odd_streams"]
    environ = os.environ | {"TERM": "dumb", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, input=json.dumps(asked), capture_output=True, text=True, cwd=ROOT, env=environ, check=True)
    return [Answer(**each) for each in json.loads(done.stdout)]


def _run(words: Sequence[str], state: str) -> dict[str, Any]:
    parts = [_open(kind) for kind in STATES[state]]
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        _live(words, [descriptor for descriptor, _ in parts])
    for descriptor, _ in parts:
        if descriptor is not None:
            os.close(descriptor)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    out, err = (read() for _, read in parts)
    return {"code": code, "out": out, "err": err}


def _live(words: Sequence[str], descriptors: Sequence[int | None]) -> None:
    """The life of a process, from its streams to the flush of stdout at its end; does not return."""
    code = 70
    try:
        for number, descriptor in zip((1, 2), descriptors, strict=True):
            if descriptor is None:
                os.close(number)
            else:
                os.dup2(descriptor, number)
        sys.stdout = None if descriptors[0] is None else open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - ends with the process
        sys.stderr = None if descriptors[1] is None else open(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        code = main(words)
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        except OSError:
            code = 120
    except BaseException:
        import traceback

        with contextlib.suppress(Exception):
            traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            if sys.stderr is not None:
                sys.stderr.flush()
        os._exit(code)


def _open(kind: str) -> tuple[int | None, Callable[[], str]]:
    """A descriptor to write to, and what reads what was written."""
    if kind == CLOSED:
        return None, lambda: ""
    if kind == FULL:
        return os.open("/dev/full", os.O_WRONLY), lambda: ""
    if kind == GONE:
        reader, writer = os.pipe()
        os.close(reader)
        return writer, lambda: ""
    if kind == FILE:
        file = tempfile.TemporaryFile("w+", encoding="utf-8", newline="")  # noqa: SIM115 - read once its writer has ended

        def read_file() -> str:
            file.seek(0)
            return file.read()

        return os.dup(file.fileno()), read_file
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    read: list[bytes] = []

    def drain() -> None:
        with contextlib.suppress(OSError):  # a terminal without a writer is an error to its reader
            while data := os.read(reader, 65536):
                read.append(data)

    thread = threading.Thread(target=drain)
    thread.start()

    def read_terminal() -> str:
        thread.join()
        os.close(reader)
        return b"".join(read).decode()

    return writer, read_terminal


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    for words in {tuple(words) for words, _ in asked}:  # every module that it takes is imported once
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            main(words)
    print(json.dumps([_run(words, state) for words, state in asked]))
