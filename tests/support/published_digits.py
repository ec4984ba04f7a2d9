"""How far an exact count may lie from the figure that was printed."""

from __future__ import annotations


def half_a_unit_or_a_cut_digit(text: str) -> int:
    """What a printed count may hide: one unit of its last digit, since some publishers cut and do not round; 0 if exact.

    GPT-3's "M" counts (table D.1) are off by up to 0.4 % for reasons of their own: see the models' notes.
    """
    if text.endswith(("B", "T")):
        return 10 ** (9 if text.endswith("B") else 12) // 10 ** len(text[:-1].partition(".")[2])
    return int(float(text[:-1].replace(",", "")) * 10**6 * 0.004) if text.endswith("M") else 0
