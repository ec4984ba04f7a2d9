"""Figures in people's words: every number that has a unit, with its scope, and other runs' figures beside it. No other word is looked at.

``3700 tokens/s/GPU``, ``33.7 s per iteration of 262,144 tokens``,
``3348 with padding``, ``8 A800: 2.2 s/it``, ``0.7 s more than the record``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from estimators.diagnosis.observed import COUNTS, TIMES, Figure, Included, OtherRun, Quantity, Scope
from estimators.frozen import frozen, replace

NUMBER = r"(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)(?P<scale>[kKMBT](?=[\s/]|$))?"
SCALES = {"k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
_BETWEEN = " ?"
_PER_DEVICE = r"(?P<device>\s*/\s*(?:gpu|device|card|chip|rank)\b|\s+per\s+(?:gpu|device|card|chip|rank)\b)"
_PER_STEP = r"(?:\s*/\s*(?:it|iter|iteration|step)\b|\s+(?:per|a|an)\s+(?:it|iter|iteration|step)\b)"

UNITS: tuple[tuple[str, Quantity, float], ...] = (
    (r"(?:tokens?|toks?)\s*/\s*s(?:ec(?:ond)?)?\b|(?:tokens?|toks?) per second\b", "tokens_per_s", 1.0),
    (r"(?:samples?|images?|examples?|sequences?)\s*/\s*s(?:ec)?\b|(?:samples?|images?) per second\b|fps\b", "samples_per_s", 1.0),
    (r"(?:requests?|reqs?)\s*/\s*s(?:ec)?\b|requests per second\b", "requests_per_s", 1.0),
    (r"(?:it|iter|iterations|steps?)\s*/\s*s(?:ec)?\b", "steps_per_s", 1.0),
    (r"pflops?(?:\s*/\s*s)?\b", "flop_per_s", 1e15),
    (r"tflops?(?:\s*/\s*s)?\b", "flop_per_s", 1e12),
    (r"gflops?\s*/\s*s\b", "flop_per_s", 1e9),
    (r"%\s*(?:mfu|utilization|utilisation|of (?:the )?peak)\b", "mfu_fraction", 0.01),
    (rf"ms{_PER_STEP}", "step_time_s", 1e-3),
    (rf"(?:s|sec|seconds?){_PER_STEP}", "step_time_s", 1.0),
    (r"ms\b", "step_time_s", 1e-3),
    (r"(?:s|sec|seconds?)\b(?!\s*/)", "wall_time_s", 1.0),
    (r"(?:min|minutes?)\b", "wall_time_s", 60.0),
    (r"(?:h|hours?)\b", "wall_time_s", 3600.0),
    (r"(?:d|days?)\b", "wall_time_s", 86400.0),
    (r"(?:[a-z+]+\s+)?tokens?\b(?!\s*/|-)", "tokens", 1.0),
    (r"with padding\b", "tokens", 1.0),
    (r"(?:samples?|images?|examples?)\b(?!\s*/)", "samples", 1.0),
    (r"(?:steps?|iterations?|iters?)\b(?!\s*/)", "steps", 1.0),
)
"""A unit as people write it, the quantity that has it, and its size in base units; the first that matches counts."""

_UNITS = tuple((re.compile(_BETWEEN + f"(?:{unit}){_PER_DEVICE}?", re.IGNORECASE), quantity, size) for unit, quantity, size in UNITS)
_NUMBER = re.compile(rf"(?<![\w.,=])(?:{NUMBER}|(?P<word>one|two|three|four|five)(?=\s+(?:steps?|iterations?)\b))", re.IGNORECASE)
_WORDS = {word: n for n, word in enumerate(("one", "two", "three", "four", "five", "six", "seven", "eight"), start=1)}
_NODES = re.compile(r"\b(?P<nodes>\d+|one|two|three|four|six|eight)\s+nodes?\b(?:\s+of\s+(?P<each>\d+))?", re.IGNORECASE)
_DEVICES = re.compile(
    r"\b(?P<count>\d+|one|two|four|eight)\s+(?:x\s+)?(?P<name>(?:(?:rtx|gtx|tesla|nvidia)\s+)?[a-z]+\d{2,4}\w*|gpus?|cards?|devices?)\b",
    re.IGNORECASE,
)
_ALONE = re.compile(r"\b(?P<count>one|two|four|eight|\d+):\s*$", re.IGNORECASE)
_MORE = re.compile(r"\s+(?P<which>more|longer|slower|less|shorter|faster|fewer)\s+than\b", re.IGNORECASE)
_BARE_END = re.compile(r"\s*(?:[.;:?)]|$|,|(?:on|at|with|without|in|for|before|after|per|instead)\b)", re.IGNORECASE)
_PER = re.compile(r"\s*per\s+(?:gpu|device|rank|card)\b", re.IGNORECASE)
_SEPARATORS = re.compile(r"[;,.?](?!\d)")
GPUS_OF_A_NODE = 8


@frozen
class Said:
    """A figure with where it stands in the text.

    Attributes:
        start, end: of the number and its unit.
        difference: more or less, of a difference to another run's figure; empty else.
    """

    figure: Figure
    start: int
    end: int
    difference: str = ""


def figures_in(text: str, scope: Scope = "job") -> list[Said]:
    """Every number with a unit, in order.

    Args:
        scope: of a rate that does not say whether it is per device.

    >>> [str(said.figure) for said in figures_in("33.7 s per iteration of 262,144 tokens")]
    ['33.7 s a step', '262,144 tokens of the job']
    >>> [str(said.figure) for said in figures_in("3700 tokens/s/GPU on 8 H100")]
    ['3,700 tokens/s per device']
    """
    return list(_figures(text, scope))


def _figures(text: str, scope: Scope) -> Iterator[Said]:
    for number in _NUMBER.finditer(text):
        digits = number["number"] or ""
        value = float(digits.replace(",", "")) if digits else float(_WORDS[number["word"].casefold()])
        value *= SCALES.get(number["scale"] or "", 1.0)
        for pattern, quantity, size in _UNITS:
            unit = pattern.match(text, number.end())
            if not unit or not value:
                continue
            if quantity == "wall_time_s" and re.search(r"\bstep\s*$", text[: number.start()], re.IGNORECASE):
                quantity = "step_time_s"
            around = text[max(0, number.start() - 12) : unit.end() + 6].casefold()
            if quantity == "flop_per_s" and re.search(r"\bpeak\b", around):
                quantity = "peak_flop_per_s"
            of: Scope = "device" if unit["device"] else scope if quantity.endswith("per_s") or quantity == "mfu_fraction" else "job"
            padded: tuple[Included, ...] = ("padding",) if "with padding" in unit[0] else ()
            padded += ("masked tokens",) if re.search(r"\b(?:loss|trainable|supervised|unmasked) tokens", unit[0]) else ()
            figure = Figure(quantity=quantity, value=value * size, scope=of, digits=_digits(quantity, digits), includes=padded)
            more = _MORE.match(text, unit.end())
            yield Said(figure=figure, start=number.start(), end=unit.end(), difference=more["which"].casefold() if more else "")
            break


def _digits(quantity: Quantity, number: str) -> int:
    """Digits that a figure is exact to: a count is exact, a time to every digit that is written."""
    if quantity in COUNTS:
        return 0
    return len(re.sub(r"[.,]", "", number).lstrip("0")) if quantity in TIMES else significant(number)


def significant(number: str) -> int:
    """Significant digits of a number as printed; trailing zeros of a whole number are taken for places.

    >>> significant("3,700"), significant("0.150"), significant("68000"), significant("512")
    (2, 3, 2, 3)
    """
    digits = number.replace(",", "").partition("e")[0]
    plain = digits.replace(".", "").lstrip("0")
    return max(1, len(plain if "." in digits else plain.rstrip("0"))) if plain else 0


def others_in(text: str, main: Figure, num_devices: int | None) -> tuple[list[Figure], list[OtherRun]]:
    """What a sentence has beside the main figure: figures of the same run, and other runs' figures of the main's quantity.

    A number without a unit is of the main's quantity where nothing but the end of a clause or a preposition follows it.
    """
    if main.quantity == "peak_flop_per_s":
        return [], []
    same, others = [], []
    bare = _alike(main)
    found = figures_in(text, main.scope)
    for said in [*found, *_bare(text, main, found)]:
        quantity, value = said.figure.quantity, said.figure.value
        if quantity not in bare:
            same.append(said.figure)
        elif said.difference:
            sign = -1 if said.difference in ("more", "longer") or (said.difference == "slower" and main.quantity in TIMES) else 1
            others.append(OtherRun(figure=replace(main, value=main.value + sign * value), source=text[said.start : said.end]))
        elif said.figure.scope != main.scope and main.quantity not in TIMES:
            same.append(said.figure)
        elif abs(value / main.value - 1) > 0.5 / 10 ** max(1, min(said.figure.digits or 3, 3) - 1):
            number, hardware = _devices_of(text, said)
            others.append(OtherRun(figure=replace(main, value=value, digits=said.figure.digits), num_devices=number, hardware=hardware))
    return same, [other for other in others if other.figure.value > 0]


def _alike(main: Figure) -> tuple[Quantity, ...]:
    """Quantities that a sentence may have the main one's unit for."""
    if main.quantity in TIMES:
        return ("step_time_s", "wall_time_s")
    if main.quantity == "decode_tokens_per_s":
        return ("decode_tokens_per_s", "tokens_per_s")
    return (main.quantity,)


