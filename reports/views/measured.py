"""Tables of one measured run: the answer, the counts by route, time against bounds, where it went, the checks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench import stats
from bench.record import Measurement, Phase
from estimators import units
from reports.crosscheck import Check, crosscheck, rates
from reports.table import Column, Table, Value

_RATE = {"matmul": units.format_flop_rate, "bandwidth": units.format_byte_rate}
ROUTES = ("op table", "torch meta", "fvcore x2", "Trainer rule")


def conditions(record: Measurement) -> list[str]:
    """Under what the figures hold: task, sizes, dtype, weights, device, convention."""
    asked = record.request
    sizes = [f"batch {asked.get('batch')}"]
    if asked.get("num_beams", 1) not in (None, 1):
        sizes.append(f"{asked['num_beams']} beams")
    if (asked.get("seq_len") or 1) > 1:
        sizes.append(f"{'sequence' if asked['task'] == 'train' else 'prompt'} {asked['seq_len']} tokens")
    if asked.get("new_tokens"):
        sizes.append(f"{asked['new_tokens']} new tokens")
    device = record.environment.get("device") or {}
    lines = [
        f"task {asked['task']} · {' · '.join(sizes)} · {asked.get('weights_label', 'weights not loaded')}",
        f"{asked.get('dtype')}" + (f", {asked['dtype_reason']}" if asked.get("dtype_reason") else ""),
        f"on {device.get('name', 'unknown device')} · torch {device.get('torch', '?')}"
        + (f" · {asked['attn']} attention" if asked.get("attn") else "")
        + " · FLOP under `full`",
    ]
    if asked.get("prompt_label"):
        lines.append(f"prompt: {asked['prompt_label']}")
    return lines


def tables(record: Measurement) -> list[Table]:
    """Every table of one run, the answer first."""
    checks = crosscheck(record)
    made = [_answer(record), _counts(record), _time(record), _parts(record), _check_table(record, checks)]
    return [table for table in made if table.rows]


def _interval(phase: Phase) -> str:
    interval = stats.median_interval(phase.samples_s)
    if interval is None:
        return f"{len(phase.samples_s)} sample{'s' if len(phase.samples_s) != 1 else ''}, no interval"
    return f"{units.format_duration(interval[0])} to {units.format_duration(interval[1])} (95 %), {len(phase.samples_s)} samples"


_MAIN = {"generate": "generate", "decode": "decode", "prefill": "prefill", "train": "train_step"}


def main_phase(record: Measurement) -> Phase | None:
    """The phase that answers the request's question; None where only slices or nothing was timed."""
    return record.phase(_MAIN.get(record.request["task"], ""))


def headline_s(record: Measurement) -> tuple[float, str] | None:
    """Seconds of the main step and whether they were measured or extrapolated."""
    if record.extrapolation:
        return record.extrapolation["value_s"], "extrapolated"
    phase = main_phase(record)
    return (stats.median(phase.samples_s), "measured") if phase and phase.samples_s else None


