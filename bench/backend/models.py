"""Building models of transformers from a configuration, with or without drawing weights."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from estimators.errors import BadConfigError

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

_DRAWING = frozenset({"normal_", "uniform_", "trunc_normal_", "orthogonal_", "sparse_"}) | {
    f"{kind}_{law}_" for kind in ("kaiming", "xavier") for law in ("normal", "uniform")
}
"""Initialisers that draw, by name: torch's, transformers' own wrappers around them, and the tensor methods below both."""
_BLOCK_ELEMENTS = 2**22 + 15
"""Length of the drawn block: odd, so that no row of a weight matrix repeats the row above it."""


class _SkipDrawing(TorchFunctionMode):
    """Random initialisers of matrices do nothing inside: their draws would be thrown away, and take a minute for billions of weights."""

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in _DRAWING:
            tensor = args[0] if args else kwargs["tensor"]
            if tensor.dim() >= 2:
                return tensor
        return func(*args, **kwargs)


@contextmanager
def without_drawing() -> Iterator[None]:
    """Inside, a module that is built draws no values for its matrices, and keeps whatever its memory holds.

    torch's truncated normal values are drawn until all lie within its limits: without a draw they never would, and with fake tensors
    nobody can tell.
    """
    truncated = torch.nn.init._no_grad_trunc_normal_
    torch.nn.init._no_grad_trunc_normal_ = lambda tensor, mean, std, *_, **__: tensor.normal_(mean, std)
    try:
        with _SkipDrawing():
            yield
    finally:
        torch.nn.init._no_grad_trunc_normal_ = truncated


def hf_config(config: Mapping[str, Any]) -> Any:
    """transformers' own configuration object.

    Raises:
        BadConfigError: transformers does not know the model type or refuses the fields.
    """
    from transformers import AutoConfig

    left = ("model_type", "auto_map", "architectures", "dtype", "torch_dtype")
    fields = {key: _plain(value) for key, value in config.items() if key not in left}
    try:
        return AutoConfig.for_model(config["model_type"], **fields)
    except Exception as error:  # a field that makes no sense fails wherever transformers first uses it
        raise BadConfigError(f"transformers refuses this configuration ({config.get('model_type')!r}): {_reason(error)}") from None


def _plain(value: Any) -> Any:
    """A field as transformers reads it from a file, where what JSON has no word for is written as {"__float__": "Infinity"}."""
    if isinstance(value, dict):
        if value.keys() == {"__float__"} and isinstance(value["__float__"], str):
            return float(value["__float__"])
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def language_model(config: Mapping[str, Any], *, attn: str = "sdpa", dtype: torch.dtype = torch.float32) -> nn.Module:
    """A causal language model with whatever initial weights its class draws; `bench.backend.on_meta` builds it to be counted.

    Raises:
        BadConfigError: transformers cannot build it.
    """
    from transformers import AutoModelForCausalLM

    parsed = hf_config(config)
    of_whole = _class_of_whole(type(parsed))
    build = AutoModelForCausalLM.from_config if of_whole is None else of_whole._from_config
    try:
        model: nn.Module = build(parsed, attn_implementation=attn, dtype=dtype)
    except (MemoryError, RuntimeError):  # the device's affair, not the configuration's
        raise
    except Exception as error:
        raise BadConfigError(f"transformers cannot build {config['model_type']!r} with {attn} attention: {_reason(error)}") from None
    return model


def _class_of_whole(of_part: type) -> Any:
    """The class of text that transformers knows by the configuration around a language part's alone (Llama 3.2 Vision's); else None."""
    from transformers import AutoModelForCausalLM

    known = AutoModelForCausalLM._model_mapping
    if of_part in known:
        return None
    beside = vars(sys.modules[of_part.__module__]).values()
    around = (each for each in beside if isinstance(each, type) and getattr(each, "sub_configs", {}).get("text_config") is of_part)
    return next((known[each] for each in around if each in known), None)


def _reason(error: Exception) -> str:
    """The first line of a library's complaint, with its kind, since that of a KeyError is but a name."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__


def random_language_model(config: Mapping[str, Any], *, attn: str, dtype: torch.dtype, device: torch.device, seed: int) -> nn.Module:
    """A causal language model with seeded random weights; see `with_random_weights`."""
    return with_random_weights(lambda: language_model(config, attn=attn, dtype=dtype), dtype=dtype, device=device, seed=seed)


def with_random_weights(build: Callable[[], nn.Module], *, dtype: torch.dtype, device: torch.device, seed: int) -> nn.Module:
    """What `build` makes, with seeded random weights, drawn in seconds.

    On a CPU a block of normal values (standard deviation 0.02) is drawn once and laid end to end over all matrices; on
    an accelerator every weight is drawn. Norms keep their ones, and biases what their class gives them. Never zeros for weights: they
    draw less power and run faster.
    """
    with torch.random.fork_rng(), torch.device(device), without_drawing():
        torch.manual_seed(seed)
        model = build()
    generator = torch.Generator(device=device).manual_seed(seed)
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    with torch.no_grad():
        if device.type == "cpu":
            _lay_block(matrices, torch.empty(_BLOCK_ELEMENTS).normal_(0, 0.02, generator=generator).to(dtype))
        else:
            for matrix in matrices:
                matrix.normal_(0, 0.02, generator=generator)
    return model


def _lay_block(matrices: list[nn.Parameter], block: torch.Tensor) -> None:
    offset = 0
    for matrix in matrices:
        flat, position = matrix.data.view(-1), 0
        while position < flat.numel():
            length = min(flat.numel() - position, block.numel() - offset)
            flat[position : position + length] = block[offset : offset + length]
            position += length
            offset = (offset + length) % block.numel()
