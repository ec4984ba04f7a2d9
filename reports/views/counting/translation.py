"""A published utilisation or rate in other tools' conventions: the figures, the factors between them, what physics says."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.counting.flop_by_tool import ATTENTION, PARTS, RECOMPUTED
from estimators.counting.translate import Least, Reading, Translation
from estimators.facts.tool_conventions import Peak
from estimators.spec import Hardware, Model, Recompute, Workload
from estimators.training.sequence_length import SequenceLength
from estimators.units import (
    format_flop,
    format_flop_rate,
    format_fraction,
    format_int,
    format_rate,
    format_ratio,
    format_signed_flop,
    format_signed_fraction,
)
from reports.table import Column, Table, Value
from reports.views.training.conditions import device_lines, length_source, scope_lines

WITHOUT_DEVICE = "no device given: both are taken to divide by the same peak; --hardware ID brings in the peak that each divides by"
DATA_SHEET_NOTE = "* names no peak for the device and dtype: the data sheet's dense peak is taken."


def figure_text(reading: Reading) -> str:
    """Such as ``54.0 %``, or ``168 TFLOP/s`` where no peak is known."""
    if reading.utilization is not None:
        return format_fraction(reading.utilization)
    assert reading.flop_per_s is not None
    return format_flop_rate(reading.flop_per_s)


def peak_text(peak: Peak | None) -> str | None:
    """Such as ``989.5 TFLOP/s``, with a star where the tool names none and the data sheet's is taken."""
    return None if peak is None else f"{format_flop_rate(peak.flop_per_s, 4)}{'' if peak.own else '*'}"


def _row(reading: Reading, flop_ratio: float, peak_ratio: float) -> dict[str, Value]:
    return {
        "convention": reading.tool.id,
        "name": reading.tool.name,
        "utilization_fraction": reading.utilization,
        "device_flop_per_s": reading.flop_per_s,
        "flop_per_token": reading.flop.flop_per_token,
        "flop_ratio": flop_ratio,
        "peak": peak_text(reading.peak),
        "peak_flop_per_s": reading.peak.flop_per_s if reading.peak else None,
        "peak_ratio": peak_ratio,
        "years": reading.tool.years,
        "includes": reading.tool.includes,
        "source": str(reading.tool.source),
    }


def conditions(model: Model, params: int, length: SequenceLength, hardware: Hardware | None, dtype: str, recompute: Recompute) -> list[str]:
    """What was held fixed, one line each."""
    again = "recomputing activations" if recompute == "full" else "recomputing nothing"
    sequences = f"sequences of {format_int(length.tokens)} tokens{length_source(length.source)}"
    lines = [
        f"{model.name}: {format_int(params)} parameters; training on {sequences}, {again}",
        *scope_lines(model, Workload(phase="train", seq_len=length.tokens)),
    ]
    if hardware is None:
        return [*lines, WITHOUT_DEVICE]
    peak = f"{hardware.id}, {dtype}: dense peak {format_flop_rate(hardware.peak(dtype), 4)} ({hardware.source.title})"
    return [*lines, peak, *device_lines([hardware])]


def translation_tables(translations: Sequence[Translation], *, conditions: Sequence[str], notes: Sequence[str]) -> list[Table]:
    """The figure in every convention asked for, then the parts that make up each difference.

    Args:
        translations: at least one; all of the same run.
    """
    given, only = translations[0].given, translations[0] if len(translations) == 1 else None
    title = f"{given.tool.name} {figure_text(given)}"
    title += f" is {figure_text(only.translated)} by {only.translated.tool.name}" if only else ", in other conventions"
    tokens = given.tokens_per_s
    rows = [
        _row(given, 1.0, 1.0),
        *(_row(translation.translated, translation.flop_ratio, translation.peak_ratio) for translation in translations),
    ]
    facts: dict[str, object] = {"from": given.tool.id, "tokens_per_s": tokens}
    if only:
        facts |= {
            "to": only.translated.tool.id,
            "utilization_fraction": only.translated.utilization,
            "device_flop_per_s": only.translated.flop_per_s,
            "flop_ratio": only.flop_ratio,
            "peak_ratio": only.peak_ratio,
        }
    main = Table(
        title=title,
        conditions=[*conditions, *([f"{format_rate(tokens)} tokens/s on one device, in all of them"] if tokens is not None else [])],
        columns=[
            Column(key="convention", header="convention"),
            Column(key="name", header="name", raw=True),
            Column(key="utilization_fraction", header="of peak", format=format_fraction, align="right", raw=given.utilization is None),
            Column(key="device_flop_per_s", header="per GPU", format=format_flop_rate, align="right", raw=given.flop_per_s is None),
            Column(key="flop_per_token", header="FLOP/token", format=format_flop, align="right"),
            Column(key="flop_ratio", header="FLOP ratio", format=format_ratio, align="right"),
            Column(key="peak", header="divides by", align="right", raw=given.peak is None),
            Column(key="peak_flop_per_s", header="peak", raw=True),
            Column(key="peak_ratio", header="peak ratio", format=format_ratio, align="right", raw=given.peak is None),
            Column(key="years", header="years", raw=True),
            Column(key="includes", header="counts"),
            Column(key="source", header="source", raw=True),
        ],
        rows=rows,
        notes=[
            *notes,
            *data_sheet_note([given.peak, *(translation.translated.peak for translation in translations)]),
            *(f"{reading.tool.name}: {_source_text(reading)}" for reading in _readings(translations)),
        ],
        facts=facts,
        key="translation",
        kind="derived",
    )
    return [main, parts_table(translations)]


