"""Lines of a log of any size, and pieces of one JSON object of any size, in bounded memory; nothing in them is run or unpickled."""

from __future__ import annotations

import codecs
import errno
import gzip
import io
import json
import math
import os
import re
import stat
from collections.abc import Iterator
from typing import IO, Any

from estimators.errors import UnavailableError

MAX_LINE = 2**18
"""Characters of a line; a longer one is no line of a log, and is passed by."""

MAX_HEAD = 2**16
"""Characters by which a format is told."""

MAX_ELEMENT = 2**20
"""Characters of one value in a JSON object, or of one element of a list in it."""

_GZIP = b"\x1f\x8b"
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Lines:
    """The lines of a file, without colours; a carriage return ends a line, as progress bars write it.

    Attributes:
        number: of lines read so far.
        too_long: of lines that were passed by.
    """

    def __init__(self, path: str) -> None:
        self.path, self.number, self.too_long = path, 0, 0

    def __iter__(self) -> Iterator[str]:
        with opened(self.path) as text:
            try:
                yield from self._each(text)
            except (OSError, EOFError) as error:  # a compressed file that is cut: what was read counts
                if not self.number:
                    raise UnavailableError(f"cannot read {self.path!r}: {error}") from None

    def _each(self, text: IO[str]) -> Iterator[str]:
        inside = False
        while line := text.readline(MAX_LINE):
            ended = line.endswith("\n")
            if inside or (not ended and len(line) >= MAX_LINE):
                self.too_long += not inside
                self.number += not inside
                inside = not ended
                continue
            self.number += 1
            line = line.rstrip("\n")
            yield _COLOUR.sub("", line) if "\x1b" in line else line


def opened(path: str) -> IO[str]:
    """The text of a file, compressed by gzip or not, in UTF-8 or in the encoding that its mark says; bytes that are none are replaced.

    Raises:
        UnavailableError: it cannot be read, or is a folder, a pipe or a device.
    """
    try:
        if "\0" in path:
            raise OSError(errno.EINVAL, "a name has no null byte in it")
        kind = os.stat(path).st_mode
        if not stat.S_ISREG(kind):
            raise OSError(errno.EINVAL, "it is a folder" if stat.S_ISDIR(kind) else "it is a pipe or a device; give a file")
        with open(path, "rb") as raw:
            begins = raw.read(4)
        packed = begins.startswith(_GZIP)
        if packed:
            with gzip.open(path, "rb") as raw_text:
                begins = raw_text.read(4)
        binary: Any = gzip.open(path, "rb") if packed else open(path, "rb")  # noqa: SIM115 - the text owns and closes it
    except (OSError, EOFError) as error:
        raise UnavailableError(f"cannot read {path!r}: {getattr(error, 'strerror', None) or error}") from None
    encoding = next((name for mark, name in _MARKS if begins.startswith(mark)), "utf-8")
    return io.TextIOWrapper(binary, encoding=encoding, errors="replace", newline=None)


def head(path: str) -> str:
    """The first MAX_HEAD characters of a file; of a compressed file that is cut what comes before.

    Raises:
        UnavailableError: it cannot be read.
    """
    begins = ""
    with opened(path) as text:
        try:
            while len(begins) < MAX_HEAD and (part := text.read(1)):
                begins += part + text.readline(MAX_HEAD - len(begins))
        except (OSError, EOFError):
            pass
    return begins


class JsonPieces:
    """The values of one JSON object, in order: ``(name, value)``, and of a list ``(name, element)`` for each of its elements.

    Attributes:
        broken: of values that were passed by.
        cut: whether the file ends before the object does.
    """

    def __init__(self, path: str) -> None:
        self.path, self.broken, self.cut = path, 0, False
        self._buffer, self._at, self._done = "", 0, False
        self._text: IO[str]

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        with opened(self.path) as self._text:
            try:
                yield from self._members()
            except (_CutError, OSError, EOFError):
                self.cut = True

    def _members(self) -> Iterator[tuple[str, Any]]:
        if self._next() != "{":
            self.broken += 1
            return
        while (mark := self._next()) != "}":
            if mark == ",":
                continue
            self._at -= 1
            name = self._value()
            if not isinstance(name, str) or self._next() != ":":
                self.broken += 1
                return
            if self._peek() == "[":
                self._next()
                yield from self._elements(name)
            else:
                yield name, self._value()

    def _elements(self, name: str) -> Iterator[tuple[str, Any]]:
        while (mark := self._next()) != "]":
            if mark == ",":
                continue
            self._at -= 1
            yield name, self._value()

    def _next(self) -> str:
        """The next character that is no blank."""
        mark = self._peek()
        self._at += 1
        return mark

    def _peek(self) -> str:
        while True:
            while self._at < len(self._buffer):
                if not self._buffer[self._at].isspace():
                    return self._buffer[self._at]
                self._at += 1
            self._more()

    def _more(self) -> None:
        part = "" if self._done else self._text.read(2**16)
        if not part:
            self._done = True
            raise _CutError
        self._buffer = self._buffer[self._at :] + part
        self._at = 0

    def _value(self) -> Any:
        """The next value; one that is too long or no JSON ends the reading."""
        self._peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._buffer, self._at)
                if end < len(self._buffer) or self._done:
                    self._at = end
                    return value
            except (ValueError, RecursionError):
                if len(self._buffer) - self._at > MAX_ELEMENT:
                    self.broken += 1
                    raise _CutError from None
            self._more()


class _CutError(Exception):
    """The file ends, or cannot be read on."""


_DECODER = json.JSONDecoder()


def json_object(line: str) -> dict[str, Any] | None:
    """The object that a line holds; None where it holds none."""
    if not line.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def number(value: object) -> float | None:
    """A finite number, also one written as text; None for everything else.

    >>> number("8489.1"), number("8489,1"), number(float("nan")), number(True)
    (8489.1, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, _NUMBERS) or (isinstance(value, str) and "_" in value):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if -math.inf < found < math.inf else None


_NUMBERS = (str, float, int)
