"""Tables of one measured run: the answer first, then counts by route, rules of thumb, time, where it went, and the checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from bench.records.asked import Asked
from bench.records.environment import DeviceFacts
from bench.records.extrapolation import Extrapolation
from bench.records.learning import Learning
from bench.records.record import Measurement, Phase
from bench.statistics import bootstrap, robust
from bench.statistics.rates import MAIN_PHASE, headline_s, interval_s, items_per_sample, main_phase, typical_s
from bench.statistics.step_sizes import steps_of_unlike_size
from estimators import units
from estimators.units import MEGA, format_rate
from reports.checks.conditions import clocks_verdict
from reports.checks.crosscheck import crosscheck
from reports.table import Column, Table, Value
from reports.views.counting.counted import counts_table, rule_tables, where_from
from reports.views.records.checks import check_table
from reports.views.records.energy import energy_table
from reports.views.records.measured_time import parts_table, time_table
from reports.views.records.tuning import tuning_facts, tuning_table
from reports.views.records.watched import ranks_table, watched_table

STEP = {
    "generate": "whole generation",
    "decode": "decode step",
    "prefill": "prefill",
    "train": "training step",
    "forward": "forward pass",
    "serve": "served load",
}
FIGURE = {"generate": "generation", "decode": "decode_step", "prefill": "prefill", "train": "train_step", "forward": "forward"}

Row = dict[str, Value]


def tables(record: Measurement) -> list[Table]:
    """Every table of one run: the answer first, then those that have a row."""
    others = [
        tuning_table(record),
        counts_table(record),
        *rule_tables(record),
        time_table(record),
        parts_table(record),
        energy_table(record),
        watched_table(record),
        ranks_table(record),
        learned_table(record),
        check_table(crosscheck(record)),
    ]
    return [_answer(record), *(table for table in others if table.rows)]


def settings(asked: Asked) -> list[str]:
    """What of a request changes how the same work is done, and is not the default."""
    how = ["torch.compile"] if asked.compile else []
    how += ["static cache"] if asked.cache == "static" else []
    return how + ([f"{units.plural(asked.train_days, 'training day')}"] if asked.train_days else [])


def conditions(record: Measurement) -> list[str]:
    """Under what the figures hold: task, sizes, dtype, weights, device, convention."""
    asked = record.request
    sizes = [f"batch {asked.batch}"] if asked.batch else []
    if (asked.num_beams or 1) > 1:
        sizes.append(f"{asked.num_beams} beams")
    if (asked.seq_len or 1) > 1:
        sizes.append(f"{'sequence' if asked.task in ('train', 'forward') else 'prompt'} of {asked.seq_len} tokens")
    if asked.new_tokens:
        sizes.append(units.plural(asked.new_tokens, "new token"))
    if asked.recompute != "none":
        sizes.append(f"recompute {asked.recompute}")
    device = record.environment.device or DeviceFacts()
    how = [asked.dtype + (f" ({asked.dtype_reason})" if asked.dtype_reason else "")] if asked.dtype else []
    how += [f"{asked.attn} attention"] if asked.attn else []
    how += settings(asked)
    lines = [
        " · ".join([f"task {asked.task}", *sizes, asked.weights_label or "no weights loaded"]),
        " · ".join([*how, "FLOP under `full`"]),
        f"on {device.name or 'an unknown device'} · torch {device.torch or 'unknown'}",
    ]
    if asked.input_label:
        lines.append(f"input: {asked.input_label}")
    if record.learning.data:
        lines.append(f"data: {record.learning.data}")
    return lines


def _interval(record: Measurement, phase: Phase) -> str:
    interval = interval_s(record, phase)
    samples = units.plural(len(phase.samples_s), "sample")
    if len(phase.samples_s) == 1:
        return samples
    of = f"median of {samples}, MAD {units.format_duration(robust.mad(phase.samples_s), 2)}"
    if steps_of_unlike_size(record, phase):
        of = f"mean of {units.plural(len(phase.samples_s), 'step')} that differ in size"
    if interval is None:
        return f"{of}; too few for an interval"
    return f"{of}; 95 %: {units.format_duration(interval[0])} to {units.format_duration(interval[1])}"


def _seconds(record: Measurement, phase: Phase | None) -> Callable[[float], str]:
    """How a phase's typical time is printed: to the digits that its interval supports."""
    if phase is None or not phase.samples_s:
        return units.format_duration
    digits = bootstrap.justified_digits(typical_s(record, phase), interval_s(record, phase))
    return lambda seconds: units.format_duration(seconds, digits)


def _extrapolated(line: Extrapolation) -> str:
    residual = "unknown" if line.residual_fraction is None else units.format_fraction(line.residual_fraction)
    depths = f"line through {line.shallow_layers} and {line.deep_layers} layers, read at {line.full_layers}"
    return f"{depths}; residual (scatter of the samples, carried there): {residual}"


