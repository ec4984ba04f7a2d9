"""What a fine-tuning framework issues and moves beside the model's own work: adapters, dequantisation, the loss."""

from __future__ import annotations

from estimators.cost.efficiency import Efficiency
from estimators.cost.software import ADAPTER_BYTES, ADAPTER_LAUNCHES, Software, software, stack
from estimators.frozen import replace
from estimators.memory.optimizers import optimizer
from estimators.tuning.constants import TuningConstants
from estimators.tuning.job import TuningJob
from estimators.tuning.recipes import LossPath
from estimators.weight_formats import PLAIN

EAGER, COMPILED = "transformers", "pytorch-fsdp2"
"""The stacks whose kernels a job without and with torch.compile runs, see stacks.json."""

LOSS_BYTES: dict[LossPath, float] = {
    "plain": 34,
    "plain-kept": 34,
    "chunked": 34,
    "liger": 14,
    "liger-fused": 14,
    "cut-cross-entropy": 4,
    "fused-16-bit": 14,
    "fused-16-bit-kept": 14,
}
"""Bytes of one logit that are written and read, forward and backward: transformers' loop in fp32 (34: the copy, the shift, log-softmax
and back), whole or in chunks; a kernel that reads 16 bits and writes the gradient in their place."""

FUSES_ADAPTERS = ("unsloth",)
"""Frameworks whose kernels add an adapter's product to the matrix's own, in 16 bits, without casts or sums of their own."""


def adapters_are_fp32(job: TuningJob) -> bool:
    """Whether adapters are held in fp32: as the recipe has it, but never under DeepSpeed, which casts the whole model."""
    said = job.recipe.adapter_dtype
    if job.sharding.startswith("zero"):
        return False
    return said == "fp32" or (said == "fp32 unless quantised" and job.method.base_format == PLAIN)


def _adapters(job: TuningJob) -> tuple[float, float, float]:
    """Kernels of an adapter's forward pass; bytes for each element that it reads, and for each that it writes.

    fp32 adapters without autocast: the input is cast (2 read, 4 written) and read in fp32 (2 more than a 16-bit product); the result is
    written in fp32 (2 more), scaled (4 + 4), added to the matrix's 16-bit result (2 + 4 + 4) and cast back (4 + 2). Under autocast the
    input is cast up and down again (2 + 4 + 4 + 2), the result scaled (2 + 2) and added (2 + 2 + 2) in 16 bits; adapters of the dtype of
    compute do that alone. Kernels are counted in transformers' and peft's operators.

    Source: peft, tuners/lora/layer.py, Linear.forward (version 0.21).
    """
    if job.recipe.framework in FUSES_ADAPTERS:
        return 3.0, 0.0, 4.0
    if not adapters_are_fp32(job):
        return ADAPTER_LAUNCHES, 0.0, ADAPTER_BYTES
    return (6.5, 12.0, 10.0) if job.autocast else (6.0, 8.0, 26.0)


def tuning_software(job: TuningJob, architecture: str, e: Efficiency, constants: TuningConstants) -> Software:
    """The job's software on one GPU architecture.

    Args:
        constants: of dequantisation and of adapters, fitted.
    """
    launches, inputs, outputs = _adapters(job)
    base = software(stack(stack_of(job)), architecture, e)
    return replace(
        base,
        unfused=job.attention == "eager",
        loss_bytes=LOSS_BYTES[job.loss],
        gradient_bytes=4 if job.weights_dtype == "fp32" or (job.trains_adapters and adapters_are_fp32(job)) else 2,
        adapter_launches=launches,
        adapter_input_bytes=inputs * constants.adapter_traffic,
        adapter_output_bytes=outputs * constants.adapter_traffic,
        dequantise_bytes=constants.dequantise_bytes(job.method.base_format),
    )


def stack_of(job: TuningJob) -> str:
    """The stack whose kernels the job runs."""
    return COMPILED if job.compiled else EAGER


def optimizer_kind(name: str) -> str:
    """Which of the updates of training.step transformers' optimizer moves as much as. Raises UnknownNameError for an unknown one."""
    rule = optimizer(name)
    if rule.rule == "blocks":
        return "adamw-8bit"
    if rule.rule == "factored":
        return "adafactor"
    return {0: "sgd", 1: "sgd-momentum"}.get(rule.moments, "adamw")
