"""Energy of a phase and of one token of it, gross and net of what the device draws at rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.records.record import Measurement, Phase

COUNTERS = {
    "energy_j": ("NVML counter, the whole GPU", "idle_power_w"),
    "cpu_package_energy_j": ("RAPL counter, whole processor packages", "idle_cpu_package_power_w"),
}
"""Figure of a record to the instrument that read it, and to the power that the same instrument read at rest. Never added up."""

SHORT_S = 1.0
"""Counters step about every 100 ms: a shorter window is off by more than a tenth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseEnergy:
    """What the steady samples of a phase took by one instrument.

    Attributes:
        phase, instrument: of what, by what.
        window_s: of the counter, from before the first steady sample to after the last one.
        energy_j: gross.
        net_j: less the idle power over the window; None where no idle power is known, or it says more than was used.
        num_items: tokens or samples that were processed in the window.
        item: token or sample.
    """

    phase: str
    instrument: str
    window_s: float
    energy_j: float
    net_j: float | None
    num_items: int
    item: str

    @property
    def per_item_j(self) -> float:
        """Joules a token, gross."""
        return self.energy_j / self.num_items

    @property
    def net_per_item_j(self) -> float | None:
        """Joules a token, net."""
        return None if self.net_j is None else self.net_j / self.num_items

    @property
    def is_short(self) -> bool:
        """Whether the window is short against the counter's steps."""
        return self.window_s < SHORT_S


def net_energy_j(energy_j: float, idle_power_w: float | None, window_s: float) -> float | None:
    """Energy beyond that of a device at rest: E - P_idle · t; None where that is unknown or below 0.

    >>> net_energy_j(1000.0, 60.0, 5.0), net_energy_j(100.0, 60.0, 5.0)
    (700.0, None)
    """
    net_j = None if idle_power_w is None else energy_j - idle_power_w * window_s
    return net_j if net_j is not None and net_j >= 0 else None


def phase_energies(record: Measurement) -> Iterator[PhaseEnergy]:
    """Every phase whose window a counter read; prefill and decode of their own tasks apart."""
    for phase in record.phases:
        for figure, (instrument, idle) in COUNTERS.items():
            energy_j, window_s = record.power.get(f"{phase.name}_{figure}"), record.power.get(f"{phase.name}_window_s")
            items = num_items(phase)
            if energy_j is not None and window_s is not None and items:
                yield PhaseEnergy(
                    phase=phase.name,
                    instrument=instrument,
                    window_s=window_s,
                    energy_j=energy_j,
                    net_j=net_energy_j(energy_j, record.power.get(idle), window_s),
                    num_items=items,
                    item=phase.item,
                )


def num_items(phase: Phase) -> int:
    """Tokens or samples of all steady samples.

    >>> num_items(Phase(name="prefill", samples_s=(1.0, 1.0), items_per_sample=512, calls_per_sample=3))
    3072
    """
    return phase.items_per_sample * phase.calls_per_sample * len(phase.samples_s)
