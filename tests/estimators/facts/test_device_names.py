"""What drivers print, and which product it means: exactly that one, or none."""

from __future__ import annotations

import pytest

from estimators.facts.registry import hardware, hardware_for_device, hardware_ids
from estimators.units import GIBI


# What drivers print: NVIDIA's list of device names in open-gpu-kernel-modules, torch.cuda.get_device_name in public logs.
@pytest.mark.parametrize(
    ("driver_name", "hardware_id"),
    [
        ("NVIDIA H100 80GB HBM3", "h100-sxm5-80gb"),
        ("NVIDIA H100 PCIe", "h100-pcie-80gb"),
        ("NVIDIA H100 NVL", "h100-nvl-94gb"),
        ("NVIDIA H200", "h200-sxm-141gb"),
        ("NVIDIA H200 NVL", "h200-nvl-141gb"),
        ("NVIDIA H800", "h800-sxm5-80gb"),
        ("NVIDIA GH200 480GB", "gh200-96gb"),
        ("NVIDIA B200", "b200-sxm-180gb"),
        ("NVIDIA GB200", "gb200-186gb"),
        ("NVIDIA B300 SXM6 AC", "b300-sxm-288gb"),
        ("NVIDIA A100-SXM4-40GB", "a100-sxm4-40gb"),
        ("NVIDIA A100-SXM4-80GB", "a100-sxm4-80gb"),
        ("NVIDIA A100-PCIE-40GB", "a100-pcie-40gb"),
        ("NVIDIA A100 80GB PCIe", "a100-pcie-80gb"),
        ("NVIDIA A10", "a10-24gb"),
        ("NVIDIA A10G", "a10g-24gb"),
        ("NVIDIA A40", "a40-48gb"),
        ("NVIDIA RTX A4000", "rtx-a4000-16gb"),
        ("NVIDIA L4", "l4-24gb"),
        ("NVIDIA L40", "l40-48gb"),
        ("NVIDIA L40S", "l40s-48gb"),
        ("NVIDIA GeForce RTX 3090", "rtx-3090-24gb"),
        ("NVIDIA GeForce RTX 3090 Ti", "rtx-3090-ti-24gb"),
        ("NVIDIA RTX 6000 Ada Generation", "rtx-6000-ada-48gb"),
        ("Tesla T4", "t4-16gb"),
        ("Tesla V100-SXM2-32GB", "v100-sxm2-32gb"),
        ("AMD Instinct MI250X", "mi250x-128gb"),
        ("AMD Instinct MI300X", "mi300x-192gb"),
    ],
)
def test_a_real_driver_name_means_its_own_product(driver_name: str, hardware_id: str) -> None:
    found = hardware_for_device(driver_name)
    assert found is not None
    assert found.id == hardware_id


@pytest.mark.parametrize(
    "driver_name",
    [
        "NVIDIA GeForce RTX 4090 Laptop GPU",  # a smaller chip
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA A100-SXM-64GB",  # Leonardo's own part
        "NVIDIA A100-PCIE-80GB",  # no driver prints this
        "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
        "NVIDIA H100",
        "GH100 [H100 SXM5 80GB]",  # lspci, not the driver
        "nvidia l40s",
        "A100",
        "",
    ],
)
def test_a_name_that_only_looks_alike_means_nothing(driver_name: str) -> None:
    assert hardware_for_device(driver_name) is None


@pytest.mark.parametrize(
    ("memory_gib", "hardware_id"), [(10, "rtx-3080-10gb"), (9.77, "rtx-3080-10gb"), (12, "rtx-3080-12gb"), (11.76, "rtx-3080-12gb")]
)
def test_the_two_rtx_3080_are_told_apart_by_memory(memory_gib: float, hardware_id: str) -> None:
    found = hardware_for_device("NVIDIA GeForce RTX 3080", int(memory_gib * GIBI))
    assert found is not None
    assert found.id == hardware_id
    assert hardware_for_device("NVIDIA GeForce RTX 3080") is None


def test_a_card_whose_memory_is_not_the_products_is_not_the_product() -> None:
    assert hardware_for_device("NVIDIA A100-SXM4-80GB", 79 * GIBI) is not None
    assert hardware_for_device("NVIDIA A100-SXM4-80GB", 40 * GIBI) is None


def test_a_mac_is_recognised_whatever_its_memory() -> None:
    for memory_gib in (8, 16, 24):
        assert hardware_for_device("Apple M2", memory_gib * GIBI) == hardware("apple-m2")


def test_every_listed_driver_name_leads_back_to_its_row() -> None:
    for name in hardware_ids():
        for driver_name in hardware(name).device_names:
            assert hardware_for_device(driver_name, hardware(name).memory_bytes) == hardware(name)
