"""A model's operations, parameters and FLOP, row by row.

python -m bench show --model phi-2
python -m bench show --model llama-3-8b --phase decode --batch 8 --context-len 4096
python -m bench show --config path/to/config.json --phase train --seq-len 1024 --convention causal
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from bench.cli import arguments
from bench.cli.output import Output
from estimators.architectures.adapters import trained
from estimators.architectures.decoder import Decoder
from estimators.counting.conventions import CONVENTIONS
from estimators.counting.estimate import estimate
from estimators.errors import BadValueError, NoOpTableError
from estimators.frozen import frozen, replace
from estimators.method import TrainingMethod
from estimators.spec import PHASES, Case, Estimate, Model, Op, Phase, Recompute, Workload
from estimators.units import format_flop
from reports.table import Table
from reports.views.counting.ops import conventions_table, ops_table, params_table, prediction_table
from reports.views.training.conditions import convention_line, scope_lines
from reports.views.training.step import work_text

COUNTED_SEQ_LEN = 512
"""Tokens that a class without an op table is counted on, unless said."""


@frozen
class Options(arguments.ModelOptions):
    """Options of `show`."""

    phase: Phase
    batch: int
    seq_len: int | None
    context_len: int | None
    dtype: str
    convention: str
    lora_rank: int | None
    lora_targets: tuple[str, ...] | None
    frozen_layers: int | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `show`."""
    arguments.add_model(parser)
    group = parser.add_argument_group("the step")
    group.add_argument("--phase", choices=PHASES, default="forward", help="whose operations are listed; forward by default")
    group.add_argument("--batch", type=arguments.length("batch"), default=1, metavar="NUM", help="sequences (or samples); 1 by default")
    arguments.add_sequence(group)
    group.add_argument(
        "--context-len",
        type=arguments.count("context-len", minimum=0, maximum=arguments.MAX_LENGTH),
        metavar="NUM",
        help="tokens in the cache before a decode step; --seq-len by default, one less where the positions end there",
    )
    arguments.add_dtype(group)
    group.add_argument(
        "--convention",
        type=arguments.convention((*CONVENTIONS, "all")),
        default="full",
        metavar="NAME",
        help=f"{', '.join(CONVENTIONS)}; or all, side by side",
    )
    tuned = parser.add_argument_group("fine-tuning")
    tuned.add_argument(
        "--lora-rank", type=arguments.count("lora-rank", maximum=10**6), metavar="NUM", help="freeze the model, train adapters of this rank"
    )
    tuned.add_argument(
        "--lora-targets",
        type=_targets,
        metavar="NAMES",
        help="which matrices get one, such as q_proj,v_proj or all-linear; peft's by default",
    )
    tuned.add_argument(
        "--frozen-layers",
        type=arguments.count("frozen-layers", minimum=0, maximum=10**6),
        metavar="NUM",
        help="freeze the embedding and so many first layers",
    )


