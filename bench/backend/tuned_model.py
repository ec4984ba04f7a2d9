"""A causal language model as a fine-tuning trains it: frozen, quantised, and with peft's adapters, where the job has them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from bench.backend import device as devices
from bench.backend.models import language_model
from estimators.errors import BadConfigError, BadValueError, UnavailableError
from estimators.extras import needed_by
from estimators.frozen import replace
from estimators.tuning.job import TuningJob
from estimators.weight_formats import PLAIN

QUANTISED = {"nf4": False, "nf4-double": True}
"""Formats that a base is quantised to here -> whether its scales are quantised in turn."""

MAX_REASON = 160
"""Characters of a library's own complaint that are passed on."""


@contextmanager
def without_remarks() -> Iterator[None]:
    """Without what peft and bitsandbytes say of kernels that they could fetch."""
    logger = logging.getLogger("bitsandbytes")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def demand_packages(job: TuningJob, device: torch.device) -> None:
    """Refuse, before anything is measured, a method that this installation or this device cannot run.

    Raises:
        MissingPackageError: peft or bitsandbytes is not installed; one line says how to install it.
        BadValueError: a format that nothing here quantises to.
        UnavailableError: bitsandbytes does not multiply by it on this device.
    """
    if job.trains_adapters:
        with needed_by("run --method lora"), without_remarks():
            import peft  # noqa: F401
    base = job.method.base_format
    if base == PLAIN:
        return
    if base not in QUANTISED:
        raise BadValueError(f"--base-format {base}: a run quantises to {' or '.join(QUANTISED)}; `fit` estimates the others")
    with needed_by("run --method qlora"), without_remarks():
        import bitsandbytes
    try:
        with without_remarks():
            linear = _quantised_linear(nn.Linear(64, 64, bias=False), base, devices.dtype(job.dtype)).to(device)
            linear(torch.zeros(1, 64, dtype=devices.dtype(job.dtype), device=device, requires_grad=True)).sum().backward()
    except Exception as error:  # a library without a kernel for the device says so in many ways
        said = f"bitsandbytes {bitsandbytes.__version__} does not run 4-bit weights on {device}: {_reason(error)}"
        raise UnavailableError(f"{said}; take --method lora") from None


def tuned(model: nn.Module, job: TuningJob) -> nn.Module:
    """The model made ready for a job, on the device where it is.

    As scripts do it: a quantised base is prepared by peft's `prepare_model_for_kbit_training`, adapters are fp32 unless the job's
    framework has others.

    Args:
        model: of transformers, in the job's `weights_dtype`; it is changed.

    Raises:
        BadValueError: targets that the model has not, by peft.
    """
    if not job.trains_adapters:
        return model
    with without_remarks():
        import peft

        real: Any = model
        if job.method.base_format != PLAIN:
            _quantise(real, job)
            real = peft.prepare_model_for_kbit_training(real, use_gradient_checkpointing=False)
        made = peft.LoraConfig(
            r=job.method.rank,
            target_modules=_targets(job),
            lora_dropout=job.lora_dropout,
            use_dora=job.method.dora,
            fan_in_fan_out=any(type(part).__name__ == "Conv1D" for part in real.modules()),
            task_type="CAUSAL_LM",
        )
        try:
            wrapped: nn.Module = peft.get_peft_model(real, made, autocast_adapter_dtype=job.recipe.adapter_dtype != "compute")
        except ValueError as error:
            raise BadValueError(f"peft: {_reason(error)}; give --lora-targets, such as all-linear") from None
    return wrapped


def tuned_on_meta(config: Mapping[str, Any], job: TuningJob, *, attn: str) -> nn.Module:
    """The model of a job on meta; a quantised base as the 16-bit matrices that it stands for, which are what is multiplied."""
    plain = replace(job, method=replace(job.method, base_format=PLAIN))
    with torch.device("meta"):
        return tuned(language_model(config, attn=attn, dtype=devices.dtype(job.weights_dtype)), plain)


def _targets(job: TuningJob) -> Any:
    """As peft takes them: None for its own."""
    names = job.method.targets
    return "all-linear" if "all-linear" in names else list(names) or None


def _quantise(model: Any, job: TuningJob) -> None:
    """Put a 4-bit matrix in the place of each linear layer but the head."""
    head = model.get_output_embeddings()
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if child is not head and type(child).__name__ in ("Linear", "Conv1D")
    ]
    if not found:
        raise BadConfigError(f"{type(model).__name__} has no linear layer to quantise")
    device = next(model.parameters()).device
    for parent, name, child in found:
        setattr(parent, name, _quantised_linear(child, job.method.base_format, devices.dtype(job.dtype)).to(device))
    model.is_loaded_in_4bit = True


def _quantised_linear(linear: nn.Module, base_format: str, compute: torch.dtype) -> nn.Module:
    import bitsandbytes

    weight: torch.Tensor = linear.weight.data
    if type(linear).__name__ == "Conv1D":
        weight = weight.T.contiguous()
    bias: Any = linear.bias
    doubled, (rows, columns) = QUANTISED[base_format], weight.shape
    made: nn.Module = bitsandbytes.nn.Linear4bit(
        columns, rows, bias=bias is not None, compute_dtype=compute, compress_statistics=doubled, quant_type="nf4"
    )
    made.weight = bitsandbytes.nn.Params4bit(weight, requires_grad=False, compress_statistics=doubled, quant_type="nf4", module=made)
    if bias is not None:
        made.bias = nn.Parameter(bias.data)
    return made


def num_elements(parameter: nn.Parameter) -> int:
    """Of a parameter, of a quantised one those that it stands for."""
    state = getattr(parameter, "quant_state", None)
    return int(parameter.numel() if state is None else state.shape.numel())


def stored_bytes(parameter: nn.Parameter) -> int:
    """Of a parameter as it is held: of a quantised one its codes, scales and maps."""
    size: int = parameter.numel() * parameter.element_size()
    state = getattr(parameter, "quant_state", None)
    while state is not None:
        held = [state.absmax, state.code, *([state.offset] if state.offset is not None else [])]
        size += sum(tensor.numel() * tensor.element_size() for tensor in held)
        state = state.state2
    return size


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:MAX_REASON] if lines else type(error).__name__
