"""The FLOP of a step in somebody else's training, exact under `full`: by the op table, else counted once on meta."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import nn

from bench.backend import network
from bench.callbacks.ranks import num_ranks
from bench.prediction import memory_needed, predict
from bench.record import Count
from bench.request import Request
from estimators.architectures.decoder import Decoder
from estimators.errors import SixndError, UnavailableError
from estimators.estimate import MASTER_BYTES, estimate
from estimators.hf_config import model_from_config
from estimators.spec import Case, Hardware, Workload
from estimators.step_time import prediction
from estimators.step_time.layout import Layout

TEXT_INPUTS = frozenset(
    {"input_ids", "attention_mask", "labels", "position_ids", "use_cache", "return_dict", "num_items_in_batch", "shift_labels"}
)
"""What a decoder's forward may be given for its op table to be the whole of it."""

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

MAX_LENGTHS = 8
"""Lengths of sequence that are counted on meta; a count takes up to some seconds."""

Inputs = Callable[[Any], Any]


class Work(Protocol):
    """What one step of a model is."""

    def see(self, batch: Any, length: int) -> None:
        """A batch of that length is about to be run; counts it where that is how this is known."""
        ...

    def flop(self, length: int) -> tuple[int, int] | None:
        """FLOP of one row of that length, under `full` and under `hardware`; None where it is not known."""
        ...

    def estimate(self, request: Request, micro_rows: int, hardware: Hardware | None) -> tuple[dict[str, Any], list[Count], dict[str, str]]:
        """The estimate of a record, its counts, and what is unavailable, for a request whose sizes are those of the usual step."""
        ...


def work_of(model: nn.Module, batch: Any, inputs: Inputs | None, name: str) -> Work:
    """The op table where it is this very model's (causal, on text, as many parameters, all trained), else a count on meta."""
    table = _op_table(model, batch, name)
    return _Table(table, model) if table is not None else _Counted(model, inputs)


