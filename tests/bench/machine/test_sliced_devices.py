"""A slice of a GPU (MIG) has no peak: an MFU by the whole one's would be too low by the share of the slice."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bench.backend import device as devices
from bench.backend.device import Device
from bench.callbacks.context import TrainingContext
from bench.callbacks.flop_source import FlopSource
from bench.callbacks.guard import Guard
from bench.records.draft import Draft
from tests.support.fake_nvml import FakeGpu, FakeNvml

H100 = "NVIDIA H100 80GB HBM3"


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> Iterator[None]:
    devices._slice_reason.cache_clear()
    yield
    devices._slice_reason.cache_clear()


def device(monkeypatch: pytest.MonkeyPatch, gpu: FakeGpu | None, name: str = H100, uuid: str | None = "GPU-1") -> Device:
    """A GPU with the whole one's name and memory, as NVML sees it."""
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(gpu) if gpu else None)  # type: ignore[arg-type]
    monkeypatch.setattr(Device, "memory_total_bytes", property(lambda _: 85_520_809_984))
    return Device(kind="cuda", index=0, name=name, uuid=uuid)


def test_a_whole_gpu_has_its_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    for gpu in (FakeGpu("GPU-1"), FakeGpu("GPU-1", mig=(0, 0)), None):
        devices._slice_reason.cache_clear()
        whole = device(monkeypatch, gpu)
        found = whole.hardware()
        assert found is not None
        assert whole.slice_reason() == ""


@pytest.mark.parametrize(
    ("gpu", "name", "uuid", "reason"),
    [
        (FakeGpu("GPU-1", mig=(1, 1)), H100, "GPU-1", "GPU-1 is divided"),
        (FakeGpu("MIG-1"), H100, "GPU-1", "MIG-1 is a slice"),
        (None, f"{H100} MIG 7g.80gb", None, "MIG 7g.80gb is a slice"),
    ],
)
def test_a_slice_has_none_and_the_record_says_why(
    gpu: FakeGpu | None, name: str, uuid: str | None, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sliced = device(monkeypatch, gpu, name, uuid)
    assert sliced.hardware() is None
    assert reason in sliced.slice_reason()
    monkeypatch.setattr(Device, "describe", lambda _: None)
    model, guard = torch.nn.Linear(8, 2), Guard()
    context = TrainingContext(model, sliced, None, name=None, dtype=None, optimizer=None, ceilings=False, guard=guard)
    draft = Draft(model="Linear", task="train", request=context._run((1, 1, 1)).request, out=tmp_path)
    context.fill(draft, FlopSource(model, "Linear", guard), (1, 1, 1), None)
    assert reason in draft.unavailable["mfu_fraction"]
    assert draft.estimate.stated().get("peak_flop_per_s") is None
