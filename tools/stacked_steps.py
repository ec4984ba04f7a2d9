"""Measured steps as lanes: rows of one kind of model and software, stacked, so that all are predicted at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from estimators.cost.efficiency import Efficiency
from estimators.cost.machine import Machine
from estimators.cost.software import Stack, software
from estimators.cost.tensor_cut import CutParams
from estimators.frozen import frozen, replace
from estimators.training.sequence_cost import SequenceCost
from estimators.training.step import step_time
from estimators.validation.case import MeasuredStep

LAYOUT_NUMBERS = ("tp", "pp", "vp", "cp", "dp", "ep", "zero", "shard", "micro_batch", "global_batch")
LAYOUT_FLAGS = ("sequence_parallel", "full", "selective", "zero_bubble")
PRODUCT_NUMBERS = ("m", "n", "k", "count", "experts", "per_token", "key_columns", "key_heads")
CUT_PARAMS = ("dense", "embedding", "head")


class Lanes:
    """A layout, a machine or the like whose fields are arrays of one length."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


@frozen
class Batch:
    """Rows that share software, precision and the shape of their op tables.

    Attributes:
        rows: their places in the list that was stacked.
    """

    rows: tuple[int, ...]
    stack: Stack
    architecture: str
    work: Any
    layout: Any
    machine: Any

    def step_times_s(self, e: Efficiency) -> Any:
        """Predicted seconds of every row; with constants that are columns, a line for each of their values."""
        ledger = step_time(self.work, self.layout, self.machine, software(self.stack, self.architecture, e), e)
        return ledger.step_time_s + np.zeros(len(self.rows))


def batches(steps: Sequence[MeasuredStep]) -> list[Batch]:
    """All rows, in as few batches as their software and op tables allow."""
    kinds: dict[Any, list[int]] = {}
    for i, step in enumerate(steps):
        generation = step.hardware.generation
        products = tuple((p.cut, p.trained, p.passes_gradient) for p in step.work.products)
        kinds.setdefault((step.stack.id, generation, step.machine.low, step.work.experts > 1, products), []).append(i)
    return [_batch(tuple(rows), [steps[i] for i in rows]) for rows in kinds.values()]


def _batch(rows: tuple[int, ...], steps: list[MeasuredStep]) -> Batch:
    works, first = [step.work for step in steps], steps[0]

    def stacked(holders: Sequence[Any], names: Sequence[str]) -> dict[str, Any]:
        return {name: np.array([float(getattr(holder, name)) for holder in holders]) for name in names}

    products = tuple(
        replace(product, **stacked([work.products[place] for work in works], PRODUCT_NUMBERS))
        for place, product in enumerate(first.work.products)
    )
    numbers = [name for name in vars(SequenceCost)["__slots__"] if name not in ("products", *CUT_PARAMS)]
    cuts = {name: CutParams(**stacked([getattr(each, name) for each in works], vars(CutParams)["__slots__"])) for name in CUT_PARAMS}
    work = Lanes(products=products, **cuts, **stacked(works, ["params", *numbers]))
    layouts = [step.layout for step in steps]
    layout = Lanes(
        **stacked(layouts, LAYOUT_NUMBERS),
        **{name: np.array([getattr(each, name) for each in layouts]) for name in LAYOUT_FLAGS},
    )
    plain = [name for name in vars(Machine)["__slots__"] if name not in ("low", "notes")]
    machine = Lanes(low=first.machine.low, **stacked([step.machine for step in steps], plain))
    return Batch(rows=rows, stack=first.stack, architecture=first.hardware.architecture, work=work, layout=layout, machine=machine)


def predicted_s(parts: Sequence[Batch], num_rows: int, e: Efficiency) -> Any:
    """Predicted seconds of all rows, in their order; a line for each value where constants are columns of several."""
    times = np.zeros((*np.shape(e.matmul)[:1], num_rows))
    for part in parts:
        times[..., list(part.rows)] = part.step_times_s(e)
    return times
