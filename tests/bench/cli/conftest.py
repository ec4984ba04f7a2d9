"""What verbs answer, kept before it is printed."""

import pytest

from bench.cli import output
from tests.support.screens import Emitted


@pytest.fixture
def emitted(monkeypatch: pytest.MonkeyPatch) -> Emitted:
    kept: Emitted = []
    monkeypatch.setattr(output.Output, "emit", lambda self, tables, screen=None, pictures=(), data=(): kept.append((tables, screen)))
    return kept
