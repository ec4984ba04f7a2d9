"""What took long to compute, remembered for the same question to the same code: the answer a process gave is the next one's.

An answer depends on its question and on the code and data that answer. The question is compared whole; code and data are known
by the places, sizes and times of their files, so that an edit or another version asks anew.
"""

from __future__ import annotations

import binascii
import functools
import json
import os
from importlib.util import find_spec
from typing import Any

from estimators import own_cache, text_file

MAX_BYTES = 2**20
"""Of one answer with its question; a longer one is not kept."""

MOST_FILES = 1000
"""Of one kind: about 8 MB of searches."""

CHECKED = 8
"""Characters of a checksum: a file begins with that of the rest, so that a damaged one is not read."""

PACKAGE = os.path.dirname(os.path.abspath(__file__))

BESIDES = (os.path.join(PACKAGE, "facts", "data", "models"),)
"""Data that a question holds itself: a model's configuration."""


def recall(kind: str, question: str) -> Any:
    """The answer that was kept, as json reads it; None without one, and for a file that is no such answer.

    Args:
        question: everything that the answer depends on but code and shipped data.
    """
    if (asked := _asked(question)) is None:
        return None
    try:
        written = text_file.read(_path(kind, asked), max_bytes=MAX_BYTES)
    except (OSError, ValueError):
        return None
    if written[:CHECKED] != _checksum(written[CHECKED:]):
        return None
    asked_before, answer = json.loads(written[CHECKED:])
    return answer if asked_before == asked else None


def remember(kind: str, question: str, answer: Any) -> None:
    """Keep an answer, which json can write. Nothing is said where it cannot be kept."""
    if (asked := _asked(question)) is None:
        return
    written = json.dumps([asked, answer])
    if len(written) <= MAX_BYTES - CHECKED:
        own_cache.keep(_path(kind, asked), _checksum(written) + written, most_files=MOST_FILES)


def _asked(question: str) -> str | None:
    code = code_stamp()
    return None if code is None else f"{code}: {question}"


def _path(kind: str, asked: str) -> str:
    return os.path.join(own_cache.folder(kind), f"{_checksum(asked)}.json")


def _checksum(text: str) -> str:
    return f"{binascii.crc32(text.encode()):0{CHECKED}x}"


@functools.cache
def code_stamp() -> str | None:
    """What this process answers by: the package's files (how many, their bytes, the newest, a checksum of all) and numpy's version file.

    None where they are no files, such as those of an archive.
    """
    numpy = find_spec("numpy")
    if numpy is None or numpy.origin is None:
        return None
    try:
        files = [*_files(PACKAGE), _stamp(os.path.join(os.path.dirname(numpy.origin), "version.py"))]
    except OSError:
        return None
    num_bytes, newest = sum(size for _, size, _ in files), max(changed for _, _, changed in files)
    return f"{PACKAGE} {len(files)} {num_bytes} {newest} {_checksum(repr(sorted(files)))}"


def _files(folder: str) -> list[tuple[str, int, int]]:
    """Place, bytes and time of change of each file below."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                found += [] if entry.name == "__pycache__" or entry.path in BESIDES else _files(entry.path)
            else:
                found.append(_stamp(entry.path))
    return found


def _stamp(path: str) -> tuple[str, int, int]:
    known = os.stat(path)
    return path, known.st_size, known.st_mtime_ns
