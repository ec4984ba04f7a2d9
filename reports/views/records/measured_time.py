"""Where one run's time stands: against bounds, ceilings and the rule of thumb, and what it was spent on."""

from __future__ import annotations

from collections.abc import Iterator

from bench.records.environment import DeviceFacts
from bench.records.record import Measurement
from bench.statistics.rates import AGAIN, all_rates, floor_s, main_rates, works
from estimators import units
from reports.table import Column, Table, Value

_JUST_BEFORE = ("matmul", "bandwidth")


def time_table(record: Measurement) -> Table:
    """Each timed phase against the physics bound, the ceilings measured here and the rule of thumb."""
    rows: list[dict[str, Value]] = [
        {
            "phase": reached.phase,
            "seconds_s": reached.seconds_s,
            "tag": reached.tag,
            "bound_s": reached.work.bound_s,
            "floor_s": reached.floor_s,
            "rule_s": reached.rule_s,
            "flop_per_s": reached.flop_per_s,
            "mfu_fraction": reached.mfu,
            "matmul_ceiling_fraction": reached.ceiling_fraction,
            "bytes_per_s": reached.bytes_per_s,
            "bandwidth_fraction": reached.bandwidth_fraction,
            "bandwidth_ceiling_fraction": reached.bandwidth_ceiling_fraction,
        }
        for reached in all_rates(record)
    ]
    seconds, share = units.format_duration, units.format_fraction
    columns = [
        Column(key="phase", header="Phase"),
        Column(key="seconds_s", header="Time", format=seconds, align="right"),
        Column(key="tag", header="Kind", raw=not record.extrapolation),
        Column(key="bound_s", header="Physics bound", format=seconds, align="right"),
        Column(key="floor_s", header="At ceilings", format=seconds, align="right"),
        Column(key="rule_s", header="Rule of thumb", format=seconds, align="right"),
        Column(key="flop_per_s", header="FLOP/s", format=units.format_flop_rate, align="right"),
        Column(key="mfu_fraction", header="MFU", format=share, align="right"),
        Column(key="matmul_ceiling_fraction", header="of ceiling", format=share, align="right"),
        Column(key="bytes_per_s", header="Bytes/s", format=units.format_byte_rate, align="right"),
        Column(key="bandwidth_fraction", header="of peak", format=share, align="right"),
        Column(key="bandwidth_ceiling_fraction", header="of ceiling", format=share, align="right"),
    ]
    return Table(
        key="time",
        title="Time against what the machine allows",
        columns=[c for c in columns if any(row.get(c.key) is not None for row in rows)],
        rows=rows,
        notes=list(_time_notes(record)),
    )


def _no_peak(record: Measurement) -> str:
    """Of what there is none, and for a processor why."""
    if (record.environment.device or DeviceFacts()).kind == "cpu":
        return "a CPU, as none states the clock that it holds under vector work, and a virtual one not even its model"
    return "this device"


def _time_notes(record: Measurement) -> Iterator[str]:
    for c in record.ceilings:
        rate = (units.format_flop_rate if c.kind.startswith("matmul") else units.format_byte_rate)(c.value)
        if c.kind in _JUST_BEFORE:
            yield f"{c.kind} ceiling {rate}, measured just before ({c.dtype}, {c.shape})"
        elif c.kind.endswith(" after"):
            yield f"{c.kind.removesuffix(' after')} ceiling {rate}, measured again after the run ({c.dtype}, {c.shape})"
        elif c.kind.endswith(f" {AGAIN}"):
            kind = c.kind.removesuffix(f" {AGAIN}")
            how = "measured longer after the run, which had passed the first; its fastest sample"
            yield f"{kind} ceiling {rate}, {how} ({c.dtype}, {c.shape})"
        elif c.dtype == record.request.dtype or not c.kind.startswith("matmul"):
            yield f"{c.kind} {rate} by this device's calibration ({c.dtype}, {c.shape})"
    if record.estimate.peak_flop_per_s is None:
        yield f"No datasheet peak for {_no_peak(record)}: no MFU and no physics bound; the ceilings measured here stand in."
    if any(phase.convention == "causal" for phase in record.estimate.phases.values()):
        yield "FLOP/s and MFU count the attention that a query may see, because layers have a window."
    if record.ceilings:
        product = "6·N·D" if record.request.task == "train" else "2·N·D"
        yield (
            "At ceilings: FLOP that no kernel may skip / matmul ceiling, or bytes that must move / bandwidth ceiling, whichever is longer. "
            f"Rule of thumb: likewise with {product} and every weight once per pass."
        )
    yield "Bytes must move at least once: weights, KV cache, in training the optimizer's state."
    if record.phase("decode"):
        yield "Decode: the median sample against the work of the median step."


def parts_table(record: Measurement) -> Table:
    """What a sample's time was spent on, as far as it was measured; the parts sum to the whole."""
    rows = list(_generation_parts(record) if record.request.task == "generate" else _step_parts(record))
    generations = record.phase("generate")
    means = [f"mean of {len(generations.samples_s)} generations"] if generations and len(generations.samples_s) > 1 else []
    return Table(
        key="parts",
        title="Where the time went",
        conditions=[*means, "the parts sum to the whole"],
        columns=(
            Column(key="part", header="Part"),
            Column(key="seconds_s", header="Time", format=units.format_duration, align="right"),
            Column(key="share_fraction", header="Share", format=units.format_fraction, align="right"),
            Column(key="tag", header="Kind"),
        ),
        rows=rows,
    )


def _row(part: str, seconds: float, whole: float, tag: str) -> dict[str, Value]:
    return {"part": part, "seconds_s": seconds, "share_fraction": seconds / whole, "tag": tag}


def _generation_parts(record: Measurement) -> Iterator[dict[str, Value]]:
    generate, prefill, decode, between = (record.phase(name) for name in ("generate", "prefill", "decode", "between"))
    if not (generate and prefill and between and sum(generate.samples_s) > 0):
        return
    runs = len(generate.samples_s)
    whole = sum(generate.samples_s) / runs
    yield _row("prefill, forward pass", sum(prefill.samples_s) / runs, whole, "measured")
    if decode and decode.samples_s:
        fastest_s = min(decode.samples_s) * len(decode.samples_s) / runs
        floors = [floor_s(record, work.min_flop, work.min_bytes) for work in works(record, decode)]
        known = [min(floor, seconds) for floor, seconds in zip(floors, decode.samples_s, strict=False) if floor is not None]
        if known and len(known) == len(decode.samples_s) and sum(known) / runs <= fastest_s:
            yield _row("decode steps, what the measured ceilings demand", sum(known) / runs, whole, "derived")
            yield _row("decode steps, above that in the fastest step", fastest_s - sum(known) / runs, whole, "derived")
        else:
            yield _row("decode steps, as many of the fastest", fastest_s, whole, "derived")
        slower_s = sum(decode.samples_s) / runs - fastest_s
        yield _row("decode steps slower than the fastest: longer context, other programs", slower_s, whole, "derived")
    yield _row("between passes: beam search, logits, cache reordering", sum(between.samples_s) / runs, whole, "derived")


def _step_parts(record: Measurement) -> Iterator[dict[str, Value]]:
    reached = main_rates(record)
    if reached is None or reached.floor_s is None:
        return
    demanded_s = min(reached.floor_s, reached.seconds_s)
    yield _row("what the measured ceilings demand", demanded_s, reached.seconds_s, "derived")
    yield _row(
        "above that: slower kernels, launches, and what was not measured", reached.seconds_s - demanded_s, reached.seconds_s, "derived"
    )