def _answer(record: Measurement) -> Table:
    rows: list[dict[str, Value]] = []

    def add(what: str, value: str, tag: str, note: str = "") -> None:
        rows.append({"what": what, "value": value, "tag": tag, "note": note})

    head = headline_s(record)
    phase = main_phase(record)
    what = {"generate": "whole generation", "decode": "one decode step", "prefill": "prefill", "train": "training step"}[
        record.request["task"]
    ]
    if head:
        note = _interval(phase) if phase else _extrapolation_note(record)
        add(what, units.format_duration(head[0]), head[1], note)
        items = phase.items_per_sample if phase else record.extrapolation["items_per_sample"]
        item = phase.item if phase else record.extrapolation["item"]
        add(f"{item}s per second", f"{items / head[0]:,.4g}", head[1], f"{items} {item}s each time")
    decode = record.phase("decode")
    if decode and record.request["task"] == "generate" and decode.samples_s:
        add("one decode step", units.format_duration(stats.median(decode.samples_s)), "measured", _interval(decode))
        prefill = record.phase("prefill")
        if prefill and prefill.samples_s:
            add("prefill", units.format_duration(stats.median(prefill.samples_s)), "measured", _interval(prefill))
    add("parameters", f"{record.estimate['params']:,}", "derived", "op table; counted again below")
    said = record.estimate["phases"].get(_MAIN[record.request["task"]])
    if said:
        add(f"FLOP of the {what}", units.format_flop(said["flop"]["full"]), "derived", "convention `full`")
        if said["flop"]["hardware"] != said["flop"]["full"]:
            add("with recomputation", units.format_flop(said["flop"]["hardware"]), "derived", "convention `hardware`")
    needed = sum(record.estimate["memory_bytes"].values())
    parts = ", ".join(f"{name.replace('_', ' ')} {units.format_bytes(size)}" for name, size in record.estimate["memory_bytes"].items())
    add("memory needed", units.format_bytes(needed), "estimated", parts)
    for instrument, held in record.memory_bytes.items():
        if held is not None:
            add(f"memory held ({instrument})", units.format_bytes(held), "measured")
    for name in ("train_loss", "heldout_loss"):
        if record.learning.get(name) is not None:
            add(name.replace("_", " "), f"{record.learning[name]:.4g}", "measured", str(record.learning.get("loss_unit", "")))
    columns = (
        Column(key="what", header="What"),
        Column(key="value", header="Value", align="right"),
        Column(key="tag", header="Kind"),
        Column(key="note", header="Note"),
    )
    notes = [f"{finding.code}: {finding.text}" + (f"; {finding.advice}" if finding.advice else "") for finding in record.warnings]
    return Table(
        key="answer",
        title=f"{record.request['model']}: {what}",
        conditions=conditions(record),
        columns=columns,
        rows=rows,
        notes=notes,
        facts={"run_id": record.run_id, "status": record.status},
    )


def _extrapolation_note(record: Measurement) -> str:
    e = record.extrapolation
    residual = "unknown" if e["residual_fraction"] is None else units.format_fraction(e["residual_fraction"])
    depths = f"line through {e['shallow_layers']} and {e['deep_layers']} layers, read at {e['full_layers']}"
    return f"{depths}; residual (scatter of the samples carried there): {residual}"


def _counts(record: Measurement) -> Table:
    by_quantity: dict[str, dict[str, Value]] = {}
    for count in record.counts:
        row = by_quantity.setdefault(count.quantity, {"quantity": count.quantity})
        row[count.route] = count.value
    for row in by_quantity.values():
        exact = [row[route] for route in ROUTES[:3] if row.get(route) is not None]
        row["equal"] = len(set(exact)) == 1 if len(exact) > 1 else None
    unseen = sorted({name for count in record.counts for name in count.unseen})
    notes = ["fvcore counts multiply-adds of matrix products, doubled here; forward passes only."] if by_quantity else []
    if unseen:
        notes.append(f"fvcore has no handle for {', '.join(unseen)}: none of them multiplies matrices.")
    used = [route for route in ROUTES if any(route in row for row in by_quantity.values())]
    return Table(
        key="counts",
        title="Counted by independent routes",
        conditions=["parameters, and FLOP under `full`; torch and fvcore on the meta device"],
        columns=(
            Column(key="quantity", header="Quantity"),
            *(Column(key=route, header=route, format=units.format_int, align="right") for route in used),
            Column(key="equal", header="Equal"),
        ),
        rows=list(by_quantity.values()),
        notes=notes,
    )


def _time(record: Measurement) -> Table:
    rows: list[dict[str, Value]] = []
    for phase in record.phases:
        rate = rates(record, phase)
        if rate is None:
            continue
        rows.append(
            {
                "phase": rate.phase,
                "measured_s": rate.median_s,
                "bound_s": rate.bound_s,
                "floor_s": rate.floor_s,
                "flop_per_s": rate.flop_per_s,
                "mfu_fraction": rate.mfu,
                "matmul_ceiling_fraction": rate.ceiling_fraction,
                "bytes_per_s": rate.bytes_per_s,
                "bandwidth_fraction": rate.bandwidth_fraction,
                "bandwidth_ceiling_fraction": rate.bandwidth_ceiling_fraction,
            }
        )
    share = units.format_fraction
    columns = [
        Column(key="phase", header="Phase"),
        Column(key="measured_s", header="Measured", format=units.format_duration, align="right"),
        Column(key="bound_s", header="Physics bound", format=units.format_duration, align="right"),
        Column(key="floor_s", header="At ceilings", format=units.format_duration, align="right"),
        Column(key="flop_per_s", header="FLOP/s", format=units.format_flop_rate, align="right"),
        Column(key="mfu_fraction", header="MFU", format=share, align="right"),
        Column(key="matmul_ceiling_fraction", header="of matmul ceiling", format=share, align="right"),
        Column(key="bytes_per_s", header="Bytes/s", format=units.format_byte_rate, align="right"),
        Column(key="bandwidth_fraction", header="of bandwidth", format=share, align="right"),
        Column(key="bandwidth_ceiling_fraction", header="of its ceiling", format=share, align="right"),
    ]
    used = [c for c in columns if any(row.get(c.key) is not None for row in rows)]
    notes = [f"{c.kind} ceiling {_RATE[c.kind](c.value)}, measured just before ({c.dtype}, {c.shape})" for c in record.ceilings]
    if record.estimate.get("peak_flop_per_s") is None:
        notes.append("No datasheet peak for this device: no MFU and no physics bound; the ceilings measured here stand in.")
    notes.append("Bytes are those that must move at least once: weights, KV cache, optimizer state. Decode: the median step.")
    return Table(key="time", title="Time against what the machine allows", columns=used, rows=rows, notes=notes if rows else [])


