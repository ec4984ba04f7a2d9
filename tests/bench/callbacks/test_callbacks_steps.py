"""Device events in somebody else's loop: their times, what of a data wait holds a device up, and that nothing waits for it."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch

from bench.backend.device import Device
from bench.callbacks.batches import BatchSize
from bench.callbacks.steps import StepLog


class Queue:
    """A scripted GPU: an event is reached when the work given before it is done; the host runs ahead of it."""

    def __init__(self) -> None:
        self.host_s = 0.0
        self.free_s = 0.0
        self.num_waits = 0

    def work(self, seconds: float) -> None:
        self.free_s = max(self.free_s, self.host_s) + seconds

    def synchronize(self, _: Any = None) -> None:
        self.num_waits += 1
        self.host_s = max(self.host_s, self.free_s)


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    made = Queue()

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self, _: Any) -> None:
            self.at_s = max(made.free_s, made.host_s)

        def query(self) -> bool:
            return self.at_s <= made.host_s

        def elapsed_time(self, later: Any) -> float:
            return 1000.0 * float(later.at_s - self.at_s)  # milliseconds, as torch's documentation says

    monkeypatch.setattr("time.perf_counter", lambda: made.host_s)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "Stream", lambda _: None)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: None)
    monkeypatch.setattr(torch.cuda, "synchronize", made.synchronize)
    return made


def take(log: StepLog, queue: Queue, *, wait_s: float, host_s: float, device_s: float) -> None:
    """One step: a wait for data, kernels that the host launches in `host_s` and the device works off in `device_s`."""
    queue.host_s += wait_s
    log.begin(wait_s)
    log.add(BatchSize(rows=2, length=8, num_padding=torch.tensor(3)))
    queue.work(device_s)
    queue.host_s += host_s
    log.loss(torch.tensor(1.5))
    log.end()
    log.settle()


def log_of() -> StepLog:
    return StepLog(Device(kind="cuda", index=0, name="a scripted GPU", uuid="GPU-1"))


def test_a_wait_that_hides_behind_the_device_is_not_exposed(queue: Queue) -> None:
    log = log_of()
    for _ in range(4):  # the host needs 0.3 s a step, the device 1 s
        take(log, queue, wait_s=0.2, host_s=0.1, device_s=1.0)
    assert queue.num_waits == 0
    log.settle(last=True, wait=True)
    assert queue.num_waits == 1
    assert [step.device_s for step in log.done] == pytest.approx([1.0] * 4)
    assert [step.host_s for step in log.done] == pytest.approx([0.1] * 4)
    assert [step.wait_s for step in log.done] == pytest.approx([0.2] * 4)
    # The first finds the device idle.
    assert [step.exposed_wait_s for step in log.done] == pytest.approx([0.2, 0.0, 0.0, 0.0])
    assert [step.period_s for step in log.done] == pytest.approx([1.2, 1.0, 1.0, 1.0])
    assert [(step.num_items, step.num_padding, step.loss) for step in log.done] == [(13, 3, 1.5)] * 4


def test_a_wait_that_starves_the_device_is_exposed_as_far_as_it_does(queue: Queue) -> None:
    log = log_of()
    for _ in range(3):  # the device is through 0.9 s after the host, and then waits 1.1 s of the 2 s for data
        take(log, queue, wait_s=2.0, host_s=0.1, device_s=1.0)
    log.settle(last=True, wait=True)
    assert [step.exposed_wait_s for step in log.done] == pytest.approx([2.0, 1.1, 1.1])
    assert [step.period_s for step in log.done] == pytest.approx([3.0, 2.1, 2.1])


def test_steps_that_the_device_has_not_finished_stay_unread_without_a_wait(queue: Queue) -> None:
    log = log_of()
    take(log, queue, wait_s=0.0, host_s=0.1, device_s=100.0)
    take(log, queue, wait_s=0.0, host_s=0.1, device_s=100.0)
    log.settle(last=True)
    assert (log.done, queue.num_waits) == ([], 0)
    log.drop()
    log.settle(last=True, wait=True)
    assert len(log.done) == 2
