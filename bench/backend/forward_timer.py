"""How long each forward pass of a loop took: by the host's clock, or on CUDA by events of the device, so that nothing waits inside."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from estimators.units import KILO


class ForwardTimer:
    """Marks before and after every forward pass of a module while the context is open.

    On CUDA a mark is an event on the current stream: it costs a few microseconds and no synchronisation, and is read
    after the loop.

    Args:
        on_forward: called after each pass, outside its marks, with "steady" and the host's seconds since the one before.

    Attributes:
        shapes: rows and tokens of every pass, in order.
    """

    def __init__(self, module: nn.Module, device: torch.device, on_forward: Callable[[str, float], None] | None = None) -> None:
        self._module = module
        self._device = device
        self._cuda = device.type == "cuda"
        self._on_forward = on_forward
        self._last_s = 0.0
        self._marks: list[tuple[Any, Any]] = []
        self._before: Any = None
        self._handles: list[Any] = []
        self.shapes: list[tuple[int, int]] = []

    def _mark(self) -> Any:
        if not self._cuda:
            if self._device.type == "mps":
                torch.mps.synchronize()
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event

    def __enter__(self) -> ForwardTimer:
        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            ids = kwargs["input_ids"] if kwargs.get("input_ids") is not None else args[0]
            self.shapes.append((int(ids.shape[0]), int(ids.shape[1])))
            self._before = self._mark()

        def after(*_: Any) -> None:
            self._marks.append((self._before, self._mark()))
            if self._on_forward is not None:
                now_s = time.perf_counter()
                self._on_forward("steady", now_s - self._last_s)
                self._last_s = now_s

        self._last_s = time.perf_counter()
        self._handles = [self._module.register_forward_pre_hook(before, with_kwargs=True), self._module.register_forward_hook(after)]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def forward_s(self) -> tuple[float, ...]:
        """Seconds of each finished forward pass, in order. On CUDA this waits for the device."""
        if not self._cuda:
            return tuple(end - start for start, end in self._marks)
        torch.cuda.synchronize(self._device)
        return tuple(start.elapsed_time(end) / KILO for start, end in self._marks)
