"""`estimate` for GRPO on a set of prompts: rollout steps and gradient steps, by phases."""

from __future__ import annotations

from bench.cli import arguments, data_options, fit
from bench.cli.estimate_data_set import WHAT, WHERE, as_fit, demand_nothing_else
from bench.cli.estimate_options import Options
from estimators.errors import BadValueError
from estimators.frozen import replace
from estimators.tuning.rollout import Rollout, rollout_training
from reports.screen import Screen
from reports.table import Table
from reports.views.training.rollouts import rollout_screen, rollout_tables

GENERATIONS = 8
"""Answers to a prompt. Source: TRL, trainer/grpo_config.py, num_generations (version 1.16)."""


def answered(options: Options) -> tuple[list[Table], Screen]:
    """Every table of the answer, and its one screen.

    Raises:
        RequestError: options that belong to other questions, an unknown name, counts that do not divide.
    """
    demand_nothing_else(options)
    prompts = data_options.lengths_of(options)
    if prompts is None:
        raise BadValueError(WHAT)
    if options.completion_tokens is None:
        raise BadValueError("grpo writes answers: how long are they in the mean? add --completion-tokens NUM")
    if options.hardware is None:
        raise BadValueError(WHERE)
    elsewhere = {
        "--packing": options.packing,
        "--group-by-length": options.group_by_length,
        "--measured-step": options.measured_step_s,
        "--max-length": options.max_length,
        "--long-samples": options.long_samples,
    }
    arguments.refuse(elsewhere, "has no part in grpo; leave it out")
    model, _ = arguments.load_model(options)
    hardware = arguments.load_hardware(options.hardware)
    generations, prompt_tokens = options.generations or GENERATIONS, max(1, round(prompts.mean_tokens))
    batch = options.batch or generations
    job = fit.decided(as_fit(replace(options, batch=batch), prompt_tokens + options.completion_tokens), model, hardware)
    job = replace(job, num_generations=generations, completion_len=options.completion_tokens)
    update = job.samples_per_step
    if update % generations:
        raise BadValueError(f"{update:,} answers of a step are no whole number of prompts with {generations} each; change --batch")
    asked = Rollout(
        job=job,
        hardware=hardware,
        prompts=update // generations,
        prompt_tokens=prompt_tokens,
        reuse=options.reuse or 1,
        update_samples=update,
    )
    answer = rollout_training(asked, prompts.num_samples, epochs=options.epochs or 1.0, usd_per_gpu_hour=options.usd_per_gpu_hour)
    shown = rollout_tables(answer)
    return arguments.with_all_facts(shown), rollout_screen(answer, shown)
