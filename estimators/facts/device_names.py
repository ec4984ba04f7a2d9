"""Which device a person means by a name such as `h100`, `RTX4090`, `8x A100 80GB` or `p4d.24xlarge`. What a driver reports is
matched exactly instead, by `registry.hardware_for_device`.

A name is cut into words. Each product has words that must be said (of the RTX 4070 Ti SUPER: 4070, ti, super) and words that may
be (vendor, form, memory). A product is meant where all of the first kind are said, and nothing that is not its own: `4090 laptop`
and `h100 96gb` mean none. Where several are meant, data/usual_forms.csv says which of them a short name stands for, and why.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence

from estimators.errors import BadValueError, UnknownNameError, near_misses
from estimators.facts import data
from estimators.facts.instances import counted, held_by_series, instance
from estimators.facts.registry import HARDWARE_LIST, driver_names, hardware_ids, hardware_words
from estimators.frozen import frozen
from estimators.units import GIBI

NO_MEANING = frozenset(
    ("gpu", "gpus", "accelerator", "accelerators", "card", "cards", "chip", "chips", "device", "devices", "series", "gres")
)
"""Words that belong to every product and tell none apart."""

VENDOR_WORDS: Mapping[str, tuple[str, ...]] = {
    "NVIDIA": ("nvidia", "tesla", "tensor", "core"),
    "AMD": ("amd", "instinct"),
    "Google": ("google", "cloud", "tpu", "tpus", "slice", "podslice"),
    "AWS": ("aws", "amazon", "neuron", "neuroncore"),
    "Intel": ("intel", "habana"),
    "Apple": ("apple", "silicon"),
}
"""What a product's maker and brand are called beside what its own row says."""

ARCHITECTURE_WORDS: Mapping[str, tuple[str, ...]] = {"Ada": ("lovelace",)}
FORMS = frozenset(("pcie", "pci", "sxm", "sxm2", "sxm3", "sxm4", "sxm5", "sxm6", "nvl"))
SERVER_WORDS = ("sxm", "hgx", "dgx", "nvlink")
"""Words of every board that is no card for a slot."""

BRANDS = frozenset(("rtx", "rx", "tpu", "apple", "gpu"))
"""Words of ids that are left out as often as they are said."""

PLACES = frozenset(("colab", "kaggle", "ec2", "gcp", "azure", "oci", "oracle", "lambda", "runpod", "vast", "modal", "coreweave"))
"""Who rents devices out. Beside the name of a single product they tell nothing; beside that of several they would tell which, and it is
not known."""

MACHINES = re.compile(r"\b(?:macbook(?: pro| air)?|mac (?:studio|mini|pro)|imac)\b", re.IGNORECASE)
"""Computers that are named together with their chip."""

NOT_A_DEVICE = {
    "cpu": "a CPU has no datasheet peak: measure it with `python -m bench run`, or describe one of your own with --hardware FILE.json",
    **dict.fromkeys(("cuda", "mps", "rocm", "gpu"), "name the device, as `python -m bench doctor` shows the one of this machine"),
}
"""What some type in place of a device -> how to go on."""

OWN_DEVICE = "one of your own: --hardware FILE.json"
MEMORY_UNITS = ("gb", "g", "gib")
MAX_CHARACTERS = 80
MAX_SUGGESTED = 4
NAME_COLUMNS = ("id", "names", "also")
USUAL_COLUMNS = ("ids", "reason")


@frozen
class Taken:
    """What a name was taken for.

    Attributes:
        hardware_id: of the device.
        num_devices: as the name says, such as 8 of ``8xH100``; None where it says nothing.
        whole_nodes: whether the number is of one machine, of which there may be several.
        said: one line on what was taken and what else it might have been; empty where the name was an id or a driver's.
    """

    hardware_id: str
    num_devices: int | None = None
    whole_nodes: bool = False
    said: str = ""


@frozen
class _Product:
    """The words of one product: each of `names` is enough to mean it, `own` may be said beside it."""

    id: str
    names: tuple[frozenset[str], ...]
    own: frozenset[str]

    def is_meant(self, said: frozenset[str]) -> bool:
        return said <= self.own and any(name <= said for name in self.names)


@frozen
class _Reading:
    """A name without its count: the device, how many a machine of that name holds, and what else is to be said of it."""

    hardware_id: str
    num_devices: int | None = None
    said: str | None = ""


