"""Random generators that are a training's: whatever of ours runs beside it leaves them as they were."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import CodeType
from typing import Any

import numpy as np
import torch
from torch import nn

KINDS = (torch.Generator, random.Random, np.random.Generator, np.random.RandomState)


@contextmanager
def generators_kept(model: nn.Module | None = None, *, devices: Sequence[int] = ()) -> Iterator[None]:
    """Inside, whatever is drawn is drawn again afterwards: from torch, numpy and Python, and from what the model's code names.

    Args:
        model: whose forward may draw from generators of its own, of its class or of its file.
        devices: CUDA devices from whose generators may be drawn.
    """
    of_python, of_numpy = random.getstate(), np.random.get_state()
    others = [(generator, _state(generator)) for generator in ([] if model is None else _named_by(model))]
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
        for generator, state in others:
            _set_state(generator, state)


def _named_by(model: nn.Module) -> list[Any]:
    """Generators in the attributes of a model's parts, and in the variables of the files and functions that its code names."""
    found: dict[int, Any] = {}
    kinds = {type(part) for part in model.modules()}
    functions = [value for kind in kinds for base in kind.__mro__ for value in vars(base).values() if hasattr(value, "__code__")]
    values = [value for part in model.modules() for value in (*vars(part).values(), *vars(type(part)).values())]
    for function in functions:
        if not function.__module__.startswith("torch."):
            values += [function.__globals__.get(name) for name in _names(function.__code__)]
            values += [cell.cell_contents for cell in function.__closure__ or () if not _is_empty(cell)]
    for value in values:
        if isinstance(value, KINDS):
            found[id(value)] = value
    return list(found.values())


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _is_empty(cell: Any) -> bool:
    try:
        return cell.cell_contents is None
    except ValueError:  # not bound yet
        return True


def _state(generator: Any) -> Any:
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    return generator.getstate() if isinstance(generator, random.Random) else generator.get_state()


def _set_state(generator: Any, state: Any) -> None:
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, random.Random):
        generator.setstate(state)
    else:
        generator.set_state(state)
