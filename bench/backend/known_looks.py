"""What operators make on the meta device, remembered by the looks of what they are given.

A pass on meta spends most of its time in finding out, in Python, the shape of what each operator makes, and layers that repeat ask the
same again. Shape, strides and dtype of a new tensor on meta follow from those of the operands and from the other arguments alone.
"""

from __future__ import annotations

import functools
from typing import Any

import torch

Look = tuple[tuple[int, ...], tuple[int, ...], torch.dtype]
"""Shape, strides and dtype of a tensor on meta."""

MAX_REMEMBERED = 1 << 17
"""Operators on operands, above which all are forgotten."""

_made: dict[Any, tuple[Look, ...]] = {}
_NUMBERS = (int, float, bool, str, complex)
_NAMES = (torch.dtype, torch.device, torch.layout, torch.memory_format)


def made_by(func: Any, args: Any, kwargs: Any) -> Any:
    """What an operator makes of tensors that are all on meta, found out once for operands of the same looks."""
    key = _asked(func, args, kwargs) if _makes_new_tensors(func) else None
    if key is None:
        return func(*args, **kwargs)
    looks = _made.get(key)
    if looks is None:
        made = func(*args, **kwargs)
        tensors = made if isinstance(made, tuple) else (made,)
        if all(type(tensor) is torch.Tensor and tensor.is_meta and tensor.layout is torch.strided for tensor in tensors):
            if len(_made) >= MAX_REMEMBERED:
                _made.clear()
            _made[key] = tuple((tuple(tensor.shape), tensor.stride(), tensor.dtype) for tensor in tensors)
        return made
    again = tuple(torch.empty_strided(shape, stride, dtype=dtype, device="meta") for shape, stride, dtype in looks)
    return again if len(func._schema.returns) > 1 else again[0]


@functools.cache
def _makes_new_tensors(func: Any) -> bool:
    """Whether all that an operator of torch's own returns is tensors that share no memory with what it is given."""
    schema = func._schema
    named = (*schema.arguments, *schema.returns)
    tensors = all(str(returned.type) == "Tensor" for returned in schema.returns)
    return func.namespace == "aten" and bool(schema.returns) and tensors and not any(part.alias_info for part in named)


def _asked(func: Any, args: Any, kwargs: Any) -> Any:
    """The operator and the looks of what it is given; None where that cannot be told."""
    asked: list[Any] = [func]
    for value in (*args, *kwargs.items()):
        if not _tell(value, asked):
            return None
    return tuple(asked)


def _tell(value: Any, asked: list[Any]) -> bool:
    if isinstance(value, torch.Tensor):
        if value.layout is not torch.strided or value.is_conj() or value.is_neg():
            return False
        asked += (tuple(value.shape), value.stride(), value.dtype)
    elif value is None or isinstance(value, _NAMES):
        asked.append(value)
    elif isinstance(value, _NUMBERS):
        asked += (type(value), value)
    elif isinstance(value, list | tuple):
        asked.append(len(value))
        return all(_tell(inner, asked) for inner in value)
    else:
        return False
    return True