def _readings(translations: Sequence[Translation]) -> list[Reading]:
    """Whose sources are worth a line: of a list of all tools only the one that was given (csv and json have the others)."""
    return (
        [translations[0].given, *(translation.translated for translation in translations)]
        if len(translations) == 1
        else [translations[0].given]
    )


def data_sheet_note(peaks: Sequence[Peak | None]) -> list[str]:
    """What the star means, where there is one."""
    return [DATA_SHEET_NOTE] if any(peak is not None and not peak.own for peak in peaks) else []


def _source_text(reading: Reading) -> str:
    note = reading.tool.source.note
    return f"{reading.tool.source}{f'. {note}' if note else ''}"


def parts_table(translations: Sequence[Translation]) -> Table:
    """Each part of the difference, in FLOP per sequence and of the given count: 1 plus the parts is the FLOP ratio."""
    rows: list[dict[str, Value]] = []
    for translation in translations:
        total = translation.given.flop.flop
        rows += [
            {"convention": translation.translated.tool.id, "part": part, "difference_ratio": flop / total, "difference_flop": flop}
            for part, flop in translation.parts
        ]
        if not translation.parts:
            rows.append({"convention": translation.translated.tool.id, "part": "none", "difference_ratio": 0.0, "difference_flop": 0})
    return Table(
        title="Where the counts differ: FLOP ratio = 1 + the parts; figure = given x FLOP ratio x peak ratio",
        columns=[
            Column(key="convention", header="convention", once=True),
            Column(key="part", header="part"),
            Column(key="difference_ratio", header="of the given count", format=format_signed_fraction, align="right"),
            Column(key="difference_flop", header="per sequence", format=format_signed_flop, align="right"),
        ],
        rows=rows,
        key="differences",
        kind="derived",
    )


def physics_notes(
    readings: Sequence[Reading], at_least: Least | None, *, frozen: bool, hardware: Hardware | None, dtype: str, recompute: Recompute
) -> list[str]:
    """Whether a machine can do it, and why a share above the peak is not one that the machine did.

    Args:
        frozen: whether all weights but small adapters were frozen.
    """
    if at_least is None:
        return ["Physics is silent: without a device there is no peak to hold the rate against; add --hardware ID."]
    share, other = (at_least.frozen, at_least.training) if frozen else (at_least.training, at_least.frozen)
    work = "With frozen weights, what" if frozen else "What"
    notes = [f"{work} no kernel may skip of it takes {format_fraction(share)} of the dense peak."]
    if share > 1:
        notes[0] += " No machine does that: check the figure, the convention, the device and the dtype."
        if not frozen and other <= 1:
            notes.append(
                f"Unless most weights were frozen (LoRA): without the gradients of weights a token costs about 4·N, not 6·N, and "
                f"the machine did {format_fraction(other)} of its peak; --frozen says so."
            )
        return notes
    above = [reading for reading in readings if reading.utilization is not None and reading.utilization > 1]
    return notes + [_above_peak(reading, frozen, hardware, dtype, recompute) for reading in above]


def _above_peak(reading: Reading, frozen: bool, hardware: Hardware | None, dtype: str, recompute: Recompute) -> str:
    """Why a tool prints more than the peak for a run that a machine can do."""
    reasons = overcounts(reading, recompute)
    if hardware and reading.peak and reading.peak.flop_per_s < 0.99 * hardware.peak(dtype):
        reasons.append(
            f"it divides by {format_flop_rate(reading.peak.flop_per_s)}, and the device has {format_flop_rate(hardware.peak(dtype))}"
        )
    if frozen:
        reasons.append("it counts gradients of weights that were frozen")
    return f"{reading.tool.name} says {format_fraction(reading.utilization or 0)}, above the peak: {'; '.join(reasons)}."


def overcounts(reading: Reading, recompute: Recompute) -> list[str]:
    """Parts of a count that the machine need not have run, each with its share of the count."""
    reasons = []
    for part, flop in reading.flop.parts.items():
        if reason := PARTS[part]:
            reasons.append(f"{format_fraction(flop / reading.flop.flop)} of its count are {part}: {reason}")
        elif part == ATTENTION and reading.flop.unseen_flop:
            reasons.append(f"{format_fraction(reading.flop.unseen_flop / reading.flop.flop)} are masked attention, which kernels skip")
        elif part == RECOMPUTED and recompute == "none":
            reasons.append(f"{format_fraction(flop / reading.flop.flop)} are recomputation that the run did not do")
    return reasons
