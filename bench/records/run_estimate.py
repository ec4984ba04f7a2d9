"""What arithmetic says of a run before it starts: the estimate that is stored in its record. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.records.estimated import Estimated, EstimatedPhase, EstimatedRule, EstimatedStep, FlopByConvention
from bench.records.request import Request
from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import estimate, memory
from estimators.counting.formulas import six_nd, two_n
from estimators.counting.rules_of_thumb import Rule, rules
from estimators.inference.generation import generation
from estimators.spec import Case, Estimate, Hardware, Model, Workload


def workload_of(request: Request) -> Workload:
    """The step that a request repeats; for a generation, its prefill.

    The request's sizes must be decided (see bench.workloads.sizes).
    """
    rows = (request.batch or 1) * (request.num_beams or 1)
    dtype = request.dtype or "fp32"
    if request.task == "train":
        return Workload(
            phase="train",
            batch=rows,
            seq_len=request.seq_len or 1,
            dtype=dtype,
            optimizer=request.optimizer or "adamw",
            recompute="full" if request.recompute == "full" else "none",
        )
    return Workload(phase="prefill", batch=rows, seq_len=request.seq_len or 1, dtype=dtype)


def decode_workload(request: Request, step: int) -> Workload:
    """Decode step number `step`, from 0: it finds the prompt and as many new tokens in the cache."""
    first = workload_of(request)
    return Workload(phase="decode", batch=first.batch, context_len=first.seq_len + step, dtype=first.dtype)


def num_decode_steps(request: Request) -> int:
    """Forward passes after the prefill, which gives the first token itself."""
    return (request.new_tokens or 1) - 1 if request.task in ("generate", "decode") else 0


def memory_needed(model: Model, request: Request) -> dict[str, int]:
    """Bytes by part that a run holds at its fullest: a training step, or the last decode step."""
    steps = num_decode_steps(request)
    workload = decode_workload(request, steps - 1) if steps else workload_of(request)
    return memory(model.ops(workload), workload, model)


def predict(model: Model, request: Request, hardware: Hardware | None) -> Estimated:
    """The estimate of a run, as stored in its record.

    A device without a published peak for the dtype gives no bound.
    """
    workload = workload_of(request)
    bounding = hardware if hardware and workload.dtype in hardware.peak_flop_per_s else None
    first = estimate(Case(model=model, workload=workload, hardware=bounding))
    main = "train_step" if request.task == "train" else "prefill"
    phases = {main: _phase([first], [workload])}
    stated = [_rule(rule, main) for rule in rules(model, workload)]
    steps = num_decode_steps(request)
    if request.task in ("generate", "decode"):
        whole = generation(
            model,
            prompt_tokens=request.seq_len or 1,
            new_tokens=request.new_tokens or 1,
            batch=request.batch or 1,
            beams=request.num_beams or 1,
            dtype=workload.dtype,
            hardware=bounding,
        )
        decode = [decode_workload(request, i) for i in range(steps)]
        if steps:
            median = steps // 2
            phases["decode"] = _phase([whole.decode[median]], [decode[median]], _steps(whole.decode, decode))
            stated += [_rule(rule, "decode") for rule in rules(model, decode[median])]
        if request.task == "generate":
            phases["generate"] = _phase([whole.prefill, *whole.decode], [workload, *decode])
    return Estimated(
        params=first.params,
        embedding_params=first.embedding_params,
        params_by_component=dict(first.params_by_component),
        memory_bytes=memory_needed(model, request),
        phases=phases,
        rules=tuple(stated),
        hardware=hardware.id if hardware else None,
        peak_flop_per_s=hardware.peak_flop_per_s.get(workload.dtype) if hardware else None,
        peak_bytes_per_s=hardware.memory_bytes_per_s if hardware else None,
    )


def _phase(steps: Sequence[Estimate], workloads: Sequence[Workload], decode: tuple[EstimatedStep, ...] = ()) -> EstimatedPhase:
    """One timed sample: the sum over its steps; `decode` keeps those of a decode phase one by one."""
    bounds = [step.step_time_bound_s for step in steps]
    params = steps[0].params
    tokens = sum(workload.num_tokens for workload in workloads)
    training = workloads[0].phase == "train"
    return EstimatedPhase(
        flop=FlopByConvention(**{name: sum(step.flop[name] for step in steps) for name in steps[0].flop}),
        forward_flop=sum(step.forward_flop for step in steps),
        backward_flop=sum(step.backward_flop for step in steps),
        min_flop=sum(step.min_flop for step in steps),
        min_bytes=sum(step.min_bytes for step in steps),
        bound_s=None if None in bounds else sum(b for b in bounds if b is not None),
        bound_by=steps[0].bound_by if len(steps) == 1 else "",
        rule_flop=(six_nd if training else two_n)(params, tokens),
        rule_bytes=sum(params * workload.dtype_bytes for workload in workloads),
        **({"steps": decode} if decode else {}),
    )


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


def with_layers(config: dict[str, Any], layers: int) -> dict[str, Any]:
    """The configuration with another number of layers and everything else as it was; lists by layer are cut to the length."""
    key = next((k for k in LAYER_KEYS if k in config), LAYER_KEYS[0])
    cut = {name: kinds[:layers] for name, kinds in config.items() if name == "layer_types" and isinstance(kinds, list)}
    return {**config, **cut, key: layers}


def at_depth(request: Request, layers: int) -> Model:
    """The request's model with fewer layers of true width.

    Raises:
        BadConfigError: a model whose layers cannot be cut so.
    """
    return model_from_config(with_layers(request.config, layers), f"{request.model} ({layers} layers)")
