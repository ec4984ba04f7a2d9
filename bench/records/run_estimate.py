"""What arithmetic says of a run before it starts: the estimate that is stored in its record. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.records.estimated import Estimated, EstimatedPhase, EstimatedRule, EstimatedStep, FlopByConvention
from bench.records.run import Run
from bench.records.tuning_estimate import tuning_of
from estimators.architectures.adapters import trained
from estimators.architectures.from_config import model_from_config
from estimators.counting.conventions import usual_convention
from estimators.counting.estimate import estimate, memory
from estimators.counting.formulas import six_nd, two_n
from estimators.counting.rules_of_thumb import Rule, rules
from estimators.frozen import replace
from estimators.inference.generation import generation
from estimators.spec import Case, Estimate, Hardware, Model, Workload
from estimators.tuning.memory import memory_of_job


def workload_of(run: Run) -> Workload:
    """The step that a run repeats; for a generation, its prefill."""
    rows = run.batch * run.num_beams
    if run.task == "train":
        return Workload(
            phase="train",
            batch=rows,
            seq_len=run.seq_len,
            dtype=run.dtype,
            optimizer=run.optimizer,
            recompute="full" if run.recompute == "full" else "none",
        )
    if run.task == "forward":
        return Workload(phase="forward", batch=rows, seq_len=run.seq_len, dtype=run.dtype)
    return Workload(phase="prefill", batch=rows, seq_len=run.seq_len, dtype=run.dtype)


def as_trained(model: Model, run: Run) -> Model:
    """The run's model with the adapters that are trained beside it."""
    return model if run.job is None else trained(model, run.job.method)


def decode_workload(run: Run, step: int) -> Workload:
    """Decode step number `step`, from 0: it finds the prompt and as many new tokens in the cache."""
    first = workload_of(run)
    return Workload(phase="decode", batch=first.batch, context_len=first.seq_len + step, dtype=first.dtype)


def num_decode_steps(run: Run) -> int:
    """Forward passes after the prefill, which gives the first token itself."""
    return run.new_tokens - 1 if run.task in ("generate", "decode") else 0


def memory_needed(model: Model, run: Run) -> dict[str, int]:
    """Bytes by part that a run holds at its fullest: a training step, or the last decode step; of a fine-tuning, as `fit` says."""
    if run.job is not None:
        return {name: round(size) for name, size in memory_of_job(run.job).fullest.parts.items()}
    steps = num_decode_steps(run)
    workload = decode_workload(run, steps - 1) if steps else workload_of(run)
    if run.request.cache == "static":
        unwritten = 1 if run.task == "generate" else 0  # transformers leaves no room for the last token, which no pass reads
        workload = replace(workload, cache_len=run.seq_len + run.new_tokens - unwritten)
    return memory(model.ops(workload), workload, model)


def predict(model: Model, run: Run, hardware: Hardware | None) -> Estimated:
    """The estimate of a run, as stored in its record.

    A device without a published peak for the dtype gives no bound.
    """
    workload, model = workload_of(run), as_trained(model, run)
    bounding = hardware if hardware and workload.dtype in hardware.peak_flop_per_s else None
    first = estimate(Case(model=model, workload=workload, hardware=bounding))
    main = {"train": "train_step", "forward": "forward"}.get(run.task, "prefill")
    phases = {main: _phase(model, [first], [workload])}
    stated = [_rule(rule, main) for rule in rules(model, workload)]
    steps = num_decode_steps(run)
    if run.task in ("generate", "decode"):
        whole = generation(
            model,
            prompt_tokens=run.seq_len,
            new_tokens=run.new_tokens,
            batch=run.batch,
            beams=run.num_beams,
            dtype=workload.dtype,
            hardware=bounding,
        )
        decode = [decode_workload(run, i) for i in range(steps)]
        if steps:
            median = steps // 2
            phases["decode"] = _phase(model, [whole.decode[median]], [decode[median]], _steps(whole.decode, decode))
            stated += [_rule(rule, "decode") for rule in rules(model, decode[median])]
        if run.task == "generate":
            phases["generate"] = _phase(model, [whole.prefill, *whole.decode], [workload, *decode])
    tuning = (
        Estimated()
        if run.job is None
        else Estimated(tuning=tuning_of(run.job, first.trainable_params, hardware, on_cpu=run.request.device == "cpu"))
    )
    return tuning | Estimated(
        params=first.params,
        embedding_params=first.embedding_params,
        params_by_component=dict(first.params_by_component),
        memory_bytes=memory_needed(model, run),
        phases=phases,
        rules=tuple(stated),
        hardware=hardware.id if hardware else None,
        peak_flop_per_s=hardware.peak_flop_per_s.get(workload.dtype) if hardware else None,
        peak_bytes_per_s=hardware.memory_bytes_per_s if hardware else None,
    )


