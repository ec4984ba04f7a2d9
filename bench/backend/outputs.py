"""What a forward pass returned: its tensors, and those of them that are trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from bench.backend import kv_cache


def losses(output: Any) -> list[torch.Tensor]:
    """What of a forward pass is trained: its loss where it names one, else all its tensors.

    >>> losses({"loss": torch.tensor(1.0), "logits": torch.zeros(2)})
    [tensor(1.)]
    """
    loss = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    return [loss] if isinstance(loss, torch.Tensor) else tensors_in(output)


def tensors_in(output: Any, depth: int = 5) -> list[torch.Tensor]:
    """The tensors that forward returned, in any nesting of lists, sets, mappings and objects, but for a cache: no loss is made of one.

    >>> tensors_in({"logits": [torch.tensor(1.0)], "cache": torch.tensor(2.0)})
    [tensor(1.)]
    """
    if isinstance(output, torch.Tensor):
        return [output]
    found: list[torch.Tensor] = []
    for part in _parts(output) if depth else ():
        if isinstance(part, torch.Tensor):
            found.append(part)
        elif part is not None:
            found += tensors_in(part, depth - 1)
    return found


def _parts(output: Any) -> Iterable[Any]:
    if isinstance(output, Mapping):
        return [part for name, part in output.items() if name not in kv_cache.NAMES]
    if isinstance(output, list | tuple | set | frozenset):
        return output
    if isinstance(output, nn.Module | type):
        return ()
    names = [name for kind in type(output).__mro__ for name in _as_list(vars(kind).get("__slots__", ()))]
    return [*(getattr(output, name, None) for name in names), *getattr(output, "__dict__", {}).values()]


def _as_list(slots: Any) -> list[str]:
    return [slots] if isinstance(slots, str) else list(slots)
