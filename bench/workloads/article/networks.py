"""The article's networks as torch modules."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from bench.backend.models import language_model
from estimators.errors import BadConfigError

ACTIVATIONS: dict[str, type[nn.Module]] = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


def build(config: Mapping[str, Any]) -> nn.Module:
    """The network of a configuration; under torch.device("meta") it can be counted without being allocated.

    A dense network is one linear layer with bias per pair of neighbouring widths and an activation between two layers:
    sum of w[i]·w[i+1] + w[i+1] parameters. Without a hidden layer it is a linear regression, and its b and w start at
    0 as in the article; the others start from PyTorch's own draw under the current seed (from equal weights every
    neuron would learn the same). A gpt2 is transformers' GPT2LMHeadModel.

    Raises:
        BadConfigError: neither of the two, or an unknown activation.

    >>> sum(p.numel() for p in build({"model_type": "dense_network", "widths": [7, 100, 100, 1], "activation": "sigmoid"}).parameters())
    11001
    """
    if config.get("model_type") == "gpt2":
        return language_model(config)
    if config.get("model_type") != "dense_network":
        raise BadConfigError(
            f"model_type {str(config.get('model_type'))[:40]!r} is not a network of the article; expected dense_network or gpt2"
        )
    widths = config["widths"]
    layers: list[nn.Module] = []
    for i, (d_in, d_out) in enumerate(pairwise(widths)):
        if i > 0:
            layers.append(_activation(config))
        layers.append(nn.Linear(d_in, d_out))
    if len(layers) == 1:
        for parameter in layers[0].parameters():
            nn.init.zeros_(parameter)
    return nn.Sequential(*layers)


def _activation(config: Mapping[str, Any]) -> nn.Module:
    name = config.get("activation", "sigmoid")
    if name not in ACTIVATIONS:
        raise BadConfigError(f"activation {str(name)[:40]!r} is unknown; expected one of: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()


def run(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """What a network says to a batch: (B, outputs), or a language model's logits (B, T, V) to token ids (B, T)."""
    if inputs.dtype == torch.long:
        logits: torch.Tensor = model(input_ids=inputs, use_cache=False).logits
        return logits
    outputs: torch.Tensor = model(inputs)
    return outputs
