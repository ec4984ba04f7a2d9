"""Texts that somebody could write into a record, a configuration or a device's name to reach a terminal, a page or a table."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator

BY_HAND = (
    *("x\x1b[31m\x00\u202e", "\x1b]0;title\x07", "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "a\rb", "a\x08\x08b", "\x9b31m", "\x84\x85"),
    *("\u2066a\u2069", "\u2068a\u2067", "\u200e\u200f\u061c", "\ufeffbom", "soft\xadhyphen", "\u200bzero", "\u2028\u2029", "\x7f"),
    *("\U000e0041tag", "\ufff9a\ufffb", "\x0e\x0f", "a\x0cb\x0bc", "\u2060\u180e", "\udcff", "\ud800", "line\none", "tab\tbed"),
)

_PIECES = (
    *map(chr, range(0x20)),
    *map(chr, range(0x7F, 0xA0)),
    *"\u061c\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\xad\udc80\udfff",
    *"<>&|\"'`\\/$%{}_^~#=+@-*[]()!:;,. \xa0\u3000",
    *("深", "é", "e\u0301", "😀", "ا", "abc", "0", "\\x1b", "[31m", "\r\n", "</script>", "=1+1"),
)


def drawn(number: int, seed: int = 64) -> Iterator[str]:
    """Those by hand, then drawn ones, each with at least one character that acts."""
    draw = random.Random(seed)
    yield from BY_HAND
    for _ in range(number):
        pieces = draw.choices(_PIECES, k=draw.randint(1, 12))
        yield "".join([*pieces, draw.choice(_PIECES[:65]), *draw.choices(_PIECES, k=3)])


def acting(text: str, *, may: str = "") -> list[str]:
    """Characters that do something other than show themselves, by Unicode's own classes; `may` are let through."""
    return [c for c in text if c not in may and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
