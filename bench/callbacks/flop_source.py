"""The FLOP of a step in the user's training loop, exact: by the op table, else counted once on meta."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

from torch import nn

from bench.callbacks.arguments import Forward, Inputs
from bench.callbacks.counted import TEXT_INPUTS, CountedFlop
from bench.callbacks.exchange import num_ranks
from bench.callbacks.modules import bare, config_of, is_sharded, num_params, recomputes
from bench.records.estimated import Estimated
from bench.records.record import Count
from bench.records.run import Run
from bench.records.run_estimate import memory_needed, predict
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.cost.layout import Layout
from estimators.counting.conventions import model_and_hardware_flop
from estimators.counting.estimate import MASTER_BYTES, estimate
from estimators.errors import SixndError, UnavailableError
from estimators.spec import Case, Hardware, Workload
from estimators.training import prediction


class FlopSource(Protocol):
    """What one step of a model is."""

    def see(self, batch: Any, length: int) -> None:
        """A batch of that length is about to be run; counts it where that is how this is known."""
        ...

    def flop(self, length: int) -> tuple[int, int] | None:
        """FLOP of one row of that length, as MFU and as HFU count them; None where they are not known."""
        ...

    def estimate(self, run: Run, micro_rows: int, hardware: Hardware | None) -> tuple[Estimated, list[Count], dict[str, str]]:
        """The estimate of a record, its counts, and what is unavailable, for a run whose sizes are those of the usual step."""
        ...


def find_flop_source(model: nn.Module, batch: Any, inputs: Inputs | None, name: str, forward: Forward | None = None) -> FlopSource:
    """The op table where it is this very model's (causal, on text, as many parameters, all trained), else a count on meta."""
    table = _op_table(model, batch, name) if forward is None else None
    return _OpTableFlop(table, model) if table is not None else CountedFlop(model, inputs, forward)


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


class UnknownFlop:
    """Not known, for a reason."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def see(self, batch: Any, length: int) -> None:
        """Nothing to count."""

    def flop(self, length: int) -> tuple[int, int] | None:
        return None

    def estimate(self, run: Run, micro_rows: int, hardware: Hardware | None) -> tuple[Estimated, list[Count], dict[str, str]]:
        return Estimated(), [], {"training_flop": self._reason}


class _OpTableFlop:
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
            self._flop[length] = model_and_hardware_flop(self._model.ops(workload), workload)
        return self._flop[length]

    def estimate(self, run: Run, micro_rows: int, hardware: Hardware | None) -> tuple[Estimated, list[Count], dict[str, str]]:
        run = dataclasses.replace(run, recompute=self._recompute)
        said = predict(self._model, run, hardware)
        said |= Estimated(memory_bytes=memory_needed(self._model, dataclasses.replace(run, batch=micro_rows)))
        missing: dict[str, str] = {}
        if any(p.element_size() != MASTER_BYTES for p in self._module.parameters()):
            said |= _of_weights_of_another_dtype(said, self._module, hardware)
            missing["memory_needed"] = "the weights are not fp32, for which the estimate is"
        sharded = is_sharded(self._module)
        if sharded:
            said |= Estimated(memory_bytes={})
            missing["memory_needed"] = "the parameters are shared out over the ranks"
        try:
            said |= _predicted(self._model, run, micro_rows, sharded, hardware)
        except SixndError as error:
            missing["predicted_step_s"] = str(error)
        done = said.phases["train_step"]
        counts = [
            Count(quantity="params", route="op table", value=said.params, tag="derived"),
            Count(quantity="forward_flop", route="op table", value=done.forward_flop, tag="derived"),
            Count(quantity="backward_flop", route="op table", value=done.backward_flop, tag="derived"),
            Count(quantity="training_flop", route="op table", value=done.flop.full, tag="derived"),
        ]
        return said, counts, missing


def _predicted(table: Decoder, run: Run, micro_rows: int, sharded: bool, hardware: Hardware | None) -> Estimated:
    """The step that `estimate` predicts for this training, its ranks by data parallelism.

    Raises:
        SixndError: there is no prediction for it; one line says why.
    """
    if hardware is None:
        raise UnavailableError("no prediction for a device that the registry does not know")
    replicas = num_ranks()
    layout = Layout(
        dp=replicas,
        zero=3 if sharded else 0,
        micro_batch=micro_rows,
        global_batch=max(1, run.batch // micro_rows) * micro_rows * replicas,
        recompute=run.recompute,
    )
    said = prediction.predict(table, run.seq_len, layout, hardware, dtype=run.dtype)
    return Estimated(predicted_step_s=said.step_time_s, predicted_low_s=said.low_s, predicted_high_s=said.high_s)


def _of_weights_of_another_dtype(said: Estimated, module: nn.Module, hardware: Hardware | None) -> Estimated:
    """The estimate's memory and bytes are of fp32 weights; of others only what is sure is kept: every weight is read once."""
    done, peak = said.phases["train_step"], said.peak_flop_per_s
    min_bytes, bound_s = sum(p.numel() * p.element_size() for p in module.parameters()), done.bound_s
    if bound_s is not None and hardware is not None and peak is not None:
        bound_s = max(done.min_flop / peak, min_bytes / hardware.memory_bytes_per_s)
    return Estimated(memory_bytes={}, phases={"train_step": done.replaced(min_bytes=min_bytes, bound_s=bound_s)})
