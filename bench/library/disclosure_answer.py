"""What `disclose` answers."""

from __future__ import annotations

from bench.library.answers import Answer


class DisclosureAnswer(Answer):
    """Of `disclose`; `good` is False where no device could have done what an experiment says. Sums are of what is known."""

    num_experiments: int
    num_unmetered: int
    device_hours: float | None
    architecture_flop: int | None
    device_time_flop: float | None
    difference_fraction: float | None
    energy_measured_j: float | None
    energy_estimated_j: float | None
    energy_not_stated_j: float | None
    carbon_measured_kg: float | None
    carbon_estimated_kg: float | None
    carbon_not_stated_kg: float | None
    carbon_kg_per_j: float
    carbon_year: int | None
    carbon_source: str
    location: str | None
    pue: float | None
    training_type: str | None
    hardware_used: str
    left_out: list[str]
    co2_eq_emissions: dict[str, str | float] | None
    forms: dict[str, str]
