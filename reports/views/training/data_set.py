"""A fine-tuning on a data set: what it takes, what it runs through, and where a step goes."""

from __future__ import annotations

from typing import Any

from estimators.architectures.adapters import trained
from estimators.training.interval import COVERAGE
from estimators.tuning.data_training import DATA_PARTS, DataAnswer
from estimators.tuning.job import TuningJob
from estimators.units import (
    DAY_S,
    HOUR_S,
    format_bytes,
    format_carbon,
    format_count,
    format_duration,
    format_energy,
    format_fraction,
    format_grouped,
    format_int,
    format_money,
)
from reports.table import Column, Table, Value
from reports.views.training.conditions import held_lines, price_text
from reports.views.training.step_ledger import part_columns, part_rows
from reports.views.training.tuning_job import framework_words

BOUNDS = ("low", "median", "high")


def data_set_tables(answer: DataAnswer, *, batch_is_chosen: bool) -> list[Table]:
    """What the training takes, the data set, and a step.

    Args:
        batch_is_chosen: whether nobody said how many samples make a step.
    """
    return [_answer_table(answer, batch_is_chosen=batch_is_chosen), _data_table(answer), _step_table(answer)]


def how(job: TuningJob) -> str:
    """What is done to the model, in the words that people type: full, LoRA, QLoRA, DPO with LoRA."""
    name = "full fine-tuning"
    if job.trains_adapters:
        name = "DoRA" if job.method.dora else "QLoRA" if job.method.base_format != "16-bit" else "LoRA"
    return name if job.objective == "sft" else f"{job.objective.upper() if job.objective != 'reward' else 'reward model'} with {name}"


def figures(answer: DataAnswer, step_s: float) -> dict[str, Value]:
    """Everything that follows from the seconds of a step."""
    wall_s = answer.data.num_steps * step_s
    gpu_hours = answer.device_s(wall_s) / HOUR_S
    energy_j = None if answer.energy_j is None else answer.energy_j * step_s / answer.step_time_s
    return {
        "step_time_s": step_s,
        "wall_s": wall_s,
        "wall_days": wall_s / DAY_S,
        "gpu_hours": gpu_hours,
        **{f"cost_usd_{bound}": getattr(answer.price, bound) * gpu_hours if answer.price else None for bound in BOUNDS},
        "energy_j": energy_j,
        "co2_kg": None if energy_j is None else energy_j * answer.carbon.value,
    }


def _facts(answer: DataAnswer, middle: dict[str, Value], *, batch_is_chosen: bool) -> dict[str, Any]:
    question, data, job = answer.question, answer.data, answer.question.job
    low_s, high_s = answer.ends_s()
    return middle | {
        "model": job.model.name,
        "hardware": question.hardware.id,
        "num_devices": answer.num_devices,
        "dtype": job.dtype,
        "method": how(job),
        "framework": job.recipe.framework,
        "framework_assumed": job.is_recipe_assumed,
        "trained_params": answer.step.work.trained_params,
        "micro_batch": job.micro_batch,
        "accumulation": job.accumulation,
        "batch_chosen": batch_is_chosen,
        "epochs": question.epochs,
        "max_length": question.max_length,
        "packing": data.batching.packing,
        "long_samples_are": data.batching.long_samples,
        "lengths": data.lengths.source,
        "num_samples": data.lengths.num_samples,
        "num_rows": data.num_rows,
        "steps_per_epoch": data.steps_per_epoch,
        "num_steps": data.num_steps,
        "real_tokens": data.real_tokens,
        "processed_tokens": data.processed_tokens,
        "loss_tokens": data.loss_tokens,
        "padding_fraction": data.padding_fraction,
        "lost_fraction": data.lost_fraction,
        "long_fraction": data.long_fraction,
        "packing_saves_fraction": data.packing_saves_fraction,
        "packed_steps": data.packed_steps,
        "grouping_saves_fraction": data.grouping_saves_fraction,
        "longest_row_tokens": data.longest_row,
        "mean_row_tokens": data.mean_row,
        "step_time_low_s": answer.low_s,
        "step_time_high_s": answer.high_s,
        "wall_low_s": low_s,
        "wall_high_s": high_s,
        "interval_fraction": COVERAGE,
        "measured_over_predicted": answer.measured_over_predicted,
        "real_tokens_per_s": answer.real_tokens_per_s,
        "step_flop": answer.step.flop,
        "allocated_bytes": answer.fit.allocated_bytes,
        "needed_bytes": answer.fit.needed_bytes,
        "memory_bytes": question.hardware.memory_bytes,
        "verdict": answer.fit.verdict,
        "fits": answer.fit.verdict == "FITS",
        "decided_by": answer.fit.decides.name,
        "memory_parts_bytes": dict(answer.fit.decides.parts),
        "ledger": dict(answer.parts),
        "power_share_fraction": answer.power.value,
        "carbon_kg_per_j": answer.carbon.value,
    }


