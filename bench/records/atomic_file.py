"""A file that is written whole or not at all: temporary file in the same folder, fsync, rename."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from estimators.errors import UnavailableError

READER_WAIT_S = 5.0
"""For the reader of a pipe: one that is started beside us is there at once."""


def write(path: str | Path, content: str | bytes, *, what: str = "", mend: str) -> None:
    """Write the file; a link is followed, and a pipe or device is written as it is.

    Args:
        content: a text, or the bytes of a picture.
        what: the file's content, for the message, such as ``the record``.
        mend: what a reader of the message can do.

    Raises:
        UnavailableError: the folder is not there or cannot be written, or the disk is full; an earlier file stays as it was.
    """
    with _told(path, what, mend):
        target = os.path.realpath(path)
        if os.path.exists(target) and not os.path.isfile(target):
            _write(target, content)
        else:
            _replace(target, content)


def expect_writable(path: str | Path, *, what: str = "", mend: str) -> None:
    """Find out before minutes of work whether `write` would succeed, and leave no trace.

    Args:
        path, what, mend: as `write` takes them.

    Raises:
        UnavailableError: as `write` raises it; a disk that fills up later is not foreseen.
    """
    with _told(path, what, mend):
        target = os.path.realpath(path)
        if os.path.isdir(target):
            raise IsADirectoryError(None, "Is a directory")
        if not os.path.exists(target) or os.path.isfile(target):
            temporary = _beside(target)
            _write(temporary, "")
            os.unlink(temporary)


@contextmanager
def _told(path: str | Path, what: str, mend: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        named = f"{what} {str(path)!r}".lstrip()
        raise UnavailableError(f"cannot write {named}: {reason}; {mend}") from None


def _beside(target: str) -> str:
    folder, name = os.path.split(target)
    return os.path.join(folder, f".{name}.{os.getpid()}.tmp")


def _replace(target: str, content: str | bytes) -> None:
    temporary = _beside(target)
    try:
        _write(temporary, content, sync=True)
        os.replace(temporary, target)
    finally:
        with suppress(OSError):
            os.unlink(temporary)


def _opened(path: str, flags: int) -> int:
    """A descriptor of the file; a pipe that nobody reads blocks whoever opens it, and is waited for a while instead."""
    give_up_s = time.monotonic() + READER_WAIT_S
    while True:
        try:
            descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
            break
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if time.monotonic() > give_up_s:
                raise OSError(errno.ENXIO, f"it is a pipe that nobody has read for {READER_WAIT_S:g} s") from None
            time.sleep(READER_WAIT_S / 100)
    os.set_blocking(descriptor, True)
    return descriptor


def _write(path: str, content: str | bytes, *, sync: bool = False) -> None:
    # a lone surrogate (a file name that is not UTF-8) becomes \udcXX, which is JSON's own way to write it
    encoded = content.encode("utf-8", errors="backslashreplace") if isinstance(content, str) else content
    with open(path, "wb", opener=_opened) as file:
        file.write(encoded)
        if sync:
            file.flush()
            os.fsync(file.fileno())
