"""Machine: what a device and its links reach, as the cost model sees it; ceilings are measured, networks stated or assumed."""

from __future__ import annotations

import functools
import math

from estimators.cost.array_math import Lane
from estimators.cost.efficiency import efficiency
from estimators.facts import data
from estimators.frozen import frozen
from estimators.spec import Hardware

CEILING_COLUMNS = ("hardware_id", "dtype", "flop_per_s", "cluster", "software", "source")
NETWORK_COLUMNS = ("id", "name", "match", "bytes_per_s", "devices_per_domain", "source")
LOW_DTYPES = ("fp8", "mxfp8", "mxfp4", "nvfp4", "int8")
SAME_UNIT = {"mxfp8": "fp8", "mxfp4": "nvfp4", "fp16": "bf16", "bf16": "fp16"}
"""Format -> the one whose products the same unit forms at the same rate."""

UNMEASURED_CEILING = 0.78
"""Share of the dense peak taken as matmul ceiling where none was measured on a device of its architecture: the median of ceilings.csv."""

HOST_BYTES_PER_S = 25e9
"""What devices without a link of their own reach through PCIe and the host, per device and direction, unless their slot carries less."""


@frozen
class Machine:
    """A device and its links. Bandwidths are nominal and per direction; the constants say what collectives reach.

    Attributes:
        flop_per_s, flop16_per_s: matmul ceilings in the dtype of the step's products, and in bf16: of attention, which exponentials
            bound and power does not, and of the head where products run below 16 bits.
        units: multiprocessors, which set how many tiles run at once.
        memory_bytes, memory_bytes_per_s: of the device.
        link_bytes_per_s, network_bytes_per_s: scale-up and scale-out, per device.
        domain: devices that the scale-up link joins.
        low: whether products run below 16 bits.
        notes: what was assumed.
    """

    flop_per_s: Lane
    flop16_per_s: Lane
    units: Lane
    memory_bytes: Lane
    memory_bytes_per_s: Lane
    link_bytes_per_s: Lane
    network_bytes_per_s: Lane
    domain: Lane
    low: bool = False
    notes: tuple[str, ...] = ()


@frozen
class Network:
    """What joins nodes: a known cluster, or what a generation of devices usually comes with.

    Attributes:
        match: a known cluster's name, or the beginning of a device's architecture.
        bytes_per_s: per device and direction.
        devices_per_domain: devices behind one scale-up switch, where it is more than a node; None for a node.
    """

    id: str
    name: str
    match: str
    bytes_per_s: float
    devices_per_domain: int | None
    source: str


@frozen
class MeasuredRates:
    """Rates measured on one kind of device, in place of the shipped figures.

    Attributes:
        hardware_id: the device that they are of; any other keeps the shipped ones.
        flop_per_s: matmul ceilings, as pairs of dtype and rate.
        link_bytes_per_s: what an all-reduce within a node reaches per device; None keeps the shipped one.
        title: where they come from, for notes.
    """

    hardware_id: str
    flop_per_s: tuple[tuple[str, float], ...]
    link_bytes_per_s: float | None = None
    title: str = ""

    def ceiling(self, dtype: str) -> float | None:
        """FLOP/s in a dtype; None where it was not measured."""
        return dict(self.flop_per_s).get(dtype)


@functools.cache
def ceilings(cluster: str = "") -> dict[tuple[str, str], float]:
    """Measured matmul ceilings in FLOP/s by hardware and dtype: of whatever machine was measured, or of a known cluster's own."""
    rows = data.read_rows(data.file("ceilings.csv"), CEILING_COLUMNS)
    return {
        (row.text("hardware_id"), row.text("dtype")): row.number("flop_per_s") for row in rows if row.optional_text("cluster") == cluster
    }


@functools.cache
def machine_spread(hardware_id: str) -> float:
    """How many times slower products were on the slowest machine of a kind of device than its ceiling says; 1 where one was measured.

    >>> round(machine_spread("b200-sxm-180gb"), 2), machine_spread("h100-sxm5-80gb")
    (1.48, 1.0)
    """
    rows = [row for row in data.read_rows(data.file("ceilings.csv"), CEILING_COLUMNS) if row.text("hardware_id") == hardware_id]
    own = [row for row in rows if row.optional_text("cluster")]
    return max((ceilings()[hardware_id, row.text("dtype")] / row.number("flop_per_s") for row in own), default=1.0)


