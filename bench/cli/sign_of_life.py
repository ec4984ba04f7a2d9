"""A first sign of life: one line on stderr, for whoever watches a terminal while a verb takes its time."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from bench import streams, terminal

BLINK_S = 0.2
"""With the start of Python before it, a person is answered within 0.3 s."""

LOAD_TORCH = ("calibrate", "selftest")
"""Verbs that always take seconds: torch, while it loads, lets no other thread speak."""

OWN_WORDS = ("run", "web")
"""Verbs that say by themselves at once what they are about to do."""


@contextmanager
def shown(verb: str) -> Iterator[None]:
    """Says that the verb is at work: at once of one that loads torch, of another once a blink has passed. Nothing where nobody watches."""
    if verb in OWN_WORDS or not terminal.is_one(sys.stderr):
        yield
        return
    if verb in LOAD_TORCH:
        streams.remark(f"· {verb}: loading torch")
        yield
        return
    timer = threading.Timer(BLINK_S, streams.remark, [f"· {verb}: at work"])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
