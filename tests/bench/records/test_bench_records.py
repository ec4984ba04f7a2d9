"""A record of 100,000 samples: written in under 1 s, read in under 0.5 s, judged in under 2 s. Skipped unless --benchmark-only is given.

Run with: python -m pytest tests/bench/records/test_bench_records.py --benchmark-only
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from bench.records import record
from bench.records.asked import Asked
from bench.records.draft import Draft
from bench.records.record import Phase
from bench.statistics import bootstrap

NUM_SAMPLES = 100_000


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    draw = random.Random(1)
    made = Draft(model="gpt2", task="train", request=Asked(model="gpt2", task="train"), out=tmp_path)
    made.phases.append(Phase(name="train_step", samples_s=tuple(draw.lognormvariate(-5, 0.1) for _ in range(NUM_SAMPLES))))
    return made


def test_a_record_of_a_hundred_thousand_samples_is_written_in_a_second(benchmark: Any, draft: Draft) -> None:
    benchmark.pedantic(draft.save, args=("complete",), rounds=10, warmup_rounds=1)
    assert len(record.read(draft.path).phases[0].samples_s) == NUM_SAMPLES
    assert benchmark.stats.stats.median < 1.0


def test_a_record_of_a_hundred_thousand_samples_is_read_in_half_a_second(benchmark: Any, draft: Draft) -> None:
    written = draft.save("complete")
    assert benchmark.pedantic(record.read, args=(draft.path,), rounds=10, warmup_rounds=1) == written
    assert benchmark.stats.stats.median < 0.5


def test_the_interval_of_a_hundred_thousand_samples_takes_two_seconds_at_most(benchmark: Any, draft: Draft) -> None:
    interval = benchmark.pedantic(bootstrap.median_interval, args=(draft.phases[0].samples_s,), rounds=5)
    assert interval is not None
    assert benchmark.stats.stats.median < 2.0