def device_named(text: str) -> Taken:
    """The device that a person means, and how many of it.

    Raises:
        UnknownNameError: no device is called so; devices that share words with it are suggested.
        BadValueError: a name that several products share, or a count that is none.

    >>> device_named("8x H100").hardware_id, device_named("8x H100").num_devices
    ('h100-sxm5-80gb', 8)
    >>> device_named("h100").said
    "taking 'h100' as h100-sxm5-80gb, the usual form; others: h100-nvl-94gb, h100-pcie-80gb"
    """
    given = " ".join(text.split())
    if len(given) > MAX_CHARACTERS:
        raise _unknown(given)
    if mend := NOT_A_DEVICE.get(given.casefold()):
        raise BadValueError(f"{given!r} is no device that can be priced; {mend}")
    found = _read(given)
    if found is None:
        raise _unknown(given)
    count, reading = found
    if count is not None and count < 1:
        raise BadValueError(f"{given!r} names {count} devices; expected at least one")
    num_devices = (count or 1) * (reading.num_devices or 1) if count or reading.num_devices else None
    meant = f"{num_devices:,} x {reading.hardware_id}" if num_devices else reading.hardware_id
    return Taken(
        hardware_id=reading.hardware_id,
        num_devices=num_devices,
        whole_nodes=reading.num_devices is not None and count is None,
        said="" if reading.said is None and count is None else f"taking {given!r} as {meant}{reading.said or ''}",
    )


def _read(given: str) -> tuple[int | None, _Reading] | None:
    """The number before or behind a name, if there is one, and the name's reading; None where it means nothing."""
    if whole := _exactly(given) or _instance(given):
        return None, whole
    if before := _counted(given, first=True):
        return before
    if whole := _by_words(given):
        return None, whole
    return _counted(given, first=False) or ((None, of_series) if (of_series := _series(given)) else None)


def _exactly(given: str) -> _Reading | None:
    key = given.casefold()
    if key in hardware_ids():
        return _Reading(hardware_id=key, said=None)
    printed_by = driver_names().get(key, ())
    return _Reading(hardware_id=printed_by[0], said=None) if len(printed_by) == 1 else None


def _instance(given: str) -> _Reading | None:
    found = instance(given)
    return _Reading(hardware_id=found.hardware_id, num_devices=found.num_devices, said=f" ({found.source})") if found else None


def _series(given: str) -> _Reading | None:
    """What every machine of a series such as ``p5`` holds."""
    hardware_id = held_by_series(given)
    return _Reading(hardware_id=hardware_id, said=", which every machine of that name holds") if hardware_id else None


def _counted(given: str, *, first: bool) -> tuple[int, _Reading] | None:
    """A name with a number before or behind it. `first`: one that has to be tried before the name is read as a whole."""
    split = counted(given, first=first)
    if split is None:
        return None
    count, name = split
    several = name[:-1] if name[-1:] in ("s", "S") else ""
    reading = _exactly(name) or _instance(name) or _by_words(name) or (_by_words(several) if several else None)
    return (count, reading) if reading else None


def _by_words(given: str) -> _Reading | None:
    for said in _readings(given):
        if meant := _meant(said):
            return _usual(given, meant)
    elsewhere = " ".join(word for word in words(given) if word not in PLACES)
    meant = [device for said in _readings(elsewhere)[:1] for device in _meant(said)]
    return _Reading(hardware_id=meant[0]) if len(meant) == 1 else None


def _meant(said: frozenset[str]) -> list[str]:
    return [product.id for product in _products() if product.is_meant(said)]


def _usual(given: str, meant: Sequence[str]) -> _Reading:
    """Of the products that a name may mean the usual one. Raises BadValueError where none is."""
    if len(meant) == 1:
        return _Reading(hardware_id=meant[0])
    order = next((ids for ids in usual_forms() if set(meant) <= set(ids)), None)
    if order is None:
        raise BadValueError(f"{given!r} may be one of several products; say which: {', '.join(meant)}")
    usual, *others = [device for device in order if device in meant]
    return _Reading(hardware_id=usual, said=f", the usual form; others: {', '.join(others)}")


