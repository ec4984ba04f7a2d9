"""Fixtures for tests that really run a model: tiny ones, without the seconds that a real run spends on its surroundings."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.records.draft import Draft
from bench.records.record import Measurement
from tests.support.tiny_models import CEILINGS, asked

if "PYTEST_XDIST_WORKER" in os.environ:  # workers that share the processors: small operators on more threads than that wait for one another
    os.environ.setdefault("OMP_NUM_THREADS", "1")


os.environ.pop("COLUMNS", None)  # of whoever runs the tests: what they read has the width of a pipe


def pytest_collection_finish() -> None:
    """What the test files have imported is kept out of garbage collection: every run collects several times, and would visit all of it."""
    keep_what_is_there()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """The same for what the tests of a file have imported, when its last one is over."""
    if nextitem is None or nextitem.path != item.path:
        keep_what_is_there()


def keep_what_is_there() -> None:
    """Collect once more, then never visit again what is left."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_accelerate_state_is_left() -> Iterator[None]:
    """accelerate keeps one state per process, which a Trainer sets up and never takes down: the next test may want another dtype."""
    yield
    state = sys.modules.get("accelerate.state")
    if state is not None:
        state.AcceleratorState._reset_state(reset_partial_state=True)
        state.GradientState._reset_state()


@pytest.fixture(scope="session", autouse=True)
def data_of_these_tests_alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data folder of the session: calibrations of tests are never the user's."""
    folder = tmp_path_factory.mktemp("data") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def no_calibration_is_found(data_of_these_tests_alone: Path) -> Iterator[None]:
    """What another test calibrated would be held against the clock of the next one."""
    yield
    if data_of_these_tests_alone.exists():
        shutil.rmtree(data_of_these_tests_alone)


@pytest.fixture(scope="session", autouse=True)
def cache_of_these_tests_alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Op tables that tests trace are kept for the other tests of this session, and never among the user's own."""
    from estimators import own_cache

    kept, own = tmp_path_factory.mktemp("cache"), own_cache.folder
    own_cache.folder = lambda kind: own(kind) if "XDG_CACHE_HOME" in os.environ else str(kept / kind)
    yield kept
    own_cache.folder = own


@pytest.fixture(autouse=True)
def nothing_is_remembered(cache_of_these_tests_alone: Path) -> Iterator[None]:
    """What another test priced, perhaps by prices of its own, is no answer to this one."""
    yield
    for kind in ("searches", "fixes"):
        if (kept := cache_of_these_tests_alone / kind).exists():
            shutil.rmtree(kept)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch computes on one thread, whatever other tests run beside."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    """One thread, scripted ceilings and dtype, nothing counted: those have tests of their own."""
    from bench.backend.faster_dtype import FasterDtype
    from bench.runs.decisions import dtypes
    from bench.workloads.article import task as article_task
    from bench.workloads.language import task as language_task
    from bench.workloads.serving import task as serving_task

    def ceilings(draft: Draft, *_: Any, **__: Any) -> None:
        draft.ceilings.extend(CEILINGS)

    for task in (article_task, language_task):
        monkeypatch.setattr(task, "add_ceilings", ceilings)
        monkeypatch.setattr(task, "add_observer_cost", lambda *_: None)
    monkeypatch.setattr(serving_task, "add_ceilings", ceilings)
    monkeypatch.setattr(language_task, "language_counts", lambda *_: [])
    monkeypatch.setattr(dtypes, "faster_dtype_cpu", lambda *_: FasterDtype(winner="fp32", samples_s={}, shape="a scripted product"))


@pytest.fixture
def measured(tmp_path: Path, quick: None) -> Callable[..., Measurement]:
    """Runs one request for a tiny model; the record is written to `tmp_path / "runs"`."""
    from bench.runs.measure import measure

    def run(family: str, task: str, **fields: Any) -> Measurement:
        return measure(asked(family, task, **fields), hub_id=None, out=tmp_path / "runs", say=lambda _: None)

    return run
