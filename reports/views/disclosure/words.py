"""What a disclosure says in sentences: devices, compute, energy and CO2, each with its kind, its reach and its source."""

from __future__ import annotations

from collections.abc import Callable

from estimators.disclosure.disclosure import Disclosure
from estimators.disclosure.experiment import EnergyKind, Experiment
from estimators.disclosure.totals import Sum, Total
from estimators.units import (
    HOUR_S,
    format_bytes,
    format_carbon,
    format_duration,
    format_flop,
    format_flop_rate,
    format_fraction,
    format_grouped,
    format_signed_fraction,
    format_small_mass,
    format_watt_hours,
    plural,
)

KIND_WORDS: dict[EnergyKind, str] = {
    "measured": "measured",
    "estimated": "estimated",
    "not stated": "measured or estimated, which its file does not tell",
}
MAX_DEVICES = 4
"""Kinds of device that a sentence names."""

FAR_BELOW, FAR_ABOVE = -0.9, 9.0
"""Differences beyond which a share is hard to read."""

WHOLE_WINDOW = 0.95
"""Share of the device time from which on a meter's window is all of it."""


def begun(said: str) -> str:
    """Words as a sentence begins with them.

    >>> begun("training compute 1.000 EFLOP")
    'Training compute 1.000 EFLOP'
    """
    return said[:1].upper() + said[1:]


def device_words(experiment: Experiment) -> str:
    """Such as ``8 x NVIDIA H100 SXM (80.0 GiB)``."""
    name = experiment.device or "a device that nobody names"
    counted = f"{experiment.num_devices:,} x {name}" if experiment.num_devices > 1 else name
    return f"{counted} ({format_bytes(experiment.memory_bytes)})" if experiment.memory_bytes else counted


def hardware_words(disclosure: Disclosure) -> str:
    """The devices of all experiments, the ones that ran longest first."""
    seconds: dict[str, float] = {}
    for each in disclosure.experiments:
        seconds[device_words(each)] = seconds.get(device_words(each), 0.0) + (each.device_s or 0.0)
    names = sorted(seconds, key=lambda name: -seconds[name])
    more = len(names) - MAX_DEVICES
    return "; ".join(names[:MAX_DEVICES]) + (f"; and {more} more" if more > 0 else "")


def hours_words(total: Total) -> str:
    """Device hours, with how many experiments have none."""
    return _reach(total.device_s, time_words, "device time")


def time_words(device_s: float) -> str:
    """Device time in the unit that people think in.

    >>> time_words(432_000.0), time_words(90.0)
    ('120 device hours', '90.0 s of device time')
    """
    if device_s < HOUR_S:
        return f"{format_duration(device_s)} of device time"
    hours = format_grouped(device_s / HOUR_S)
    return f"{hours} device hour{'' if hours == '1' else 's'}"


def compute_words(total: Total) -> str:
    """Training compute by architecture."""
    if not any(each.trains for each in total.experiments):
        return "no training among them"
    return _reach(
        total.architecture_flop, lambda flop: f"training compute {format_flop(flop)} by architecture", "training compute by architecture"
    )


def device_time_words(total: Total) -> str:
    """Training compute by device time, how it was multiplied, and how far it is from the other; empty where nothing trained."""
    trainings = [each for each in total.experiments if each.trains]
    if not trainings:
        return ""
    known = _reach(
        total.device_time_flop, lambda flop: f"Training compute by device time: {format_flop(flop)}", "Training compute by device time"
    )
    timed = [each for each in trainings if each.device_time_flop is not None]
    if not timed:
        return known
    shares = sorted({each.utilization.share for each in timed if each.utilization})
    peaks = sorted({each.peak_flop_per_s for each in timed if each.peak_flop_per_s})
    share = format_fraction(shares[0]) if len(shares) == 1 else f"{format_fraction(shares[0])} to {format_fraction(shares[-1])}"
    peak = format_flop_rate(peaks[0]) if len(peaks) == 1 else f"{format_flop_rate(peaks[0])} to {format_flop_rate(peaks[-1])}"
    source = next(each.utilization.source for each in timed if each.utilization)
    apart = total.difference_fraction
    differs = f"; {difference_words(apart)} against architecture" if apart is not None else ""
    return f"{known} = peak {peak} x device time x {share} ({source}){differs}"


def difference_words(difference: float) -> str:
    """A difference of two counts as a share; as so many times where that says more.

    >>> difference_words(0.394), difference_words(1999.0), difference_words(-0.999)
    ('+39.4 %', '2,000 times', '0.001 times')
    """
    return format_signed_fraction(difference, 1) if FAR_BELOW <= difference <= FAR_ABOVE else f"{format_grouped(1 + difference)} times"


def energy_words(disclosure: Disclosure, total: Total | None = None) -> str:
    """Energy by kind, each by itself; why there is none where nothing is known."""
    total = total or disclosure.total
    num = len(total.experiments)
    said = []
    for kind in disclosure.kinds:
        found = total.energy(kind)
        if found.value is not None:
            of = f" ({found.num_known} of {num} experiments)" if found.num_known < num else ""
            said.append(f"{format_watt_hours(found.value)} {KIND_WORDS[kind]}{of}")
    if not said:
        return f"unavailable: {'; '.join(why_no_energy(total)) or 'no meter was read'}"
    if total.num_unmetered:
        said.append(f"unavailable of {plural(total.num_unmetered, 'experiment')}: {'; '.join(why_no_energy(total))}")
    return "; ".join(said)


def window_words(total: Total) -> str:
    """How much of the device time the meters' windows cover, where that is not all of it; empty else."""
    share = total.metered_fraction
    if share is None or share > WHOLE_WINDOW:
        return ""
    return f"Meters read {format_fraction(share)} of the device time of what they measured; loading and warm-up may be in no energy"


def why_no_energy(total: Total) -> tuple[str, ...]:
    """Why experiments have no energy, each reason once."""
    return total.energy("measured").reasons


def carbon_words(disclosure: Disclosure, total: Total | None = None) -> str:
    """CO2 of the energy by kind; why there is none where no energy is known."""
    total = total or disclosure.total
    said = [
        f"{format_small_mass(found)} of what is {KIND_WORDS[kind]}"
        for kind in disclosure.kinds
        if (found := disclosure.carbon_kg(kind, total)) is not None
    ]
    return "; ".join(said) if said else "unavailable: it is energy times a factor, and no energy is known"


def factor_words(disclosure: Disclosure) -> str:
    """Factor, place, year, PUE and sources."""
    grid, pue = disclosure.setting.grid, disclosure.setting.pue
    year = f", {grid.year}" if grid.year else ""
    building = f"PUE {pue:g} ({disclosure.setting.pue_source})" if pue else "no PUE given: devices alone, nothing of the building"
    return f"{format_carbon(grid.carbon.value)} ({grid.name}{year}; {grid.carbon.source.title}); {building}"


def apart_words(disclosure: Disclosure) -> str:
    """What broke off, failed or was a try, in a sentence; empty where there is none, or nothing else."""
    return "; ".join(
        f"{plural(len(total.experiments), 'experiment')} {total.standing}: {hours_words(total)}"
        for total in disclosure.totals
        if total.standing != "complete"
    )


def _reach(found: Sum, said: Callable[[float], str], noun: str) -> str:
    """A sum in words, and of how many experiments it is not known."""
    reasons = "; ".join(found.reasons)
    if found.value is None:
        return f"{noun} unavailable{f': {reasons}' if reasons else ''}"
    missing = f", and of {plural(found.num_missing, 'experiment')} unavailable ({reasons})" if found.num_missing else ""
    return f"{said(found.value)}{missing}"
