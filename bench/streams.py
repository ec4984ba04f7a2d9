"""The standard streams, of which any may be missing, closed, full, narrow, or somebody else's object."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from bench.program import as_invoked
from estimators.printable import printable


def write(stream: TextIO, text: str, errors: str) -> None:
    """Write a text, and flush where there is a flush.

    Args:
        errors: of what the stream's encoding lacks, as `str.encode` takes it.

    Raises:
        OSError, ValueError: the stream cannot be written, or is closed.
    """
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, errors).decode(encoding))
    flush = getattr(stream, "flush", None)
    if flush is not None:
        flush()


def say(line: str) -> None:
    """Write one line on stderr, with what acts and what the stream's encoding lacks written out. Nothing where there is no stderr.

    Raises:
        OSError, ValueError: the stream cannot be written, or is closed.
    """
    if sys.stderr is not None:  # pythonw, or 2>&-
        write(sys.stderr, f"{printable(as_invoked(line))}\n", "backslashreplace")


def remark(line: str) -> None:
    """Write one line on stderr, or nothing where it cannot be written: a result is not lost to what is said beside it."""
    with suppress(OSError, ValueError):
        say(line)


@contextmanager
def held() -> Iterator[None]:
    """Keep descriptors 0 to 2 taken while a command runs, and give libraries a stderr to write to where there is none.

    A file that is opened while one of them is free would get its number, and whatever a library then writes to its stderr would end
    up in that file.
    """
    taken = []
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            taken.append(os.open(os.devnull, os.O_RDWR))  # the lowest free number, which is this one
            os.set_inheritable(descriptor, True)
    missing = sys.stderr is None
    if missing:
        sys.stderr = open(os.devnull, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115 - open while the command runs
    try:
        yield
    finally:
        if missing:
            sys.stderr.close()
            sys.stderr = None
        for descriptor in taken:
            os.close(descriptor)
