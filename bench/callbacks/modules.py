"""What a model says of itself, whatever wraps it: its parameters, its configuration, how it is cut."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from bench.callbacks.token_counts import LabelUse

_SHIFTING = ("ForCausalLM", "ForConditionalGeneration", "CsmForConditionalGeneration")
"""Names of transformers' losses that compare each position with the next one's label."""


def bare(model: nn.Module) -> nn.Module:
    """The model without the wrappers of DDP, FSDP 1 and torch.compile."""
    while True:
        inner = getattr(model, "_orig_mod", None) or (model.module if _wraps(model) else None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def _wraps(model: nn.Module) -> bool:
    return type(model).__name__ in ("DistributedDataParallel", "DataParallel", "FullyShardedDataParallel", "DeepSpeedEngine")


def is_lightning(module: nn.Module) -> bool:
    """Whether it is Lightning's, whose training step may call its parts and not the module itself."""
    return any(kind.__name__ == "LightningModule" for kind in type(module).__mro__)


def called_modules(model: nn.Module) -> list[nn.Module]:
    """What a training calls: the model; its parts where it has no forward of its own; both of one of Lightning.

    >>> called_modules(nn.ModuleDict({"g": nn.Linear(2, 2), "none": nn.ReLU()}))
    [Linear(in_features=2, out_features=2, bias=True)]
    """
    has_forward = type(model).forward is not nn.Module.forward
    found = [model] if has_forward and next(model.parameters(), None) is not None else []
    if not has_forward or is_lightning(model):
        found += [inner for part in model.children() for inner in called_modules(bare(part))]
    return found


def is_compiled(model: nn.Module) -> bool:
    """Whether torch.compile has a model, or a part of it: in a wrapper, in place, or by its forward."""

    def compiled(part: nn.Module) -> bool:
        forward = vars(part).get("forward")
        return (
            type(part).__name__ == "OptimizedModule"
            or part._compiled_call_impl is not None
            or hasattr(forward, "_torchdynamo_orig_callable")
        )

    return any(map(compiled, model.modules()))


def is_lazy(model: nn.Module) -> bool:
    """Whether a parameter has no shape before the first forward pass."""
    return any(map(nn.parameter.is_lazy, model.parameters()))


def recomputes(model: nn.Module) -> bool:
    """Whether transformers' activation checkpointing is on."""
    return any(getattr(part, "gradient_checkpointing", False) for part in model.modules())


def label_use(model: nn.Module) -> LabelUse:
    """What transformers' model in it makes of labels; as the batch has them for others."""
    inner = next((part for part in model.modules() if hasattr(part, "loss_type")), None)
    if inner is None:
        return LabelUse()
    as_target = bool(getattr(getattr(inner, "config", None), "is_encoder_decoder", False))
    loss, generates = inner.loss_type, getattr(inner, "can_generate", None)
    # a class that names no loss is given that of causal models, if it has any
    shifted = loss in _SHIFTING or (loss is None and callable(generates) and bool(generates()))
    return LabelUse(as_target=as_target, shifted=shifted and not as_target)


def is_sharded(model: nn.Module) -> bool:
    """Whether a rank holds a part of the parameters only: FSDP 1 or 2, DeepSpeed."""
    named = {type(part).__name__ for part in model.modules()} | {type(p).__name__ for p in model.parameters()}
    return bool(named & {"FullyShardedDataParallel", "DTensor", "DeepSpeedEngine"}) or any(hasattr(p, "ds_id") for p in model.parameters())


def num_params(model: nn.Module) -> int | None:
    """Parameters, tied ones once; None where this rank does not see all of them."""
    if any(type(part).__name__ == "FullyShardedDataParallel" for part in model.modules()) or any(
        hasattr(p, "ds_id") for p in model.parameters()
    ):
        return None
    return int(sum(p.numel() for p in model.parameters()))


def json_safe(value: Any) -> Any:
    """A configuration as a record keeps it: what JSON does not know becomes text."""
    if isinstance(value, Mapping):
        return {str(key): json_safe(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(part) for part in value]
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)


def config_of(model: nn.Module) -> dict[str, Any]:
    """The configuration of a model of transformers, JSON-safe; empty for others."""
    config: Any = getattr(bare(model), "config", None)
    return dict(json_safe(config.to_dict())) if hasattr(config, "to_dict") else {}
