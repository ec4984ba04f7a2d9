"""What single steps cost: time bound, FLOP under each convention, bytes that must move, memory by part, a generation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from estimators.counting.conventions import CONVENTIONS
from estimators.spec import Hardware, Model, Workload
from estimators.units import format_byte_rate, format_bytes, format_duration, format_flop, format_flop_rate, format_int, format_rate, plural
from reports.table import Column, Table, Value
from reports.views.training.conditions import convention_line, device_lines, length_source, scope_lines
from reports.views.training.step_memory import memory_table

if TYPE_CHECKING:
    from estimators.inference.generation import Generation
    from estimators.inference.single_steps import Steps, StepsAnswer

NO_HARDWARE = "time bounds: none, name a device with --hardware."
BOUND_NOTE = (
    "at least: physics, never beaten by one device: the larger of FLOP that no kernel may skip / dense peak and bytes that must "
    "move / bandwidth. Real kernels need more; no efficiency hides in it."
)


def hardware_line(hardware: Hardware | None, dtype: str) -> list[str]:
    """The device in one line, for the head of a table; nothing without one."""
    if hardware is None:
        return []
    return [
        f"{hardware.id}: dense {dtype} peak {format_flop_rate(hardware.peak(dtype))}, {format_byte_rate(hardware.memory_bytes_per_s)}, "
        f"{format_bytes(hardware.memory_bytes)} ({hardware.source.title})",
        *device_lines([hardware]),
    ]


def _bound_notes(hardware: Hardware | None, num_bytes: int) -> list[str]:
    """What a bound means, and what it does not where one device is too small.

    Args:
        num_bytes: weights and KV cache.
    """
    if hardware is None:
        return [NO_HARDWARE]
    return [BOUND_NOTE, *too_large_notes(hardware, num_bytes)]


def too_large_notes(hardware: Hardware, num_bytes: int) -> list[str]:
    """What a bound is worth where one device cannot hold weights and KV cache; nothing where it can."""
    least = math.ceil(num_bytes / hardware.memory_bytes)
    if least == 1:
        return []
    return [
        f"One {hardware.id} cannot hold the {format_bytes(num_bytes)} of weights and KV cache: at least {format_int(least)} devices are "
        "needed, and n of them, perfectly split, are bound by 1/n of these times.",
    ]


def work_text(workload: Workload, item: str) -> str:
    """What a step is of, such as ``5 x 1 token after 512 cached``."""
    if item == "sample":
        return plural(workload.batch, "sample")
    shape = f"{format_int(workload.batch)} x {plural(workload.seq_len, 'token')}"
    return f"{shape} after {format_int(workload.context_len)} cached" if workload.context_len else shape


def steps_tables(answer: StepsAnswer, *, params_text: str) -> list[Table]:
    """Every table of the answer: a generation if one was asked for, the steps, memory, rules of thumb.

    Args:
        params_text: the published count, as printed; empty for a model of a file.
    """
    question, steps, generated = answer.question, answer.steps, answer.generation
    model, hardware, convention, dtype = question.model, question.hardware, question.convention, question.dtype
    published = f" (published: {params_text})" if params_text else ""
    params = next(iter(steps.values()))[1].params
    said_by = "" if question.generation_alone else length_source(question.seq_len_source)
    length = f"; sequences of {format_int(question.seq_len)}{said_by}" if said_by else ""
    last, _ = list(steps.values())[-1]
    conditions = [
        f"{model.name}: {format_int(params)} parameters{published}; {dtype}{length}",
        convention_line(convention),
        *scope_lines(model, last),
    ]
    tables = [
        steps_table(model.name, steps, hardware=hardware, convention=convention, item=model.item, conditions=conditions),
        memory_table(answer),
        *_rules(model, steps),
    ]
    if generated:
        batch, beams = question.batch, question.num_beams
        first = generation_table(model.name, generated, batch=batch, beams=beams, convention=convention, dtype=dtype, hardware=hardware)
        tables.insert(0, first)
    return tables


def _rules(model: Model, steps: Steps) -> list[Table]:
    from estimators.counting.rules_of_thumb import rules  # deferred: `show` prints none
    from reports.views.counting.rules_of_thumb import rules_tables

    chosen = [rule for name in ("training", "decode") if name in steps for rule in rules(model, steps[name][0])]
    return rules_tables(chosen, work=" and ".join(f"one {name} step" for name in ("training", "decode") if name in steps))


def steps_table(name: str, steps: Steps, *, hardware: Hardware | None, convention: str, item: str, conditions: Sequence[str]) -> Table:
    """One row per step: its bound first, FLOP and bytes after it.

    Args:
        name: the model's.
        steps: at least one.
        item: token or sample.
        conditions: what holds for all steps.
    """
    rows: list[dict[str, Value]] = []
    for step, (workload, cost) in steps.items():
        bound = cost.step_time_bound_s
        rows.append(
            {
                "step": step,
                "work": work_text(workload, item),
                "step_time_bound_s": bound,
                "bound_by": cost.bound_by or None,
                "max_items_per_s": workload.num_tokens / bound if bound else None,
                **{f"{counted}_flop": flop for counted, flop in cost.flop.items()},
                "min_bytes": cost.min_bytes,
            }
        )
    timed = [
        Column(key="step_time_bound_s", header="at least", format=format_duration, align="right"),
        Column(key="bound_by", header="bound by"),
        Column(key="max_items_per_s", header=f"{item}s/s at most", format=format_rate, align="right"),
    ]
    others = [c for c in CONVENTIONS if c != convention and any(cost.flop[c] != cost.flop[convention] for _, cost in steps.values())]
    return Table(
        title=f"One step of {name}",
        conditions=[*conditions, *hardware_line(hardware, next(iter(steps.values()))[0].dtype)],
        columns=[
            Column(key="step", header="step"),
            Column(key="work", header="of"),
            *(timed if hardware else []),
            *(Column(key=f"{c}_flop", header=f"FLOP, {c}", format=format_flop, align="right") for c in (convention, *others)),
            Column(key="min_bytes", header="bytes moved", format=format_bytes, align="right"),
        ],
        rows=rows,
        notes=[
            *_bound_notes(hardware, max(sum(cost.memory_bytes.values()) for w, cost in steps.values() if w.phase != "train")),
            "bytes moved: at least, each weight once per pass and the KV cache; training adds the optimizer's reads and writes."
            if "training" in steps
            else "bytes moved: at least, each weight once per pass and the KV cache.",
        ],
        facts=_facts(steps, convention),
        key="steps",
        kind="derived",
    )


def _facts(steps: Steps, convention: str) -> dict[str, Any]:
    first = next(iter(steps.values()))[1]
    facts: dict[str, Any] = {"params": first.params, "embedding_params": first.embedding_params, "convention": convention}
    for step, (_, cost) in steps.items():
        prefix = "train_step" if step == "training" else step
        facts[f"{prefix}_flop"] = cost.flop[convention]
        if cost.step_time_bound_s is not None:
            facts[f"{prefix}_time_bound_s"] = cost.step_time_bound_s
    return facts | {"flop_by_convention": {step: dict(cost.flop) for step, (_, cost) in steps.items()}}


def new_tokens_per_s(generation: Generation, batch: int) -> float:
    """Of all prompts together, at the bound of the generation."""
    assert generation.bound_s
    return batch * generation.new_tokens / generation.bound_s


def generation_table(
    name: str, generation: Generation, *, batch: int, beams: int, convention: str, dtype: str, hardware: Hardware | None
) -> Table:
    """A prompt and the tokens after it: prefill, the decode steps, and both together."""
    decode_s = sum(step.step_time_bound_s or 0.0 for step in generation.decode)
    prefill_s = generation.prefill.step_time_bound_s
    decode_flop = sum(step.flop[convention] for step in generation.decode)
    rows: list[dict[str, Value]] = [
        {
            "phase": phase,
            "num_steps": steps,
            "time_bound_s": seconds if hardware else None,
            "flop": flop,
            "min_bytes": num_bytes,
        }
        for phase, steps, seconds, flop, num_bytes in (
            ("prefill", 1, prefill_s, generation.prefill.flop[convention], generation.prefill.min_bytes),
            ("decode", len(generation.decode), decode_s, decode_flop, generation.min_bytes - generation.prefill.min_bytes),
            ("whole", 1 + len(generation.decode), generation.bound_s, generation.flop[convention], generation.min_bytes),
        )
    ]
    bound = generation.bound_s
    headline = f"Generating {format_int(generation.new_tokens)} tokens after {format_int(generation.prompt_tokens)} with {name}"
    if bound and hardware:
        rate = format_rate(new_tokens_per_s(generation, batch))
        headline += f": at least {format_duration(bound)}, at most {rate} new tokens/s on one {hardware.id}"
    cache = generation.peak_memory_bytes.get("kv_cache", 0)
    return Table(
        title=headline,
        conditions=[
            f"{plural(batch, 'prompt')} of {format_int(generation.prompt_tokens)} tokens, {plural(beams, 'beam')} each: "
            f"{plural(generation.rows, 'row')} per step; {dtype}; FLOP counted {convention}",
            *hardware_line(hardware, dtype),
        ],
        columns=[
            Column(key="phase", header="phase"),
            Column(key="num_steps", header="steps", format=format_int, align="right"),
            *([Column(key="time_bound_s", header="at least", format=format_duration, align="right")] if hardware else []),
            Column(key="flop", header="FLOP", format=format_flop, align="right"),
            Column(key="min_bytes", header="bytes moved", format=format_bytes, align="right"),
        ],
        rows=rows,
        notes=[
            f"KV cache at the end: {format_bytes(cache)}. The first new token comes from the prefill.",
            *_bound_notes(hardware, sum(generation.peak_memory_bytes.values())),
        ],
        facts={
            "generation_flop": generation.flop[convention],
            "generation_min_bytes": generation.min_bytes,
            "generation_time_bound_s": bound,
            "generation_kv_cache_bytes": cache,
        },
        key="generation",
        kind="estimated",
    )