HELD_BY = {
    "peak_rss": "the whole process: Python, torch and the ceilings' arrays too",
    "peak_rss_with_children": "largest sum of a sample; pages shared by two processes count twice",
    "torch_allocated": "tensors on the device",
    "torch_reserved": "what torch's allocator took from the device",
    "nvml_process": "of this process by NVML: context, kernels and libraries too; peak of the samples",
    "nvml_device": "of all processes on the device; peak of the samples",
}
"""Instruments of memory and what each sees: they are never merged."""


class _Answer:
    """Rows of the answer: each figure once for people and once raw."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def add(self, figure: str, what: str, raw: float, format: Callable[[Any], str], tag: str, note: str = "") -> None:
        self.rows.append({"figure": figure, "what": what, "value": format(raw), "raw_value": raw, "tag": tag, "note": note})


def _answer(record: Measurement) -> Table:
    task = record.request.task
    answer = _Answer()
    _times(record, answer)
    _sizes(record, answer)
    head = headline_s(record)
    title = f"{record.request.model}: {STEP[task]}"
    phase = main_phase(record)
    if head and head[0] > 0 and phase and steps_of_unlike_size(record, phase):
        rate = f"{format_rate(items_per_sample(record, phase) / head[0])} {phase.item}s per second"
        title = f"{record.request.model}: {rate} over {units.plural(len(phase.samples_s), STEP[task])} that differ in size ({head[1]})"
    else:
        title += f" in {_seconds(record, phase)(head[0])} ({head[1]})" if head else ", not timed"
    if record.status != "complete":
        title += f"; {record.status} run: {record.status_reason}"
    run: Row = {"model": record.request.model, "weights": record.request.weights_label, "status": record.status}
    run |= {"status_reason": record.status_reason or None, "run_id": record.run_id}
    return Table(
        key="answer",
        title=title,
        conditions=conditions(record),
        columns=(
            Column(key="figure", header="Figure", raw=True),
            Column(key="what", header="What"),
            Column(key="value", header="Value", align="right"),
            Column(key="raw_value", header="Raw value", raw=True),
            Column(key="tag", header="Kind"),
            Column(key="note", header="Note"),
            *(Column(key=key, header=key, raw=True) for key in run),
        ),
        rows=[row | run for row in answer.rows],
        notes=list(remarks(record)),
        facts=run
        | {str(row["figure"]): row["raw_value"] for row in answer.rows}
        | tuning_facts(record)
        | {"unavailable": dict(record.unavailable)},
    )


def _times(record: Measurement, answer: _Answer) -> None:
    task, head, phase = record.request.task, headline_s(record), main_phase(record)
    timed = phase or record.extrapolation
    if head and timed:
        note = _interval(record, timed) if isinstance(timed, Phase) else _extrapolated(timed)
        answer.add(f"{FIGURE[task]}_s", STEP[task], head[0], _seconds(record, phase), head[1], note)
        items, item = items_per_sample(record, timed) if isinstance(timed, Phase) else timed.items_per_sample, timed.item
        if head[0] > 0:
            each = f"{units.plural(round(items), item)} each time"
            if isinstance(timed, Phase) and steps_of_unlike_size(record, timed):
                each = f"{units.plural(round(items * len(timed.samples_s)), item)} in all of them"
            what = f"{item}s per second, padding left out" if item == "token" and record.proof.watched else f"{item}s per second"
            answer.add(f"{item.replace(' ', '_')}s_per_s", what, items / head[0], format_rate, head[1], each)
    if task == "generate":
        for name, what in (("decode", "decode step"), ("prefill", "prefill")):
            part = record.phase(name)
            if part and part.samples_s:
                seconds = robust.median(part.samples_s)
                answer.add(f"{FIGURE[name]}_s", what, seconds, _seconds(record, part), "measured", _interval(record, part))


def _sizes(record: Measurement, answer: _Answer) -> None:
    task, said = record.request.task, record.estimate
    flop_tag, source = where_from(record)
    if said.params is not None:
        answer.add("params", "parameters", said.params, units.format_int, flop_tag, source)
    done = said.phases.get(MAIN_PHASE.get(task, ""))
    if done:
        answer.add(f"{FIGURE[task]}_flop", f"FLOP of the {STEP[task]}", done.flop.full, units.format_flop, flop_tag)
        if done.flop.hardware != done.flop.full:
            note = "convention `hardware`"
            answer.add(f"{FIGURE[task]}_hardware_flop", "with recomputation", done.flop.hardware, units.format_flop, flop_tag, note)
    parts = said.memory_bytes
    if parts:
        note = ", ".join(f"{name.replace('_', ' ')} {units.format_bytes(size)}" for name, size in parts.items())
        whole = "memory needed by all layers" if record.extrapolation else "memory needed"
        answer.add("memory_needed_bytes", whole, sum(parts.values()), units.format_bytes, "estimated", note)
    for instrument, held in record.memory_bytes.items():
        if held is not None:
            note = HELD_BY.get(instrument, "")
            answer.add(f"{instrument}_bytes", f"memory held, {instrument}", held, units.format_bytes, "measured", note)
    for name, what, format in (("energy_j", "energy of the timed part", units.format_energy), ("mean_power_w", "mean power", _watts)):
        watched = record.power.get(name)
        if watched is not None:
            answer.add(name, what, watched, format, "measured", f"over {units.format_duration(record.power['window_s'] or 0)}")
    verdict = clocks_verdict(record)
    if verdict is not None:
        fraction = record.power.get("throttled_fraction")
        note = f"verdict {verdict}" + (f"; lowest {clock / MEGA:.0f} MHz" if (clock := record.power.get("min_sm_clock_hz")) else "")
        if fraction is not None:
            answer.add("throttled_fraction", "time below the clocks", fraction, units.format_fraction, "measured", note)
    for name, loss in (("train_loss", record.learning.train_loss), ("heldout_loss", record.learning.heldout_loss)):
        if loss is not None:
            answer.add(name, name.replace("_", " "), loss, lambda v: f"{v:.4g}", "measured", record.learning.loss_unit or "")


def _watts(watt: float) -> str:
    return f"{watt:.0f} W"


WHOSE = {
    "train": "on the training data",
    "heldout": "on held-out data",
    "baseline": "of the simplest guess",
    "bound": "of the best possible",
}
"""First word of a learned figure's name to what people read."""
MEASURED = ("train", "heldout")
MAX_TEXT = 160
"""Characters of generated text that are shown."""


