"""Devices: the one asked for or one clear line; clocks and memory under a scripted torch.cuda."""

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.backend import device as device_module
from bench.backend import faster_dtype as faster
from bench.backend.device import Device, EventClock, choose, dtype
from bench.backend.random_data import drawn
from bench.machine.meters import cgroup
from estimators.errors import BadValueError, UnavailableError
from estimators.units import DTYPE_BYTES
from tests.support.scripted_clock import ScriptedClock

GIB = 2**30
UUID = "1b2c3d4e-0000-1111-2222-333344445555"


@pytest.fixture
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def h100(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """torch.cuda with two H100s of which the second is used; what was called is in `calls`."""
    fake = SimpleNamespace(calls=[], free=20 * GIB, reserved=50 * GIB, allocated=45 * GIB)
    properties = SimpleNamespace(name="NVIDIA H100 80GB HBM3", total_memory=85_017_493_504, uuid=UUID)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    for name, answer in {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "get_device_properties": lambda index: properties,
        "get_device_capability": lambda index: (9, 0),
        "mem_get_info": lambda index: (fake.free, 80 * GIB),
        "memory_reserved": lambda index: fake.reserved,
        "memory_allocated": lambda index: fake.allocated,
        "max_memory_allocated": lambda index: 47 * GIB,
        "max_memory_reserved": lambda index: 52 * GIB,
        "reset_peak_memory_stats": lambda index: fake.calls.append(("reset", index)),
        "synchronize": lambda index=None: fake.calls.append(("synchronize", index)),
    }.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    return fake


def test_the_cpu_is_chosen_where_there_is_no_gpu(no_cuda: None) -> None:
    chosen = choose()
    assert (chosen.kind, chosen.index, chosen.uuid) == ("cpu", 0, None)
    assert chosen.torch_device == torch.device("cpu")
    assert chosen.hardware() is None
    assert chosen.describe().num_threads == torch.get_num_threads()


def test_cuda_from_a_torch_without_it_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    with pytest.raises(UnavailableError, match=r"^no CUDA: this torch \(.*\) was built without it; run with --device cpu, or install.*$"):
        choose("cuda")


def test_cuda_without_a_device_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, no_cuda: None) -> None:
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(UnavailableError, match=r"^no CUDA device: torch finds no driver or device; run with --device cpu$"):
        choose("cuda:0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UnavailableError, match=r"^no CUDA device: CUDA_VISIBLE_DEVICES='' leaves none; run with --device cpu$"):
        choose("cuda")


def test_mps_without_an_apple_gpu_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UnavailableError, match=r"^device 'mps' needs an Apple GPU .*; run with --device cpu$"):
        choose("mps")


@pytest.mark.parametrize("name", ["tpu", "", "cuda:", "cuda:-1", "cuda:0:1", "cpu:1", "CUDA", "gpu\n", "x" * 1000])
def test_a_name_of_no_device_is_refused(name: str) -> None:
    with pytest.raises(BadValueError, match=r"^device '.{0,45} is unknown; expected cpu, cuda, cuda:N or mps$"):
        choose(name)


def test_the_gpu_asked_for_is_known_by_name_memory_and_uuid(h100: SimpleNamespace) -> None:
    chosen = choose("cuda:1")
    assert chosen == Device(kind="cuda", index=1, name="NVIDIA H100 80GB HBM3", uuid=f"GPU-{UUID}")
    assert choose().index == 0
    hardware = chosen.hardware()
    assert hardware is not None
    assert "NVIDIA H100 80GB HBM3" in hardware.device_names
    assert chosen.describe().compute_capability == "9.0"


def test_an_unknown_gpu_has_no_hardware_and_no_fallback(h100: SimpleNamespace) -> None:
    assert Device(kind="cuda", index=0, name="NVIDIA H9000").hardware() is None


def test_a_gpu_that_is_not_there_is_refused_with_how_many_there_are(h100: SimpleNamespace) -> None:
    with pytest.raises(UnavailableError, match=r"^no device cuda:2: 2 visible, numbered from 0$"):
        choose("cuda:2")


def test_memory_that_torch_holds_unused_counts_as_available(h100: SimpleNamespace) -> None:
    # 20 GiB free to everybody and 50 - 45 GiB in torch's cache
    assert choose("cuda").memory_available_bytes() == 25 * GIB
    assert choose("cuda").memory_total_bytes == 85_017_493_504