def _targets(given: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(given.split(",")) if isinstance(given, str) else tuple(given)


def run(options: Options, out: Output) -> int:
    """Show; a configuration without an op table is counted by torch instead, and labelled so."""
    try:
        tables = _by_convention(options) if options.convention == "all" else _by_operation(options)
    except NoOpTableError:
        tables = _counted(options)
    out.emit(tables)
    return 0


def _counted(options: Options) -> list[Table]:
    """Only --config leads here: every model of the registry has an op table. Raises BadValueError for an option that needs one."""
    from bench.cli.show_counted import counted_tables

    if options.phase != "forward" or options.convention != "full":
        raise BadValueError("what has no op table is counted in all phases under `full`; leave --phase and --convention out")
    assert options.config is not None
    return counted_tables(options.config, batch=options.batch, seq_len=options.seq_len or COUNTED_SEQ_LEN, source_len=options.source_len)


def _by_operation(options: Options) -> list[Table]:
    model, entry = arguments.load_model(options)
    item = model.item
    model = trained(model, _method(options))
    steps = workloads(options, model)
    if options.phase not in steps:
        raise BadValueError(f"--phase {options.phase}: {model.name} does not generate; expected one of: {', '.join(steps)}")
    costs = {phase: _cost(model, workload) for phase, workload in steps.items()}
    shown = costs[options.phase]
    conditions = [
        f"{options.phase}: {work_text(steps[options.phase], item)}; {options.dtype}",
        convention_line(options.convention),
        f"configuration: {model.source}",
    ]
    if model.runs:
        conditions.append(f"counted as transformers' {model.runs}")
    conditions += scope_lines(model)
    if options.config is not None:
        conditions += _defaults_lines(options.config)
    by_path = _decode_by_code_path(model, steps)
    if by_path:
        listed = "; ".join(f"{name}: {format_flop(flop)}" for name, flop in by_path.items())
        conditions.append(f"a decode step depends on the code path: {listed}")
    tables = [
        ops_table(model.name, model.ops(steps[options.phase]), steps[options.phase], convention=options.convention, conditions=conditions),
        conventions_table(costs, {phase: work_text(workload, item) for phase, workload in steps.items()}),
        params_table(shown.params, shown.embedding_params, shown.params_by_component, entry.published_params_text if entry else ""),
    ]
    if beside := _prediction_ops(model, steps[options.phase]):
        tables.append(prediction_table(model.name, beside, steps[options.phase], convention=options.convention))
    facts: dict[str, object] = {"model": model.name, "phase": options.phase, "convention": options.convention, "dtype": options.dtype}
    facts |= {"trainable_params": shown.trainable_params, "active_params": shown.active_params, "decode_flop_by_code_path": by_path}
    facts |= {f"{'training' if phase == 'train' else phase}_flop": cost.flop["full"] for phase, cost in costs.items()}
    return arguments.with_all_facts(tables, **facts)


def _defaults_lines(path: str) -> list[str]:
    """What a configuration does not say, and what is taken for it; nothing where it says all."""
    from estimators.architectures.from_config import defaults_taken, read_config

    taken = defaults_taken(read_config(path), path)
    said = ", ".join(f"{field} {json.dumps(value)}" for field, value in taken.items())
    return [f"not in the file, so as the model type's defaults are: {said}"] if said else []


def _method(options: Options) -> TrainingMethod:
    """How the model is trained.

    Raises:
        BadValueError: both adapters and frozen layers, or targets without a rank.
    """
    if options.lora_rank is not None and options.frozen_layers is not None:
        raise BadValueError("--lora-rank and --frozen-layers exclude each other; with adapters every layer is frozen")
    if options.lora_targets is not None and options.lora_rank is None:
        raise BadValueError("--lora-targets needs --lora-rank")
    return TrainingMethod(rank=options.lora_rank or 0, targets=options.lora_targets or (), frozen_layers=options.frozen_layers)


def _prediction_ops(model: Model, workload: Workload) -> tuple[Op, ...]:
    """What the layers beside a decoder that predict further tokens do in the step; nothing where there are none, or training is partial."""
    if not isinstance(model, Decoder) or model.prediction is None:
        return ()
    return model.prediction.ops(workload, model.width, model.vocab)


def _decode_by_code_path(model: Model, steps: dict[str, Workload]) -> dict[str, int]:
    """FLOP of the decode step by each way of running it; empty where there is only one."""
    if "decode" not in steps:
        return {}
    return {name: estimate(Case(model=path, workload=steps["decode"])).flop["full"] for name, path in model.code_paths.items()}


def _by_convention(options: Options) -> list[Table]:
    """Every tool's way of counting a training step, side by side, with what each includes."""
    from estimators.counting.flop_by_tool import count
    from estimators.facts.tool_conventions import tools
    from reports.views.counting.all_conventions import all_conventions_table

    model, _ = arguments.load_model(options)
    seq_len = arguments.sequence_length(model, options.seq_len)
    counted = [count(tool, model, seq_len, "full") for tool in tools().values()]
    conditions = [f"sequences of {seq_len:,}; with full recomputation where a tool counts it", f"configuration: {model.source}"]
    return [all_conventions_table(model.name, counted, conditions=conditions)]


def workloads(options: Options, model: Model) -> dict[str, Workload]:
    """Phase -> what one step of it does.

    Raises:
        BadValueError: a sequence or context that the model has no positions for.
    """
    seq_len = arguments.sequence_length(model, options.seq_len)
    recompute: Recompute = "full" if options.convention == "hardware" else "none"
    sizes: dict[Phase, tuple[int, int]] = {"forward": (seq_len, 0)}
    if model.generates:
        fits = not model.positions or seq_len < model.max_positions
        default = seq_len if fits else seq_len - 1
        context_len = default if options.context_len is None else options.context_len
        arguments.sequence_length(model, context_len + 1)
        sizes |= {"prefill": (seq_len, 0), "decode": (1, context_len)}
    sizes["train"] = (seq_len, 0)
    return {
        phase: Workload(phase=phase, batch=options.batch, seq_len=length, context_len=context, dtype=options.dtype, recompute=recompute)
        for phase, (length, context) in sizes.items()
    }


def _cost(model: Model, workload: Workload) -> Estimate:
    """Of one step, with recomputation, so that the `hardware` convention has its figure too."""
    return estimate(Case(model=model, workload=replace(workload, recompute="full")))
