"""What one rank has seen of its training: the meters' readings, what a batch computes, and what of it goes to the others."""

from __future__ import annotations

from typing import Any

from torch import nn

from bench.backend.device import Device
from bench.backend.training_evidence import SampledParameters
from bench.callbacks import ranks, rates
from bench.callbacks.batches import BatchSize, unknown_size
from bench.callbacks.context import TrainingContext
from bench.callbacks.counted import Inputs
from bench.callbacks.energy import Energy
from bench.callbacks.flop_source import FlopSource, UnknownFlop, find_flop_source
from bench.callbacks.steps import StepLog


class RankState:
    """The meters around one rank's steps.

    Attributes:
        device, context: on what, and under what.
        log, energy: the steps; the power meter between pauses.
        flop_source: what a batch computes; None before the first.
        bounds: what a step is held against; nothing before the first has ended.
        item: token or sample.
        observer_s: what watching has cost.
    """

    def __init__(self, model: nn.Module, device: Device, context: TrainingContext, inputs: Inputs | None) -> None:
        self._model, self._inputs = model, inputs
        self._parameters: SampledParameters | None = None
        self.device, self.context = device, context
        self.log, self.energy = StepLog(device), Energy(device.uuid)
        self.flop_source: FlopSource | None = None
        self.bounds = rates.RateBounds()
        self.item, self._is_sized, self.observer_s = "sample", False, 0.0

    def see(self, batch: Any, size: BatchSize) -> BatchSize:
        """A batch before its forward pass; the first one tells what is computed and what the parameters were.

        Returns:
            The size; unknown where it counts samples among tokens, or tokens among samples.
        """
        if not self._is_sized and not size.unknown:
            self.item, self._is_sized = size.item, True
        if self._is_sized and not size.unknown and size.item != self.item:
            size = unknown_size(f"a batch of {size.item}s among batches of {self.item}s")
        if self.flop_source is None:
            unsized = size.unknown or ("no seq_len was given" if batch is None and size.length == 1 else "")
            self.flop_source = UnknownFlop(unsized) if unsized else find_flop_source(self._model, batch, self._inputs, self.context.name)
        self.flop_source.see(batch, size.length)
        if self._parameters is None:
            self._parameters = SampledParameters(self._model)
            self.context.look_for_autocast()
        return size

    def close_context(self) -> None:
        """The first step has ended: its size decides what later ones are held against."""
        self.bounds = self.context.close(self.flop_source, self.log.last_shapes)

    def report(self) -> ranks.RankReport:
        """Of the steps that have been read, for the main rank."""
        power, memory = self.energy.readings(), self.device.peak_memory()
        return ranks.RankReport(
            rank=ranks.rank(),
            device=self.device.name,
            uuid=self.device.uuid,
            steps=tuple(self.log.done),
            power=power.values,
            peak_bytes={name: None if value is None else int(value) for name, value in memory.values.items()},
            params_changed=self._parameters is not None and self._parameters.changed(),
            params_finite=self._parameters is None or self._parameters.finite(),
            observer_s=self.observer_s,
        )
