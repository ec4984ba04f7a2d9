"""estimate(case): sums over the op table, the physics bound, memory."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.counting.conventions import step_flop, surplus_flop, unskippable_flop
from estimators.method import FULL
from estimators.spec import Case, Estimate, Hardware, Model, Op, Workload

OPTIMIZER_STATE_BYTES = {"adamw": 8, "sgd": 0}
"""fp32 state per parameter: AdamW keeps two moments, plain gradient descent nothing."""

MASTER_BYTES = 4
"""Weights and gradients in training are fp32; a lower dtype computes on copies of them (torch.autocast)."""


def count_params(ops: Sequence[Op]) -> int:
    """Parameters, tied weights once."""
    return sum(op.count * op.params for op in ops)


def count_trainable_params(ops: Sequence[Op]) -> int:
    """Parameters that training changes: all of them, unless some are frozen."""
    return sum(op.count * op.trainable_params for op in ops)


def count_active_params(ops: Sequence[Op]) -> int:
    """Parameters that one token uses: all but the experts that it is not routed to."""
    return sum(op.count * (op.params if op.active_params is None else op.active_params) for op in ops)


def params_by_component(ops: Sequence[Op]) -> dict[str, int]:
    """Parameters by component, largest first, components without parameters left out."""
    totals: dict[str, int] = {}
    for op in ops:
        if op.params:
            totals[op.component] = totals.get(op.component, 0) + op.count * op.params
    return dict(sorted(totals.items(), key=lambda item: -item[1]))


def flop_by_component(ops: Sequence[Op], workload: Workload) -> dict[str, int]:
    """FLOP of a step under `full` by component, what multiplies activations with one another apart; in the order of the table."""
    totals: dict[str, int] = {}
    for op in ops:
        flop = op.count * (op.flop + (op.backward_flop if workload.phase == "train" else 0))
        if flop:
            name = f"{op.component} (products of activations)" if op.kind == "attention" else op.component
            totals[name] = totals.get(name, 0) + flop
    return totals


def unskippable_bytes(ops: Sequence[Op], workload: Workload) -> int:
    """Bytes that must cross the memory bus at least once in the step.

    Every weight that is used, once per pass, and the KV cache. In training backward reads a matrix again where it needs
    the input's gradient, and the optimizer reads and writes the trained weights and their state. Activations may stay on
    the chip, so they do not count.
    """
    weights = sum(op.count * op.weight_bytes for op in ops)
    if workload.phase == "train":
        again = sum(op.count * op.weight_bytes for op in ops if op.kind != "matmul" or op.backward_flop > op.weight_grad_flop)
        state = MASTER_BYTES + OPTIMIZER_STATE_BYTES[workload.optimizer]
        return weights + again + 2 * state * count_trainable_params(ops)
    return weights + sum(op.count * op.cache_bytes for op in ops)


def memory(ops: Sequence[Op], workload: Workload, model: Model | None = None) -> dict[str, int]:
    """Bytes that must be held at once, by part.

    Inference: weights and KV cache. Training (torch.autocast): fp32 weights, fp32 gradients, optimizer state, the
    low-precision copies of the weights, and what backward needs: of a decoder, what PyTorch keeps (see `kept_by_torch`), of
    other models the activations that an unfused backward keeps. Of a decoder that is trained in part, what a fine-tuning of it
    holds at its fullest moment (see `tuning.memory`). Other frozen weights are held once, in the dtype of compute or as they are stored.

    Args:
        model: whose ops they are; without it activations are those of an unfused backward.
    """
    if workload.phase == "train" and model is not None and model.base is not model:
        from estimators.tuning.single_step import memory_of_step  # deferred: other models do without it

        if (parts := memory_of_step(model, workload)) is not None:
            return parts
    trained = count_trainable_params(ops)
    if workload.phase != "train":
        parts = {"weights": _held_bytes(ops, workload), "kv_cache": sum(op.count * op.held_cache_bytes for op in ops)}
    else:
        recomputing = workload.recompute == "full"
        parts = {
            "weights": trained * MASTER_BYTES,
            "frozen_weights": _held_bytes(ops, workload) - workload.bytes_of(trained),
            "gradients": trained * MASTER_BYTES,
            "optimizer": trained * OPTIMIZER_STATE_BYTES[workload.optimizer],
            "low_precision_copies": workload.bytes_of(trained) if workload.dtype_bytes < MASTER_BYTES else 0,
            "activations": sum(op.count * op.saved_bytes for op in ops if not (recomputing and op.recomputed)),
        }
        if model is not None:
            from estimators.memory.single_device import kept_by_torch  # deferred: other phases do without it

            parts |= kept_by_torch(model, workload) or {}
    return {name: size for name, size in parts.items() if size}


def _held_bytes(ops: Sequence[Op], workload: Workload) -> int:
    """Weights in the dtype of compute, but for those that are stored otherwise."""
    return sum(op.count * (workload.bytes_of(op.params) if op.stored_bytes is None else op.stored_bytes) for op in ops)


def bound(min_flop: int, min_bytes: int, hardware: Hardware, dtype: str) -> tuple[float, float]:
    """Seconds that compute and bandwidth each demand at least: FLOP / peak, bytes / bandwidth.

    Source: Williams, Waterman, Patterson 2009, Roofline (doi 10.1145/1498765.1498785).
    """
    return min_flop / hardware.peak(dtype), min_bytes / hardware.memory_bytes_per_s


def estimate(case: Case) -> Estimate:
    """What arithmetic says of one step of a case.

    Raises:
        BadValueError: the hardware has no peak for the workload's dtype.
    """
    workload, hardware, model = case.workload, case.hardware, case.model
    if case.method != FULL:
        from estimators.architectures.adapters import trained  # deferred: most estimates do without it

        model = trained(model, case.method)
    ops = model.ops(workload)
    flop, surplus = step_flop(ops, workload), surplus_flop(ops, workload)
    forward = sum(op.count * (op.flop + op.surplus_flop) for op in ops)
    min_flop, min_bytes = unskippable_flop(ops, workload), unskippable_bytes(ops, workload)
    compute_s = bandwidth_s = bound_s = None
    if hardware:
        compute_s, bandwidth_s = bound(min_flop, min_bytes, hardware, workload.dtype)
        bound_s = max(compute_s, bandwidth_s)
    return Estimate(
        params=count_params(ops),
        trainable_params=count_trainable_params(ops),
        active_params=count_active_params(ops),
        embedding_params=sum(op.count * op.params for op in ops if op.kind == "lookup"),
        params_by_component=params_by_component(ops),
        flop=flop,
        forward_flop=forward,
        backward_flop=flop["full"] + surplus - forward,
        surplus_flop=surplus,
        min_flop=min_flop,
        min_bytes=min_bytes,
        memory_bytes=memory(ops, workload, model),
        step_time_bound_s=bound_s,
        compute_bound_s=compute_s,
        bandwidth_bound_s=bandwidth_s,
        bound_by="" if bound_s is None else "compute" if bound_s == compute_s else "bandwidth",
    )
