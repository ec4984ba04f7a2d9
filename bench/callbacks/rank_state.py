"""What one rank has seen of its training: the meters' readings, what a batch computes, and what of it goes to the others."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from torch import nn

from bench.backend.device import Device
from bench.backend.training_evidence import SampledParameters
from bench.callbacks import ranks, rates
from bench.callbacks.arguments import Forward, Inputs
from bench.callbacks.batches import BatchSize, unknown_size
from bench.callbacks.context import TrainingContext
from bench.callbacks.energy import Energy
from bench.callbacks.exchange import RankExchange
from bench.callbacks.flop_source import FlopSource, UnknownFlop, find_flop_source
from bench.callbacks.guard import Guard
from bench.callbacks.modules import is_lazy
from bench.callbacks.same_batches import batches_key
from bench.callbacks.steps import StepLog
from bench.machine.meters.gpu_window import FIGURES
from bench.machine.meters.readings import Readings, no_readings
from bench.records.record import Finding

MEMORY_PEAKS = ("peak_rss", "torch_allocated", "torch_reserved")
"""What `Device.peak_memory` reads."""


class RankState:
    """The meters around one rank's steps.

    Attributes:
        device, context: on what, and under what.
        guard: through which every meter is asked.
        exchange: with the other ranks.
        log, energy: the steps; the power meter between pauses.
        flop_source: what a batch computes; None before the first.
        bounds: what a step is held against; nothing before the first has ended.
        item: token or sample; step where the size of a batch is not known.
        observer_s: what watching has cost.
        findings: what a reader of the record should know beside what is measured.
    """

    def __init__(
        self,
        model: nn.Module,
        device: Device,
        context: TrainingContext,
        guard: Guard,
        inputs: Inputs | None = None,
        forward: Forward | None = None,
        accelerator: Any = None,
    ) -> None:
        self._model, self._inputs, self._forward = model, inputs, forward
        self._accelerator = accelerator
        self._batches: Hashable | None = None
        self.exchange = RankExchange()
        guard.attempt("telling the other ranks", self.exchange.meet)
        self._parameters: SampledParameters | None = None
        self.device, self.context, self.guard = device, context, guard
        self.log, self.energy = StepLog(device, guard), Energy(device.uuid)
        self.flop_source: FlopSource | None = None
        self.bounds = rates.RateBounds()
        self.item, self._is_sized, self.observer_s = "sample", False, 0.0
        self.findings: list[Finding] = []

    def see(self, batch: Any, size: BatchSize) -> BatchSize:
        """A batch before its forward pass; the first one tells what is computed and what the parameters were.

        Returns:
            The size; unknown where it counts samples among tokens, or tokens among samples.
        """
        if not size.unknown and not self._is_sized:
            self.item, self._is_sized = size.item, True
        if not size.unknown and size.item != self.item:
            size = unknown_size(f"a batch of {size.item}s among batches of {self.item}s")
        if self._parameters is None and is_lazy(self._model):  # looked at with the next batch, when its layers have shapes
            return size
        self.guard("training_flop", self._see_work, batch, size)
        if "training_flop" in self.guard.failed:
            self.flop_source = UnknownFlop(self.guard.failed["training_flop"])
        if self._parameters is None:
            self._parameters = self.guard("params_changed", SampledParameters, self._model)
            self.guard.attempt("telling the other ranks", self.exchange.meet)
            if self.exchange.num_ranks > 1:
                self._batches = self.guard.attempt("comparing batches", batches_key, self._model, self._accelerator, batch)
            self.guard("autocast", self.context.look_for_autocast)
        return size

    def _see_work(self, batch: Any, size: BatchSize) -> None:
        if self.flop_source is None:
            unsized = size.unknown or ("no seq_len was given" if batch is None and size.length == 1 else "")
            self.flop_source = (
                UnknownFlop(unsized) if unsized else find_flop_source(self._model, batch, self._inputs, self.context.name, self._forward)
            )
        self.flop_source.see(batch, size.length)

    def close_context(self) -> None:
        """The first step has ended: its size decides what later ones are held against."""
        self.bounds = self.context.close(self.flop_source, self.log.last_shapes)

    def is_joining(self) -> bool:
        """Whether this rank, which has ended, still serves the collectives of others: inside torch's Join of uneven ranks."""
        return any(getattr(getattr(part, "_join_config", None), "enable", False) for part in self._model.modules())

    def peak_memory(self) -> Readings:
        """Of the device, or why not."""
        return self.guard("memory_bytes", self.device.peak_memory) or no_readings(MEMORY_PEAKS, self.guard.failed["memory_bytes"])

    def power(self) -> Readings:
        """Of the windows that have ended, or why not."""
        return self.guard("energy_j", self.energy.readings) or no_readings(FIGURES, self.guard.failed["energy_j"])

    def report(self, status: str, reason: str) -> ranks.RankReport:
        """Of the steps that have been read, for the main rank."""
        self.guard.attempt("telling the other ranks", self.exchange.meet)
        evidence = self.guard("params_changed", self._evidence) or (None, True)
        return ranks.RankReport(
            rank=self.exchange.rank,
            device=self.device.name,
            uuid=self.device.uuid,
            steps=self.log.done,
            power=self.power().values,
            peak_bytes={name: None if value is None else int(value) for name, value in self.peak_memory().values.items()},
            params_changed=evidence[0],
            params_finite=evidence[1],
            observer_s=self.observer_s,
            failed=dict(self.guard.failed),
            status=status,
            reason=reason,
            num_ends=self.exchange.num_ends,
            batches=self._batches,
        )

    def _evidence(self) -> tuple[bool, bool]:
        return (False, True) if self._parameters is None else (self._parameters.changed(), self._parameters.finite())
