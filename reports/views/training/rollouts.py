"""GRPO on a set of prompts: what it takes at least, and where a rollout step goes."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.tuning.rollout import PHASES, RolloutTraining
from estimators.units import (
    format_bytes,
    format_count,
    format_duration,
    format_flop,
    format_fraction,
    format_grouped,
    format_int,
    format_money,
)
from reports.screen import Screen, columns_kept
from reports.table import Column, Table, Value
from reports.views.training.conditions import price_line
from reports.views.training.data_set import BOUNDS, how


def rollout_tables(answer: RolloutTraining) -> list[Table]:
    """The phases of a rollout step, with everything of the training as single values."""
    step, question = answer.step, answer.step.question
    rows: list[dict[str, Value]] = [
        {
            "phase": name,
            "what": PHASES[name],
            "time_s": seconds,
            "fraction": seconds / step.step_time_s,
            "flop": step.phase_flop[name] or None,
        }
        for name, seconds in step.phases.items()
        if seconds > 0
    ]
    facts = {
        "model": question.job.model.name,
        "hardware": question.hardware.id,
        "num_devices": question.job.num_gpus,
        "dtype": question.job.dtype,
        "method": how(question.job),
        "num_prompts": answer.num_prompts,
        "epochs": answer.epochs,
        "prompts_per_step": question.prompts,
        "rollouts_per_step": question.rollouts,
        "num_rollout_steps": answer.num_rollout_steps,
        "gradient_steps_per_rollout_step": question.gradient_steps,
        "num_gradient_steps": answer.num_gradient_steps,
        "concurrent_answers": step.concurrent,
        "rollout_step_s": step.step_time_s,
        "gradient_step_s": step.update.step_time_s,
        "verdict": answer.fit.verdict,
        "allocated_bytes": answer.fit.allocated_bytes,
        "phases_s": dict(step.phases),
        "phases_flop": dict(step.phase_flop),
        "wall_s": answer.wall_s,
        "gpu_hours": answer.gpu_hours,
        **{f"cost_usd_{bound}": getattr(answer.price, bound) * answer.gpu_hours if answer.price else None for bound in BOUNDS},
    }
    return [
        Table(
            title=f"Where a rollout step of {format_duration(step.step_time_s)} goes, at least",
            conditions=_conditions(answer),
            columns=[
                Column(key="phase", header="phase"),
                Column(key="time_s", header="time", format=format_duration, align="right"),
                Column(key="fraction", header="share", format=format_fraction, align="right"),
                Column(key="flop", header="FLOP", format=format_flop, align="right"),
                Column(key="what", header="what it is"),
            ],
            rows=rows,
            notes=["generation is a bound: engines take longer, and no interval is known. FLOP are counted full."],
            facts=facts,
            key="rollout_step",
            kind="estimated",
        )
    ]


def _conditions(answer: RolloutTraining) -> list[str]:
    step, question, job = answer.step, answer.step.question, answer.step.question.job
    prompts = f"{format_int(question.prompts)} prompt{'s' * (question.prompts > 1)} of {format_int(question.prompt_tokens)} tokens"
    return [
        f"{how(job)}: {prompts} x {job.num_generations} answers of {format_int(job.completion_len)}, "
        f"{format_int(step.concurrent)} at once on each device",
        f"a rollout step writes {format_int(question.rollouts)} answers and has {_steps(question.gradient_steps)} of "
        f"{format_int(question.update_samples)}; what frameworks call a step is the one or the other",
    ]


def _memory(answer: RolloutTraining) -> str:
    fit = answer.fit
    of = f"{format_bytes(fit.allocated_bytes)} of {format_bytes(fit.hardware.memory_bytes)}"
    verdict = {"FITS": "fits", "TIGHT": "is TIGHT", "NO": "does NOT fit"}[fit.verdict]
    return f"memory: an update {verdict}, {of} while the engine sleeps or is elsewhere; answers of the mean length."


def _steps(count: int) -> str:
    return f"{format_int(count)} gradient step{'s' * (count > 1)}"


def rollout_screen(answer: RolloutTraining, tables: Sequence[Table]) -> Screen:
    """What the training takes at least, and its phases."""
    step, question = answer.step, answer.step.question
    middle = answer.price.median * answer.gpu_hours if answer.price else None
    money = f", from about {format_money(middle)}" if middle is not None else ""
    epochs = f" x {answer.epochs:g} epochs" if answer.epochs != 1 else ""
    return Screen(
        answer=f"{how(question.job)} of {question.job.model.name} on {format_count(answer.num_prompts)} prompts{epochs}: at least "
        f"{format_duration(answer.wall_s)} on {question.job.num_gpus} x {question.hardware.id}{money}",
        lead=[
            f"{format_int(answer.num_rollout_steps)} rollout steps of {format_duration(step.step_time_s)}, "
            f"{format_int(answer.num_gradient_steps)} gradient steps; {format_grouped(answer.gpu_hours)} GPU-hours"
        ],
        table=columns_kept(tables[0], "phase", "time_s", "fraction", "flop"),
        doubts=[] if answer.fit.verdict == "FITS" else [_memory(answer)],
        notes=[
            *([_memory(answer)] if answer.fit.verdict == "FITS" else []),
            *(f"{line}." for line in _conditions(answer)),
            *tables[0].notes,
            *([price_line(answer.price)] if answer.price else []),
        ],
        failed=answer.fit.verdict == "NO",
    )
