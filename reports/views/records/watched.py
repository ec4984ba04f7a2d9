"""What a record of a user's training loop has beside a step: data wait, padding, totals, the prediction, and each rank."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from bench.records.record import Measurement
from bench.statistics.rates import headline_s
from estimators import units
from reports.table import Column, Table, Value


def watched_table(record: Measurement) -> Table:
    """Totals of a training that was watched, and shares of its time; no rows for other records."""
    return Table(
        key="watched",
        title="Inside the training",
        conditions=["all ranks together; a step's time is that of the slowest rank"],
        columns=(
            Column(key="figure", header="Figure", raw=True),
            Column(key="what", header="What"),
            Column(key="value", header="Value", align="right"),
            Column(key="raw_value", header="Raw value", raw=True),
            Column(key="tag", header="Kind"),
        ),
        rows=list(_rows(record)),
    )


def _rows(record: Measurement) -> Iterator[dict[str, Value]]:
    seen, phase = record.proof.watched, record.phase("train_step")
    if not seen or phase is None:
        return

    def row(figure: str, what: str, raw: float | None, format: Callable[[Any], str], tag: str) -> Iterator[dict[str, Value]]:
        if raw is not None:
            yield {"figure": figure, "what": what, "value": format(raw), "raw_value": raw, "tag": tag}

    item, whole_s = phase.item, sum(phase.samples_s)
    items = record.proof.num_samples if record.proof.num_tokens is None else record.proof.num_tokens
    padding = None if None in seen.padding_per_step else sum(num or 0 for num in seen.padding_per_step)
    waits_s = sum(seen.data_wait_s[len(phase.warmup_s) :])
    seconds = [*phase.warmup_s, *phase.samples_s]
    proof = record.proof
    yield from row("num_steps", "steps, warm-up included", proof.num_steps, units.format_int, "counted")
    if proof.num_optimizer_steps != proof.num_steps:
        what = "steps of all optimizers together"
        yield from row("num_optimizer_steps", what, proof.num_optimizer_steps, units.format_int, "counted")
    if proof.num_skipped_steps:
        yield from row("num_skipped_steps", "steps that a gradient scaler skipped", proof.num_skipped_steps, units.format_int, "counted")
    if proof.num_batches != (proof.num_steps or 0) * (proof.num_ranks or 1):
        yield from row("num_batches", "batches, of all ranks", proof.num_batches, units.format_int, "counted")
    yield from row(f"num_{item}s", f"{item}s, padding left out" if item == "token" else f"{item}s", items, units.format_int, "counted")
    if padding is not None and items is not None and items + padding:
        yield from row("num_padding", "positions of padding, computed beside them", padding, units.format_int, "counted")
        yield from row("padding_fraction", "padding, of all positions", padding / (items + padding), units.format_fraction, "derived")
    losses = record.proof.num_loss_tokens
    yield from row("num_loss_tokens", "tokens that bear a loss", losses, units.format_int, "counted")
    if losses is not None and sum(seconds) > 0:
        per_s = losses / sum(seconds)
        yield from row("loss_tokens_per_s", "tokens that bear a loss, per second of all steps", per_s, units.format_rate, "derived")
    yield from row("training_flop", "FLOP of all steps, padding included", seen.training_flop, units.format_flop, "derived")
    yield from row(
        "data_wait_fraction", "data wait, of the steady time", waits_s / whole_s if whole_s else None, units.format_fraction, "derived"
    )
    host = record.phase("host_step")
    if seen.processor_s is not None and host is not None:
        wall_s = sum((*host.warmup_s, *host.samples_s))
        share = max(0.0, 1 - seen.processor_s / wall_s) if wall_s else None
        yield from row("without_processor_fraction", "without its processor, of all steps", share, units.format_fraction, "derived")
    if seen.others_s:
        what = "saving, evaluation and other callbacks, beside the steps"
        yield from row("others_s", what, sum(seen.others_s), units.format_duration, "measured")
    flop, hardware, peak = seen.training_flop, seen.hardware_flop, record.estimate.peak_flop_per_s
    if peak and flop and hardware and sum(seconds) > 0:
        busy_flop = sum(seconds) * peak * (record.proof.num_ranks or 1)
        yield from row("mean_mfu_fraction", "MFU over all steps", flop / busy_flop, units.format_fraction, "derived")
        yield from row("mean_hfu_fraction", "HFU over all steps", hardware / busy_flop, units.format_fraction, "derived")
    said, head = record.estimate.predicted_step_s, headline_s(record)
    if said and head:
        yield from row("predicted_step_s", "step, predicted", said, units.format_duration, "estimated")
        yield from row("measured_over_predicted", "measured over predicted", head[0] / said, units.format_ratio, "derived")
    energy_j = record.power.get("energy_j")
    if energy_j is not None and items:
        yield from row("energy_j_per_item", f"energy per {item}", energy_j / items, units.format_energy, "derived")
    cost = seen.observer_s / len(seconds) if seconds else None
    yield from row("observer_s", "watching, per step", cost, units.format_duration, "measured")
    yield from row("counting_s", "counting FLOP on meta, beside the steps", seen.counting_s, units.format_duration, "measured")
    yield from row("skew_fraction", "slowest rank over the fastest, less one", seen.skew_fraction, units.format_fraction, "derived")


def ranks_table(record: Measurement) -> Table:
    """One row per rank, where there are several."""
    ranked = record.proof.watched.ranks if record.proof.watched else ()
    return Table(
        key="ranks",
        title="Rank by rank",
        columns=(
            Column(key="rank", header="Rank", align="right"),
            Column(key="device", header="Device"),
            Column(key="uuid", header="UUID", raw=True),
            Column(key="num_items", header="Tokens or samples", format=units.format_int, align="right"),
            Column(key="median_step_s", header="Step", format=units.format_duration, align="right"),
            Column(key="median_data_wait_s", header="Data wait", format=units.format_duration, align="right"),
        ),
        rows=[{name: value for name, value in row.stated().items() if name != "peak_bytes"} for row in ranked] if len(ranked) > 1 else [],
    )
