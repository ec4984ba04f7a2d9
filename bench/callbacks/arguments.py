"""From a batch to the arguments that forward takes, by its signature, where nobody said how."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

Inputs = Callable[[Any], Any]
"""From a batch to what forward takes: a mapping of arguments by name, a sequence of those by position, or the only one."""

Forward = Callable[[nn.Module, Any], Any]
"""One batch through a network, for the loss or the losses that are trained; or with its own backward passes, for None."""

Call = tuple[tuple[Any, ...], dict[str, Any]]


def told_call(model: nn.Module, told: Any) -> Call:
    """The arguments that `inputs` gave. A mapping goes by name, unless the model takes one as its only argument."""
    if isinstance(told, Mapping):
        return _by_name(model, told)
    if isinstance(told, Sequence) and not isinstance(told, str):
        return tuple(told), {}
    return (told,), {}


def guessed_call(model: nn.Module, batch: Any) -> Call:
    """The arguments that forward takes of a batch: those that it names, or as many of the first as it must be given.

    >>> guessed_call(nn.Bilinear(2, 2, 1), ("left", "right", "target"))
    (('left', 'right'), {})
    """
    if isinstance(batch, Mapping):
        return _by_name(model, batch)
    needed, _ = _positional(model)
    if not isinstance(batch, Sequence) or isinstance(batch, str) or needed == ["batch"]:
        return (batch,), {}
    return tuple(batch[: max(1, len(needed))]), {}


def _by_name(model: nn.Module, batch: Mapping[Any, Any]) -> Call:
    needed, parameters = _positional(model)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    names = {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL, p.POSITIONAL_ONLY)}
    if len(needed) == 1 and needed[0] not in batch and not (names & batch.keys()):
        return (batch,), {}
    return (), {name: value for name, value in batch.items() if takes_any or name in names}


def _positional(model: nn.Module) -> tuple[list[str], list[inspect.Parameter]]:
    """The names of what forward must be given by position, and all its parameters."""
    parameters = list(inspect.signature(model.forward).parameters.values())
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.kind in by_position and p.default is p.empty], parameters
