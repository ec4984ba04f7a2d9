"""What DeepSpeed's own estimator prints of ZeRO-2 and 3: states alone, no activations, logits or gathered layers."""

from __future__ import annotations

from estimators.frozen import frozen
from estimators.tuning.job import TuningJob
from estimators.tuning.weights import HeldWeights

BUFFERS = 1.5
"""By which the estimator multiplies the host's share."""


@frozen
class Printed:
    """One line of the estimator's table, in bytes; it prints units of 2^30 as GB."""

    host_bytes: float
    device_bytes: float


def zero_2(params: int, devices: int, *, offload: bool = False) -> Printed:
    """ZeRO-2 on the devices of one node.

    Device: 4·P + 16·P/n, or 2·P with the optimizer on the host; host: 4·n·P·1.5, at least 16·P·1.5 with it.

    >>> round(zero_2(2_851_000_000, 8).device_bytes / 2**30, 2)
    15.93
    """
    if offload:
        return Printed(host_bytes=max(4 * devices, 16) * params * BUFFERS, device_bytes=2.0 * params)
    return Printed(host_bytes=4 * devices * params * BUFFERS, device_bytes=4 * params + 16 * params / devices)


def zero_3(
    params: int, largest_layer: int, devices: int, *, optimizer: bool = False, parameters: bool = False, zero_init: bool = True
) -> Printed:
    """ZeRO-3 on the devices of one node.

    Args:
        largest_layer: its parameters.
        optimizer, parameters: whether they lie on the host.
        zero_init: whether the model is made shard by shard; else every process makes all of it.

    >>> round(zero_3(2_851_000_000, 32_000_000, 8).device_bytes / 2**30, 2)
    6.09

    Source: DeepSpeed, runtime/zero/stage3.py, estimate_zero3_model_states_mem_needs (version 0.16).
    """
    held = 18 if parameters else 16 if optimizer else 0
    on_device = 0.0 if parameters else 2 * params / devices if optimizer else 18 * params / devices
    if zero_init:
        host = held * params * BUFFERS if held else 4 * largest_layer * devices * BUFFERS
    else:
        host = max(4 * devices, held) * params * BUFFERS
    return Printed(host_bytes=float(host), device_bytes=4 * largest_layer + on_device)


def printed_of(job: TuningJob, weights: HeldWeights, params: int) -> Printed | None:
    """What the estimator would print of a job; None where it does not run under ZeRO-2 or 3."""
    if job.sharding == "zero-2":
        return zero_2(params, job.num_gpus, offload=job.offload.optimizer)
    if job.sharding == "zero-3":
        return zero_3(
            params,
            weights.largest_layer_params,
            job.num_gpus,
            optimizer=job.offload.optimizer or job.offload.parameters,
            parameters=job.offload.parameters,
        )
    return None
