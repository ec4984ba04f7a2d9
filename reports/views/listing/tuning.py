"""Recipes of frameworks for fine-tuning, and optimizers: what each does unless told, and what each keeps."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.memory.optimizers import Optimizer, TrainedTensor
from estimators.tuning.recipes import Recipe
from reports.table import Column, Table, Value


def recipes_table(recipes: Sequence[Recipe]) -> Table:
    """What each framework does unless told otherwise."""
    columns = [
        Column(key="id", header="recipe"),
        Column(key="adapter_dtype", header="adapters"),
        Column(key="edge_dtype", header="embedding, head, norms"),
        Column(key="loss", header="logits and loss"),
        Column(key="checkpointing", header="checkpointing"),
        Column(key="optimizer", header="optimizer"),
        Column(key="versions", header="versions", raw=True),
        Column(key="source", header="source", raw=True),
        Column(key="note", header="note", raw=True),
    ]
    rows: list[dict[str, Value]] = [
        {
            "id": each.id,
            "adapter_dtype": each.adapter_dtype,
            "edge_dtype": each.edge_dtype,
            "loss": each.loss,
            "checkpointing": each.checkpointing,
            "optimizer": each.optimizer,
            "versions": f"from {each.first_version or 'the first'} to below {each.before_version or 'the next'}",
            "source": each.source,
            "note": each.note,
        }
        for each in recipes
    ]
    return Table(title="Recipes: what a framework for fine-tuning does unless told", columns=columns, rows=rows)


MATRIX = {size: TrainedTensor(rows=4096, columns=4096, size=size, is_linear=True) for size in (4, 2)}
"""A matrix of a layer, in fp32 and in 16 bits."""


def optimizers_table(optimizers: Sequence[Optimizer]) -> Table:
    """Bytes that each optimizer keeps of an element of a matrix of 4,096 x 4,096."""
    columns = [
        Column(key="name", header="optimizer"),
        Column(key="fp32_bytes", header="bytes, fp32", format=lambda value: f"{value:.3g}"),
        Column(key="low_bytes", header="bytes, 16 bits", format=lambda value: f"{value:.3g}"),
        Column(key="remarks", header="and"),
    ]
    rows: list[dict[str, Value]] = [
        {
            "name": each.name,
            "fp32_bytes": each.state_bytes(MATRIX[4]) / MATRIX[4].params,
            "low_bytes": each.state_bytes(MATRIX[2]) / MATRIX[2].params,
            "remarks": ", ".join(_remarks(each)),
        }
        for each in optimizers
    ]
    return Table(title="Optimizers: state kept of each element of a matrix of 4,096 x 4,096", columns=columns, rows=rows)


def _remarks(each: Optimizer) -> list[str]:
    said = {
        "a copy of all parameters during the step": each.step_copies > 0,
        "may move to the host": each.is_paged,
        "updates inside backward, no gradients held": each.is_in_backward,
    }
    return [text for text, holds in said.items() if holds]
