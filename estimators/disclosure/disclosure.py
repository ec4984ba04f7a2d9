"""Disclosure: experiments with the electricity that they took, what that emitted, and the thresholds that the compute is held against."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.disclosure.experiment import ENERGY_KINDS, EnergyKind, Experiment
from estimators.disclosure.totals import Total, total_of, totals_of
from estimators.facts.compute_thresholds import ComputeThreshold, compute_thresholds
from estimators.facts.electricity import Grid
from estimators.frozen import frozen

NOT_ADVICE = "Not legal advice: rows of a table with their sources, and arithmetic."


@frozen
class Setting:
    """Where the electricity is from, and what the building adds.

    Attributes:
        grid: its CO2, year and source.
        pue: energy of the building over energy of the devices; None where nobody says, and then nothing is added.
        pue_source: who says so.
    """

    grid: Grid
    pue: float | None = None
    pue_source: str = ""

    @property
    def carbon_kg_per_device_j(self) -> float:
        """CO2 of a joule at the devices: factor · PUE."""
        return self.grid.carbon.value * (self.pue or 1.0)


@frozen
class Original:
    """Training compute of the model that was modified, and who says so."""

    flop: float
    source: str


@frozen
class Against:
    """A threshold and where the training compute stands to it, by each route.

    Attributes:
        amount_flop: None of a share of an original of which the compute is not known.
        by_architecture, by_device_time: the compute over the threshold; None where either is not known.
    """

    threshold: ComputeThreshold
    amount_flop: float | None
    by_architecture: float | None
    by_device_time: float | None

    @property
    def is_passed(self) -> bool | None:
        """Whether a route passes it; None where nothing is known."""
        known = [share for share in (self.by_architecture, self.by_device_time) if share is not None]
        return None if not known else any(share > 1 for share in known)


@frozen
class Disclosure:
    """What is disclosed.

    Attributes:
        experiments: one by one.
        left_out: what was read and is none, a line each.
        remarks: what a reader of the files has to know, a line each.
        original: of the model that was fine-tuned; None where there is none or nobody says.
        stated_type: pre-training or fine-tuning, where the user says it; else empty.
    """

    experiments: tuple[Experiment, ...]
    setting: Setting
    left_out: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    original: Original | None = None
    stated_type: str = ""

    @property
    def total(self) -> Total:
        """Of all experiments."""
        return total_of(self.experiments)

    @property
    def totals(self) -> tuple[Total, ...]:
        """By standing."""
        return totals_of(self.experiments)

    @property
    def training_type(self) -> str:
        """As a card of Hugging Face has it: ``fine-tuning`` where each training is one, else ``pre-training``; empty where nobody tells."""
        works = {each.work for each in self.experiments if each.trains}
        if self.stated_type or not works or "tracked" in works:
            return self.stated_type
        return "fine-tuning" if works == {"fine-tuning"} else "pre-training"

    def carbon_kg(self, kind: EnergyKind, total: Total | None = None) -> float | None:
        """Kilograms of CO2 equivalent of the energy of a kind: energy · PUE · factor."""
        energy_j = (total or self.total).energy(kind).value
        return None if energy_j is None else energy_j * self.setting.carbon_kg_per_device_j

    @property
    def kinds(self) -> tuple[EnergyKind, ...]:
        """The kinds of energy of which there is any."""
        return tuple(kind for kind in ENERGY_KINDS if self.total.energy(kind).value is not None)

    @property
    def against(self) -> tuple[Against, ...]:
        """The compute of all experiments against each threshold."""
        return tuple(self._against(threshold) for threshold in compute_thresholds().values())

    def _against(self, threshold: ComputeThreshold) -> Against:
        amount_flop = threshold.amount_flop(self.original.flop if self.original else None)

        def over(flop: float | None) -> float | None:
            return None if flop is None or amount_flop is None else flop / amount_flop

        return Against(
            threshold=threshold,
            amount_flop=amount_flop,
            by_architecture=over(self.total.architecture_flop.value),
            by_device_time=over(self.total.device_time_flop.value),
        )


def impossible(experiments: Sequence[Experiment]) -> list[Experiment]:
    """Those whose training compute no device could have done in the time."""
    return [each for each in experiments if (each.reached_share or 0.0) > 1]
