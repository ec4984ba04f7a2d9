"""A model's twin on meta: a copy without memory, that multiplies as the model does, and that leaves the model alone."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
import torch.utils.checkpoint as checkpointing
from torch import nn

from bench.backend.known_values import OF_BUILDING
from bench.backend.on_meta import mended
from estimators.errors import UnavailableError

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

_OF_THE_NETWORK = frozenset({"torch", "transformers", "peft"})
"""Packages whose hooks are a part of the network, such as a weight normalised before each pass; others look, or may hold anything."""

_FOR_CHECKPOINTS = "make_inputs_require_grads"
"""transformers' hook that lets gradients through a frozen embedding, so that a checkpoint behind it is not skipped."""


def twin(model: nn.Module, *, recompute: bool = False) -> nn.Module:
    """The model's twin on meta, in its mode (train or eval), with its frozen parts frozen.

    Linear layers whose weights are packed (quantised to 4 or 8 bits) stand there as plain ones of their shape: the product is
    the same, however its weights are stored.

    Args:
        recompute: whether what is there for the sake of checkpoints stays.

    Raises:
        UnavailableError: a part's forward was replaced by a function, which would run the model itself.
    """
    checkpoints = any(getattr(part, "gradient_checkpointing", False) for part in model.modules())
    memo: dict[int, Any] = {}
    for part in model.modules():
        if is_packed_linear(part):
            memo[id(part)] = _plain_linear(part)
        for hooks in _HOOKS:
            memo[id(vars(part)[hooks])] = _kept(vars(part)[hooks], memo, for_checkpoints=recompute or not checkpoints)
        for owner in ("_trainer", "_fabric"):  # what Lightning's modules know of, and forward does not need
            if vars(part).get(owner) is not None:
                memo[id(vars(part)[owner])] = None
        for tensor in _tensors(vars(part)):
            if id(tensor) not in memo and not nn.parameter.is_lazy(tensor):
                memo[id(tensor)] = _on_meta(tensor)
    for part in reversed(list(model.modules())):  # what is compiled is taken uncompiled, the inner before the outer
        if isinstance(vars(part).get("_modules", {}).get("_orig_mod"), nn.Module):
            memo[id(part)] = copy.deepcopy(part._orig_mod, memo)
    copied = copy.deepcopy(model, memo)
    for part in copied.modules():
        if "forward" in vars(part):
            part.forward = _of_the_copy(vars(part)["forward"], part)
        if hasattr(part, "set_attn_implementation"):
            part.set_attn_implementation("eager")  # fused attention hides its products from a dispatcher on some devices
    return mended(copied)


def _of_the_copy(forward: Any, part: nn.Module) -> MethodType:
    """A forward that was set on a part: a method was copied with it; a compiled one is not copied, and is taken uncompiled."""
    while hasattr(forward, "_torchdynamo_orig_callable"):
        forward = forward._torchdynamo_orig_callable
    if not isinstance(forward, MethodType):
        raise UnavailableError(f"the forward of {type(part).__name__} was replaced by a function, which only the model itself can run")
    return MethodType(forward.__func__, part)


def is_packed_linear(part: nn.Module) -> bool:
    """Whether a layer is linear and keeps its weights in another form than a matrix of floating point numbers.

    >>> is_packed_linear(nn.Linear(8, 2)), is_packed_linear(nn.LayerNorm(8))
    (False, False)
    """
    sizes = (getattr(part, "in_features", None), getattr(part, "out_features", None))
    weight = getattr(part, "weight", None)
    if not all(isinstance(size, int) for size in sizes):
        return False
    if callable(weight):  # torch's own unpack theirs when they are asked
        return True
    if next(part.children(), None) is not None:
        return False
    if isinstance(weight, torch.Tensor) and (nn.parameter.is_lazy(weight) or _is_matrix(weight, sizes)):
        return False
    return any(not _is_plain(t) or t.dtype not in _COMPUTED_IN for t in _tensors(vars(part)))


def _is_matrix(weight: torch.Tensor, sizes: tuple[Any, Any]) -> bool:
    return _is_plain(weight) and tuple(weight.shape) == sizes[::-1] and weight.dtype in _COMPUTED_IN