def _phase(
    model: Model, steps: Sequence[Estimate], workloads: Sequence[Workload], decode: tuple[EstimatedStep, ...] = ()
) -> EstimatedPhase:
    """One timed sample: the sum over its steps; `decode` keeps those of a decode phase one by one."""
    bounds = [step.step_time_bound_s for step in steps]
    params = steps[0].params
    used = steps[0].active_params
    tokens = sum(workload.num_tokens for workload in workloads)
    training = workloads[0].phase == "train"
    done = EstimatedPhase(
        flop=FlopByConvention(**{name: sum(step.flop[name] for step in steps) for name in steps[0].flop}),
        forward_flop=sum(step.forward_flop for step in steps),
        backward_flop=sum(step.backward_flop for step in steps),
        min_flop=sum(step.min_flop for step in steps),
        min_bytes=sum(step.min_bytes for step in steps),
        bound_s=None if None in bounds else sum(b for b in bounds if b is not None),
        bound_by=steps[0].bound_by if len(steps) == 1 else "",
        rule_flop=(six_nd if training else two_n)(used, tokens),
        rule_bytes=sum(workload.bytes_of(params) for workload in workloads),
    )
    convention = usual_convention(model.ops(workloads[0]))
    if convention != "full":
        done = done.replaced(convention=convention)
    return done.replaced(steps=decode) if decode else done


def _steps(decode: Sequence[Estimate], workloads: Sequence[Workload]) -> tuple[EstimatedStep, ...]:
    return tuple(
        EstimatedStep(
            context_len=workload.context_len,
            flop=step.flop["full"],
            min_flop=step.min_flop,
            min_bytes=step.min_bytes,
            bound_s=step.step_time_bound_s,
        )
        for step, workload in zip(decode, workloads, strict=True)
    )


def _rule(rule: Rule, phase: str) -> EstimatedRule:
    return EstimatedRule(
        phase=phase,
        name=rule.name,
        formula=rule.formula,
        flop=rule.flop,
        exact_flop=rule.exact_flop,
        convention=rule.convention,
        difference=rule.difference,
        source=str(rule.source),
    )


LAYER_KEYS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
LAYER_LISTS = ("layer_types", "layers_block_type", "mlp_layer_types", "hybrid_override_pattern")
"""Fields that say layer by layer, or letter by letter, what each is."""


def with_layers(config: dict[str, Any], layers: int) -> dict[str, Any]:
    """The configuration with another number of layers and everything else as it was; lists by layer are cut to the length."""
    key = next((k for k in LAYER_KEYS if k in config), LAYER_KEYS[0])
    cut = {name: kinds[:layers] for name, kinds in config.items() if name in LAYER_LISTS and isinstance(kinds, list | str)}
    return {**config, **cut, key: layers}


def at_depth(run: Run, layers: int) -> Model:
    """The run's model with fewer layers of true width.

    Raises:
        BadConfigError: a model whose layers cannot be cut so.
    """
    return model_from_config(with_layers(run.config, layers), f"{run.model} ({layers} layers)")