def conditions(answer: DataAnswer, *, batch_is_chosen: bool) -> list[str]:
    """What was held fixed, one line each."""
    question, data, job = answer.question, answer.data, answer.question.job
    chosen = " (chosen: the fastest that fits; --batch and --accumulation set yours)" if batch_is_chosen else ""
    devices = f" on each of {job.data_parallel} devices ({job.sharding})" if job.data_parallel > 1 else ""
    packed = f"packed by {data.batching.packing} to" if data.batching.packing else "padded to the longest of a batch,"
    long = {"cut": "longer samples are cut", "drop": "longer samples are left out", "split": "longer samples are split"}
    params = format_int(answer.step.work.trained_params)
    lines = [
        f"{how(job)} of {trained(job.model, job.method).name}: {params} parameters trained; {framework_words(job)}",
        f"data: {data.lengths.source}",
        f"rows {packed} {format_int(question.max_length)} tokens at most; {long[data.batching.long_samples]}",
        f"a step: {job.micro_batch} x {job.accumulation} samples{devices}{chosen}; checkpointing {job.checkpointing}, {job.optimizer}",
        *held_lines(job.model),
    ]
    if answer.price:
        lines.append(f"price per GPU-hour {price_text(answer.price)}: {answer.price.source}")
    return lines


def _answer_table(answer: DataAnswer, *, batch_is_chosen: bool) -> Table:
    interval = f"{100 * COVERAGE:.0f} %"
    rows: list[dict[str, Value]] = [
        {"scenario": name, **figures(answer, step_s)}
        for name, step_s in ((f"{interval}, from", answer.low_s), ("predicted", answer.step_time_s), (f"{interval}, to", answer.high_s))
    ]
    one_price = answer.price is not None and answer.price.low == answer.price.high
    costs = [("median", "cost")] if one_price else [("low", "cost, low"), ("median", "median"), ("high", "high")]
    notes = [track_line(answer)]
    if answer.energy_j is not None:
        share = f"energy: the boards alone at {format_fraction(answer.power.value, 2)} of their power limit ({answer.power.source.title})"
        notes.append(f"{share}; CO2: {format_carbon(answer.carbon.value)}, {answer.carbon.source.title}.")
    notes.append("wall time: steps from first to last; loading, evaluation and saving come on top.")
    middle = {key: value for key, value in rows[1].items() if key != "scenario"}
    return Table(
        title=headline(answer),
        conditions=[*conditions(answer, batch_is_chosen=batch_is_chosen), *answer.step.notes],
        columns=[
            Column(key="scenario", header=""),
            Column(key="step_time_s", header="step", format=format_duration, align="right"),
            Column(key="wall_s", header="wall time", format=format_duration, align="right"),
            Column(key="gpu_hours", header="GPU-hours", format=format_grouped, align="right"),
            *(Column(key=f"cost_usd_{bound}", header=header, format=format_money, align="right") for bound, header in costs),
            Column(key="energy_j", header="energy", format=format_energy, align="right"),
            Column(key="co2_kg", header="CO2, kg", format=format_grouped, align="right"),
        ],
        rows=rows,
        notes=notes,
        facts=_facts(answer, middle, batch_is_chosen=batch_is_chosen),
        key="data_set_training",
        kind="estimated",
    )