def test_a_containers_limit_is_the_memory_of_a_cpu(monkeypatch: pytest.MonkeyPatch, no_cuda: None) -> None:
    monkeypatch.setattr(cgroup, "memory_limit", lambda: cgroup.MemoryLimit(limit_bytes=2 * GIB, available_bytes=GIB // 4))
    assert choose("cpu").memory_total_bytes == 2 * GIB
    assert choose("cpu").memory_available_bytes() == GIB // 4


def test_peaks_are_kept_apart_and_a_cpu_has_no_allocator_peak(h100: SimpleNamespace) -> None:
    gpu, cpu = choose("cuda:1"), Device(kind="cpu", index=0, name="CPU")
    gpu.reset_peak()
    assert h100.calls == [("reset", 1)]
    on_gpu, on_cpu = gpu.peak_memory(), cpu.peak_memory()
    assert (on_gpu.values["torch_allocated"], on_gpu.values["torch_reserved"]) == (47 * GIB, 52 * GIB)
    assert on_gpu.unavailable == {}
    assert (on_cpu.values["torch_allocated"], on_cpu.values["torch_reserved"]) == (None, None)
    assert on_cpu.unavailable["torch_allocated"] == "torch's allocator keeps no peak on cpu"
    assert on_cpu.values["peak_rss"] > 0


def test_the_event_clock_waits_for_an_empty_queue_records_around_the_step_and_waits_again(
    h100: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = itertools.cycle(["start", "end"])

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing
            self.name = next(names)

        def record(self) -> None:
            h100.calls.append((self.name, None))

        def elapsed_time(self, end: Any) -> float:
            return 12.5  # milliseconds: torch.cuda.Event.elapsed_time

    class OnDevice:
        def __init__(self, device: torch.device) -> None:
            self.device = device

        def __enter__(self) -> None:
            h100.calls.append(("on", self.device))

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "device", OnDevice)
    clock = choose("cuda:1").clock()
    assert isinstance(clock, EventClock)
    h100.calls.clear()
    assert clock.time(lambda: h100.calls.append(("step", None))) == 0.0125
    assert [name for name, _ in h100.calls] == ["on", "synchronize", "start", "step", "end", "synchronize"]
    assert h100.calls[0] == ("on", torch.device("cuda", 1))
    assert (clock.name, clock.resolution_s) == ("device-event", 0.0125)


def test_a_cpu_is_timed_by_the_host(no_cuda: None) -> None:
    assert choose().clock().name == "host"


def test_mps_is_timed_by_the_host_around_a_wait_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waits.append(1))
    clock = Device(kind="mps", index=0, name="Apple GPU").clock()
    waits.clear()
    clock.time(lambda: None)
    assert (clock.name, len(waits)) == ("host", 2)


def test_dtypes_have_the_widths_that_the_estimates_use() -> None:
    assert {name: kind.itemsize for name, kind in device_module.DTYPES.items()} == {n: DTYPE_BYTES[n] for n in device_module.DTYPES}
    assert dtype("bf16") is torch.bfloat16


@pytest.mark.parametrize("name", ["fp8", "int8", "float32", ""])
def test_a_dtype_that_no_step_computes_in_is_refused(name: str) -> None:
    with pytest.raises(BadValueError, match=rf"^cannot compute in dtype '{name}'; expected one of: fp64, fp32, bf16, fp16$"):
        dtype(name)


def test_drawn_data_is_random_distinct_in_memory_and_of_the_shape_asked_for() -> None:
    made = drawn(2048, 1024, dtype=torch.bfloat16, device=torch.device("cpu"))
    assert (made.shape, made.dtype, made.is_contiguous()) == ((2048, 1024), torch.bfloat16, True)
    assert made.untyped_storage().nbytes() >= 2048 * 1024 * 2
    assert not torch.equal(made[0], made[1024])
    assert made.float().std().item() == pytest.approx(1, abs=0.01)
    assert made.float().mean().item() == pytest.approx(0, abs=0.01)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faster, "WORKING_SET_BYTES", 4096)


@pytest.mark.parametrize(("fp32_s", "bf16_s", "winner"), [(3.0, 2.0, "bf16"), (2.0, 3.0, "fp32"), (2.0, 2.0, "fp32")])
def test_the_faster_dtype_wins_and_both_raw_times_are_kept(
    monkeypatch: pytest.MonkeyPatch, small: None, fp32_s: float, bf16_s: float, winner: str
) -> None:
    clock = ScriptedClock(itertools.cycle([fp32_s, bf16_s]))
    original = clock.time
    monkeypatch.setattr(clock, "time", lambda step: (step(), original(clock.step))[1])
    monkeypatch.setattr(faster, "HostClock", lambda: clock)
    outcome = faster.faster_dtype_cpu(2, 16, 8, max_time_s=1e9, rounds=4)
    assert outcome.winner == winner
    assert outcome.samples_s == {"fp32": (fp32_s,) * 4, "bf16": (bf16_s,) * 4}
    assert outcome.shape == "x[2, 8] · W[16, 8]ᵀ"


def test_three_rounds_are_timed_however_long_they_take(monkeypatch: pytest.MonkeyPatch, small: None) -> None:
    clock = ScriptedClock(itertools.repeat(100.0))
    monkeypatch.setattr(clock, "time", lambda step, time=clock.time: time(clock.step))
    monkeypatch.setattr(faster, "HostClock", lambda: clock)
    assert [len(s) for s in faster.faster_dtype_cpu(2, 16, 8, max_time_s=1.0).samples_s.values()] == [3, 3]


def test_a_cpu_that_cannot_multiply_in_bf16_computes_in_fp32(monkeypatch: pytest.MonkeyPatch, small: None) -> None:
    linear = torch.nn.functional.linear

    def only_fp32(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        if x.dtype != torch.float32:
            raise RuntimeError("\"addmm_impl_cpu_\" not implemented for 'BFloat16'")
        return linear(x, weight)

    monkeypatch.setattr(torch.nn.functional, "linear", only_fp32)
    outcome = faster.faster_dtype_cpu(2, 16, 8, rounds=3)
    assert outcome.winner == "fp32"
    assert outcome.samples_s["bf16"] == ()


def test_every_product_reads_other_weights_until_the_working_set_has_been_read(monkeypatch: pytest.MonkeyPatch, small: None) -> None:
    read: list[int] = []
    monkeypatch.setattr(torch.nn.functional, "linear", lambda x, weight: read.append(weight.data_ptr()))
    faster.faster_dtype_cpu(2, 16, 8, rounds=20, max_time_s=1e9)
    # 16 x 8 weights are 512 bytes in fp32 and 256 in bf16: eight and sixteen copies make the 4,096 of this test
    assert len(set(read)) == 8 + 16
