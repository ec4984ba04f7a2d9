"""Records as the experiments that a disclosure tells of: how they ended, device time, training compute, what meters read."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.records.asked import ESTIMATE, SELFTEST
from bench.records.record import Measurement, Phase
from estimators.disclosure.experiment import Energy, Experiment, Standing, Utilization, estimated_energy, usual_utilization
from estimators.errors import RequestError
from estimators.spec import Hardware

STANDING: dict[str, Standing] = {"complete": "complete", "partial": "broken off", "failed": "failed"}
"""Status of a record -> how it is told."""

READINGS_OF_STEPS = {"epoch", "host_step", "device_step"}
"""Phases that read the time of the training's steps once more."""

PARTS_OF_GENERATE = {"prefill", "decode", "between"}
"""Phases that are parts of the generations, where those are timed as wholes."""

NOTHING_TIMED = "it ended before anything was timed"
NO_PEAK = "no row of this device among the facts, so it has no peak"


def ran(record: Measurement) -> bool:
    """Whether anything ran: not so of a training that was only estimated."""
    return record.request.task != ESTIMATE


def experiment_of(record: Measurement, *, is_preliminary: bool = False, utilization: Utilization | None = None) -> Experiment:
    """A record as an experiment.

    Args:
        is_preliminary: whether its user says that it was a try.
        utilization: of the route by device time; None takes what published runs reached.
    """
    hardware = _hardware(record)
    peak = record.estimate.peak_flop_per_s
    trains = record.request.task == "train"
    device_s, num_devices = device_seconds(record), devices(record)
    flop, why_no_flop = architecture_flop(record) if trains else (None, "")
    energies = _energies(record)
    if hardware is not None and all(each.energy_j is None for each in energies if each.part == "GPUs"):
        energies = (*energies, estimated_energy(hardware, device_s))
    unavailable = {} if device_s is not None else {"device_s": NOTHING_TIMED}
    unavailable |= {"architecture_flop": why_no_flop} if why_no_flop else {}
    unavailable |= {"device_time_flop": NO_PEAK} if peak is None else {}
    standing = STANDING[record.status]
    return Experiment(
        name=record.run_id,
        standing="preliminary" if is_preliminary and standing == "complete" else standing,
        why=record.status_reason,
        work=_work(record),
        model=record.request.model,
        device=record.environment.device.name or "" if record.environment.device else "",
        hardware=hardware,
        num_devices=num_devices,
        memory_bytes=record.environment.device.memory_total_bytes if record.environment.device else None,
        device_s=device_s,
        trains=trains,
        architecture_flop=flop,
        counted_as="full",
        dtype=record.request.dtype or "",
        peak_flop_per_s=peak,
        utilization=utilization or (usual_utilization(hardware) if hardware and peak else None),
        energies=energies,
        unavailable=tuple(unavailable.items()),
    )


def _work(record: Measurement) -> str:
    if record.request.task == "train":
        return "fine-tuning" if record.request.method or record.estimate.tuning else "training"
    return "self-test" if record.request.task == SELFTEST else "inference"


def _hardware(record: Measurement) -> Hardware | None:
    from estimators.facts.registry import hardware  # deferred: most records are of processors, which have no row

    if record.estimate.hardware is None:
        return None
    try:
        return hardware(record.estimate.hardware)
    except RequestError:  # of another release's registry
        return None


def devices(record: Measurement) -> int:
    """Devices that worked: GPUs by their UUID where each rank tells its own; processors of a machine are one."""
    watched, served = record.proof.watched, record.proof.served
    if served is not None and served.served.num_gpus:
        return served.served.num_gpus
    if record.environment.device is not None and record.environment.device.kind == "cpu":
        return 1
    if watched is not None:
        ids = {rank.uuid for rank in watched.ranks}
        return len(ids) if None not in ids and ids else len(watched.ranks) or 1
    return record.proof.num_ranks or record.request.num_ranks or 1


def device_seconds(record: Measurement) -> float | None:
    """Seconds of the timed phases, warm-up and loading among them, times devices; None where nothing was timed.

    Of a watched training what savers, evaluators and others took between its steps is in it.
    """
    names = {phase.name for phase in record.phases}
    again = READINGS_OF_STEPS if "train_step" in names else set()
    again |= PARTS_OF_GENERATE if "generate" in names and record.request.task == "generate" else set()
    seconds = [_seconds(phase) for phase in record.phases if phase.name not in again]
    watched, served = record.proof.watched, record.proof.served
    if watched is not None:
        seconds += watched.others_s
    if not seconds and served is not None and served.duration_s is not None:
        seconds = [served.duration_s]
    return math.fsum(seconds) * devices(record) if seconds else None


def _seconds(phase: Phase) -> float:
    """All calls of a phase; its steady samples are means over calls."""
    return phase.calls_per_sample * math.fsum(phase.samples_s) + math.fsum(phase.warmup_s)


def num_steps(record: Measurement) -> int:
    """Steps of a training that were timed, warm-up among them."""
    phase = record.phase("train_step")
    return 0 if phase is None else phase.calls_per_sample * len(phase.samples_s) + len(phase.warmup_s)


def architecture_flop(record: Measurement) -> tuple[int | None, str]:
    """Training compute, full, of all steps; and why there is none.

    Of a watched training it is what was counted of each batch; of a run its step times the steps that were timed.
    """
    watched = record.proof.watched
    if watched is not None:
        return watched.training_flop, "" if watched.training_flop is not None else "the FLOP of a batch were not counted"
    step, steps = record.estimate.phases.get("train_step"), num_steps(record)
    if record.extrapolation is not None or any(phase.name.startswith("train_step@") for phase in record.phases):
        return None, "slices of the model were trained, whose FLOP its record does not have"
    if step is None or not steps:
        return None, "its step was not estimated" if step is None else "it ended before a step was timed"
    return steps * step.flop.full, ""


def _energies(record: Measurement) -> tuple[Energy, ...]:
    """What the counters of GPUs and processors read over the timed window; a part that did not work on it is left out."""
    on_cpu = record.environment.device is not None and record.environment.device.kind == "cpu"
    parts = [("processors", "cpu_package_energy_j", "RAPL counters, whole packages")]
    if not on_cpu:
        parts.insert(0, ("GPUs", "energy_j", "NVML counters, whole GPUs"))
    window_s = record.power.get("window_s")
    return tuple(_energy(record, part, figure, counter, window_s) for part, figure, counter in parts)


def _energy(record: Measurement, part: str, figure: str, counter: str, window_s: float | None) -> Energy:
    energy_j = record.power.get(figure)
    if energy_j is None:
        return Energy(part=part, kind="measured", energy_j=None, source=record.unavailable.get(figure, "no meter was read"))
    return Energy(part=part, kind="measured", energy_j=energy_j, source=counter, window_s=window_s)


def experiments_of(
    records: Sequence[Measurement], preliminary: frozenset[str], utilization: Utilization | None = None
) -> tuple[Experiment, ...]:
    """Those that ran.

    Args:
        preliminary: run_id of records that were tries.
    """
    return tuple(experiment_of(each, is_preliminary=each.run_id in preliminary, utilization=utilization) for each in records if ran(each))
