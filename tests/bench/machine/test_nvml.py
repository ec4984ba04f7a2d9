"""NVML by a script: which GPUs are visible, in which order, and what one tells of itself."""

import pynvml
import pytest

from bench.machine.meters import nvml
from estimators.errors import UnavailableError
from tests.support.fake_nvml import FakeGpu, FakeNvml, NVMLError


def test_the_fake_has_only_what_the_real_library_has() -> None:
    names = [name for name in vars(FakeNvml) if not name.startswith("_")]
    assert len(names) > 15
    assert [name for name in names if not hasattr(pynvml, name)] == []
    assert (nvml.CLOCK_SM, nvml.CLOCK_MEMORY) == (pynvml.NVML_CLOCK_SM, pynvml.NVML_CLOCK_MEM)
    assert nvml.TEMPERATURE_GPU == pynvml.NVML_TEMPERATURE_GPU
    assert (nvml.PERF_POLICY_POWER, nvml.PERF_POLICY_THERMAL) == (pynvml.NVML_PERF_POLICY_POWER, pynvml.NVML_PERF_POLICY_THERMAL)


THREE = FakeNvml(FakeGpu("GPU-aa1"), FakeGpu("GPU-aa2"), FakeGpu("GPU-bbb"))


@pytest.mark.parametrize(
    ("asked", "seen"),
    # torch.cuda._parse_visible_devices, line by line: test_cuda_mask asks torch itself
    [
        (None, ("GPU-aa1", "GPU-aa2", "GPU-bbb")),
        ("2,0", ("GPU-bbb", "GPU-aa1")),
        ("GPU-b,GPU-aa2", ("GPU-bbb", "GPU-aa2")),
        ("GPU-b, 1", ("GPU-bbb",)),
        ("", ()),
        ("-1", ()),
        ("1,7,0", ("GPU-aa2",)),
        ("GPU-aa", ()),
        ("0,0", ()),
        ("1,MIG-123,0", ("GPU-aa2",)),
        ("²", ()),
    ],
)
def test_cuda_visible_devices_is_honoured(asked: str | None, seen: tuple[str, ...]) -> None:
    visible = nvml.visible(THREE, {} if asked is None else {"CUDA_VISIBLE_DEVICES": asked})
    assert visible.uuids == seen
    assert bool(visible.note) == (asked not in (None, "2,0", "GPU-b,GPU-aa2"))


def test_the_order_of_unlike_gpus_is_certain_only_by_bus_id() -> None:
    mixed = FakeNvml(FakeGpu("GPU-1", name="NVIDIA T1000"), FakeGpu("GPU-2"))
    assert "order may differ" in nvml.visible(mixed, {}).note
    assert nvml.visible(mixed, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}).note == ""


def test_a_gpu_is_described_and_what_it_does_not_tell_has_a_reason() -> None:
    described = nvml.describe(FakeNvml(FakeGpu("GPU-1", ecc=NVMLError("Not Supported"))), "GPU-1")
    assert described.name == "NVIDIA H100 80GB HBM3"
    assert (described.power_limit_w, described.memory_total_bytes) == (700.0, 85_520_809_984)
    assert described.ecc is None
    assert described.unavailable["ecc"] == "nvmlDeviceGetEccMode: Not Supported"
    assert nvml.describe(FakeNvml(), "GPU-1").unavailable == {"gpu": "nvmlDeviceGetHandleByUUID: Not Found"}


def test_a_machine_without_a_driver_is_unavailable_in_one_line() -> None:
    missing = FakeNvml(init_error=NVMLError("NVML Shared Library Not Found"))
    with pytest.raises(UnavailableError, match=r"^NVML cannot be read: NVML Shared Library Not Found$"), nvml.session(missing):
        pass
