"""What `sixnd.watch` imports before a training has begun: torch, and of ours what a step needs."""

from __future__ import annotations

import subprocess
import sys

from tests.support.checkout import ROOT

LATER = (
    "transformers",
    "accelerate",
    "pandas",
    "matplotlib",
    "fvcore",
    "bench.backend.counting.training_pass",
    "bench.callbacks.counted",
    "bench.callbacks.to_record",
    "bench.records.run_estimate",
    "estimators.architectures.from_config",
    "estimators.training.prediction",
)
"""Needed when the first pass is counted, or a record is written, or never."""

SCRIPT = """
import sys, torch
before = set(sys.modules)
import sixnd
sixnd.watch, sixnd.Watch
print(*sorted(set(sys.modules) - before))
"""


def test_watching_imports_no_more_than_a_step_needs() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "bench.callbacks.watcher" in loaded  # the list is one of modules
    assert loaded & set(LATER) == set()
