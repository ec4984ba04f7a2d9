"""Counting on the meta device: parameters and FLOP by torch's dispatcher, and by fvcore's traced graph.

No weight is ever allocated. The two routes share no code: torch.utils.flop_counter sees every dispatched operator,
fvcore walks a jit graph and reports multiply-adds, which are doubled here.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench.backend import model_classes
from bench.backend.counting.flop_formulas import MENDED
from bench.backend.counting.jit_trace import TensorsOnly, recorded_convolutions
from bench.backend.known_values import KnownValues
from bench.backend.kv_cache import new_cache, with_cache
from bench.backend.models import language_model
from bench.backend.on_meta import on_meta
from bench.backend.steps.training import loss_of
from bench.records.record import Count
from estimators.spec import Workload

FVCORE_MATMULS = frozenset({"linear", "matmul", "bmm", "baddbmm", "addmm", "mm", "conv", "einsum"})
"""fvcore's operators that are matrix products; its norms and others are left out, as no FLOP under the convention."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """FLOP of one step on meta; `backward_flop` is None for phases without one."""

    params: int
    forward_flop: int
    backward_flop: int | None
    unseen: tuple[str, ...] = ()


def meta_language_model(config: Mapping[str, Any], attn: str = "eager") -> nn.Module:
    """A causal language model of transformers on meta."""
    return on_meta(lambda: language_model(config, attn=attn))


def meta_model(config: Mapping[str, Any], attn: str = "eager") -> nn.Module:
    """The model of a configuration on meta: what `kinds` knows, else a causal language model.

    Raises:
        BadConfigError: transformers cannot build it.
    """
    known = config.get("model_type") in model_classes.KINDS
    return model_classes.meta_model(config, attn) if known else meta_language_model(config, attn)


def flop_counter() -> FlopCounterMode:
    """torch's counter with the formulas that it lacks or has wrong, such as a grouped convolution's backward (1.61 times on Mamba)."""
    return FlopCounterMode(display=False, custom_mapping=MENDED)


def params_of(module: nn.Module) -> int:
    """Trainable parameters, tied ones once."""
    return sum(p.numel() for p in module.parameters())


def _cached(model: nn.Module, workload: Workload) -> Any:
    cache = new_cache(model)
    ids = torch.zeros(workload.batch, workload.context_len, dtype=torch.long, device="meta")
    if workload.context_len:
        with torch.no_grad():
            model(input_ids=ids, logits_to_keep=1, **with_cache(model, cache))
    return cache


def _language_inputs(model: nn.Module, workload: Workload) -> dict[str, Any]:
    """Keyword arguments of one step of a causal language model; `generate` keeps the logits of one position in a prefill."""
    inputs: dict[str, Any] = {
        "input_ids": torch.zeros(workload.batch, workload.seq_len, dtype=torch.long, device="meta"),
        "use_cache": True,
    }
    if workload.phase == "decode":
        inputs |= with_cache(model, _cached(model, workload))
    if workload.phase == "prefill":
        inputs["logits_to_keep"] = 1
    return inputs


def torch_count(model: nn.Module, workload: Workload) -> Counted:
    """FLOP of one step of a model of transformers by torch.utils.flop_counter on meta.

    Args:
        model: on meta, from `meta_model`.
        workload: train counts forward and backward of a language model's training step, or of whatever a plain model returns.
    """
    train, kind = workload.phase == "train", model_classes.KINDS.get(model.config.model_type)
    known = kind is not None
    inputs = model_classes.step_inputs(model, workload) if known else _language_inputs(model, workload)
    counter, values = flop_counter(), KnownValues(hides_nothing=True) if kind and kind.looks else nullcontext()
    # torch's module tracker stumbles over views of DeBERTa's parameters where gradients are off, so they are on for all of `kinds`
    with torch.set_grad_enabled(train or known), values, counter:
        outputs = loss_of(model, inputs["input_ids"], use_cache=True) if train and not known else model(**inputs)
    forward = counter.get_total_flops()
    backward = None
    if train:
        roots = model_classes.differentiable(outputs) if known else [outputs]
        with counter:
            torch.autograd.backward([root.sum() for root in roots])
        backward = counter.get_total_flops()
        model.zero_grad(set_to_none=True)
    return Counted(params=params_of(model), forward_flop=forward, backward_flop=backward)


def module_count(module: nn.Module, make_inputs: Callable[[], torch.Tensor], *, train: bool) -> Counted:
    """FLOP of one step of any module on meta that maps one tensor to one tensor."""
    counter = flop_counter()
    with torch.set_grad_enabled(train), counter:
        out = module(make_inputs())
    forward = counter.get_total_flops()
    backward = None
    if train:
        with counter:
            out.sum().backward()
        backward = counter.get_total_flops()
    return Counted(params=params_of(module), forward_flop=forward, backward_flop=backward)


