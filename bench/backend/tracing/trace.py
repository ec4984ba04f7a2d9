"""The op table of a model of transformers, traced on meta."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from torch import nn

from bench.backend.config_fields import integer
from bench.backend.counting.built_class import build, parse
from bench.backend.counting.does_not_run import DOES_NOT_RUN, first_line, raise_if_ours
from bench.backend.tracing.recorder import Pass
from bench.backend.tracing.sizes import Plan, one_token, samples, whole_sequences
from bench.backend.tracing.steps import Steps
from bench.backend.tracing.table import OTHER_MULTIPLES, rows
from estimators.architectures.polynomials import Fit, Sizes
from estimators.architectures.traced import TracedModel, TracedRow
from estimators.errors import UnavailableError
from estimators.spec import Source
from estimators.training.sequence_length import UNSAID_POSITIONS

UNSAID_CHUNK = 64
"""Tokens that a scan takes together at most where no configuration says so: transformers' gated delta rule."""

CHUNKS = (64, 256, 128, 32, 16)
"""Tokens that scans take together where a configuration does not say: transformers' gated delta rule 64, Mamba-2 256."""


MANY = 64
"""Tokens of a window up to which a model is traced on sequences that are longer, rather than shorter."""


def trace_config(config: Mapping[str, Any], name: str) -> TracedModel:
    """The op table of a configuration that transformers builds.

    Raises:
        BadConfigError: transformers does not know the type, or cannot build it.
        UnavailableError: it does not run on meta, or its sizes are no polynomials in those of a step.
    """
    parsed, named, left_out = parse(config)
    return trace(build(parsed, named), name, left_out=left_out)


def trace(model: Any, name: str, *, left_out: str = "") -> TracedModel:
    """The op table of a model of transformers on meta. Raises UnavailableError."""
    steps, text = Steps(model), model.config.get_text_config()
    longest = integer(text, "max_position_embeddings", "n_positions", "max_target_positions") or UNSAID_POSITIONS
    takes_tokens = steps.made.reads_tokens
    window = integer(text, "sliding_window")
    far = 2 * max([UNSAID_CHUNK, *_chunks(text)]) + 5
    chunks = tuple(dict.fromkeys((*_chunks(text), *CHUNKS)))
    plans = (
        whole_sequences(
            sources=steps.has_source,
            longest=longest,
            chunks=chunks,
            beyond=window if window < MANY else 0,
            far=far,
            has_table=_positions(model, longest) > 0,
        )
        if takes_tokens
        else samples()
    )
    traced: dict[tuple[str, tuple[tuple[str, int], ...]], Pass] = {}

    def run(table: str, sizes: Sizes, backward: bool) -> Pass:
        key = table, tuple(sorted((size, value) for size, value in sizes.items() if size not in ("chunks", "several")))
        if key not in traced or (backward and not traced[key].has_backward):
            traced[key] = steps.run(table, sizes, backward=backward)
        return traced[key]

    tables, chunk = {}, 0
    tables["train"], chunk = fitted(model, plans, "train", run)
    if steps.writes_tokens or steps.has_encoder:
        try:
            more = {"prefill": fitted(model, _again(plans, chunk), "prefill", run)[0]}
            more["decode"] = fitted(model, one_token(sources=steps.has_source, longest=longest), "decode", run)[0]
            tables |= more
        except UnavailableError:
            pass  # it was traced, and has no cache that tokens are added to
    passes = list(traced.values())
    return TracedModel(
        name=name,
        source=Source(title=f"{name}, op table traced from transformers {versions()[0]} ({type(model).__name__})"),
        runs=type(model).__name__,
        traced_from=f"transformers {versions()[0]}, torch {versions()[1]}",
        tables=tables,
        takes="token" if takes_tokens else "sample",
        max_positions=longest if takes_tokens else 1,
        positions=_positions(model, longest) if takes_tokens else 0,
        layers=integer(text, "num_hidden_layers", "n_layer", "num_layers", "n_layers", "decoder_layers"),
        width=integer(text, "hidden_size", "d_model", "n_embd", "dim"),
        vocab=integer(text, "vocab_size"),
        kv_heads=integer(text, "num_key_value_heads", "n_kv_heads", "num_kv_heads", "num_attention_heads", "n_head", "num_heads"),
        chunk=chunk,
        sources=steps.has_encoder,
        reads=_read(steps) if not takes_tokens else "",
        left_out=left_out,
        not_run=not_run(model, passes),
    )


