"""`estimate` answers in a blink: what the whole command costs beside a Python that does nothing.

Run with: python -m pytest tests/test_bench_startup.py --benchmark-only
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
MAX_RATIO = 4.0
NOTHING = ["-c", "pass"]
ESTIMATE = shlex.split("-m bench estimate --model gpt-3 --tokens 300B --hardware a100-sxm4-80gb --gpus 1024 --utilization 0.45")


@pytest.fixture
def python(tmp_path: Path) -> Callable[[list[str]], float]:
    """Seconds that one Python process takes; bytecode is compiled beforehand, as it is after an installation."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = str(tmp_path / "bytecode")

    def run(words: list[str]) -> float:
        start_s = time.perf_counter()
        subprocess.run([sys.executable, *words], cwd=ROOT, env=env, capture_output=True, check=True)
        return time.perf_counter() - start_s

    for words in (NOTHING, ESTIMATE):
        run(words)
    return run


def test_estimate_costs_at_most_four_bare_pythons(benchmark: Any, python: Callable[[list[str]], float]) -> None:
    """The least of many: whatever else the machine does only ever adds time."""
    bare_s, estimate_s = [], []

    def pair() -> None:
        bare_s.append(python(NOTHING))
        estimate_s.append(python(ESTIMATE))

    benchmark.pedantic(pair, rounds=30, warmup_rounds=2)
    ratio = min(estimate_s) / min(bare_s)
    benchmark.extra_info["ratio"] = ratio
    assert ratio <= MAX_RATIO, f"{min(estimate_s):.3f} s against {min(bare_s):.3f} s bare: {ratio:.2f} times"
