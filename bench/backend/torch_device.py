"""What torch itself says of this machine, for `doctor --torch`."""

from __future__ import annotations

from collections.abc import Iterator

from bench.backend import device as devices
from bench.machine.doctor.item import Item
from estimators.errors import UnavailableError


def items(name: str | None = None) -> Iterator[Item]:
    """The device that a run would use, with its settings; what its clock reads for an empty step."""
    try:
        device = devices.choose(name)
    except UnavailableError as error:
        cost, mend = "nothing can be measured on it", "name another with --device"
        yield Item(group="torch", what="device", found=str(error), verdict="untrusted", cost=cost, mend=mend)
        return
    told = {key: value for key, value in device.describe().stated().items() if value is not None}
    yield Item(group="torch", what="device", found=", ".join(f"{key} {value}" for key, value in told.items()))
    if device.kind == "cuda" and device.hardware() is None:
        cost, mend = "no datasheet peak: no MFU and no physics bound", "add it to hardware.csv, or rely on the ceilings measured here"
        yield Item(group="torch", what="datasheet", found=f"{device.name} is not known", verdict="costs", cost=cost, mend=mend)
    yield Item(group="torch", what="device clock", found=f"{device.clock().name}, an empty step reads {device.clock().resolution_s:.2g} s")