def _parts(record: Measurement) -> Table:
    """What a sample's time was spent on, as far as it was measured; the parts sum to the whole."""
    rows = list(_generation_parts(record) if record.request["task"] == "generate" else _step_parts(record))
    return Table(
        key="parts",
        title="Where the time went",
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
    if not (generate and prefill and decode and between and generate.samples_s and decode.samples_s):
        return
    runs = len(generate.samples_s)
    whole = sum(generate.samples_s) / runs
    said = record.estimate["phases"]
    matmul = max((c.value for c in record.ceilings if c.kind == "matmul"), default=None)
    bandwidth = max((c.value for c in record.ceilings if c.kind == "bandwidth"), default=None)
    decode_s = sum(decode.samples_s) / runs
    typical_s = stats.median(decode.samples_s) * len(decode.samples_s) / runs
    yield _row("prefill, forward pass", sum(prefill.samples_s) / runs, whole, "measured")
    if matmul and bandwidth and "steps" in said.get("decode", {}):
        floor_s = min(typical_s, sum(max(step["flop"] / matmul, step["min_bytes"] / bandwidth) for step in said["decode"]["steps"]))
        yield _row("decode steps, what the measured ceilings demand", floor_s, whole, "derived")
        yield _row("decode steps, above that: kernels below the ceilings", typical_s - floor_s, whole, "derived")
    else:
        yield _row("decode steps, as many median steps", typical_s, whole, "derived")
    yield _row("decode steps slower (or faster) than the median one", decode_s - typical_s, whole, "derived")
    yield _row("between: beam search, logits, cache reordering", sum(between.samples_s) / runs, whole, "measured")


def _step_parts(record: Measurement) -> Iterator[dict[str, Value]]:
    phase = main_phase(record)
    rate = rates(record, phase) if phase else None
    if rate is None or rate.floor_s is None:
        return
    floor_s = min(rate.floor_s, rate.median_s)
    yield _row("what the measured ceilings demand", floor_s, rate.median_s, "derived")
    yield _row("above that, unexplained", rate.median_s - floor_s, rate.median_s, "derived")


def _check_table(record: Measurement, checks: tuple[Check, ...]) -> Table:
    rows: list[dict[str, Value]] = []
    for check in checks:
        rows.append(
            {
                "metric": check.metric,
                "estimated": _shown(check, check.estimated),
                "rule": check.rule + (f" (+{100 * check.tolerance:.0f} %)" if check.tolerance else ""),
                "observed": _shown(check, check.observed),
                "verdict": {True: "ok", False: "FAILED", None: "not judged"}[check.ok],
                "explanation": check.explanation,
            }
        )
    held, bad, unjudged = (sum(check.ok is verdict for check in checks) for verdict in (True, False, None))
    return Table(
        key="checks",
        title=f"Cross-check: {held} hold, {bad} failed" + (f", {unjudged} could not be judged" if unjudged else ""),
        columns=(
            Column(key="metric", header="Metric"),
            Column(key="estimated", header="Expected", align="right"),
            Column(key="rule", header="Rule"),
            Column(key="observed", header="Observed", align="right"),
            Column(key="verdict", header="Verdict"),
            Column(key="explanation", header="Explanation"),
        ),
        rows=rows,
        facts={"checks_failed": bad},
    )


def _shown(check: Check, value: Any) -> str | None:
    return None if value is None else value if isinstance(value, str) else check.format(value)