@functools.cache
def networks() -> tuple[Network, ...]:
    """Known clusters, then the usual network of each generation."""
    return tuple(
        Network(
            id=row.text("id"),
            name=row.text("name"),
            match=row.text("match"),
            bytes_per_s=row.number("bytes_per_s"),
            devices_per_domain=row.optional_integer("devices_per_domain"),
            source=row.text("source"),
        )
        for row in data.read_rows(data.file("networks.csv"), NETWORK_COLUMNS)
    )


def network_of(hardware: Hardware, cluster: str = "") -> Network | None:
    """The network of a known cluster, else the usual one of the device's generation; None where neither is known.

    >>> from estimators.facts.registry import hardware
    >>> network_of(hardware("a100-sxm4-80gb")).bytes_per_s, network_of(hardware("a100-sxm4-80gb"), "jean-zay").bytes_per_s
    (25000000000.0, 6250000000.0)
    """
    if cluster:
        return next((network for network in networks() if network.id == cluster), None)
    matching = [n for n in networks() if hardware.id.startswith(n.match) or hardware.architecture.startswith(n.match)]
    return max(matching, key=lambda n: (hardware.id.startswith(n.match), len(n.match)), default=None)


@functools.lru_cache(maxsize=512)
def machine_of(
    hardware: Hardware,
    dtype: str = "bf16",
    *,
    cluster: str = "",
    network_bytes_per_s: float | None = None,
    own: MeasuredRates | None = None,
    units: int | None = None,
) -> Machine:
    """What the cost model knows of a device.

    Args:
        dtype: of the matrix products: bf16, fp16, tf32, fp32, fp8, mxfp8, mxfp4, nvfp4.
        cluster: a known cluster, for its network.
        network_bytes_per_s, own: figures measured by the user, in place of the shipped ones.

    Raises:
        BadValueError: the device has neither a ceiling nor a peak for the dtype.
    """
    notes = []
    own = own if own is not None and own.hardware_id == hardware.id else None
    network = network_of(hardware, cluster)
    through_host = min(HOST_BYTES_PER_S, hardware.pcie_bytes_per_s or HOST_BYTES_PER_S)
    if network_bytes_per_s is None:
        network_bytes_per_s, said = _network_rate(hardware, network, through_host)
        notes += [] if cluster else [said]
    link_bytes_per_s = own.link_bytes_per_s / efficiency().link if own and own.link_bytes_per_s else hardware.link_bytes_per_s
    if link_bytes_per_s is None:
        notes.append(f"{hardware.id} has no scale-up link: PCIe at {through_host / 1e9:g} GB/s is assumed")
    sustained = ceilings(cluster) if cluster and own is None else {}
    limited = 1.0 if own else _power_share(hardware, notes)
    ceiling = limited * (sustained.get((hardware.id, dtype)) or _ceiling(hardware, dtype, notes, own=own))
    if own is not None:
        notes.append(f"{_measured(own, dtype)} from {own.title}; memory bandwidth and all constants are the shipped ones")
    domain = (network.devices_per_domain if network else None) or hardware.devices_per_node or 8
    return Machine(
        flop_per_s=ceiling,
        flop16_per_s=ceiling if dtype in ("fp32", "tf32") else limited * _ceiling(hardware, "bf16", [], "fp16", own=own),
        units=units or hardware.compute_units or 100,
        memory_bytes=hardware.memory_bytes,
        memory_bytes_per_s=hardware.memory_bytes_per_s,
        link_bytes_per_s=link_bytes_per_s or through_host,
        network_bytes_per_s=network_bytes_per_s,
        domain=domain,
        low=dtype in LOW_DTYPES,
        notes=tuple(notes),
    )


def _power_share(device: Hardware, notes: list[str]) -> float:
    """What is left of the ceilings where the device is held below its product's power limit: the root of the power that is left.

    Power goes with clock times voltage squared, and voltage follows the clock in part: about the clock's square near the limit.
    """
    from estimators.facts.registry import hardware, hardware_ids

    rated = hardware(device.id).power_w if device.id in hardware_ids() else None
    if not rated or not device.power_w or device.power_w >= rated:
        return 1.0
    share = math.sqrt(device.power_w / rated)
    notes.append(f"{device.power_w:g} W of {rated:g}: {share:.3g} of the matmul ceiling is assumed")
    return share


