"""What the names on a command line mean: read once before a verb answers, said on stderr and at the head of its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from estimators.errors import BadValueError
from estimators.frozen import frozen, replace

if TYPE_CHECKING:
    from types import ModuleType

    from bench.cli.output import Output
    from estimators.facts.device_names import Taken

EVERY_DEVICE = "all"


@frozen
class _Devices:
    """The devices that were named: their ids, how many where a name says so, and what each name was taken for."""

    ids: tuple[str, ...]
    num_devices: int | None
    whole_nodes: bool
    said: Mapping[str, str]


def options(verb: ModuleType, given: Mapping[str, Any], out: Output) -> Any:
    """The options of a verb with every name read, and `out` told what is to be said of that.

    Raises:
        UnknownNameError: a name that means nothing.
        BadValueError: a name that means several things, or that counts other devices than --gpus.
    """
    values = dict(given)
    devices = _devices(values["hardware"]) if values.get("hardware") is not None else None
    if devices is not None:
        values["hardware"] = devices.ids[0] if isinstance(values["hardware"], str) else devices.ids
    asked = verb.Options(**values)
    if devices is None:
        return asked
    said = dict(devices.said)
    if devices.num_devices is not None:
        if "gpus" in verb.Options._fields and getattr(asked, "about_a_training", True):
            asked = replace(asked, gpus=_agreed(devices, asked.gpus))
        else:
            said = {name: f"{line}; the answer is of one of them" for name, line in said.items()}
    _say(said, out)
    return asked


def _devices(named: str | Sequence[str]) -> _Devices:
    """The devices of --hardware. Raises UnknownNameError, BadValueError."""
    from estimators.facts.own_device import is_own  # deferred, as the next: most verbs name no device

    ids: list[str] = []
    counts: set[int] = set()
    said: dict[str, str] = {}
    nodes = True
    for name in (named,) if isinstance(named, str) else named:
        if name.casefold() == EVERY_DEVICE or is_own(name):
            ids.append(name)
            continue
        taken = _taken(name)
        ids.append(taken.hardware_id)
        if taken.num_devices is not None:
            counts.add(taken.num_devices)
            nodes = nodes and taken.whole_nodes
        if taken.said:
            said[name] = taken.said
    if len(counts) > 1:
        raise BadValueError(
            f"--hardware names {' and '.join(f'{count:,}' for count in sorted(counts))} devices; expected one number for all"
        )
    return _Devices(ids=tuple(dict.fromkeys(ids)), num_devices=min(counts, default=None), whole_nodes=nodes, said=said)


def _taken(name: str) -> Taken:
    from estimators.facts.device_names import device_named

    return device_named(name)


def _agreed(devices: _Devices, gpus: int | None) -> int | None:
    """The number of devices that --hardware and --gpus agree on. Raises BadValueError where they do not."""
    number = devices.num_devices
    assert number is not None
    if gpus is None or gpus == number or (devices.whole_nodes and gpus % number == 0):
        return gpus or number
    machines = ", so many or a multiple of them with --gpus" if devices.whole_nodes else "; leave one of the two out"
    raise BadValueError(f"--hardware names {number:,} devices, --gpus was {gpus:,}{machines}")


def _say(said: Mapping[str, str], out: Output) -> None:
    if not said:
        return
    from bench.machine.ranks import say  # deferred: most names are exact

    for line in said.values():
        say(line)
    out.named = dict(said)
