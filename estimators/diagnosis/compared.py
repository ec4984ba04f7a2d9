"""A run beside another run of the same: what part of the other's speed it has, device for device."""

from __future__ import annotations

from estimators.diagnosis.observed import TIMES, Figure, OtherRun
from estimators.diagnosis.question import DiagnosisQuestion
from estimators.errors import RequestError
from estimators.facts.device_names import device_named
from estimators.facts.registry import hardware as by_id
from estimators.frozen import frozen
from estimators.spec import Hardware
from estimators.units import format_fraction, format_int

ORDINARY = 0.8
"""Of another run's speed, device for device, what two honest ways to run the same differ by. Assumed."""

NOISE = 0.03
"""What two machines of one kind differ by. Assumed; `selftest` measures it of one machine."""

MISTIMED = 1.5
"""Times faster than another measurement of the very same: more than software, so that the clock is suspected first. Assumed."""

SOCKETS = 0.2
"""Of the speed without a network, what is left where traffic falls back to sockets: 10 to 25 Gb/s in place of 200 to 400. Assumed."""

NODE = 8
"""Devices of a node where the device's servers are not known."""


@frozen
class Comparison:
    """Speed of a run over another's.

    Attributes:
        efficiency: of the other's speed, device for device and peak for peak.
        expected: what the figure would be at the other's speed, in its own unit.
        grew: whether the run has more devices than the other.
        same: whether both have as many devices, of one kind.
        is_strong: whether the same step is shared out over more devices.
        said: in words.
    """

    other: OtherRun
    efficiency: float
    expected: float
    grew: bool
    same: bool
    is_strong: bool
    said: str


def compared(q: DiagnosisQuestion) -> Comparison | None:
    """The run beside the first other run of the same quantity; None where there is none."""
    main = q.main
    if main is None:
        return None
    if main.quantity == "over_single_node":
        one = OtherRun(figure=Figure(quantity="over_single_node", value=1.0), num_devices=NODE)
        said = f"{format_fraction(main.value)} of what one node does"
        return Comparison(other=one, efficiency=main.value, expected=1.0, grew=True, same=False, is_strong=False, said=said)
    other = next((o for o in q.observed.others if o.figure.quantity == main.quantity), None)
    return None if other is None else _beside(q, main, other)


def _beside(q: DiagnosisQuestion, main: Figure, other: OtherRun) -> Comparison:
    mine, theirs = q.num_devices or 1, other.num_devices or q.num_devices or 1
    device = _device(other.hardware)
    same_kind = device is None or q.hardware is None or device.id == q.hardware.id
    faster = 1.0 if same_kind else _peak_ratio(q, device)
    is_strong = False
    if main.quantity in TIMES:
        speed = other.figure.value / main.value
        is_strong = mine > theirs and speed > 1
        efficiency = speed * (theirs / mine if is_strong else 1) / faster
    else:
        speed = main.value / other.figure.value
        efficiency = speed * (theirs / mine if main.scope == "job" and main.quantity != "requests_per_s" else 1) / faster
    expected = main.value * efficiency if main.quantity in TIMES else main.value / efficiency
    ideal = f", ideal {Figure(quantity=main.quantity, value=expected, scope=main.scope)}" if mine != theirs or not same_kind else ""
    where = f" on {format_int(other.num_devices)} devices" if other.num_devices else ""
    where += f" ({device.id})" if device is not None and not same_kind else ""
    return Comparison(
        other=other,
        efficiency=efficiency,
        expected=expected,
        grew=mine > theirs,
        same=mine == theirs and same_kind,
        is_strong=is_strong,
        said=f"{main} beside {other.figure}{where}{ideal}: {format_fraction(efficiency)} of its speed",
    )


def _peak_ratio(q: DiagnosisQuestion, other: Hardware | None) -> float:
    """How much faster the run's device is than the other's at most."""
    if other is None or not q.peak_flop_per_s:
        return 1.0
    return q.peak_flop_per_s / other.peak_flop_per_s.get(q.dtype, q.peak_flop_per_s)


def _device(name: str) -> Hardware | None:
    try:
        return by_id(device_named(name).hardware_id) if name else None
    except RequestError:
        return None


def suspects_of(q: DiagnosisQuestion, found: Comparison) -> list[str]:
    """Causes of a run that is slower than another, the likeliest first."""
    main = q.main
    assert main is not None
    node = (q.hardware.devices_per_node if q.hardware else None) or NODE
    if main.quantity == "requests_per_s":
        return ["slow_tokenizer", "other_lengths", "noisy_machine"]
    if found.grew and (q.num_devices or 0) > node:
        fallen = found.efficiency < SOCKETS
        between = ["network_no_infiniband", "network"] if fallen else ["network", "network_no_infiniband"]
        return [*between, "straggler_gpu"]
    if found.grew:
        pcie = q.hardware is not None and joined_by_pcie(q.hardware)
        return ["interconnect_pcie", "straggler_gpu", "data_loader_suspected"] if pcie else ["straggler_gpu", "data_loader_suspected"]
    if (q.num_devices or 1) > 1:
        return ["straggler_gpu", "throttling", "noisy_machine"]
    return ["throttling", "noisy_machine", "implementation"]


def joined_by_pcie(device: Hardware) -> bool:
    """Whether a server's devices of this kind have no link but PCIe, unless a bridge was bought for them."""
    return device.link_bytes_per_s is None or "-pcie-" in device.id