def bare(model: nn.Module) -> nn.Module:
    """The model without the wrappers of DDP, FSDP 1 and torch.compile."""
    while True:
        inner = getattr(model, "_orig_mod", None) or (model.module if _wraps(model) else None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def _wraps(model: nn.Module) -> bool:
    return type(model).__name__ in ("DistributedDataParallel", "DataParallel", "FullyShardedDataParallel", "DeepSpeedEngine")


def recomputes(model: nn.Module) -> bool:
    """Whether transformers' activation checkpointing is on."""
    return any(getattr(part, "gradient_checkpointing", False) for part in model.modules())


def is_sharded(model: nn.Module) -> bool:
    """Whether a rank holds a part of the parameters only: FSDP 1 or 2, DeepSpeed."""
    named = {type(part).__name__ for part in model.modules()} | {type(p).__name__ for p in model.parameters()}
    return bool(named & {"FullyShardedDataParallel", "DTensor", "DeepSpeedEngine"}) or any(hasattr(p, "ds_id") for p in model.parameters())


def num_params(model: nn.Module) -> int | None:
    """Parameters, tied ones once; None where this rank does not see all of them."""
    if any(type(part).__name__ == "FullyShardedDataParallel" for part in model.modules()) or any(
        hasattr(p, "ds_id") for p in model.parameters()
    ):
        return None
    return int(sum(p.numel() for p in model.parameters()))


def json_safe(value: Any) -> Any:
    """A configuration as a record keeps it: what JSON does not know becomes text."""
    if isinstance(value, Mapping):
        return {str(key): json_safe(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(part) for part in value]
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)


def config_of(model: nn.Module) -> dict[str, Any]:
    """The configuration of a model of transformers, JSON-safe; empty for others."""
    config: Any = getattr(bare(model), "config", None)
    return dict(json_safe(config.to_dict())) if hasattr(config, "to_dict") else {}


def _op_table(model: nn.Module, batch: Any, name: str) -> Decoder | None:
    inner, config = bare(model), config_of(model)
    on_text = batch is None or (isinstance(batch, Mapping) and "input_ids" in batch and batch.keys() <= TEXT_INPUTS)
    has_head = getattr(inner, "get_output_embeddings", lambda: None)() is not None
    if not (config.get("model_type") and on_text and has_head and all(p.requires_grad for p in model.parameters())):
        return None
    try:
        table = model_from_config(config, name)
    except SixndError:
        return None
    if not isinstance(table, Decoder) or table.left_out:
        return None
    params = num_params(model)
    said = estimate(Case(model=table, workload=Workload(phase="train"))).params
    return table if params is None or params == said else None


class Unknown:
    """Not known, for a reason."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def see(self, batch: Any, length: int) -> None:
        """Nothing to count."""

    def flop(self, length: int) -> tuple[int, int] | None:
        return None

    def estimate(self, request: Request, micro_rows: int, hardware: Hardware | None) -> tuple[dict[str, Any], list[Count], dict[str, str]]:
        return {}, [], {"training_flop": self._reason}


class _Table:
    """By the op table."""

    def __init__(self, table: Decoder, model: nn.Module) -> None:
        self._model, self._module = table, model
        self._recompute = "full" if recomputes(model) else "none"
        self._flop: dict[int, tuple[int, int]] = {}

    def see(self, batch: Any, length: int) -> None:
        self.flop(length)

    def flop(self, length: int) -> tuple[int, int] | None:
        if length not in self._flop:
            workload = Workload(phase="train", batch=1, seq_len=length, recompute=self._recompute)  # type: ignore[arg-type]
            flop = estimate(Case(model=self._model, workload=workload)).flop
            self._flop[length] = flop["full"], flop["hardware"]
        return self._flop[length]

    def estimate(self, request: Request, micro_rows: int, hardware: Hardware | None) -> tuple[dict[str, Any], list[Count], dict[str, str]]:
        request = dataclasses.replace(request, recompute=self._recompute)
        said = predict(self._model, request, hardware)
        said["memory_bytes"] = memory_needed(self._model, dataclasses.replace(request, batch=micro_rows))
        missing: dict[str, str] = {}
        if any(p.element_size() != MASTER_BYTES for p in self._module.parameters()):
            missing |= _weights_of_another_dtype(said, self._module, hardware)
        sharded = is_sharded(self._module)
        if sharded:
            said["memory_bytes"] = {}
            missing["memory_needed"] = "the parameters are shared out over the ranks"
        try:
            said |= _predicted(self._model, request, micro_rows, sharded, hardware)
        except SixndError as error:
            missing["predicted_step_s"] = str(error)
        done = said["phases"]["train_step"]
        counts = [
            Count(quantity="params", route="op table", value=said["params"], tag="derived"),
            Count(quantity="forward_flop", route="op table", value=done["forward_flop"], tag="derived"),
            Count(quantity="backward_flop", route="op table", value=done["backward_flop"], tag="derived"),
            Count(quantity="training_flop", route="op table", value=done["flop"]["full"], tag="derived"),
        ]
        return said, counts, missing


def _predicted(table: Decoder, request: Request, micro_rows: int, sharded: bool, hardware: Hardware | None) -> dict[str, float]:
    """The step that `estimate` predicts for this training, its ranks by data parallelism.

    Raises:
        SixndError: there is no prediction for it; one line says why.
    """
    if hardware is None:
        raise UnavailableError("no prediction for a device that the registry does not know")
    assert request.batch is not None
    assert request.seq_len is not None
    replicas = num_ranks()
    layout = Layout(
        dp=replicas,
        zero=3 if sharded else 0,
        micro_batch=micro_rows,
        global_batch=max(1, request.batch // micro_rows) * micro_rows * replicas,
        recompute=request.recompute,
    )
    said = prediction.predict(table, request.seq_len, layout, hardware, dtype=request.dtype or "fp32")
    return {"predicted_step_s": said.step_time_s, "predicted_low_s": said.low_s, "predicted_high_s": said.high_s}


def _weights_of_another_dtype(said: dict[str, Any], module: nn.Module, hardware: Hardware | None) -> dict[str, str]:
    """The estimate's memory and bytes are of fp32 weights; of others only what is sure is kept: every weight is read once."""
    done = said["phases"]["train_step"]
    done["min_bytes"] = sum(p.numel() * p.element_size() for p in module.parameters())
    if done["bound_s"] is not None and hardware is not None:
        done["bound_s"] = max(done["min_flop"] / said["peak_flop_per_s"], done["min_bytes"] / hardware.memory_bytes_per_s)
    said["memory_bytes"] = {}
    return {"memory_needed": "the weights are not fp32, for which the estimate is"}


class _Counted:
    """By torch's dispatcher on meta, once per length of sequence; exactly linear in the rows."""

    def __init__(self, model: nn.Module, inputs: Inputs | None) -> None:
        self._model, self._inputs = model, inputs
        self._by_length: dict[int, network.NetworkCount | None] = {}
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
                self._by_length[length] = network.count(_on_meta(bare(self._model)), _meta_tensors(given), fvcore=False)
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

    def estimate(self, request: Request, micro_rows: int, hardware: Hardware | None) -> tuple[dict[str, Any], list[Count], dict[str, str]]:
        length, rows = request.seq_len or 1, request.batch or 1
        counted, each = self._by_length.get(length), self.flop(length)
        if counted is None or each is None:
            return {}, [], {"training_flop": self.reason or "the usual length of a batch was not counted"}
        share = rows / self._rows[length]
        forward, whole = round(counted.forward_flop * share), each[0] * rows
        weights_bytes = sum(p.numel() * p.element_size() for p in self._model.parameters())
        peak = hardware.peak_flop_per_s.get(request.dtype or "") if hardware else None
        missing: dict[str, str] = {"memory_needed": "the model has no op table"}
        if counted.unseen:
            missing["training_flop of " + ", ".join(op.name for op in counted.unseen)] = "torch has no formula for it"
        said = {
            "params": counted.params,
            "memory_bytes": {},
            "phases": {
                "train_step": {
                    "flop": {"full": whole, "hardware": whole},
                    "forward_flop": forward,
                    "backward_flop": whole - forward,
                    "min_flop": whole,
                    "min_bytes": weights_bytes,
                    # no bound: what a kernel may skip of a network without an op table is not known
                    "bound_s": None,
                    "bound_by": "",
                    "rule_flop": 6 * counted.params * rows * length,
                    "rule_bytes": weights_bytes,
                }
            },
            "rules": [],
            "hardware": hardware.id if hardware else None,
            "peak_flop_per_s": peak,
            "peak_bytes_per_s": hardware.memory_bytes_per_s if hardware else None,
        }
        route = f"torch's dispatcher on {counted.counted_on}"
        counts = [
            Count(quantity="forward_flop", route=route, value=forward, tag="counted"),
            Count(quantity="backward_flop", route=route, value=whole - forward, tag="counted"),
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
    return copied


def _meta_tensors(tree: Any) -> Any:
    return torch.utils._pytree.tree_map_only(torch.Tensor, lambda t: torch.empty_like(t, device="meta"), tree)


def _forward_inputs(model: nn.Module, batch: Any) -> Any:
    """What of a batch goes into forward: the arguments that it names, or the first of a pair of inputs and targets."""
    if isinstance(batch, Mapping):
        import inspect

        taken = inspect.signature(model.forward).parameters
        anything = any(p.kind is p.VAR_KEYWORD for p in taken.values())
        # a model of transformers looks into a mask, which on meta holds nothing; under `full` it saves no FLOP
        unread = {"attention_mask"} if config_of(model) else set()
        return {
            name: value for name, value in batch.items() if name not in unread and (name in taken or (anything and name not in TEXT_INPUTS))
        }
    if isinstance(batch, Sequence) and not isinstance(batch, str):
        return batch[0]
    return batch


def _rows(given: Any) -> int:
    return next(int(leaf.shape[0]) for leaf in torch.utils._pytree.tree_leaves(given) if isinstance(leaf, torch.Tensor))
