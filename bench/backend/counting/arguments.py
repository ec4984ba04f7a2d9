"""The arguments of a forward pass as its twin on meta is given them: copies, so that what forward writes into them stays with the twin."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import nn

from estimators.errors import UnavailableError

_SHARED = (type, FunctionType, BuiltinFunctionType, MethodType, ModuleType, nn.Module)


def copied_with(arguments: Any, stand_in: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """A copy of arguments in any nesting of objects, such as a cache of keys and values, with stand-ins for their tensors.

    A tensor that is there twice has one stand-in. Functions and modules are not copied.

    Raises:
        UnavailableError: something in it cannot be copied, such as a generator.

    >>> copied_with({"x": torch.zeros(2), "n": 3}, lambda tensor: tensor.to("meta"))
    {'x': tensor(..., device='meta', size=(2,)), 'n': 3}
    """
    written = io.BytesIO()
    copier = _Copier(written, stand_in)
    try:
        copier.dump(arguments)
        written.seek(0)
        return _Reader(written, copier.kept).load()
    except (pickle.PickleError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise UnavailableError(f"forward is given what cannot be copied: {error}") from error


class _Copier(pickle.Pickler):
    """Writes all but tensors and what is shared, which it keeps."""

    def __init__(self, file: io.BytesIO, stand_in: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._stand_in = stand_in
        self._of: dict[int, tuple[int, Any]] = {}
        self.kept: list[Any] = []

    def persistent_id(self, obj: Any) -> int | None:
        is_tensor = isinstance(obj, torch.Tensor)
        if not is_tensor and not isinstance(obj, _SHARED):
            return None
        if id(obj) not in self._of:
            self._of[id(obj)] = len(self.kept), obj  # held, so that no other one gets its id
            self.kept.append(self._stand_in(obj) if is_tensor else obj)
        return self._of[id(obj)][0]


class _Reader(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, kept: list[Any]) -> None:
        super().__init__(file)
        self._kept = kept

    def persistent_load(self, pid: Any) -> Any:
        return self._kept[pid]