def _network_rate(hardware: Hardware, network: Network | None, through_host: float) -> tuple[float, str]:
    """Bytes per second and device, never more than the slot that the adapter hangs on carries, and what was assumed."""
    usual = network.bytes_per_s if network else HOST_BYTES_PER_S
    slot = through_host if hardware.link_bytes_per_s is None else hardware.pcie_bytes_per_s or usual
    rate = min(usual, slot)
    if network is None:
        return rate, f"the network of {hardware.id} is unknown: {rate / 1e9:g} GB/s per device is assumed"
    why = "the usual one of its generation" if rate == usual else f"what PCIe carries of its generation's {usual / 1e9:g}"
    return rate, f"a network of {rate / 1e9:g} GB/s per device is assumed, {why}"


def _measured(own: MeasuredRates, dtype: str) -> str:
    rate, link = own.ceiling(dtype), own.link_bytes_per_s
    said = [f"a matmul ceiling of {rate / 1e12:.4g} TFLOP/s in {dtype}"] if rate else [f"no matmul ceiling in {dtype}"]
    return " and ".join([*said, *([f"links at {link / 1e9:.4g} GB/s per device"] if link else [])])


def _ceiling(hardware: Hardware, dtype: str, notes: list[str], instead: str = "", own: MeasuredRates | None = None) -> float:
    measured, peaks = ceilings(), hardware.peak_flop_per_s
    plain = SAME_UNIT.get(dtype, dtype) if dtype in peaks else dtype
    for name in (dtype, instead):
        if own is not None and (rate := own.ceiling(name)):
            return rate
    for name in (dtype, plain):
        if (hardware.id, name) in measured:
            return measured[hardware.id, name]
    for name in (dtype, plain):
        if alike := _same_chip(hardware, name):
            return alike
    for name in (dtype, plain, "bf16" if dtype in LOW_DTYPES else dtype):
        if dtype in peaks and (carried := _share_of_neighbour(hardware, name)):
            share, whose = carried
            notes.append(f"no matmul ceiling of {hardware.id} in {dtype} was measured: {share:.3g} of its peak is assumed, as of {whose}")
            return share * peaks[dtype]
    for name in (dtype, plain, instead):
        if name in peaks:
            notes.append(f"no matmul ceiling of {hardware.id} in {dtype} was measured: {UNMEASURED_CEILING:g} of its peak is assumed")
            return UNMEASURED_CEILING * peaks[name]
    return hardware.peak(dtype)  # which says that there is none


def _same_chip(device: Hardware, dtype: str) -> float | None:
    """The ceiling of a product with the same chip, peaks and power limit, such as an A100 with more memory."""
    from estimators.facts.registry import hardware

    for hardware_id, measured_dtype in ceilings():
        if measured_dtype == dtype:
            other = hardware(hardware_id)
            if all(
                getattr(other, fact) == getattr(device, fact) for fact in ("architecture", "compute_units", "power_w", "peak_flop_per_s")
            ):
                return ceilings()[hardware_id, dtype]
    return None


SIXTEEN = ("bf16", "fp16")

HALVED = 3
"""Times its fp32 vector units' rate that a card's 16-bit units at least reach where they accumulate in fp32 at full rate."""


def _has_halved_units(device: Hardware) -> bool:
    """Whether 16-bit products accumulate in fp32 at half rate, as on GeForce: such units draw too little to be held below their clock."""
    vector, tensor = device.peak_flop_per_s.get("fp32"), device.peak_flop_per_s.get("bf16")
    return bool(vector and tensor and tensor < HALVED * vector)


def _share_of_neighbour(device: Hardware, dtype: str) -> tuple[float, str] | None:
    """Ceiling over peak on the device itself or on the nearest of its architecture, else of its generation; and whose that is.

    Nearest by whether 16-bit units run at half rate, by peak, then by power limit: of two neighbours the one with the higher peak is
    never the slower for having been measured. Never above the peak: a card that boosts past its rating says nothing of others.
    """
    from estimators.facts.registry import hardware

    peak = device.peak_flop_per_s.get(dtype)
    if peak is None:
        return None
    measured = [hardware(hardware_id) for hardware_id, measured_dtype in ceilings() if measured_dtype == dtype]
    known = [other for other in measured if dtype in other.peak_flop_per_s]
    of_architecture = [other for other in known if other.architecture == device.architecture]
    alike = of_architecture or [other for other in known if other.generation == device.generation]
    if not alike:
        return None

    def distance(other: Hardware) -> tuple[bool, float, float]:
        theirs = other.peak(dtype)
        unlike = dtype in SIXTEEN and _has_halved_units(other) != _has_halved_units(device)
        return unlike, max(theirs / peak, peak / theirs), abs((other.power_w or 0) - (device.power_w or 0))

    nearest = min(alike, key=distance)
    return min(1.0, ceilings()[nearest.id, dtype] / nearest.peak(dtype)), nearest.id
