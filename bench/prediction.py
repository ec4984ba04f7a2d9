"""What arithmetic says of a run before it starts: the estimate that is stored in its record. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bench.request import Request
from estimators.architectures.decoder import Decoder
from estimators.estimate import estimate
from estimators.inference import generation
from estimators.rules import rules
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


def predict(model: Model, request: Request, hardware: Hardware | None) -> dict[str, Any]:
    """The estimate of a run, as stored in its record.

    Returns:
        params, embedding_params, params_by_component; memory_bytes by part; phases: name to flop by convention,
        min_flop, min_bytes, bound_s (None without hardware), steps in one sample; rules: of the main step.
    """
    workload = workload_of(request)
    first = estimate(Case(model=model, workload=workload, hardware=hardware))
    phases: dict[str, Any] = {}
    memory = dict(first.memory_bytes)
    if request.task == "train":
        phases["train_step"] = _phase([first])
    else:
        phases["prefill"] = _phase([first])
    if request.task in ("generate", "decode"):
        whole = generation(
            model,
            prompt_tokens=request.seq_len or 1,
            new_tokens=request.new_tokens or 1,
            batch=request.batch or 1,
            beams=request.num_beams or 1,
            dtype=workload.dtype,
            hardware=hardware,
        )
        memory = whole.peak_memory_bytes
        if whole.decode:
            phases["decode"] = _phase(whole.decode[len(whole.decode) // 2 :][:1]) | {"steps": _steps(whole.decode, whole.prompt_tokens)}
        if request.task == "generate":
            phases["generate"] = _phase([whole.prefill, *whole.decode])
    return {
        "params": first.params,
        "embedding_params": first.embedding_params,
        "params_by_component": dict(first.params_by_component),
        "memory_bytes": memory,
        "phases": phases,
        "rules": [_rule_row(rule) for rule in rules(model, workload)],
        "hardware": hardware.id if hardware else None,
        "peak_flop_per_s": hardware.peak_flop_per_s.get(workload.dtype) if hardware else None,
        "peak_bytes_per_s": hardware.memory_bytes_per_s if hardware else None,
    }


def _phase(steps: Sequence[Estimate]) -> dict[str, Any]:
    """One timed sample: the sum over its steps. The decode phase is its median step, `steps` lists them all."""
    bounds = [step.step_time_bound_s for step in steps]
    return {
        "flop": {name: sum(step.flop[name] for step in steps) for name in steps[0].flop},
        "forward_flop": sum(step.forward_flop for step in steps),
        "backward_flop": sum(step.backward_flop for step in steps),
        "min_flop": sum(step.min_flop for step in steps),
        "min_bytes": sum(step.min_bytes for step in steps),
        "bound_s": None if None in bounds else sum(b for b in bounds if b is not None),
        "bound_by": steps[0].bound_by if len(steps) == 1 else "",
    }


def _steps(decode: Iterable[Estimate], prompt_tokens: int) -> list[dict[str, Any]]:
    return [
        {"context_len": prompt_tokens + i, "flop": step.flop["full"], "min_bytes": step.min_bytes, "bound_s": step.step_time_bound_s}
        for i, step in enumerate(decode)
    ]


def _rule_row(rule: Any) -> dict[str, Any]:
    return {
        "name": rule.name,
        "formula": rule.formula,
        "flop": rule.flop,
        "exact_flop": rule.exact_flop,
        "convention": rule.convention,
        "difference": [list(part) for part in rule.difference],
        "source": str(rule.source),
    }


def at_depth(model: Model, layers: int) -> Model:
    """The same model with fewer layers of true width."""
    import dataclasses

    assert isinstance(model, Decoder)
    return dataclasses.replace(model, layers=layers, name=f"{model.name} ({layers} layers)")