def learned_table(record: Measurement) -> Table:
    """One row per score; no row for a run that trained nothing."""
    learned = record.learning
    conditions = [f"data: {learned.data}"] if learned.data else []
    if learned.num_train is not None and learned.num_heldout is not None:
        conditions.append(f"{learned.num_train:,} samples to train, {learned.num_heldout:,} held out")
    if learned.loss_unit:
        conditions.append(f"loss: {learned.loss_unit}")
    return Table(
        key="learned",
        title="What was learned",
        conditions=conditions,
        columns=(
            Column(key="what", header="What"),
            Column(key="score", header="Score", format=lambda score: f"{score:.4g}", align="right"),
            Column(key="tag", header="Kind"),
            Column(key="note", header="Note"),
        ),
        rows=sorted(_learned_rows(learned), key=lambda row: row["tag"] != "measured"),
        notes=[f"A sample of what it writes: {learned.sample[:MAX_TEXT]!r}"] if learned.sample else [],
    )


def _learned_rows(learned: Learning) -> Iterator[dict[str, Value]]:
    for name, value in learned.stated().items():
        whose, _, score = name.partition("_")
        if whose in WHOSE and isinstance(value, int | float):
            note = learned.bound or "" if name == "bound_loss" else ""
            tag = "measured" if whose in MEASURED else "derived"
            yield {"what": f"{score.replace('_', ' ')} {WHOSE[whose]}", "score": value, "tag": tag, "note": note}
    for guess, loss in learned.baseline_losses.items():
        yield {"what": "loss of a simple guess", "score": loss, "tag": "derived", "note": guess}


MAX_NAMES = 3
"""Of unavailable figures that share a reason, how many a person is shown; json has all."""

NOISY_FRACTION = 0.02
"""Half width of the interval above which elapsed time does not tell what the instruments cost."""


def _observer(record: Measurement) -> str | None:
    """What the instruments cost, in a line; by processor time where elapsed time scatters too much to tell."""
    cost = record.environment.observer
    if not cost or not cost.wall_ratios or not cost.processor_ratios:
        return None
    interval = robust.median_interval(cost.wall_ratios)
    if interval is None:
        return None
    wall, processor = (100 * (robust.median(ratios) - 1) for ratios in (cost.wall_ratios, cost.processor_ratios))
    within = f"95 %: {100 * (interval[0] - 1):+.1f} to {100 * (interval[1] - 1):+.1f} %"
    how = f"measured here, on and off, interleaved, in {len(cost.wall_ratios)} rounds"
    step = units.format_duration(cost.step_s)
    if interval[1] - interval[0] > 2 * NOISY_FRACTION:
        hidden = f"What the instruments cost a step of {step} is lost in this machine's noise ({within})"
        return f"{hidden}; processor time {processor:+.1f} %, {how}."
    return f"Instruments cost {wall:+.1f} % ({within}) of a step of {step}, {how}."


def remarks(record: Measurement) -> Iterator[str]:
    """What was generated, findings with their advice, then what is unavailable, each reason once."""
    if record.learning.output_text:
        yield f"It wrote: {record.learning.output_text[:MAX_TEXT]!r}"
    for finding in record.warnings:
        yield f"{finding.code}: {finding.text}" + (f"; {finding.advice}" if finding.advice else "")
    cost = _observer(record)
    if cost:
        yield cost
    by_reason: dict[str, list[str]] = {}
    for name, reason in record.unavailable.items():
        by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        yield f"Unavailable: {', '.join(names[:MAX_NAMES])}{more}: {reason}"
