"""The name of a device as people type it; needs no torch, so that a wrong one is said before torch is loaded."""

from __future__ import annotations

import re

from estimators.errors import BadValueError

_NAME = re.compile(r"(cpu|cuda|mps)(?::(\d{1,3}))?")


def kind_and_index(name: str) -> tuple[str, int]:
    """`cuda:1` as ("cuda", 1); without a number the index is 0.

    Raises:
        BadValueError: no name of a device.
    """
    match = _NAME.fullmatch(name)
    if match is None or (match[1] != "cuda" and int(match[2] or 0) > 0):
        raise BadValueError(f"device {name[:40]!r} is unknown; expected cpu, cuda, cuda:N or mps")
    return match[1], int(match[2] or 0)
