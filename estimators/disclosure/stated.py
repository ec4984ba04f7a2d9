"""A training that its user states: model, method, tokens, devices and hours, as one experiment."""

from __future__ import annotations

from estimators.disclosure.disclosure import Original
from estimators.disclosure.experiment import Energy, Experiment, Utilization, estimated_energy, usual_utilization
from estimators.errors import PhysicsError
from estimators.facts.entries import ModelEntry
from estimators.spec import Hardware, Model
from estimators.training.at_utilization import training_flop
from estimators.units import HOUR_S, format_fraction


def stated_experiment(
    model: Model,
    *,
    name: str,
    is_tuning: bool,
    tokens: int,
    seq_len: int,
    hardware: Hardware,
    num_devices: int,
    wall_s: float,
    dtype: str,
    utilization: Utilization | None = None,
    energy_j: float | None = None,
) -> Experiment:
    """The experiment.

    Args:
        model: as it is trained, adapters and frozen layers in it.
        tokens: trained on.
        wall_s: seconds, on `num_devices` devices.
        utilization: of the route by device time; None takes what published runs reached.
        energy_j: that a meter of the user's read of the devices; None estimates it.

    Raises:
        BadValueError: no peak of the device for the dtype.
        PhysicsError: so many tokens cannot be trained on in that time.
    """
    counted = training_flop(model, tokens, seq_len)
    device_s, peak = num_devices * wall_s, hardware.peak(dtype)
    needed = min(counted["causal"], counted["full"])
    if needed > device_s * peak:
        raise PhysicsError(
            f"impossible: {tokens:,} tokens of {name} take {format_fraction(needed / (device_s * peak))} of what {num_devices:,} x "
            f"{hardware.name} can do in {wall_s / HOUR_S:g} h at their dense {dtype} peak; check --tokens, --gpus and --hours"
        )
    if energy_j is None:
        energy = estimated_energy(hardware, device_s)
    else:
        energy = Energy(part="devices", kind="measured", energy_j=energy_j, source="a meter of the user's, as --kwh says")
    return Experiment(
        name=name,
        standing="complete",
        why="",
        work="fine-tuning" if is_tuning else "training",
        model=model.name,
        device=hardware.name,
        hardware=hardware,
        num_devices=num_devices,
        memory_bytes=hardware.memory_bytes,
        device_s=device_s,
        trains=True,
        architecture_flop=counted["full"],
        counted_as="full",
        dtype=dtype,
        peak_flop_per_s=peak,
        utilization=utilization or usual_utilization(hardware),
        energies=(energy,),
    )


def original_of(entry: ModelEntry | None, model: Model, seq_len: int) -> Original | None:
    """Training compute of a published model, as its authors print it, or of the tokens that they print; None where neither is known."""
    published = entry.training if entry else None
    if not published:
        return None
    if flop := published.get("flop"):
        return Original(flop=float(flop), source=f"{published.get('source', 'its authors')}, as printed")
    if tokens := published.get("tokens"):
        flop = training_flop(model, int(tokens), seq_len)["full"]
        return Original(flop=float(flop), source=f"{int(tokens):,} tokens, {published.get('source', 'its authors')}; counted full")
    return None
