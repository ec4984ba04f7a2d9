"""Repeats in processes of their own: what becomes of a child when its parent is interrupted."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import pytest

from bench.records.request import Request
from bench.runs import repeats

DEAF = (sys.executable, "-c", "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)")


def test_a_child_that_does_not_end_is_killed_and_the_interrupt_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    children: list[Any] = []

    def interrupted(self: Any, _: str) -> NoReturn:
        children.append(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupted)
    monkeypatch.setattr(repeats, "PATIENCE_S", 0.05)
    request = Request(model="gpt2", config={}, task="train")
    begun_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(repeats.run(request, 2, hub_id=None, out=tmp_path, say=lambda _: None, child=DEAF))
    assert time.monotonic() - begun_s < 30
    (child,) = children
    assert child.returncode == -9
