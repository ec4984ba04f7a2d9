"""One experiment as it is disclosed: on what, for how long, how much training compute by two routes, and what meters said."""

from __future__ import annotations

from typing import Literal

from estimators.facts.electricity import power_share
from estimators.facts.registry import utilization_range
from estimators.frozen import frozen
from estimators.spec import Hardware

Standing = Literal["complete", "preliminary", "broken off", "failed"]
STANDINGS: tuple[Standing, ...] = ("complete", "preliminary", "broken off", "failed")
"""How an experiment ended, or what it was for; in the order in which they are told."""

EnergyKind = Literal["measured", "estimated", "not stated"]
ENERGY_KINDS: tuple[EnergyKind, ...] = ("measured", "estimated", "not stated")
"""Read from a counter; worked out from a power limit; in a file that does not tell which of the two."""


@frozen
class Energy:
    """Energy of one part of the machine, by one route.

    Attributes:
        part: GPUs, processors, memory, boards.
        energy_j: joules at the devices, nothing of the building's; None where nothing was read, and then `source` says why.
        source: instrument, formula, or the reason why there is none.
        window_s: seconds that it covers, where a meter tells.
    """

    part: str
    kind: EnergyKind
    energy_j: float | None
    source: str
    window_s: float | None = None


@frozen
class Utilization:
    """Share of a device's dense peak that the route by device time multiplies with, and who says so."""

    share: float
    source: str


@frozen
class Experiment:
    """One experiment. What is None has its reason in `unavailable`, by the field's name.

    Attributes:
        name: of the record, of the run in a file, or in words.
        standing, why: how it ended, and what broke it off.
        work: training, fine-tuning, inference, self-test, or tracked where a file tells energy alone.
        device: as its driver or its user calls it; hardware its row among the facts.
        num_devices: that worked on it.
        memory_bytes: of one device; of processors, their host's. None where nobody tells.
        device_s: device time: seconds times devices.
        trains: whether it changed weights; the training compute of others is none.
        architecture_flop: training compute by the model's operations, as `counted_as` names the convention; of a training alone.
        dtype: of compute.
        peak_flop_per_s: dense peak of one device for that dtype.
        utilization: of the route by device time.
        energies: by part of the machine, read or not.
    """

    name: str
    standing: Standing
    why: str
    work: str
    model: str
    device: str
    hardware: Hardware | None
    num_devices: int
    memory_bytes: int | None
    device_s: float | None
    trains: bool
    architecture_flop: int | None
    counted_as: str
    dtype: str
    peak_flop_per_s: float | None
    utilization: Utilization | None
    energies: tuple[Energy, ...]
    unavailable: tuple[tuple[str, str], ...] = ()

    @property
    def device_time_flop(self) -> float | None:
        """Training compute by device time: peak · device time · utilization; of a training alone."""
        if not self.trains or self.device_s is None or self.peak_flop_per_s is None or self.utilization is None:
            return None
        return self.peak_flop_per_s * self.device_s * self.utilization.share

    @property
    def reached_share(self) -> float | None:
        """Share of the peak that the training compute by architecture comes to over the device time; above 1 is impossible."""
        if not self.trains or self.architecture_flop is None or not self.device_s or self.peak_flop_per_s is None:
            return None
        return self.architecture_flop / (self.device_s * self.peak_flop_per_s)

    def energy_j(self, kind: EnergyKind) -> float | None:
        """Sum over the parts of the machine that were read, or worked out, so; None where none was."""
        known = [each.energy_j for each in self.energies if each.kind == kind and each.energy_j is not None]
        return sum(known) if known else None

    def reason(self, field: str) -> str:
        """Why a field is None; empty where it is not."""
        return dict(self.unavailable).get(field, "")


def estimated_energy(hardware: Hardware | None, device_s: float | None) -> Energy:
    """Energy of the boards where no meter was read: power limit · measured share of it in training · device time."""
    if hardware is None or hardware.power_w is None or device_s is None:
        why = (
            "no row of the device" if hardware is None else "its power limit is not published" if device_s is not None else "no device time"
        )
        return Energy(part="boards", kind="estimated", energy_j=None, source=f"{why}, so none is estimated")
    share = power_share()
    source = f"{hardware.power_w:g} W limit x {share.value:g} of it x device time; {share.source.title}"
    return Energy(part="boards", kind="estimated", energy_j=hardware.power_w * share.value * device_s, source=source, window_s=None)


def usual_utilization(hardware: Hardware) -> Utilization:
    """The middle of what published trainings reached on a device's architecture: assumed, where nobody measured."""
    known = utilization_range(hardware)
    return Utilization(share=known.median, source=f"assumed: the middle of {known.num_runs} published runs on {known.scope}")
