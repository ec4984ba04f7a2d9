"""Sums over experiments: each is the sum of what is known, and says of how many experiments nothing is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from estimators.disclosure.experiment import ENERGY_KINDS, STANDINGS, EnergyKind, Experiment, Standing
from estimators.frozen import frozen


@frozen
class Sum:
    """A sum of what is known.

    Attributes:
        value: None where nothing is known: a missing figure is no nought.
        num_known, num_missing: experiments with the figure, and those that should have it and do not.
        reasons: why they do not, each once.
    """

    value: float | None
    num_known: int
    num_missing: int
    reasons: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether no experiment that should have the figure lacks it."""
        return self.num_missing == 0


def sum_of(experiments: Sequence[Experiment], figure: Callable[[Experiment], float | None], why: Callable[[Experiment], str]) -> Sum:
    """The figure summed over the experiments.

    Args:
        experiments: those that should have it.
        why: an experiment does not have it.
    """
    known = [value for each in experiments if (value := figure(each)) is not None]
    missing = [why(each) for each in experiments if figure(each) is None]
    value = None if not known else sum(known) if all(isinstance(each, int) for each in known) else math.fsum(known)
    return Sum(value=value, num_known=len(known), num_missing=len(missing), reasons=tuple(dict.fromkeys(filter(None, missing))))


@frozen
class Total:
    """Experiments of one standing together, or all of them.

    Attributes:
        standing: None for all.
        energy_j: by kind; an experiment that one kind has is missing in no other.
    """

    standing: Standing | None
    experiments: tuple[Experiment, ...]
    device_s: Sum
    architecture_flop: Sum
    device_time_flop: Sum
    energy_j: tuple[tuple[EnergyKind, Sum], ...]

    def energy(self, kind: EnergyKind) -> Sum:
        """Of a kind."""
        return dict(self.energy_j)[kind]

    @property
    def num_unmetered(self) -> int:
        """Experiments of which nothing is known of any part of the machine."""
        return sum(all(each.energy_j(kind) is None for kind in ENERGY_KINDS) for each in self.experiments)

    @property
    def metered_fraction(self) -> float | None:
        """Share of the device time of experiments whose devices a meter read that lies in its window; None where none tells its window."""
        windows = [
            (each, max(energy.window_s or 0.0 for energy in each.energies if energy.energy_j is not None and energy.kind == "measured"))
            for each in self.experiments
            if each.device_s and each.energy_j("measured") is not None
        ]
        told = [(each, window_s) for each, window_s in windows if window_s]
        if not told:
            return None
        return sum(window_s * each.num_devices for each, window_s in told) / sum(each.device_s or 0.0 for each, _ in told)

    @property
    def difference_fraction(self) -> float | None:
        """Training compute by device time over that by architecture, less 1, over the trainings that both count."""
        pairs = [(each.device_time_flop, each.architecture_flop) for each in self.experiments if each.trains]
        counted = [(timed, ours) for timed, ours in pairs if timed is not None and ours is not None]
        by_architecture = sum(ours for _, ours in counted)
        return math.fsum(timed for timed, _ in counted) / by_architecture - 1 if by_architecture else None


def total_of(experiments: Sequence[Experiment], standing: Standing | None = None) -> Total:
    """The experiments of a standing, or all, summed."""
    chosen = tuple(each for each in experiments if standing in (None, each.standing))
    trainings = [each for each in chosen if each.trains]

    def energy(kind: EnergyKind) -> Sum:
        bare = [each for each in chosen if each.energy_j(kind) is not None or all(each.energy_j(other) is None for other in ENERGY_KINDS)]
        return sum_of(bare, lambda each: each.energy_j(kind), _why_no_energy)

    return Total(
        standing=standing,
        experiments=chosen,
        device_s=sum_of(chosen, lambda each: each.device_s, lambda each: each.reason("device_s")),
        architecture_flop=sum_of(trainings, lambda each: each.architecture_flop, lambda each: each.reason("architecture_flop")),
        device_time_flop=sum_of(trainings, lambda each: each.device_time_flop, _why_no_device_time_flop),
        energy_j=tuple((kind, energy(kind)) for kind in ENERGY_KINDS),
    )


def _why_no_device_time_flop(experiment: Experiment) -> str:
    return experiment.reason("device_time_flop") or experiment.reason("device_s")


def _why_no_energy(experiment: Experiment) -> str:
    return "; ".join(f"{each.part}: {each.source}" for each in experiment.energies if each.energy_j is None)


def totals_of(experiments: Sequence[Experiment]) -> tuple[Total, ...]:
    """One for each standing that there is, in the order of STANDINGS."""
    return tuple(total_of(experiments, standing) for standing in STANDINGS if any(each.standing == standing for each in experiments))
