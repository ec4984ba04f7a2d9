"""What one rank has seen of its training: the meters' readings, what a batch computes, and what of it goes to the others."""

from __future__ import annotations

from typing import Any

from torch import nn

from bench.backend.device import Device
from bench.backend.training_evidence import SampledParameters
from bench.callbacks import ranks, rates
from bench.callbacks.batches import BatchSize
from bench.callbacks.context import TrainingContext
from bench.callbacks.energy import Energy
from bench.callbacks.flop_source import FlopSource
from bench.callbacks.passes import PassHooks
from bench.callbacks.steps import StepLog


class RankState:
    """The meters around one rank's steps.

    Attributes:
        device, context: on what, and under what.
        log, energy: the steps; the power meter between pauses.
        flop_source: what the passes of a step compute.
        bounds: what a step is held against; nothing before the first has ended.
        item: token or sample.
        observer_s: what watching has cost.
    """

    def __init__(self, model: nn.Module, device: Device, context: TrainingContext) -> None:
        self._model = model
        self._parameters: SampledParameters | None = None
        self._hooks: PassHooks | None = None
        self._watching: dict[str, Any] = {}
        self.device, self.context = device, context
        self.flop_source = FlopSource(model, context.name)
        self.log, self.energy = StepLog(device, self.flop_source.work_of), Energy(device.uuid)
        self.bounds = rates.RateBounds()
        self.item, self.observer_s = "token", 0.0

    def see(self, batch: Any, size: BatchSize) -> None:
        """A batch before its forward pass; the first one tells what is computed and what the parameters were."""
        if self._parameters is None:
            self.item = size.item
            self._parameters = SampledParameters(self._model)

    def see_passes(self, **options: Any) -> None:
        """What else is told of passes; see PassHooks."""
        self._watching = options

    def begin_step(self) -> None:
        """The passes that follow are a step's, the first of which is looked at for its dtype, too."""
        if self._hooks is None:
            self._hooks = PassHooks(
                self._model, self.flop_source.passes, see_first=self.context.look_for_autocast, **self._watching
            )
        self._hooks.look_for_compilers()
        self.flop_source.passes.open()

    def end_step(self) -> None:
        """The optimizer has stepped."""
        self.log.end(self.flop_source.passes.close())

    def drop_step(self) -> None:
        """The step that is open was broken off."""
        self.flop_source.passes.close()
        self.log.drop()

    def leave(self) -> None:
        """The model is watched no more, for now."""
        if self._hooks is not None:
            self._hooks.remove()
            self._hooks = None

    def close_context(self) -> None:
        """The first step has ended: its size decides what later ones are held against."""
        self.bounds = self.context.close(self.flop_source, self.log.last_shapes, self.log.last_passes)

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
