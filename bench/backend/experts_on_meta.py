"""Experts that transformers runs one by one, looking for the tokens of each: a tensor on meta has no values to look at.

Which experts are chosen changes no FLOP, so that the pairs of token and expert are shared out evenly instead; the
products stay those of transformers' own class.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import nn

LOOPING = ("DbrxExperts",)
"""Classes of transformers that have no other way to run their experts."""


def share_out_evenly(model: nn.Module) -> nn.Module:
    """The model, whose looping experts now take an even share of the tokens each."""
    for part in model.modules():
        if type(part).__name__ in LOOPING:
            part.forward = MethodType(_forward, part)
    return model


@torch.enable_grad()  # type: ignore[untyped-decorator]  # torch's module tracker stumbles over views of parameters that were made without
def _forward(self: Any, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor) -> torch.Tensor:
    """Every token goes to top_k experts, every expert gets 1 / num_experts of these pairs, give or take one."""
    width, chosen = self.hidden_size, top_k_index.shape[-1]
    pairs = hidden_states.reshape(-1, width).repeat_interleave(chosen, dim=0)
    w1, v1, w2 = (weight.view(-1, self.ffn_hidden_size, width) for weight in (self.mlp.w1, self.mlp.v1, self.mlp.w2))
    shares = [part for part in pairs.tensor_split(self.num_experts) if len(part)]
    outputs = torch.cat([self.mlp(share, w1[i], v1[i], w2[i]) for i, share in enumerate(shares)])
    weighted = outputs * top_k_weights.reshape(-1, 1)
    return weighted.view(-1, chosen, width).sum(dim=1).view(len(hidden_states), -1, width)
