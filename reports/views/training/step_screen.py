"""One screen of single steps or of a generation: memory and time, in what people think in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from estimators.inference.generation import Generation
from estimators.inference.single_steps import StepsAnswer
from estimators.serving.one_request import OneRequest
from estimators.spec import Hardware
from estimators.units import format_bytes, format_count, format_duration, format_flop, format_int, format_rate
from reports.screen import Screen, columns_kept
from reports.table import Table
from reports.views.serving.one_request import is_elsewhere, served_line, served_tables, where_text
from reports.views.training.conditions import length_lines, scope_notes
from reports.views.training.step import BOUND_NOTE, NO_HARDWARE, new_tokens_per_s, too_large_notes
from reports.views.training.tuning_job import job_lines

STEP_COLUMNS = (
    "step",
    "work",
    "step_time_bound_s",
    "max_items_per_s",
    "min_bytes",
    "full_flop",
    "bound_by",
    "causal_flop",
    "hardware_flop",
)
PREDICTED_NOTE = (
    "predicted: the step of `serve` for requests that start together; at least: physics, the larger of the devices' arithmetic at peak and "
    "of what they must read at full bandwidth. -v has the FLOP."
)
GENERATION_COLUMNS = ("phase", "num_steps", "time_bound_s", "min_bytes", "flop")


def step_screen(
    answer: StepsAnswer, tables: Sequence[Table], *, served: OneRequest | None, more: Sequence[str], asked: Sequence[Table]
) -> Screen:
    """The generation where one was asked for, else the steps.

    Args:
        tables: of the answer, its single values in the first one.
        served: the generation on a deployment, where it is predicted.
        more, asked: as a screen has them.
    """
    question, facts, first = answer.question, dict(tables[0].facts), tables[0]
    length = [] if question.generation_alone else length_lines(question.seq_len, question.seq_len_source)
    generated, (last, _) = answer.generation, list(answer.steps.values())[-1]
    elsewhere = is_elsewhere(served)
    scope = scope_notes(question.model, last, [question.hardware] if question.hardware else [])
    return Screen(
        answer=_steps(answer, facts, first) if generated is None else _generation(answer, generated, facts, served),
        lead=[served_line(served)] if served is not None and served.fits else [],
        table=columns_kept(first, *(STEP_COLUMNS if generated is None else GENERATION_COLUMNS))
        if not elsewhere
        else served_tables(served)[0],
        doubts=[*_too_large(answer, facts)] if served is None or not served.fits else [],
        notes=[*scope, *_tuned(answer), PREDICTED_NOTE if elsewhere else BOUND_NOTE if question.hardware else NO_HARDWARE, *length],
        more=more,
        asked=asked,
    )


def _tuned(answer: StepsAnswer) -> list[str]:
    """What fine-tuning a training step is; nothing where all of a model is trained, or nothing."""
    tuning = answer.question.tuning if "training" in answer.steps else None
    return [] if tuning is None else [f"training: {'; '.join(job_lines(tuning)[1:])}."]


def _too_large(answer: StepsAnswer, facts: dict[str, Any]) -> list[str]:
    """What one device cannot hold, of what is asked of it."""
    hardware = answer.question.hardware
    if hardware is None:
        return []
    trained = [] if answer.generation is not None else _training_too_large_notes(hardware, int(facts["training_memory_bytes"]))
    return [*trained, *too_large_notes(hardware, answer.held_bytes)]


def _generation(answer: StepsAnswer, generated: Generation, facts: dict[str, Any], served: OneRequest | None) -> str:
    """Tokens per second and the whole time where a device bounds them, and what it holds."""
    question = answer.question
    what = f"{format_int(generated.new_tokens)} tokens after {format_int(generated.prompt_tokens)}"
    held, bound_s = format_bytes(answer.held_bytes), facts["generation_time_bound_s"]
    if question.hardware is None or not bound_s:
        return f"{question.model.name}, {what}: {held} of memory, {format_flop(facts['generation_flop'])}"
    rate = format_rate(new_tokens_per_s(generated, question.batch))
    on = question.hardware.id
    if served is not None and is_elsewhere(served):
        held = format_bytes(served.budget.weights_bytes)
        return (
            f"{question.model.name}: {format_rate(served.new_tokens_per_s)} tokens/s predicted {where_text(served)}, "
            f"{format_duration(served.generation_s)} for {what}, {held} of weights on each"
        )
    return f"{question.model.name}: at most {rate} tokens/s on one {on}, at least {format_duration(bound_s)} for {what}, {held}"


def _steps(answer: StepsAnswer, facts: dict[str, Any], table: Table) -> str:
    """What training and inference hold, and how fast they are at most where a device bounds them."""
    question, item = answer.question, answer.question.model.item
    rates = {row["step"]: row.get("max_items_per_s") for row in table.rows}
    inference = "decode" if "decode" in rates else "forward"
    uses = {"training": "training_memory_bytes", inference: "inference_memory_bytes"}
    if question.hardware is None:
        held = ", ".join(f"{format_bytes(facts[key])} {'to train' if use == 'training' else 'to run'}" for use, key in uses.items())
        flop = format_flop(facts["train_step_flop"])
        return f"{question.model.name} ({format_count(facts['params'])} parameters): {held}, {flop} a training step"
    said = ", ".join(
        f"{use} at most {format_rate(float(rates[use] or 0))} {item}s/s in {format_bytes(facts[key])}" for use, key in uses.items()
    )
    return f"{question.model.name} on one {question.hardware.id}: {said}"


def _training_too_large_notes(hardware: Hardware, num_bytes: int) -> list[str]:
    """That one device cannot hold a training step that is bounded on it; nothing where it can."""
    least = math.ceil(num_bytes / hardware.memory_bytes)
    if least == 1:
        return []
    return [
        f"Training does not fit: {format_bytes(num_bytes)}, and one {hardware.id} has {format_bytes(hardware.memory_bytes)}; at least "
        f"{format_int(least)} of them hold it; `python -m bench fit` says what would make it fit.",
    ]
