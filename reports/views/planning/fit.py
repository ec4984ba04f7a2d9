"""Does a fine-tuning fit: memory by part and moment, the host's, fixes with their prices; and the largest that fits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from estimators.counting.estimate import count_params
from estimators.frozen import replace
from estimators.spec import Workload
from estimators.tuning.coverage import not_covered, read_not_measured
from estimators.tuning.deepspeed import printed_of
from estimators.tuning.fit import FITS_BELOW, RESERVE, TIGHT_TO, Fit
from estimators.tuning.job import TuningJob
from estimators.tuning.memory import PARTS
from estimators.tuning.weights import weights_of
from estimators.units import format_bytes, format_fraction, format_int
from reports.screen import Screen, columns_kept
from reports.table import Column, Table, Value
from reports.views.training.conditions import held_lines
from reports.views.training.tuning_job import method_words, settings_line

if TYPE_CHECKING:
    from estimators.tuning.fixes import Fix
    from estimators.tuning.largest import Largest

SHOWN_FIXES = 4


def fit_tables(answer: Fit, fixes: Sequence[Fix], way: Sequence[Fix]) -> list[Table]:
    """Every table: parts at the moment that decides, all moments, the host, the job, the fixes."""
    lacking = max(0.0, -answer.left_bytes)
    changes = [fixes_table(fixes, lacking)] if fixes else []
    one_by_one = "What makes it fit, one change after the other"
    together = [replace(fixes_table(way, lacking), title=one_by_one, conditions=[], key="way")] if way else []
    beside = [reserve_table(answer), host_table(answer), job_table(answer.job)]
    return [parts_table(answer), moments_table(answer), *beside, *changes, *together]


def _facts(answer: Fit) -> dict[str, object]:
    low, high = answer.smi_bytes
    return {
        "model": answer.job.model.name,
        "hardware": answer.hardware.id,
        "num_devices": answer.job.num_gpus,
        "verdict": answer.verdict,
        "fits": answer.verdict != "NO",
        "allocated_bytes": round(answer.allocated_bytes),
        "allocated_low_bytes": round(answer.allocated_interval_bytes[0]),
        "allocated_high_bytes": round(answer.allocated_interval_bytes[1]),
        "reserve_bytes": round(answer.reserve_bytes),
        "not_covered": list(not_covered(answer.job)),
        "read_not_measured": list(read_not_measured(answer.job)),
        "device_memory_bytes": answer.hardware.memory_bytes,
        "left_bytes": round(answer.left_bytes),
        "decides": answer.decides.name,
        "runner_up": answer.memory.runner_up.name,
        "runner_up_bytes": round(answer.memory.runner_up.total_bytes),
        "nvidia_smi_low_bytes": round(low),
        "nvidia_smi_high_bytes": round(high),
        "host_bytes": round(sum(answer.memory.host.values())),
        "framework": answer.job.recipe.id,
        "is_framework_assumed": answer.job.is_recipe_assumed,
    }


def parts_table(answer: Fit) -> Table:
    """Memory of the fullest device by part, at the moment that decides and at the runner-up."""
    decides, second = answer.decides, answer.memory.runner_up
    low, high = (format_bytes(size) for size in answer.allocated_interval_bytes)
    rows: list[dict[str, Value]] = [
        {
            "part": name,
            "bytes": round(decides.parts.get(name, 0.0)),
            "runner_up_bytes": round(second.parts.get(name, 0.0)),
            "what": what,
        }
        for name, what in PARTS.items()
        if decides.parts.get(name) or second.parts.get(name)
    ]
    rows.append({"part": "allocated", "bytes": round(decides.total_bytes), "runner_up_bytes": round(second.total_bytes), "what": ""})
    return Table(
        title=f"{answer.job.model.name} on {_devices(answer)}: memory of the fullest device",
        conditions=[
            f"decides: {decides.name}",
            f"runner-up: {second.name}",
            f"as torch.cuda.max_memory_allocated counts it; 80 %: {low} to {high}",
        ],
        columns=[
            Column(key="part", header="part"),
            Column(key="bytes", header=decides.name, format=format_bytes, align="right"),
            Column(key="runner_up_bytes", header=second.name, format=format_bytes, align="right"),
            Column(key="what", header="what it is", priority=1),
        ],
        rows=rows,
        notes=_notes(answer),
        facts=_facts(answer),
        key="parts",
        kind="estimated",
    )


def moments_table(answer: Fit) -> Table:
    """Every moment of a step, part by part."""
    rows: list[dict[str, Value]] = [
        {"moment": moment.name, "part": name, "bytes": round(moment.parts[name])}
        for moment in answer.memory.moments
        for name in PARTS
        if moment.parts.get(name)
    ]
    columns = [
        Column(key="moment", header="moment", once=True),
        Column(key="part", header="part"),
        Column(key="bytes", header="bytes", format=format_bytes, align="right"),
    ]
    facts = {"device_memory_bytes": answer.hardware.memory_bytes, "decides": answer.decides.name}
    return Table(title="Every moment of a step", columns=columns, rows=rows, facts=facts, key="moments", kind="estimated")


def reserve_table(answer: Fit) -> Table:
    """What is asked for beside what is allocated, item by item, up to what a device has to have."""
    items = [
        ("allocated", answer.allocated_bytes, f"at the fullest moment, {answer.decides.name}"),
        *((name, size, RESERVE[name]) for name, size in answer.reserve.items()),
        ("needed", answer.needed_bytes, f"of the device's {format_bytes(answer.hardware.memory_bytes)}"),
    ]
    rows: list[dict[str, Value]] = [{"item": name, "bytes": round(size), "what": what} for name, size, what in items]
    return Table(
        title="What a device has to have",
        columns=[
            Column(key="item", header="item"),
            Column(key="bytes", header="bytes", format=format_bytes, align="right"),
            Column(key="what", header="what it is", priority=1),
        ],
        rows=rows,
        key="reserve",
        kind="estimated",
    )


def host_table(answer: Fit) -> Table:
    """Memory of the host."""
    rows: list[dict[str, Value]] = [{"what": name, "bytes": round(size)} for name, size in answer.memory.host.items()]
    if printed := printed_of(answer.job, weights_of(answer.job), count_params(answer.job.model.ops(Workload()))):
        rows.append({"what": "as DeepSpeed's own estimator prints it: the host's, states alone", "bytes": round(printed.host_bytes)})
        rows.append({"what": "the same: each device's", "bytes": round(printed.device_bytes)})
    columns = [Column(key="what", header="on the host"), Column(key="bytes", header="bytes", format=format_bytes, align="right")]
    return Table(title="Memory of the host, all processes of the node", columns=columns, rows=rows, key="host", kind="estimated")


def job_table(job: TuningJob) -> Table:
    """The job as it was decided."""
    method = job.method
    said: dict[str, Value] = {
        "framework": f"{job.recipe.id}{' (assumed)' if job.is_recipe_assumed else ''}",
        "method": method_words(job),
        "objective": job.objective,
        "base_format": method.base_format,
        "weights": job.weights_dtype,
        "autocast": job.autocast or "none",
        "micro_batch": job.micro_batch,
        "seq_len": job.seq_len,
        "accumulation": job.accumulation,
        "packing": job.packing,
        "optimizer": job.optimizer,
        "checkpointing": job.checkpointing,
        "attention": job.attention,
        "loss": job.loss,
        "sharding": job.sharding,
        "reference": job.reference,
        "recipe": job.recipe.source,
    }
    rows = [{"setting": name, "value": value} for name, value in said.items()]
    return Table(
        title="The job", columns=[Column(key="setting", header="setting"), Column(key="value", header="value")], rows=rows, key="job"
    )


def fixes_table(fixes: Sequence[Fix], lacking_bytes: float = 0.0) -> Table:
    """What wins memory, by time lost per GiB won.

    Args:
        lacking_bytes: that the device has too few of, a reserve included.
    """
    rows: list[dict[str, Value]] = [
        {
            "change": each.advice.what,
            "what": each.advice.what.partition(": ")[0].partition(" (")[0],
            "won_bytes": round(each.won_bytes),
            "slower_fraction": each.slower - 1 if each.slower is not None else None,
            "verdict": each.verdict,
            "keeps_result": each.keeps_result,
        }
        for each in fixes
    ]
    return Table(
        title="What wins memory",
        conditions=["each change by itself", "sorted by time lost for each GiB won; what changes the result comes last"],
        columns=[
            Column(key="change", header="change"),
            Column(key="won_bytes", header="wins", format=format_bytes, align="right"),
            Column(key="slower_fraction", header="time of a sample", format=_slower, align="right"),
            Column(key="verdict", header="then"),
            Column(key="keeps_result", header="same result", raw=True),
        ],
        rows=rows,
        facts={"lacking_bytes": round(lacking_bytes)},
        key="fixes",
        kind="estimated",
    )


def _slower(fraction: float) -> str:
    return "as before" if abs(fraction) < 0.005 else f"{fraction:+.0%}"


def fit_screen(answer: Fit, fixes: Sequence[Fix], way: Sequence[Fix], tables: Sequence[Table]) -> Screen:
    """The verdict, memory by part, what would make it fit."""
    allocated, whole = format_bytes(answer.allocated_bytes), format_bytes(answer.hardware.memory_bytes)
    low, high = (format_bytes(size) for size in answer.allocated_interval_bytes)
    beside = f"{format_bytes(answer.left_bytes)} to spare" if answer.left_bytes >= 0 else f"{format_bytes(-answer.left_bytes)} too much"
    smi = " to ".join(format_bytes(size) for size in answer.smi_bytes)
    lead = [
        f"{answer.job.model.name}, {method_words(answer.job)}, on {_devices(answer)}. Decided by: {answer.decides.name}; "
        f"next: {answer.memory.runner_up.name}, {format_bytes(answer.memory.runner_up.total_bytes)}."
        + f" 80 %: {low} to {high}."
        + (f" nvidia-smi may show {smi}." if answer.verdict != "NO" else ""),
    ]
    if answer.verdict == "FITS":
        table = columns_kept(tables[0], "part", "bytes", "runner_up_bytes", "what", always=2)
    else:
        single = [each for each in fixes if each.verdict == "FITS"][:SHOWN_FIXES]
        kept = single or list(way) or list(fixes)[:SHOWN_FIXES]
        lead.append(
            "Each of these by itself makes it fit:" if single else "These together make it fit:" if way else "Nothing here makes it fit:"
        )
        table = columns_kept(fixes_table(kept), "change", "won_bytes", "verdict", "slower_fraction", always=2)
    return Screen(
        answer=f"{answer.verdict}: {allocated} of {whole} allocated, {beside} with a reserve",
        lead=lead,
        table=table,
        notes=_notes(answer),
        more=[] if answer.verdict == "FITS" else ["--largest batch|seq-len|lora-rank (what does fit)"],
        failed=answer.verdict == "NO",
    )


def _notes(answer: Fit) -> list[str]:
    job = answer.job
    notes = held_lines(job.model)
    if job.is_recipe_assumed:
        notes.append("no framework named: transformers with peft is assumed, and 10 % more asked for; --framework NAME names one")
    if uncovered := not_covered(job):
        notes.append(f"no law checked against torch: {'; '.join(uncovered)}; the interval is wider, and more is asked for")
    if read := read_not_measured(job):
        notes.append(f"read off code, not measured on a GPU: {'; '.join(read)}")
    notes.append(settings_line(job))
    if job.sharding in ("ddp", "zero-1") and job.num_gpus > 1:
        notes.append(f"{job.sharding} shares out no weights: {job.num_gpus} devices hold as much as one, each")
    if answer.memory.host:
        notes.append(f"host memory {format_bytes(sum(answer.memory.host.values()))}: {', '.join(answer.memory.host)}")
    notes.append(
        f"FITS below {format_fraction(FITS_BELOW)} of the driver's memory, or where what fills it never moves; "
        f"TIGHT to {format_fraction(TIGHT_TO)}. Check it: torch.cuda.max_memory_allocated() after two steps of the longest samples"
    )
    return notes


def _devices(answer: Fit) -> str:
    num = answer.job.num_gpus
    return answer.hardware.name if num == 1 else f"each of {num} {answer.hardware.name} ({answer.job.sharding})"


UNITS = {"batch": "samples a pass", "seq-len": "tokens in the longest sample", "lora-rank": "is the rank"}


def largest_tables(found: Largest) -> list[Table]:
    """The largest, and the memory that it takes."""
    answer = found.answer
    table = parts_table(answer)
    facts = {**table.facts, "quantity": found.quantity, "largest": found.value, "limited_by": found.limited_by}
    return [replace(table, facts=facts)]


def largest_screen(found: Largest, tables: Sequence[Table]) -> Screen:
    """The largest in one line, and the memory that it takes."""
    answer, unit = found.answer, UNITS[found.quantity]
    said = f"at most {format_int(found.value)} {unit}" if found.value else f"nothing fits, not even 1 {unit}"
    allocated, whole = format_bytes(answer.allocated_bytes), format_bytes(answer.hardware.memory_bytes)
    return Screen(
        answer=f"{said}: {allocated} of {whole}, limited by {found.limited_by}",
        lead=[f"{answer.job.model.name}, {method_words(answer.job)}, on {_devices(answer)}. Decided by: {answer.decides.name}."],
        table=columns_kept(tables[0], "part", "bytes", "what", always=2),
        notes=_notes(answer)[:-1],
        failed=not found.value,
    )
