"""Text that strangers wrote, such as names in records, on hubs and of devices: nothing in it reaches a terminal or a file as a command.

Control characters, bidirectional overrides and isolates, invisible format characters and lone surrogates are shown as Python
and JSON write them, so that a reader sees what is there and nothing acts on it. Letters of all scripts and blanks of all widths stay.
"""

from __future__ import annotations

import re

_SUSPECT = re.compile(r"[^\x20-\x7e]")
_SUSPECT_IN_LINES = re.compile(r"[^\x20-\x7e\n\t]")

_BLANKS = frozenset("\xa0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B))))
"""The spaces of Unicode (Zs): Python calls none of them printable but the ordinary one."""


def _acts(character: str) -> bool:
    return not character.isprintable() and character not in _BLANKS


def printable(text: str) -> str:
    r"""One line in which every character that acts is written out; newlines and tabs are among them.

    >>> print(printable("a\x1b[31m\u202eb\n"))
    a\x1b[31m\u202eb\n
    """
    return _SUSPECT.sub(_written_out, text)


def printable_lines(text: str) -> str:
    """The same of a text of several lines: newlines and tabs stay."""
    return _SUSPECT_IN_LINES.sub(_written_out, text)


def printable_json(text: str) -> str:
    r"""The same of a JSON text, by JSON's own escapes: every value stays what it was.

    >>> print(printable_json('["\u202e深"]'))
    ["\u202e深"]
    """
    return _SUSPECT_IN_LINES.sub(_as_json, text)


def num_columns(text: str) -> int:
    """Columns that a terminal needs: an East Asian wide character takes two, a combining one none."""
    if text.isascii():
        return len(text)
    return sum(map(_width, text))


def cut(text: str, columns: int) -> str:
    """The beginning of a text that fills at most so many columns; what was cut off shows as an ellipsis where there is room.

    >>> cut("decode: 3 of 5", 9), cut("深深深", 4), cut("decode", 0)
    ('decode: …', '深…', '')
    """
    if num_columns(text) <= columns:
        return text
    kept, left = "", columns - 1
    for character in text:
        left -= _width(character)
        if left < 0:
            break
        kept += character
    return kept + "…" if columns > 0 else ""


def _written_out(match: re.Match[str]) -> str:
    character = match.group()
    return character.encode("unicode_escape").decode("ascii") if _acts(character) else character


def _as_json(match: re.Match[str]) -> str:
    character = match.group()
    if not _acts(character):
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def _width(character: str) -> int:
    from unicodedata import combining, east_asian_width  # deferred: most texts are ASCII

    return 0 if combining(character) else 2 if east_asian_width(character) in "WF" else 1