def headline(answer: DataAnswer) -> str:
    """The answer in one sentence."""
    question, data, job = answer.question, answer.data, answer.question.job
    epochs = f" x {question.epochs:g} epochs" if question.epochs != 1 else ""
    middle = figures(answer, answer.step_time_s)["cost_usd_median"]
    about = "" if answer.price is not None and answer.price.low == answer.price.high else "about "
    money = f", {about}{format_money(float(middle))}" if isinstance(middle, float) else ""
    of = f"{format_bytes(answer.fit.allocated_bytes)} of {format_bytes(question.hardware.memory_bytes)} at the longest batch"
    verdict = {"FITS": "fits", "TIGHT": "TIGHT", "NO": "does NOT fit"}[answer.fit.verdict]
    return (
        f"{how(job)} of {job.model.name} on {_samples(data.lengths.num_samples)}{epochs}: {format_duration(answer.wall_s)} on "
        f"{answer.num_devices} x {question.hardware.id}{money}; {verdict}, {of}"
    )


def _samples(count: int) -> str:
    return f"{format_count(count)} sample{'s' * (count > 1)}"


def track_line(answer: DataAnswer) -> str:
    """What measured steps were missed by, and whether a step of the user's own scaled these."""
    record = answer.record
    said = ""
    if record is not None and record.rows:
        said = (
            f": {record.rows} measured steps of {record.sources} sources were missed by {format_fraction(record.median_error, 2)}, median"
        )
    if answer.question.measured_step_s is not None:
        return f"scaled by the measured step, {answer.measured_over_predicted:.3g} times the predicted one{said}."
    return f"steps are predicted{said}; --measured-step TIME scales all by one of yours."


def _data_table(answer: DataAnswer) -> Table:
    data = answer.data
    epochs = answer.question.epochs
    rows: list[dict[str, Value]] = [
        {"what": "tokens computed, padding included", "count": data.processed_tokens, "fraction": 1.0},
        {"what": "tokens of samples", "count": data.real_tokens, "fraction": data.real_tokens / data.processed_tokens},
        {"what": "tokens that bear loss", "count": data.loss_tokens, "fraction": _share(data.loss_tokens, data.processed_tokens)},
        {"what": "padding", "count": data.processed_tokens - data.real_tokens, "fraction": data.padding_fraction},
        {"what": "lost with samples that are too long", "count": data.lost_tokens, "fraction": data.lost_fraction},
        {"what": "saved by packing, were they packed", "count": None, "fraction": data.packing_saves_fraction},
        {"what": "saved by grouping by length, were they", "count": None, "fraction": data.grouping_saves_fraction},
    ]
    unknown = ["tokens that bear loss: the lengths do not say which; a column loss_tokens does, --data with prompts, too."]
    return Table(
        title=f"The data set: {format_int(data.steps_per_epoch)} steps an epoch, {format_int(data.num_steps)} in {epochs:g}; "
        f"{format_fraction(data.padding_fraction)} of what is computed is padding",
        conditions=[
            f"{format_int(data.lengths.num_samples)} samples of {format_grouped(data.lengths.mean_tokens)} tokens in the mean, "
            f"{format_int(data.lengths.percentile(0.95))} at the 95th percentile, {format_int(data.lengths.longest)} at most; "
            f"{format_fraction(data.long_fraction)} of them too long",
            f"rows of {format_grouped(data.mean_row)} tokens in the mean over all orders, at most {format_int(data.longest_row)}",
        ],
        columns=[
            Column(key="what", header="in one epoch"),
            Column(key="count", header="tokens", format=format_count, align="right"),
            Column(key="fraction", header="share", format=format_fraction, align="right"),
        ],
        rows=rows,
        notes=unknown if data.loss_tokens is None else [],
        key="data_set",
        kind="derived",
    )


def _share(count: int | None, of: float) -> float | None:
    return None if count is None else count / of


def _step_table(answer: DataAnswer) -> Table:
    return Table(
        title=f"Where a step of {format_duration(answer.step_time_s)} goes, in the mean over the data set",
        columns=part_columns(),
        rows=part_rows(answer.parts, DATA_PARTS, answer.step_time_s),
        notes=["The parts sum to the step."],
        key="step",
        kind="estimated",
    )
