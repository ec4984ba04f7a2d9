"""The loop of docs/callbacks.md runs as it stands and leaves what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from tests.support.checkout import ROOT
from tests.support.quiet_machine import failed_by_itself
from tests.support.watched_trainings import batches, only_record, tiny_model

PAGE = ROOT / "docs" / "callbacks.md"


def test_the_loop_on_the_page_leaves_a_record_in_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"^<!-- code: a loop -->\n```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bench.callbacks.context.CEILING_TIME_S", 0.01)
    torch.set_num_threads(1)
    model = tiny_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    exec(code, {"loader": batches(10), "model": model, "optimizer": optimizer})
    made = only_record(tmp_path / "runs")
    assert failed_by_itself(made) == ()
    assert {ceiling.kind for ceiling in made.ceilings} == {"matmul", "bandwidth"}
