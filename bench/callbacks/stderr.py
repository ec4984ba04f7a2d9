"""One line on a stderr that is somebody else's: none at all, without flush, or of a narrow encoding."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """Write one line; what the stream's encoding does not know is escaped. Nothing where there is no stderr.

    Raises:
        OSError, ValueError: the stream cannot be written, or is closed.
    """
    stream = sys.stderr
    if stream is None:  # pythonw, or 2>&-
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    flush = getattr(stream, "flush", None)
    if flush is not None:
        flush()
