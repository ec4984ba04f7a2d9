"""One shipped model counted by every route: the rows of the table of exactness."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bench.backend import count, kinds
from bench.workloads.article.networks import build
from estimators.estimate import estimate
from estimators.hf_config import model_from_config
from estimators.registry import model_entry
from estimators.spec import Case, Workload

SEQ_LEN = 128
"""Tokens of the counted forward pass, for models that take sequences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One model by every route; None where a route has no figure, and then `reason` says why."""

    model: str
    family: str
    params: int
    torch_params: int
    published_params: int
    published_text: str
    flop: int
    torch_flop: int
    fvcore_flop: int | None
    reason: str


def row(name: str) -> Row:
    """Count one shipped model on meta. Dense networks are counted like any module: one sample."""
    entry = model_entry(name)
    model = model_from_config(entry.config, entry.id, entry.source)
    model_type = str(entry.config["model_type"])
    by_fvcore, reason = None, ""
    if model_type == "dense_network":
        workload, width = Workload(), int(entry.config["widths"][0])
        with torch.device("meta"):
            module = build(dict(entry.config))
        counted = count.module_count(module, lambda: torch.zeros(1, width, device="meta"), train=False)
        by_fvcore, _ = count.fvcore_count(module, torch.zeros(1, width, device="meta"))
    elif model_type in kinds.KINDS:
        workload = Workload(seq_len=min(SEQ_LEN, getattr(model, "max_positions", 1)))
        counted = count.torch_count(count.meta_model(entry.config), workload)
        reason = "fvcore's recipe here is for causal language models"
    else:
        workload = Workload(seq_len=SEQ_LEN)
        module = count.meta_language_model(entry.config)
        counted = count.torch_count(module, workload)
        try:
            by_fvcore = count.fvcore_language_count(module, workload).value
        except (RuntimeError, TypeError, ValueError, AttributeError, AssertionError, IndexError, KeyError) as error:
            reason = f"fvcore cannot trace it: {type(error).__name__}"
    said = estimate(Case(model=model, workload=workload))
    return Row(
        model=entry.id,
        family=model_type,
        params=said.params,
        torch_params=counted.params,
        published_params=entry.published_params,
        published_text=entry.published_params_text,
        flop=said.forward_flop,
        torch_flop=counted.forward_flop,
        fvcore_flop=None if by_fvcore is None else int(by_fvcore),
        reason=reason,
    )
