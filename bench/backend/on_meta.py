"""Models of transformers on the meta device: what a forward pass there stumbles over, or multiplies that is not a product, is mended.

- Rotary angles, which transformers up to 5.17 at least forms by a product of depth 1: no multiply-adds, no FLOP of ours.
- Questions about autocast, which knows no meta: they are asked of the CPU.
- Experts that run one by one, looking for the tokens of each: a tensor on meta has no values to look at. Which experts are
  chosen changes no FLOP, so they run batched, or where transformers has no such way, the pairs of token and expert are
  shared out evenly; the products stay those of transformers' own class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from bench.backend.known_values import KnownValues

MAX_CONSTANT = 1 << 12
"""Elements of a constant that a module makes while it is built, up to which its values are known later."""

_product = torch.Tensor.__matmul__


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """The model that `build` makes, without its memory, in evaluation mode and mended."""
    known = KnownValues(max_elements=MAX_CONSTANT)
    with known, torch.device("meta"):
        model = mended(build().eval())
        _leave_no_memory(model, known)
    known.keep_of_building(model)
    return model


def _leave_no_memory(model: nn.Module, known: KnownValues) -> None:
    """Put on meta what a class makes of a kind that asks for no device, such as torch.Tensor(8); tied ones stay tied."""
    moved: dict[int, torch.Tensor] = {}
    for part in model.modules():
        for name, tensor in (*part._parameters.items(), *part._buffers.items()):
            if tensor is None or tensor.is_meta:
                continue
            if id(tensor) not in moved:
                standing = known.stand_in(tensor.detach())
                moved[id(tensor)] = nn.Parameter(standing, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else standing
            table = part._parameters if name in part._parameters else part._buffers
            table[name] = moved[id(tensor)]


def mended(model: nn.Module) -> nn.Module:
    """The model, changed in place: the same products on meta as where it computes, on either route of counting."""
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("batched_mm")
    for part in model.modules():
        kind = type(part).__name__
        if kind.endswith("RotaryEmbedding"):
            part.forward = _without_products(part.forward)
        elif kind in LOOPING:
            part.forward = MethodType(_even_shares, part)
    return model


@contextmanager
def autocast_by_the_cpu() -> Iterator[None]:
    """Inside, a forward pass that enters autocast on the device of its tensors, or asks for its state there, may do so on meta."""
    kept = {name: getattr(torch, name) for name in _ASKED_OF_AUTOCAST}
    enter = torch.autocast.__init__

    def by_the_cpu(function: Callable[..., Any], place: int) -> Callable[..., Any]:
        def asked(*args: Any, **kwargs: Any) -> Any:
            args = tuple("cpu" if at == place and value == "meta" else value for at, value in enumerate(args))
            kwargs = {name: "cpu" if value == "meta" else value for name, value in kwargs.items()}
            return function(*args, **kwargs)

        return asked

    try:
        for name, function in kept.items():
            setattr(torch, name, by_the_cpu(function, 0))
        torch.autocast.__init__ = by_the_cpu(enter, 1)
        yield
    finally:
        for name, function in kept.items():
            setattr(torch, name, function)
        torch.autocast.__init__ = enter


_ASKED_OF_AUTOCAST = ("is_autocast_enabled", "get_autocast_dtype")


def _without_products(forward: Any) -> Any:
    def counted(*args: Any, **kwargs: Any) -> Any:
        torch.Tensor.__matmul__ = _broadcast
        try:
            return forward(*args, **kwargs)
        finally:
            torch.Tensor.__matmul__ = _product

    return counted


def _broadcast(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a · b, and where the inner dimension is 1, the same numbers by one multiplication each."""
    return a * b if a.dim() > 1 and a.shape[-1] == 1 and b.dim() > 1 and b.shape[-2] == 1 else _product(a, b)


def _even_shares(self: Any, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor) -> torch.Tensor:
    """Every token goes to top_k experts that compute, every one of them gets an equal share of these pairs, give or take one."""
    width, chosen = self.hidden_size, top_k_index.shape[-1]
    num, run = LOOPING[type(self).__name__](self)
    with torch.enable_grad():  # torch's module tracker stumbles over views of parameters that were made without
        pairs = hidden_states.reshape(-1, width).repeat_interleave(chosen, dim=0)
        shares = [part for part in pairs.tensor_split(num) if len(part)]
        outputs = torch.cat([run(share, i) for i, share in enumerate(shares)])
        weighted = outputs * top_k_weights.reshape(-1, 1)
        mixed = weighted.view(-1, chosen, width).sum(dim=1).view_as(hidden_states)
    return mixed if torch.is_grad_enabled() else mixed.detach()  # and over views, made without, of what was made with


Bank = tuple[int, Callable[[torch.Tensor, int], torch.Tensor]]
"""How many experts compute, and what one of them makes of its tokens."""


def _dbrx(experts: Any) -> Bank:
    weights = [each.view(-1, experts.ffn_hidden_size, experts.hidden_size) for each in (experts.mlp.w1, experts.mlp.v1, experts.mlp.w2)]
    return experts.num_experts, lambda tokens, i: experts.mlp(tokens, *(each[i] for each in weights))


def _longcat_flash(experts: Any) -> Bank:
    def run(tokens: torch.Tensor, i: int) -> torch.Tensor:
        gate, up = functional.linear(tokens, experts.gate_up_proj[i]).chunk(2, dim=-1)
        return functional.linear(experts.act_fn(gate) * up, experts.down_proj[i])

    return experts.num_routed_experts, run


LOOPING: Mapping[str, Callable[[Any], Bank]] = {"DbrxExperts": _dbrx, "LongcatFlashExperts": _longcat_flash}
"""Classes of transformers that have no other way to run their experts."""
