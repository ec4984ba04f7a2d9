"""What one rank has seen of its training: the meters' readings, what a batch computes, and what of it goes to the others."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial
from typing import Any

from torch import nn

from bench.backend.device import Device
from bench.backend.training_evidence import SampledParameters
from bench.callbacks import ranks, rates
from bench.callbacks.batches import BatchSize, unknown_size
from bench.callbacks.context import TrainingContext
from bench.callbacks.energy import Energy
from bench.callbacks.exchange import RankExchange
from bench.callbacks.flop_source import FlopSource
from bench.callbacks.guard import Guard
from bench.callbacks.modules import is_lazy
from bench.callbacks.open_step import Mark
from bench.callbacks.optimizer_steps import FIGURE as UPDATES
from bench.callbacks.optimizer_steps import OptimizerSteps
from bench.callbacks.pass_hooks import FIGURE, PassHooks
from bench.callbacks.passes import StepFunction
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
        flop_source: what the passes of a step compute.
        updates: what the optimizers of the model do.
        bounds: what a step is held against; nothing before the first has ended.
        item: token or sample; step where the size of a batch is not known.
        observer_s: what watching has cost.
        runs_batches: whether a function was given that runs a batch.
        findings: what a reader of the record should know beside what is measured.
    """

    def __init__(
        self,
        model: nn.Module,
        device: Device,
        context: TrainingContext,
        guard: Guard,
        forward: StepFunction | None = None,
        accelerator: Any = None,
    ) -> None:
        self._model, self._forward, self.runs_batches = model, forward, forward is not None
        self._accelerator = accelerator
        self._batches: Hashable | None = None
        self.exchange = RankExchange()
        guard.attempt("telling the other ranks", self.exchange.meet)
        self._parameters: SampledParameters | None = None
        self._hooks: PassHooks | None = None
        self._pass_options: dict[str, Any] = {}
        self.device, self.context, self.guard = device, context, guard
        self.updates = OptimizerSteps(model, guard)
        self.flop_source = FlopSource(model, context.name, guard, forward)
        self.log, self.energy = StepLog(device, guard, self.flop_source.work_of), Energy(device.uuid)
        self.flop_source.aside = (self.log.leave, partial(self.log.enter, own=True))
        self.bounds = rates.RateBounds()
        self.item, self._is_sized, self._is_settled, self.observer_s = "sample", False, False, 0.0
        self.findings: list[Finding] = []

    def see(self, batch: Any, size: BatchSize) -> BatchSize:
        """A batch before its forward pass; the first one tells what the parameters were.

        Returns:
            The size; unknown where it counts samples among tokens, or tokens among samples.
        """
        if self._is_settled and size.item == self.item and not size.unknown:
            return size
        if not size.unknown and not self._is_sized:
            self.item, self._is_sized = size.item, True
        if not size.unknown and size.item != self.item:
            size = unknown_size(f"a batch of {size.item}s among batches of {self.item}s")
        if self._parameters is None and is_lazy(self._model):  # looked at with the next batch, when its layers have shapes
            return size
        if self._parameters is None:
            self._parameters = self.guard("params_changed", SampledParameters, self._model)
            self.guard.attempt("telling the other ranks", self.exchange.meet)
            if self.exchange.num_ranks > 1:
                self._batches = self.guard.attempt("comparing batches", batches_key, self._model, self._accelerator, batch)
        if batch is None and not size.unknown and size.length == 1:
            self.flop_source.unseen = "no seq_len was given"
        self._is_settled = self._is_sized
        return size

    def see_passes(self, **options: Any) -> None:
        """What else is told of passes; see PassHooks."""
        self._pass_options = options

    def begin_step(self) -> None:
        """The passes that follow are a step's, the first of which is looked at for its dtype, too."""
        if self._hooks is None:
            look = partial(self.guard, "autocast", self.context.look_for_autocast)
            self._hooks = PassHooks(self._model, self.flop_source.passes, self.guard, see_first=look, **self._pass_options)
            self.guard(UPDATES, self.updates.watch)
        self._hooks.begin_step()
        self.flop_source.passes.open()

    def see_work(self, batch: Any) -> None:
        """A batch of the step that is open, where a function was given that runs one."""
        if self._forward is not None and batch is not None:
            self.flop_source.see_batch(batch)

    def end_step(self, *, hold: bool = False) -> Mark | None:
        """The optimizer has stepped. Returns when; None where no step is open.

        Args:
            hold: whether it may be a part of a later step.
        """
        ledger = self.flop_source.passes
        if ledger.under_way:
            self.guard(FIGURE, ledger.settle)
        passes, failed = ledger.close(), self.guard.failed.get(FIGURE)
        self.flop_source.unseen = failed or self.flop_source.unseen
        return self.log.end(None if failed else passes, self.updates.take(), hold=hold)

    def drop_step(self) -> None:
        """The step that is open was broken off."""
        self.flop_source.passes.close()
        self.updates.take()
        self.log.drop()

    def leave(self) -> None:
        """The model is watched no more, for now."""
        if self._hooks is not None:
            self._hooks.remove()
            self._hooks = None
        self.updates.leave()

    def close_context(self) -> None:
        """The first step has ended: its size decides what later ones are held against."""
        self.bounds = self.context.close(self.flop_source, self.log.last_shapes, self.log.last_passes)

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
            steps=self.log.so_far(),
            power=self.power().values,
            peak_bytes={name: None if value is None else int(value) for name, value in self.peak_memory().values.items()},
            params_changed=evidence[0],
            params_finite=evidence[1],
            observer_s=self.observer_s,
            counting_s=self.flop_source.counting_s,
            processor_s=self.log.processor_s,
            failed=dict(self.guard.failed),
            status=status,
            reason=reason,
            num_ends=self.exchange.num_ends,
            batches=self._batches,
        )

    def _evidence(self) -> tuple[bool, bool]:
        return (False, True) if self._parameters is None else (self._parameters.changed(), self._parameters.finite())