def _is_plain(tensor: torch.Tensor) -> bool:
    return type(tensor) in (torch.Tensor, nn.Parameter, nn.Buffer)


_COMPUTED_IN = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def _plain_linear(part: Any) -> nn.Linear:
    biased = getattr(part, "bias", None)
    biased = biased() if callable(biased) else biased
    dtype = next((t.dtype for t in _tensors(vars(part)) if t.dtype in _COMPUTED_IN), None)
    plain = nn.Linear(part.in_features, part.out_features, biased is not None and biased is not False, device="meta", dtype=dtype)
    plain.weight.requires_grad = bool(getattr(getattr(part, "weight", None), "requires_grad", False))
    if plain.bias is not None:
        plain.bias.requires_grad = bool(getattr(biased, "requires_grad", False))
    return plain.train(part.training)


def _on_meta(tensor: torch.Tensor) -> torch.Tensor:
    look = tensor.detach() if _is_plain(tensor) else torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
    made = torch.empty_like(look, device="meta")
    return nn.Parameter(made, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made


def _kept(hooks: Any, memo: dict[int, Any], *, for_checkpoints: bool) -> Any:
    """Those of the network itself, copied with it."""
    kept = ((key, hook) for key, hook in hooks.items() if _is_of_the_network(hook))
    return OrderedDict((key, copy.deepcopy(hook, memo)) for key, hook in kept if for_checkpoints or not _is_for_checkpoints(hook))


def _is_of_the_network(hook: Any) -> bool:
    return (getattr(hook, "__module__", None) or "").partition(".")[0] in _OF_THE_NETWORK


def _is_for_checkpoints(hook: Any) -> bool:
    return getattr(hook, "__name__", "") == _FOR_CHECKPOINTS


def _tensors(tree: Any, depth: int = 4) -> Iterator[torch.Tensor]:
    """Parameters, buffers and whatever tensors lie beside them in attributes, also in lists and dictionaries."""
    if isinstance(tree, torch.Tensor):
        yield tree
    elif depth and isinstance(tree, dict | list | tuple):
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from _tensors(part, depth - 1)


@contextmanager
def without_recomputation() -> Iterator[None]:
    """Inside, torch.utils.checkpoint keeps what it would compute again, whoever calls it and under what name."""
    reentrant, generator = checkpointing.CheckpointFunction, checkpointing._checkpoint_without_reentrant_generator

    class Plain:
        @staticmethod
        def apply(function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
            return function(*args)

    def keeps(*_: Any, **__: Any) -> Iterator[None]:
        yield

    checkpointing.CheckpointFunction, checkpointing._checkpoint_without_reentrant_generator = Plain, keeps
    try:
        yield
    finally:
        checkpointing.CheckpointFunction, checkpointing._checkpoint_without_reentrant_generator = reentrant, generator


@contextmanager
def left_as_it_is(module: nn.Module) -> Iterator[None]:
    """What a forward pass sets on modules, such as a position that it keeps for the next, is taken away again."""
    before = [(part, dict(vars(part)), {name: dict(vars(part)[name]) for name in _TABLES}) for part in module.modules()]
    try:
        yield
    finally:
        for part, attributes, tables in before:
            vars(part).clear()
            vars(part).update(attributes)
            for name, table in tables.items():
                vars(part)[name].clear()
                vars(part)[name].update(table)


_TABLES = ("_parameters", "_buffers", "_modules")


def _to_meta(tensor: torch.Tensor) -> torch.Tensor:
    standing = torch.empty_like(tensor, device="meta").requires_grad_(tensor.requires_grad)
    if hasattr(tensor, OF_BUILDING):
        setattr(standing, OF_BUILDING, getattr(tensor, OF_BUILDING))
    return standing


def state_on_meta(module: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers as meta tensors; ties survive, since torch.func.functional_call knows them."""
    state = {name: _to_meta(t.detach()).requires_grad_(t.requires_grad) for name, t in module.named_parameters()}
    return state | {name: _to_meta(t) for name, t in module.named_buffers()}
