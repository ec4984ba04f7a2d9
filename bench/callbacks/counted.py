"""The FLOP of a network without an op table: counted on a copy on meta, once per length of sequence."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from bench.backend.counting.module import NetworkCount
from bench.backend.counting.training_pass import count_pass
from bench.callbacks.arguments import Call, Forward, Inputs, guessed_call, told_call
from bench.callbacks.modules import bare, is_sharded
from bench.records.estimated import Estimated, EstimatedPhase, FlopByConvention
from bench.records.record import Count
from bench.records.run import Run
from estimators.spec import Hardware

TEXT_INPUTS = frozenset(
    {"input_ids", "attention_mask", "labels", "position_ids", "use_cache", "return_dict", "num_items_in_batch", "shift_labels"}
)
"""What a decoder's forward may be given for its op table to be the whole of it."""

MAX_LENGTHS = 8
"""Lengths of sequence that are counted on meta; a count takes up to some seconds."""


class CountedFlop:
    """By torch's dispatcher on meta, once per length of sequence; exactly linear in the rows."""

    def __init__(self, model: nn.Module, inputs: Inputs | None, forward: Forward | None = None) -> None:
        self._model, self._inputs, self._forward = model, inputs, forward
        self._by_length: dict[int, NetworkCount | None] = {}
        self._rows: dict[int, int] = {}
        self.reason = ""

    def see(self, batch: Any, length: int) -> None:
        if length in self._by_length or len(self._by_length) >= MAX_LENGTHS:
            return
        self._by_length[length] = None
        if is_sharded(self._model):
            self.reason = "the parameters are shared out over the ranks, and the model has no op table"
            return
        if batch is None:
            self.reason = "no batch was given to count with"
            return
        try:
            model = bare(self._model)
            args, kwargs = self._call(model, batch)
            self._by_length[length] = count_pass(model, args, kwargs, function=self._forward)
            self._rows[length] = _rows((args, kwargs))
        except Exception as error:  # somebody's network and batch may fail in any way, and their training must not be lost to it
            self.reason = f"not counted: {(str(error).splitlines() or [type(error).__name__])[0][:200]}"

    def _call(self, model: nn.Module, batch: Any) -> Call:
        if self._forward:
            return (batch,), {}
        return told_call(model, self._inputs(batch)) if self._inputs else guessed_call(model, batch)

    def flop(self, length: int) -> tuple[int, int] | None:
        counted = self._by_length.get(length)
        if counted is None:
            return None
        whole = counted.forward_flop + (counted.backward_flop or 0)
        rows = self._rows[length]
        return (whole // rows,) * 2 if whole % rows == 0 else None

    def estimate(self, run: Run, micro_rows: int, hardware: Hardware | None) -> tuple[Estimated, list[Count], dict[str, str]]:
        length, rows = run.seq_len, run.batch
        counted, each = self._by_length.get(length), self.flop(length)
        if counted is None or each is None:
            return Estimated(), [], {"training_flop": self.reason or "the usual length of a batch was not counted"}
        share = rows / self._rows[length]
        forward, whole = round(counted.forward_flop * share), each[0] * rows
        weights_bytes = sum(p.numel() * p.element_size() for p in self._model.parameters())
        peak = hardware.peak_flop_per_s.get(run.dtype) if hardware else None
        missing: dict[str, str] = {"memory_needed": "the model has no op table"}
        if counted.unseen:
            missing["training_flop of " + ", ".join(op.name for op in counted.unseen)] = "torch has no formula for it"
        done = EstimatedPhase(
            flop=FlopByConvention(full=whole, hardware=whole),
            forward_flop=forward,
            backward_flop=whole - forward,
            min_flop=whole,
            min_bytes=weights_bytes,
            bound_s=None,  # what a kernel may skip of a network without an op table is not known
            bound_by="",
            rule_flop=6 * counted.params * rows * length,
            rule_bytes=weights_bytes,
        )
        said = Estimated(
            params=counted.params,
            memory_bytes={},
            phases={"train_step": done},
            rules=(),
            hardware=hardware.id if hardware else None,
            peak_flop_per_s=peak,
            peak_bytes_per_s=hardware.memory_bytes_per_s if hardware else None,
        )
        route = f"torch's dispatcher on {counted.counted_on}"
        tag = "counted" if rows == self._rows[length] else "derived"  # of other rows than were counted, in proportion
        counts = [
            Count(quantity="forward_flop", route=route, value=forward, tag=tag),
            Count(quantity="backward_flop", route=route, value=whole - forward, tag=tag),
        ]
        return said, counts, missing


def _rows(given: Any) -> int:
    return next(int(leaf.shape[0]) for leaf in torch.utils._pytree.tree_leaves(given) if isinstance(leaf, torch.Tensor) and leaf.dim())
