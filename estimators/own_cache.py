"""The folder where this project keeps what took long to get: fetched configurations, traced op tables, what searches came to.

All of it can be got again: a file that is missing, damaged or cannot be written costs time, never an answer.
"""

from __future__ import annotations

import os
from contextlib import suppress
from threading import get_ident


def user_cache() -> str:
    """The user's cache, whatever the program: XDG_CACHE_HOME, else ~/.cache."""
    return os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")


def folder(kind: str) -> str:
    """Where one kind of thing is kept."""
    return os.path.join(user_cache(), "sixnd", kind)


def write(path: str, content: bytes) -> None:
    """Write a file whole or not at all, whoever else writes it, and its folder where that is missing. Raises OSError."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    unfinished = f"{path}.{os.getpid()}-{get_ident()}"
    try:
        with open(unfinished, "wb") as stream:
            stream.write(content)
        os.replace(unfinished, path)
    except OSError:
        with suppress(OSError):
            os.unlink(unfinished)
        raise


def keep(path: str, content: str, *, most_files: int | None = None) -> None:
    """Keep a file for the next question; where nothing can be written, the next question costs as much as this one.

    Args:
        most_files: that its folder holds; beyond it the oldest quarter goes.
    """
    with suppress(OSError):
        write(path, content.encode())
        if most_files is not None:
            _thin_out(os.path.dirname(path), most_files)


def _thin_out(place: str, most_files: int) -> None:
    with os.scandir(place) as entries:
        files = list(entries)
    if len(files) <= most_files:
        return
    for file in sorted(files, key=lambda each: each.stat().st_mtime_ns)[: len(files) - most_files * 3 // 4]:
        with suppress(OSError):
            os.unlink(file.path)
