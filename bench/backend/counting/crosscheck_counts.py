"""The same quantities by independent routes: op table, torch on meta, fvcore, transformers' own rule."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from bench.backend.counting import meta
from bench.backend.counting.does_not_run import DOES_NOT_RUN, first_line, raise_if_ours
from bench.backend.counting.jit_trace import TensorsOnly
from bench.backend.counting.module import passes
from bench.backend.on_meta import autocast_by_the_cpu, on_meta
from bench.backend.outputs import losses
from bench.backend.sample_networks import SampleNetwork
from bench.backend.tuned_model import tuned_on_meta
from bench.records.record import Count
from bench.records.run import Run
from bench.records.run_estimate import as_trained, workload_of
from estimators.architectures.decoder import Decoder
from estimators.counting.estimate import estimate
from estimators.spec import Case, Model, Workload

OP_TABLE, TORCH, FVCORE, TRAINER = "op table", "torch meta", "fvcore x2", "Trainer rule"


def _row(quantity: str, route: str, value: int | None, reason: str = "", unseen: tuple[str, ...] = ()) -> Count:
    tag = "unavailable" if value is None else "derived" if route in (OP_TABLE, TRAINER) else "counted"
    return Count(quantity=quantity, route=route, value=value, tag=tag, reason=reason, unseen=unseen)


def workloads_of(run: Run) -> dict[str, Workload]:
    """The steps that are counted for a run, by the name of the quantity."""
    first = workload_of(run)
    if run.task == "train":
        return {"train": dataclasses.replace(first, recompute="none")}
    named = {"prefill_flop": first}
    if run.task in ("generate", "decode") and run.new_tokens > 1:
        first_context, last_context = run.seq_len, run.seq_len + run.new_tokens - 2
        for context in sorted({first_context, last_context}):
            named[f"decode_flop, context {context}"] = Workload(phase="decode", batch=first.batch, context_len=context, dtype=first.dtype)
    return named


def language_counts(run: Run, model: Decoder) -> list[Count]:
    """Every quantity of a causal language model's run by every route; of a fine-tuning with its adapters, and of its own backward pass."""
    job = run.job
    module = meta.meta_language_model(run.config) if job is None else on_meta(lambda: tuned_on_meta(run.config, job, attn="eager"))
    ours = as_trained(model, run)
    rows: list[Count] = []
    for quantity, workload in workloads_of(run).items():
        expected = estimate(Case(model=ours, workload=workload))
        counted = meta.torch_count(module, workload)
        if not rows:
            rows += [_row("params", OP_TABLE, expected.params), _row("params", TORCH, counted.params)]
        by_fvcore = meta.fvcore_model_count(
            module, dataclasses.replace(workload, phase="forward") if workload.phase == "train" else workload
        )
        forward = "forward_flop" if workload.phase == "train" else quantity
        rows += [
            _row(forward, OP_TABLE, expected.forward_flop),
            _row(forward, TORCH, counted.forward_flop),
            dataclasses.replace(by_fvcore, quantity=forward),
        ]
        if workload.phase == "train":
            rows += [
                _row("backward_flop", OP_TABLE, expected.backward_flop),
                _row("backward_flop", TORCH, counted.backward_flop),
                _row("training_flop", OP_TABLE, expected.flop["full"]),
                _row("training_flop", TRAINER, meta.trainer_rule(module, workload)),
            ]
    return rows


def dense_counts(run: Run, model: Model, build: Any) -> list[Count]:
    """Every quantity of a dense network's training step by every route.

    Args:
        build: makes the torch module from the configuration.
    """
    workload = dataclasses.replace(workload_of(run), recompute="none")
    expected = estimate(Case(model=model, workload=workload))
    with torch.device("meta"):
        module: nn.Module = build(run.config)
    width = int(run.config["widths"][0])

    def inputs() -> torch.Tensor:
        return torch.zeros(workload.batch, width, device="meta")

    counted = meta.module_count(module, inputs, train=True)
    rows = [
        _row("params", OP_TABLE, expected.params),
        _row("params", TORCH, counted.params),
        _row("forward_flop", OP_TABLE, expected.forward_flop),
        _row("forward_flop", TORCH, counted.forward_flop),
    ]
    try:
        value, unseen = meta.fvcore_count(module, inputs())
        rows.append(_row("forward_flop", FVCORE, value, unseen=unseen))
    except ImportError:
        rows.append(_row("forward_flop", FVCORE, None, "fvcore is not installed"))
    return [
        *rows,
        _row("backward_flop", OP_TABLE, expected.backward_flop),
        _row("backward_flop", TORCH, counted.backward_flop),
    ]


def sample_counts(run: Run, model: Model, network: SampleNetwork, seed: int) -> list[Count]:
    """Every quantity of a step of a model of samples by every route; the step that torch counts is the one that is timed."""
    workload = dataclasses.replace(workload_of(run), recompute="none")
    expected = estimate(Case(model=model, workload=workload))
    module, given = on_meta(lambda: network.build("eager", torch.float32)), network.drawn(seed)
    rows = [_row("params", OP_TABLE, expected.params), _row("params", TORCH, meta.params_of(module))]
    forward, backward, why = _counted_pass(module.train(run.task == "train"), network, given)
    rows += [_row("forward_flop", OP_TABLE, expected.forward_flop), _row("forward_flop", TORCH, forward, why)]
    fed = {name: tensor.to("meta") for name, tensor in given.items() if name not in network.of_loss}
    by_fvcore = meta.fvcore_forward(TensorsOnly(module, list(fed)), tuple(fed.values()))
    rows.append(dataclasses.replace(by_fvcore, quantity="forward_flop"))
    if workload.phase == "train":
        rows += [
            _row("backward_flop", OP_TABLE, expected.backward_flop),
            _row("backward_flop", TORCH, backward, why),
            _row("training_flop", OP_TABLE, expected.flop["full"]),
        ]
    return rows


def _counted_pass(module: nn.Module, network: SampleNetwork, given: Mapping[str, torch.Tensor]) -> tuple[int | None, int | None, str]:
    """FLOP forward and backward of a network on meta, and why there are none."""

    def forward(**named: torch.Tensor) -> torch.Tensor:
        return network.loss(module, named)

    try:
        with torch.enable_grad(), autocast_by_the_cpu():
            counted = passes(module, forward, (), dict(given), on_meta=True, backward=True, hides_nothing=True, roots_of=losses)
    except DOES_NOT_RUN as error:
        raise_if_ours(error)
        return None, None, f"it does not run on meta: {first_line(error)}"
    return counted.forward_flop, counted.backward_flop, ""
