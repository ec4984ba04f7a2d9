"""Points in time inside somebody else's loop: host time on a CPU, device events on CUDA, so that nothing waits inside."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn


class Stamps:
    """Marks before and after every forward pass of a module while the context is open.

    On CUDA a mark is an event on the current stream: it costs a few microseconds and no synchronisation, and is read
    after the loop.
    """

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self._module = module
        self._cuda = device.type == "cuda"
        self._marks: list[tuple[Any, Any]] = []
        self._before: Any = None
        self._handles: list[Any] = []
        self.shapes: list[tuple[int, int]] = []

    def _mark(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def __enter__(self) -> Stamps:
        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            ids = kwargs["input_ids"] if kwargs.get("input_ids") is not None else args[0]
            self.shapes.append((int(ids.shape[0]), int(ids.shape[1])))
            self._before = self._mark()

        def after(*_: Any) -> None:
            self._marks.append((self._before, self._mark()))

        self._handles = [self._module.register_forward_pre_hook(before, with_kwargs=True), self._module.register_forward_hook(after)]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def forward_s(self) -> tuple[float, ...]:
        """Seconds of each finished forward pass, in order. On CUDA this waits for the device."""
        if not self._cuda:
            return tuple(end - start for start, end in self._marks)
        torch.cuda.synchronize()
        return tuple(start.elapsed_time(end) / 1000 for start, end in self._marks)