class _LogitsOnly(nn.Module):
    """Forward of a language model that returns the logits alone, with a cache filled inside: what a jit trace can hold."""

    def __init__(self, model: nn.Module, workload: Workload) -> None:
        super().__init__()
        self.model = model
        self.workload = workload

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        if self.workload.phase == "decode":
            return self._logits(input_ids=ids, **with_cache(self.model, _cached_for_trace(self.model, self.workload)))
        keep = 1 if self.workload.phase == "prefill" else 0
        return self._logits(input_ids=ids, use_cache=False, logits_to_keep=keep)

    def _logits(self, **kwargs: Any) -> torch.Tensor:
        logits: torch.Tensor = self.model(**kwargs).logits
        return logits


def _cached_for_trace(model: nn.Module, workload: Workload) -> Any:
    """A cache of the right shape, made without running the model: a trace would count that run."""
    cache = new_cache(model)
    config = model.config.get_text_config()
    if getattr(config, "kv_lora_rank", None):  # a latent and one rotary key stand in the places of keys and values
        kv_heads, widths = 1, (config.kv_lora_rank, config.qk_rope_head_dim)
    else:
        kv_heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        widths = (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,) * 2
    for layer in range(config.num_hidden_layers):
        cache.update(*(torch.zeros(workload.batch, kv_heads, workload.context_len, width, device="meta") for width in widths), layer)
    return cache


def _of_sums_and_products(inputs: Any, outputs: Any) -> tuple[str, int]:
    """Multiply-adds of a + b[B, m, k] · c[B, k, n], of which fvcore has no formula."""
    from fvcore.nn.jit_handles import get_shape

    b, c = get_shape(inputs[1]), get_shape(inputs[2])
    return "baddbmm", b[0] * b[1] * b[2] * c[2]


def fvcore_count(module: nn.Module, inputs: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[int, tuple[str, ...]]:
    """Twice the multiply-adds of fvcore's matrix products in a forward pass on meta, and the operators without a handle.

    Raises:
        ImportError: fvcore is not installed.
    """
    from fvcore.nn import FlopCountAnalysis

    analysis = FlopCountAnalysis(module, inputs).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.set_op_handle("aten::baddbmm", _of_sums_and_products)
    with warnings.catch_warnings(), recorded_convolutions():
        warnings.simplefilter("ignore")
        operators = analysis.by_operator()
        unseen = tuple(sorted(name.removeprefix("aten::") for name in analysis.unsupported_ops()))
    return round(2 * sum(macs for name, macs in operators.items() if name in FVCORE_MATMULS)), unseen


def fvcore_model_count(model: nn.Module, workload: Workload) -> Count:
    """One forward pass by fvcore, or the reason why not. The model must run eager attention: fvcore counts fused attention as 0."""
    module: nn.Module
    inputs: tuple[torch.Tensor, ...]
    if model.config.model_type in model_classes.KINDS:
        named = model_classes.step_inputs(model, workload)
        module, inputs = TensorsOnly(model, list(named)), tuple(named.values())
    else:
        module, inputs = _LogitsOnly(model, workload), (torch.zeros(workload.batch, workload.seq_len, dtype=torch.long, device="meta"),)
    quantity = f"{workload.phase if workload.phase != 'train' else 'forward'}_flop"
    use_cache = getattr(model.config, "use_cache", None)
    model.config.use_cache = False
    try:
        return dataclasses.replace(fvcore_forward(module, inputs), quantity=quantity)
    finally:
        model.config.use_cache = use_cache


def fvcore_forward(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> Count:
    """One forward pass of a module on meta by fvcore, or the reason why not."""
    try:
        flop, unseen = fvcore_count(module.eval(), inputs)
    except Exception as error:  # a tracer meets code that it was not made for; one route less, and the table says why
        reason = "fvcore is not installed" if isinstance(error, ImportError) else f"fvcore cannot trace it: {type(error).__name__}"
        return Count(quantity="forward_flop", route="fvcore x2", value=None, tag="unavailable", reason=reason)
    return Count(quantity="forward_flop", route="fvcore x2", value=flop, tag="counted", unseen=unseen)


def trainer_rule(model: nn.Module, workload: Workload) -> int:
    """transformers' own figure, Trainer.floating_point_ops: 6 · tokens · parameters without embeddings, for forward and backward."""
    return 6 * workload.num_tokens * int(model.num_parameters(exclude_embeddings=True))