def _unknown(given: str) -> Exception:
    """What to say of a name that means nothing, with the products that share its words."""
    shown = given[:MAX_CHARACTERS]
    for said in _readings(shown):
        if begun := [product.id for product in _products() if said <= product.own and any(name & said for name in product.names)]:
            return BadValueError(f"{shown!r} alone is no product here; it may be short for: {', '.join(begun[:MAX_SUGGESTED])}")
    parts = words(shown)
    spelt = frozenset(word for part in parts for word in (part, *_cut(part, _spellings(), partly=True)) if _tells(word))
    shared = [(max(len(name & spelt) for name in product.names), len(product.own & spelt), product.id) for product in _products()]
    ranked = [device for count, _, device in sorted(shared, key=lambda one: (-one[0], -one[1])) if count]
    near = tuple(ranked[:MAX_SUGGESTED]) or near_misses(shown, hardware_ids())
    return UnknownNameError("GPU", given, hardware_ids(), HARDWARE_LIST, near=near, instead=OWN_DEVICE)


def _tells(word: str) -> bool:
    """Whether products that share the word are alike: GTX 1080 Ti and RTX 2080 Ti are not."""
    return word not in NO_MEANING and (any(c.isdigit() for c in word) or (len(word) > 4 and word != "super"))


@functools.lru_cache(maxsize=1024)
def words(text: str) -> tuple[str, ...]:
    """The words of a name in lower case: what lies between blanks and punctuation, a number of gigabytes with its unit.

    >>> words("NVIDIA A100-SXM4 80 GB")
    ('nvidia', 'a100', 'sxm4', '80gb')
    """
    joined: list[str] = []
    for part in re.findall(r"[^\W_]+", re.sub(r"pci[ -]?(?:e\b|express)", "pcie", text.casefold())):
        if part in MEMORY_UNITS and joined and joined[-1].isdigit():
            joined[-1] += "gb"
        else:
            joined.append(part)
    return tuple(joined)


def _readings(given: str) -> list[frozenset[str]]:
    """The known words that a name may consist of, but for those without a meaning; none where a part of it is unknown.

    Words may be run together, as in ``rtx4090``, or one may be cut, as in ``mi-300x`` and ``gaudi 2``.
    """
    parts, spellings = words(MACHINES.sub(" ", given)), _spellings()
    apart, together = [_cut(part, spellings) for part in parts], _cut("".join(parts), spellings)
    readings = [[word for part in apart for word in part]] if all(apart) else []
    return [said for reading in (*readings, together) if (said := frozenset(reading) - NO_MEANING)]


def _cut(text: str, spellings: Mapping[str, str], *, partly: bool = False) -> tuple[str, ...]:
    """The known words that make up `text`, the longest first; none where they do not. `partly`: those that it begins with."""
    for end in range(len(text), 0, -1):
        if (word := spellings.get(text[:end])) is not None:
            rest = _cut(text[end:], spellings, partly=partly)
            if end == len(text) or rest or partly:
                return (word, *rest)
    return ()


@functools.cache
def _spellings() -> dict[str, str]:
    """Each known word, and the ways in which sizes of memory are written, to the word."""
    known = {word for product in _products() for word in product.own} | NO_MEANING
    sizes = {word.removesuffix("gb"): word for word in known if _is_size(word)}
    return {number + unit: word for number, word in sizes.items() for unit in ("", *MEMORY_UNITS)} | {word: word for word in known}


def _is_size(word: str) -> bool:
    return word.endswith("gb") and word[:-2].isdigit()


@functools.cache
def _products() -> tuple[_Product, ...]:
    special = {row.text("id"): row for row in data.read_rows(data.file("device_words.csv"), NAME_COLUMNS)}
    return tuple(_product(device_id, special.get(device_id)) for device_id in hardware_ids())


def _product(device_id: str, special: data.Row | None) -> _Product:
    spelt, vendor, architecture, memory_bytes = hardware_words(device_id)
    of_id = words(device_id)
    own = {word for text in (device_id, *spelt, vendor, architecture) for word in words(text)}
    own |= {f"{round(memory_bytes / GIBI)}gb", *VENDOR_WORDS.get(vendor, ()), *ARCHITECTURE_WORDS.get(architecture.partition(" ")[0], ())}
    if any(word.startswith("sxm") for word in own):
        own |= set(SERVER_WORDS)
    names = [frozenset(word for word in of_id if word not in FORMS | BRANDS and not _is_size(word))]
    if special is not None:
        names = [frozenset(name.split()) for name in special.texts("names")] or names
        own |= set(special.optional_text("also").split())
    return _Product(id=device_id, names=tuple(names), own=frozenset(own.union(*names) | NO_MEANING))


@functools.cache
def usual_forms() -> tuple[tuple[str, ...], ...]:
    """Products that one short name may mean, the usual one first."""
    return tuple(row.texts("ids") for row in data.read_rows(data.file("usual_forms.csv"), USUAL_COLUMNS))
