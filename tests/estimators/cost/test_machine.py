"""A device and its links as the cost model sees them: shipped, assumed and said, or measured by the user."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest

from estimators.cost.collectives import bandwidth
from estimators.cost.efficiency import efficiency
from estimators.cost.layout import Layout
from estimators.cost.machine import MeasuredRates, ceilings, machine_of, network_of
from estimators.facts.registry import hardware, hardware_ids
from estimators.frozen import replace
from estimators.spec import Hardware
from estimators.training.interval import has_measured_steps
from estimators.training.prediction import predict
from tests.support.ideal_machine import model

H100 = hardware("h100-sxm5-80gb")


def test_a_network_is_that_of_the_cluster_or_the_usual_one_and_is_said() -> None:
    a100, gb200 = hardware("a100-sxm4-80gb"), hardware("gb200-186gb")
    assert machine_of(a100, cluster="jean-zay").network_bytes_per_s == 6.25e9
    assert machine_of(a100, cluster="jean-zay").notes == ()
    assert any("25 GB/s per device is assumed" in note for note in machine_of(a100).notes)
    network = network_of(gb200)
    assert network is not None
    assert network.devices_per_domain == machine_of(gb200).domain == 72


def test_a_chip_with_more_memory_has_the_ceiling_of_its_sister() -> None:
    assert machine_of(hardware("a100-sxm4-40gb")).flop_per_s == machine_of(hardware("a100-sxm4-80gb")).flop_per_s


RateOf = Callable[[Hardware, str], float]
DTYPES = ("fp32", "tf32", "bf16", "fp16", "fp8", "mxfp8", "mxfp4", "nvfp4", "int8")


def inversions(rate_of: RateOf) -> list[tuple[str, str, str]]:
    """Format, and two devices of one generation of which the first has more peak and no less power, and yet the lower ceiling.

    Where both were measured it is what was measured.
    """
    devices, found = [hardware(name) for name in hardware_ids()], []
    for dtype in DTYPES:
        able = [(device, rate_of(device, dtype)) for device in devices if dtype in device.peak_flop_per_s]
        for (more, slower), (less, faster) in itertools.permutations(able, 2):
            alike = (more.vendor, more.generation) == (less.vendor, less.generation)
            both_measured = all((device.id, dtype) in ceilings() for device in (more, less))
            above = more.peak(dtype) > less.peak(dtype) and (more.power_w or 0) >= (less.power_w or 0)
            if alike and above and slower < faster and not both_measured:
                found.append((dtype, more.id, less.id))
    return found


def test_no_device_is_slower_than_a_neighbour_of_less_peak_because_one_of_them_was_measured() -> None:
    assert inversions(lambda device, dtype: float(machine_of(device, dtype).flop_per_s)) == []


def test_one_share_for_all_that_were_not_measured_inverts_neighbours() -> None:
    def flat(device: Hardware, dtype: str) -> float:
        return ceilings().get((device.id, dtype), 0.78 * device.peak(dtype))

    assert ("bf16", "mi355x-288gb", "mi350x-288gb") in inversions(flat)


def test_a_neighbours_share_is_carried_over_and_said() -> None:
    # ceilings.csv: 1,565 of MI355X's 2,516.6 TFLOP/s; MI350X has 2,306.9.
    found = machine_of(hardware("mi350x-288gb"))
    assert found.flop_per_s == pytest.approx(1565e12 / 2516.6e12 * 2306.9e12)
    assert "no matmul ceiling of mi350x-288gb in bf16 was measured: 0.622 of its peak is assumed, as of mi355x-288gb" in found.notes


def test_no_network_outruns_the_pcie_that_it_hangs_on() -> None:
    for name in hardware_ids():
        device = hardware(name)
        machine = machine_of(device, next(dtype for dtype in ("bf16", "fp16", "fp32") if dtype in device.peak_flop_per_s))
        assert machine.network_bytes_per_s <= (device.pcie_bytes_per_s or math.inf), name
        if device.link_bytes_per_s is None:
            assert machine.network_bytes_per_s <= machine.link_bytes_per_s <= (device.pcie_bytes_per_s or 25e9), name


def test_a_slower_slot_slows_the_network_and_says_so() -> None:
    h100 = replace(H100, pcie_bytes_per_s=16e9)  # as if in a slot of the third generation
    assert machine_of(H100).network_bytes_per_s == 50e9
    assert machine_of(h100).network_bytes_per_s == 16e9
    assert "a network of 16 GB/s per device is assumed, what PCIe carries of its generation's 50" in machine_of(h100).notes
    assert machine_of(h100, network_bytes_per_s=50e9).network_bytes_per_s == 50e9, "the user's own figure is the user's"


def test_a_consumer_card_reaches_its_network_through_the_host() -> None:
    notes = machine_of(hardware("rtx-5090-32gb")).notes
    assert "a network of 25 GB/s per device is assumed, what PCIe carries of its generation's 50" in notes
    assert "rtx-5090-32gb has no scale-up link: PCIe at 25 GB/s is assumed" in notes


def test_the_interval_is_wider_where_little_was_measured_or_much_missed() -> None:
    layout = Layout(dp=8, global_batch=64, zero=3)

    def width(name: str, device: str, dtype: str = "bf16") -> float:
        found = predict(model(name), 4096, layout, hardware(device), dtype=dtype)
        return found.high_s / found.low_s

    known = width("llama-3-8b", "h100-sxm5-80gb")
    assert width("llama-3-8b", "mi300x-192gb") > known
    assert width("llama-3-8b", "b200-sxm-180gb") > known
    assert width("mixtral-8x7b", "h100-sxm5-80gb") > known
    notes = predict(model("llama-3-8b"), 4096, layout, hardware("mi300x-192gb")).notes
    assert any("no measured step ran on CDNA3" in note for note in notes)


def own(**rates: Any) -> MeasuredRates:
    return MeasuredRates(**({"hardware_id": "h100-sxm5-80gb", "flop_per_s": (("bf16", 650e12),), "title": "mine"} | rates))


class TestMeasuredRates:
    """What a user measured, on the device that it is of."""

    def test_a_measured_ceiling_and_link_are_what_products_and_collectives_reach(self) -> None:
        found, shipped = machine_of(H100, own=own(link_bytes_per_s=300e9)), machine_of(H100)
        assert (found.flop_per_s, found.flop16_per_s) == (650e12, 650e12)
        assert bandwidth(found, efficiency(), group=8, together=8) == pytest.approx(300e9), "as measured: the share of nominal is in it"
        assert (found.memory_bytes_per_s, found.network_bytes_per_s) == (shipped.memory_bytes_per_s, shipped.network_bytes_per_s)
        assert any("650 TFLOP/s in bf16 and links at 300 GB/s per device from mine" in note for note in found.notes)

    def test_a_dtype_that_was_not_measured_keeps_the_shipped_ceiling_and_says_so(self) -> None:
        found = machine_of(H100, "fp8", own=own())
        assert (found.flop_per_s, found.flop16_per_s) == (machine_of(H100, "fp8").flop_per_s, 650e12)
        assert any("no matmul ceiling in fp8 from mine" in note for note in found.notes)

    def test_another_device_is_as_shipped(self) -> None:
        a100 = hardware("a100-sxm4-80gb")
        assert machine_of(a100, own=own()) == machine_of(a100)

    def test_a_measured_ceiling_narrows_the_interval_of_a_device_that_had_none(self) -> None:
        measured = {name for name, _ in ceilings()}
        known = (hardware(name) for name in hardware_ids() if name not in measured)
        unknown = next(one for one in known if has_measured_steps(one) and "bf16" in one.peak_flop_per_s)
        mine = own(hardware_id=unknown.id)
        steps = [predict(model("llama-3-8b"), 4096, Layout(dp=8, global_batch=64, zero=3), unknown, own=one) for one in (None, mine)]
        before, after = (step.high_s / step.low_s for step in steps)
        assert after < before
