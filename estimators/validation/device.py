"""The device that a row's words mean: by its id, else by the chip, form and memory that its text names."""

from __future__ import annotations

import re

from estimators.facts.registry import hardware, hardware_ids
from estimators.frozen import replace
from estimators.spec import Hardware
from estimators.validation.table import LeftOutError, Record

FORMS = ("sxm", "pcie", "nvl", "oam")
"""How a card is built; where the text does not say, the first of a chip's products in the hardware table is not taken before `sxm`."""

MEMORY = re.compile(r"(\d+)\s?gb\b(?!\s?/s)", re.IGNORECASE)
BANDWIDTH = re.compile(r"(\d+(?:\.\d+)?)\s?TB/s", re.IGNORECASE)
POWER = re.compile(r"(\d+)\s?W (?:cap|limit)", re.IGNORECASE)


def device_of(record: Record) -> tuple[Hardware, str]:
    """The device of a row, and what was assumed of it: empty where the row has its id.

    Raises:
        LeftOutError: no device has that id or is named by the text.
    """
    from estimators.errors import RequestError

    stated, text = record.text("hardware_id"), record.text("gpu")
    if stated or record.kind != "throughput":
        try:
            return hardware(stated or text), ""
        except RequestError as error:
            if stated:
                raise LeftOutError(str(error)) from None
    device = device_named(text)
    if device is None:
        raise LeftOutError(f"unknown GPU {text[:60]!r}; expected an id of: python -m bench list hardware")
    return device, f"hardware_id={device.id}, by gpu {text!r}"


def device_named(text: str) -> Hardware | None:
    """The product that a text means, or None: its chip must be a word of the text; form and memory choose among a chip's products.

    Memory, bandwidth and power limit that the text gives are taken in place of the product's.

    >>> device_named("H100-SXM-96GB HBM2e 2.4TB/s, 500W cap").power_w, device_named("NVIDIA L40S").id, device_named("H1000")
    (500.0, 'l40s-48gb', None)
    """
    words = set(re.findall(r"[a-z]+|[a-z]*\d+[a-z0-9]*", text.casefold().replace("(r)", "")))
    words |= set(re.findall(r"[a-z0-9]+", text.casefold()))
    named = [(len(chip), device_id) for device_id in hardware_ids() if (chip := _chip(device_id)) <= words]
    if not named:
        return None
    most = max(length for length, _ in named)
    devices = [hardware(device_id) for length, device_id in named if length == most]
    form = next((form for form in FORMS if any(word.startswith(form) for word in words)), "sxm")
    devices = [device for device in devices if form in device.id] or devices
    memory = MEMORY.search(text)
    if memory:
        size = int(memory.group(1)) * 1e9
        devices.sort(key=lambda device: abs(device.memory_bytes - size))
        if abs(devices[0].memory_bytes - size) > 0.1 * size:
            devices[0] = replace(devices[0], memory_bytes=int(size))
    device = devices[0]
    if bandwidth := BANDWIDTH.search(text):
        device = replace(device, memory_bytes_per_s=float(bandwidth.group(1)) * 1e12)
    if power := POWER.search(text):
        device = replace(device, power_w=float(power.group(1)))
    return device


def _chip(device_id: str) -> frozenset[str]:
    """The words of an id that name the chip: without form and memory."""
    return frozenset(word for word in device_id.split("-") if not word.startswith(FORMS) and not re.fullmatch(r"\d+gb", word))
