"""One shipped model counted by every route: the rows of the table of exactness."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bench.backend import model_classes
from bench.backend.counting import meta
from bench.workloads.article.networks import build
from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import estimate
from estimators.facts.registry import model_entry
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
    fvcore_unseen: tuple[str, ...]
    reason: str


def row(name: str) -> Row:
    """Count one shipped model on meta. Dense networks are counted like any module: one sample."""
    entry = model_entry(name)
    model = model_from_config(entry.config, entry.id, entry.source)
    model_type = str(entry.config["model_type"])
    by_fvcore: int | None
    if model_type == "dense_network":
        workload, reason, inputs = Workload(), "", torch.zeros(1, int(entry.config["widths"][0]), device="meta")
        with torch.device("meta"):
            module = build(dict(entry.config))
        counted = meta.module_count(module, lambda: inputs, train=False)
        by_fvcore, unseen = meta.fvcore_count(module, inputs)
    else:
        workload = Workload(seq_len=min(SEQ_LEN, model.max_positions) if model_type in model_classes.KINDS else SEQ_LEN)
        module = meta.meta_model(entry.config)
        counted = meta.torch_count(module, workload)
        second = meta.fvcore_model_count(module, workload)
        by_fvcore, reason, unseen = None if second.value is None else int(second.value), second.reason, second.unseen
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
        fvcore_flop=by_fvcore,
        fvcore_unseen=unseen,
        reason=reason,
    )
