"""A text file that somebody names: read whole, in bounded time and bounded size, whatever lies at its path."""

from __future__ import annotations

import errno
import os
import stat

MAX_BYTES = 2**30
"""No record, configuration or table comes near it; more is a mistake, and would end in a lack of memory."""

WAIT_S = 5.0
"""For the next part of what comes through a pipe: a writer that is there writes at once."""

_READ_BYTES = 2**20


def read(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES, errors: str = "strict") -> str:
    """The file's text, in UTF-8 with a byte order mark or without; of a pipe what comes through it.

    Args:
        max_bytes: the most that is read.
        errors: of the decoding, as `bytes.decode` takes it.

    Raises:
        OSError: it cannot be read, is a device, is larger, or nothing comes through it; `strerror` says which.
        UnicodeDecodeError: not UTF-8.
    """
    if "\0" in os.fspath(path):
        raise OSError(errno.EINVAL, "a name has no null byte in it")
    kind = os.stat(path).st_mode
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not (stat.S_ISREG(kind) or stat.S_ISFIFO(kind)):
        raise OSError(errno.EINVAL, "it is a device and no file")
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe without a writer blocks whoever opens it otherwise
    try:
        if os.fstat(descriptor).st_size > max_bytes:
            raise _too_large(max_bytes)
        parts: list[bytes] = []
        left = max_bytes
        while part := _next(descriptor, is_pipe=stat.S_ISFIFO(kind), first=not parts):
            parts.append(part)
            left -= len(part)
            if left < 0:
                raise _too_large(max_bytes)
    finally:
        os.close(descriptor)
    return b"".join(parts).decode("utf-8-sig", errors)


def _too_large(max_bytes: int) -> OSError:
    return OSError(errno.EFBIG, f"it has more than {max_bytes:,} bytes")


def _next(descriptor: int, *, is_pipe: bool, first: bool) -> bytes:
    """The next part of a file; b"" at its end."""
    if is_pipe:
        import select

        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        if not waiting.poll(1000 * WAIT_S):
            raise OSError(errno.ETIMEDOUT, f"it is a pipe, and {'nothing' if first else 'nothing more'} came through it for {WAIT_S:g} s")
    return os.read(descriptor, _READ_BYTES)
