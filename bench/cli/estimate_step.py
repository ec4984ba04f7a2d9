"""`estimate` for single steps: forward, prefill, decode, training, and a whole generation."""

from __future__ import annotations

from bench.cli import arguments, step_options
from bench.cli.estimate_options import Options
from estimators.counting.conventions import CONVENTIONS
from estimators.counting.estimate import estimate
from estimators.counting.rules_of_thumb import rules
from estimators.errors import BadValueError
from estimators.inference.generation import Generation, generation
from estimators.spec import Case, Estimate, Hardware, Model, Recompute, Workload
from estimators.units import format_int
from reports.table import Table
from reports.views.counting.rules_of_thumb import rules_tables
from reports.views.training.conditions import convention_line, scope_lines
from reports.views.training.step import Steps, generation_table, memory_table, steps_table

PROMPT_TOKENS, NEW_TOKENS = 512, 128
"""Of a generation, where only one of the two is given."""


def tables(options: Options) -> list[Table]:
    """Every table of the answer; a generation first, if one was asked for.

    Raises:
        RequestError: options that belong to a training run, an unknown name, a value out of range.
    """
    of_a_training = {"--gpus": options.gpus, "--utilization": options.utilization, "--price": options.usd_per_gpu_hour}
    for word, value in of_a_training.items():
        if value is not None:
            raise BadValueError(f"{word} belongs to a training run: add --tokens, or leave it out for single steps")
    step_options.refuse(options, "add --tokens, --hardware and --gpus")
    if options.convention not in CONVENTIONS:
        raise BadValueError(
            f"--convention {options.convention} counts whole trainings: add --tokens, or take one of {', '.join(CONVENTIONS)}"
        )
    model, entry = arguments.load_model(options)
    hardware = arguments.load_hardware(options.hardware) if options.hardware else None
    item = model.item
    made = _generation(options, model, hardware)
    steps = _steps(options, model, item, hardware)
    published = f" (published: {entry.published_params_text})" if entry else ""
    params = next(iter(steps.values()))[1].params
    conditions = [
        f"{model.name}: {format_int(params)} parameters{published}; {options.dtype}",
        convention_line(options.convention),
        *scope_lines(model),
    ]
    found = [
        steps_table(model.name, steps, hardware=hardware, convention=options.convention, item=item, conditions=conditions),
        memory_table(model.name, _memory_uses(steps, made), hardware=hardware),
        *_rules(model, steps),
    ]
    if made:
        batch, beams = options.batch or 1, options.num_beams or 1
        found.insert(
            0,
            generation_table(
                model.name, made, batch=batch, beams=beams, convention=options.convention, dtype=options.dtype, hardware=hardware
            ),
        )
    if options.explain:
        from reports.views.explain.step import explain_steps

        option = arguments.model_option(options)
        found.append(explain_steps(model, steps, hardware=hardware, convention=options.convention, item=item, model_option=option))
    return arguments.with_all_facts(found, model=model.name, hardware=hardware.id if hardware else None, dtype=options.dtype)


def _generation(options: Options, model: Model, hardware: Hardware | None) -> Generation | None:
    if options.prompt_tokens is None and options.new_tokens is None:
        if options.num_beams is not None:
            raise BadValueError("--num-beams belongs to a generation: add --prompt-tokens or --new-tokens")
        return None
    if not model.generates:
        raise BadValueError(f"{model.name} generates nothing: leave --prompt-tokens and --new-tokens out")
    prompt, new = options.prompt_tokens or PROMPT_TOKENS, options.new_tokens or NEW_TOKENS
    longest = model.max_positions
    if model.positions and prompt + new - 1 > longest:
        raise BadValueError(f"{prompt:,} prompt tokens and {new:,} new ones pass the {longest:,} positions that {model.name} has")
    return generation(
        model,
        prompt_tokens=prompt,
        new_tokens=new,
        batch=options.batch or 1,
        beams=options.num_beams or 1,
        dtype=options.dtype,
        hardware=hardware,
    )


def _steps(options: Options, model: Model, item: str, hardware: Hardware | None) -> Steps:
    seq_len = arguments.sequence_length(model, options.seq_len)
    batch = options.batch or 1
    recompute: Recompute = "full" if options.convention == "hardware" else "none"
    workloads = {"forward": Workload(phase="forward", batch=batch, seq_len=seq_len, dtype=options.dtype)}
    if model.generates:
        rows = batch * (options.num_beams or 1)
        prompt = options.prompt_tokens or seq_len
        context = options.prompt_tokens or max(0, seq_len - 1)
        workloads["prefill"] = Workload(phase="prefill", batch=rows, seq_len=prompt, dtype=options.dtype)
        workloads["decode"] = Workload(phase="decode", batch=rows, context_len=context, dtype=options.dtype)
    workloads["training"] = Workload(
        phase="train",
        batch=batch,
        seq_len=seq_len,
        dtype=options.dtype,
        optimizer="adamw" if item == "token" else "sgd",
        recompute=recompute,
    )

    def cost(workload: Workload) -> Estimate:
        return estimate(Case(model=model, workload=workload, hardware=hardware))

    return {name: (workload, cost(workload)) for name, workload in workloads.items()}


def _memory_uses(steps: Steps, made: Generation | None) -> dict[str, tuple[str, dict[str, int]]]:
    """Use -> its conditions, and bytes by part: inference at its longest, training of one step."""
    uses = {}
    if made:
        shape = f"{format_int(made.rows)} rows of {format_int(made.prompt_tokens + made.new_tokens - 1)} tokens"
        uses["inference"] = (f"weights in {steps['decode'][0].dtype}, KV cache of {shape}", made.peak_memory_bytes)
    else:
        name = "decode" if "decode" in steps else "forward"
        workload, cost = steps[name]
        tokens = workload.context_len + workload.seq_len
        cache = f", KV cache of {format_int(workload.batch)} x {format_int(tokens)} tokens" if name == "decode" else ""
        uses["inference"] = (f"weights in {workload.dtype}{cache}", dict(cost.memory_bytes))
    workload, cost = steps["training"]
    recomputing = "full activation checkpointing" if workload.recompute == "full" else "no activation checkpointing"
    uses["training"] = (
        f"fp32 weights, gradients and {workload.optimizer} state, {workload.dtype} compute, {recomputing}; "
        f"activations of {format_int(workload.batch)} x {format_int(workload.seq_len)}",
        dict(cost.memory_bytes),
    )
    return uses


def _rules(model: Model, steps: Steps) -> list[Table]:
    chosen = [rule for name in ("training", "decode") if name in steps for rule in rules(model, steps[name][0])]
    return rules_tables(chosen, work="one training step" + (" and one decode step" if "decode" in steps else ""))
