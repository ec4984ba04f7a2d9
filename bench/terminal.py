"""What is known of the terminal behind a stream, which may be none, closed, or somebody's object."""

from __future__ import annotations

import os
from typing import TextIO


def is_one(stream: TextIO | None) -> bool:
    """Whether the stream goes to a terminal, which somebody watches."""
    try:
        return stream is not None and stream.isatty()
    except (AttributeError, OSError, ValueError):  # somebody's object, or closed
        return False


def takes_commands(stream: TextIO | None) -> bool:
    """Whether it is a terminal that can erase a line and show colours: one of unknown kind, and "dumb", cannot."""
    return is_one(stream) and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def num_columns(stream: TextIO | None) -> int | None:
    """Its columns now, which may have been resized; None where it does not know, or is no terminal."""
    try:
        return None if stream is None else os.get_terminal_size(stream.fileno()).columns or None
    except (AttributeError, OSError, ValueError):
        return None
