"""Names of machines that are rented, and numbers beside the name of a device: what they hold, and how many."""

from __future__ import annotations

import functools
import re

from estimators.facts import data
from estimators.frozen import frozen

INSTANCE_COLUMNS = ("name", "hardware_id", "num_devices", "source")

SLICE = r"(?:tpu[- ]?)?(v2|v3|v4|v5p|v5e|v5litepod|v6e)-([0-9]{1,6})"
"""A slice of TPUs such as ``v5p-128``."""

SLICES = {
    "v2": ("tpu-v2", 1),
    "v3": ("tpu-v3", 1),
    "v4": ("tpu-v4", 2),
    "v5p": ("tpu-v5p", 2),
    "v5e": ("tpu-v5e", 1),
    "v5litepod": ("tpu-v5e", 1),
    "v6e": ("tpu-v6e", 1),
}
"""Kind of a slice -> the device, and what its number counts for one device: cores, of which JAX shows one (v2, v3) or both of a chip
(v4, v5p) as a device, or chips (v5e, v6e)."""

SLICE_SOURCE = "Google Cloud, TPU versions and accelerator types, https://cloud.google.com/tpu/docs/supported-tpu-configurations"

NUMBER = r"([0-9]{1,7}|[0-9]{1,3}(?:,[0-9]{3})+)"
COUNTED_FIRST = (rf"(?:gpu[\W_]+)?{NUMBER} ?[x×*][ _-]*(.+)", rf"{NUMBER}(?:[- ]gpus?)? (.+)")
"""A number before the name: ``8xH100``, ``gpu_8x_h100_sxm5``, ``8 H100s``."""

COUNTED_LAST = (rf"(.+?) ?[x×*:=] ?{NUMBER}", rf"(.+?) {NUMBER} ?(?:[x×]|[- ]?gpus?)")
"""A number behind it: ``H100 x8``, ``A100:8``, ``H100 8x``, ``HGX H100 8-GPU``."""


PROVIDER = r"^(?:(?:aws|ec2|amazon|gcp|azure|oci)[ :/-]+)?(?:ml\.|standard_)?"
"""What stands before the name of a machine as some write it: the cloud, SageMaker's ``ml.``, Azure's ``Standard_``."""


@frozen
class Instance:
    """A machine, or a slice of machines, of one kind of device."""

    hardware_id: str
    num_devices: int
    source: str


def _key(name: str) -> str:
    return re.sub(r"[\W_]", "", re.sub(r"(?<=\d)xl$", "xlarge", re.sub(PROVIDER, "", name.casefold())))


@functools.cache
def _instances() -> dict[str, Instance]:
    rows = data.read_rows(data.file("instances.csv"), INSTANCE_COLUMNS)
    return {
        _key(row.text("name")): Instance(
            hardware_id=row.text("hardware_id"), num_devices=row.integer("num_devices"), source=row.text("source").partition(", http")[0]
        )
        for row in rows
    }


def instance(name: str) -> Instance | None:
    """What a rented machine of that name holds, or None where no such machine is known.

    >>> instance("p4d.24xlarge").num_devices, instance("v5p-8").num_devices, instance("h100")
    (8, 4, None)
    """
    if sliced := re.fullmatch(SLICE, name, re.IGNORECASE):
        device, per_device = SLICES[sliced[1].casefold()]
        number = int(sliced[2])
        if number == 0 or number % per_device:
            return None
        return Instance(hardware_id=device, num_devices=number // per_device, source=SLICE_SOURCE.partition(", http")[0])
    return _instances().get(_key(name))


@functools.cache
def _held_by_series() -> dict[str, set[str]]:
    """What stands before the size in the names of machines, such as ``p5`` of ``p5.48xlarge``, to the devices that they hold."""
    held: dict[str, set[str]] = {}
    for row in data.read_rows(data.file("instances.csv"), INSTANCE_COLUMNS):
        series = re.fullmatch(r"(.+)\.\w+|([a-z]\d\w?-\w+)-\w+", row.text("name"))
        if series:
            held.setdefault(_key(series[1] or series[2]), set()).add(row.text("hardware_id"))
    return held


def held_by_series(name: str) -> str | None:
    """The device that every machine of a series holds; None where they hold several kinds, or none is known.

    >>> held_by_series("p4d"), held_by_series("a2-highgpu"), held_by_series("h100")
    ('a100-sxm4-40gb', 'a100-sxm4-40gb', None)
    """
    held = _held_by_series().get(_key(name), set())
    return next(iter(held)) if len(held) == 1 else None


def counted(text: str, *, first: bool) -> tuple[int, str] | None:
    """A number of devices and their name, or None where the text has no number beside a name.

    Args:
        first: whether the number stands before the name.

    >>> counted("8xH100", first=True), counted("A100:8", first=False), counted("h100", first=True)
    ((8, 'H100'), (8, 'A100'), None)
    """
    for pattern in COUNTED_FIRST if first else COUNTED_LAST:
        if found := re.fullmatch(pattern, text, re.IGNORECASE):
            number, name = found.groups() if first else found.groups()[::-1]
            return int(number.replace(",", "")), name.strip()
    return None
