"""What this program is called: in documents always the same, in what it says to a user as that user called it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import PurePath

NAME = "python -m bench"
"""What every text of this project calls it; runs in a checkout as well as after an installation."""

SHORT_NAME = "sixnd"
"""What an installation puts on the path."""


def invoked() -> str:
    """The name that this process was started by."""
    return SHORT_NAME if PurePath(sys.argv[0] if sys.argv else "").stem == SHORT_NAME else NAME


def as_invoked(text: str) -> str:
    """A text whose commands begin with the name that this process was started by."""
    name = invoked()
    return text if name == NAME else text.replace(f"{NAME} ", f"{name} ")


def command_line(words: Sequence[str]) -> str:
    """The command that this process answers, as it was typed, fit to be shown to others."""
    import shlex  # deferred: only pages show it

    return f"{invoked()} {shlex.join(map(redacted, words))}"


def redacted(text: str) -> str:
    """Text that may be published: the home folder as ~, what is not UTF-8 as question marks."""
    home = os.path.expanduser("~")
    text = text.encode("utf-8", errors="replace").decode()
    return text.replace(home, "~") if len(home) > 1 else text
