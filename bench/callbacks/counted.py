"""The FLOP of a network without an op table: counted on a copy on meta, once per length of sequence."""

from __future__ import annotations

import copy
import inspect
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from bench.backend.counting import module
from bench.backend.on_meta import mended
from bench.callbacks.modules import bare, config_of, is_sharded
from bench.records.estimated import Estimated, EstimatedPhase, FlopByConvention
from bench.records.record import Count
from bench.records.run import Run
from estimators.spec import Hardware

TEXT_INPUTS = frozenset(
    {"input_ids", "attention_mask", "labels", "position_ids", "use_cache", "return_dict", "num_items_in_batch", "shift_labels"}
)
"""What a decoder's forward may be given for its op table to be the whole of it."""

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

MAX_LENGTHS = 8
"""Lengths of sequence that are counted on meta; a count takes up to some seconds."""

Inputs = Callable[[Any], Any]


class CountedFlop:
    """By torch's dispatcher on meta, once per length of sequence; exactly linear in the rows."""

    def __init__(self, model: nn.Module, inputs: Inputs | None) -> None:
        self._model, self._inputs = model, inputs
        self._by_length: dict[int, module.NetworkCount | None] = {}
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
            given = self._inputs(batch) if self._inputs else _forward_inputs(bare(self._model), batch)
            with torch.random.fork_rng(devices=[]):
                self._by_length[length] = module.count(_on_meta(bare(self._model)), _meta_tensors(given), fvcore=False)
            self._rows[length] = _rows(given)
        except Exception as error:  # somebody's network and batch may fail in any way, and their training must not be lost to it
            self.reason = f"not counted: {(str(error).splitlines() or [type(error).__name__])[0][:200]}"

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


def _on_meta(model: nn.Module) -> nn.Module:
    """A copy on meta, without checkpointing, whose second forward pass is not in `full`; the model is left alone."""
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=parameter.requires_grad)
    for buffer in model.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    for owner in ("_trainer", "_fabric"):  # what Lightning's modules know of, and forward does not need
        if vars(model).get(owner) is not None:
            memo[id(vars(model)[owner])] = None
    for part in model.modules():  # hooks are somebody's, and may hold anything
        memo |= {id(vars(part)[hooks]): OrderedDict() for hooks in _HOOKS}
    copied = copy.deepcopy(model, memo)
    for part in copied.modules():
        if hasattr(part, "gradient_checkpointing"):
            part.gradient_checkpointing = False
    if hasattr(copied, "set_attn_implementation"):
        copied.set_attn_implementation("eager")  # fused attention hides its products from a dispatcher on some devices
    return mended(copied)


def _meta_tensors(tree: Any) -> Any:
    return torch.utils._pytree.tree_map_only(torch.Tensor, lambda t: torch.empty_like(t, device="meta"), tree)


def _forward_inputs(model: nn.Module, batch: Any) -> Any:
    """What of a batch goes into forward: the arguments that it names, or the first of a pair of inputs and targets."""
    if isinstance(batch, Mapping):
        parameters = inspect.signature(model.forward).parameters
        anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        # a model of transformers looks into a mask, which on meta holds nothing; under `full` it saves no FLOP
        unread = {"attention_mask"} if config_of(model) else set()
        return {
            name: value
            for name, value in batch.items()
            if name not in unread and (name in parameters or (anything and name not in TEXT_INPUTS))
        }
    if isinstance(batch, Sequence) and not isinstance(batch, str):
        return batch[0]
    return batch


def _rows(given: Any) -> int:
    return next(int(leaf.shape[0]) for leaf in torch.utils._pytree.tree_leaves(given) if isinstance(leaf, torch.Tensor))