def _bare(text: str, main: Figure, found: list[Said]) -> Iterator[Said]:
    """Numbers without a unit behind one of the main's quantity, in its unit."""
    first = next((said for said in found if said.figure.quantity == main.quantity), None)
    if first is None or main.quantity in ("tokens", "samples", "steps", "mfu_fraction"):
        return
    unit = re.search(r"[a-zA-Z]", text[first.start : first.end])
    size = 1e-3 if unit and text[first.start + unit.start() :].startswith("ms") else 1.0
    size = main.value / float(f"{main.value:.15g}") * size if main.quantity != "flop_per_s" else 1e12
    for number in _NUMBER.finditer(text, first.end):
        if not number["number"] or number["scale"] or any(said.start <= number.start() < said.end for said in found):
            continue
        per = _PER.match(text, number.end())
        if not (per or _BARE_END.match(text, number.end())) or re.search(r"\b(?:batch|x|of)\s*$", text[: number.start()], re.IGNORECASE):
            continue
        value = float(number["number"].replace(",", "")) * size
        if value > 0:
            scope: Scope = "device" if per else main.scope
            figure = Figure(quantity=main.quantity, value=value, scope=scope, digits=significant(number["number"]))
            yield Said(figure=figure, start=number.start(), end=number.end())


def _devices_of(text: str, said: Said) -> tuple[int | None, str]:
    """How many devices, and of what kind, stand beside a figure: behind it in its clause, else before it."""
    behind = _SEPARATORS.split(text[said.end :])[0]
    before = _SEPARATORS.split(text[: said.start])[-1]
    for part in (behind, before):
        if found := _NODES.search(part):
            return _number(found["nodes"]) * int(found["each"] or GPUS_OF_A_NODE), ""
        if found := _DEVICES.search(part):
            name = found["name"] if re.search(r"\d", found["name"]) else ""
            return _number(found["count"]), name
    alone = _ALONE.search(before)
    return (_number(alone["count"]), "") if alone else (None, "")


def _number(text: str) -> int:
    return int(text) if text.isdigit() else _WORDS[text.casefold()]