def _again(plans: list[Plan], chunk: int) -> list[Plan]:
    """Plans for a prefill, whose layers are those of the training step that was fitted: it has the same chunks, or none."""
    if chunk:
        return [plan for plan in plans if plan.chunk == chunk]
    return [dataclasses.replace(plan, checks=plan.checks[:1]) for plan in plans if not plan.chunk]


def versions() -> tuple[str, str]:
    """Of transformers and torch, as their metadata has them."""
    return version("transformers"), version("torch")


def fitted(model: nn.Module, plans: list[Plan], table: str, run: Any) -> tuple[tuple[TracedRow, ...], int]:
    """The rows by the first plan whose polynomials hold.

    Gradients are taken at the first size and at the first check alone, where they are the same multiple of every forward product.

    Raises:
        UnavailableError: none holds; with the reason of the last that did not.
    """
    reason, in_chunks = "no size to trace it at", False
    for plan in plans:
        if in_chunks and not plan.chunk:
            continue
        for everywhere in (False, True):
            try:
                ends = (plan.points[0], plan.checks[0])
                passes = [run(table, sizes, everywhere or sizes in ends) for sizes in (*plan.points, *plan.checks)]
            except DOES_NOT_RUN as error:
                raise_if_ours(error)
                raise UnavailableError(f"{type(model).__name__} does not run on meta: {first_line(error)}") from error
            try:
                return rows(model, passes, Fit(plan.basis, plan.points, plan.checks)), plan.chunk
            except UnavailableError as error:
                reason = str(error)
                if OTHER_MULTIPLES not in reason:
                    in_chunks = in_chunks or _holds_nearby(model, plan, passes)
                    break
    raise UnavailableError(f"{type(model).__name__}: {reason}")


def _holds_nearby(model: nn.Module, plan: Plan, passes: list[Pass]) -> bool:
    """Whether all but the last and longest size are fitted, as where shorter sequences are padded to one chunk."""
    if len(plan.checks) < 2:
        return False
    try:
        rows(model, passes[:-1], Fit(plan.basis, plan.points, plan.checks[:-1]))
    except UnavailableError as error:
        return OTHER_MULTIPLES in str(error)
    return True


def _read(steps: Steps) -> str:
    """The shapes of what one sample is."""
    made = steps.made.of(1, 1)
    return ", ".join(f"{name} {' x '.join(map(str, value.shape[1:]))}" for name, value in made.items() if hasattr(value, "shape"))


def _chunks(config: Any) -> list[int]:
    """What the configuration calls a chunk or a block."""
    named = {key: value for key, value in config.to_dict().items() if re.search(r"chunk|block_size|block_len|attention_window", key)}
    values = [value for each in named.values() for value in (each if isinstance(each, list) else [each])]
    return [value for value in values if isinstance(value, int) and not isinstance(value, bool) and 1 < value <= 1024]


def _positions(model: nn.Module, longest: int) -> int:
    """Rows of a table of positions that is learned, where it is as long as the longest sequence, give or take an offset."""
    named = (p.shape[0] for name, p in model.named_parameters() if p.dim() == 2 and re.search(r"pos|wpe", name))
    return next((longest for rows in named if longest <= rows <= longest + 8), 0)


def not_run(model: nn.Module, passes: list[Pass]) -> str:
    """The largest parts with parameters of which no pass ran anything."""
    visited = set().union(*(each.visited for each in passes))
    used = {name for each in passes for name in each.first_use}
    idle: dict[str, int] = {}
    for path, part in model.named_modules():
        inside = path and any(path.startswith(f"{known}.") for known in idle)
        size = sum(p.numel() for p in part.parameters())
        touched = path in visited or any(name.startswith(f"{path}.") for name in used)
        if path and size and not inside and not touched and not any(v.startswith(f"{path}.") for v in visited):
            idle[path] = size
    return ", ".join(f"{path} ({size:,} parameters)" for path, size in idle.items())
