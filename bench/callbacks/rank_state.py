"""What one rank has seen of its training: the meters' readings, what a batch computes, and what of it goes to the others."""

from __future__ import annotations

from typing import Any

from torch import nn

from bench.backend.device import Device
from bench.backend.training_evidence import SampledParameters
from bench.callbacks import ranks, rates
from bench.callbacks.batches import Size
from bench.callbacks.context import Setting
from bench.callbacks.counted import Inputs
from bench.callbacks.energy import Energy
from bench.callbacks.flop_source import Unknown, Work, work_of
from bench.callbacks.steps import StepLog


class Seen:
    """The meters around one rank's steps.

    Attributes:
        device, setting: on what, and under what.
        log, energy: the steps; the power meter between pauses.
        work: what a batch computes; None before the first.
        limits: what a step is held against; nothing before the first has ended.
        item: token or sample.
        observer_s: what watching has cost.
    """

    def __init__(self, model: nn.Module, device: Device, setting: Setting, inputs: Inputs | None) -> None:
        self._model, self._inputs = model, inputs
        self._parameters: SampledParameters | None = None
        self.device, self.setting = device, setting
        self.log, self.energy = StepLog(device), Energy(device.uuid)
        self.work: Work | None = None
        self.limits = rates.Limits()
        self.item, self.observer_s = "token", 0.0

    def see(self, batch: Any, size: Size) -> None:
        """A batch before its forward pass; the first one tells what is computed and what the parameters were."""
        if self.work is None:
            self.item, unsized = size.item, batch is None and size.length == 1
            self.work = Unknown("no seq_len was given") if unsized else work_of(self._model, batch, self._inputs, self.setting.name)
        self.work.see(batch, size.length)
        if self._parameters is None:
            self._parameters = SampledParameters(self._model)
            self.setting.look_for_autocast()

    def close_setting(self) -> None:
        """The first step has ended: its size decides what later ones are held against."""
        self.limits = self.setting.close(self.work, self.log.last_shapes)

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
