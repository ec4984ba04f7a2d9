"""Every legal layout of a model on a number of devices, as arrays: one lane per layout, so that all are priced at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from estimators.cost.divisibility import divisors, runs_sharded
from estimators.cost.layout import PLAN_RECOMPUTES, Layout
from estimators.training.layouts.degrees import legal_degrees
from estimators.training.sequence_cost import SequenceCost

MAX_MICRO_BATCH = 64
MAX_CHUNKS = 16
"""Chunks of layers per device: more would send each activation around the pipeline too often to pay."""

NUMBERS = ("tp", "pp", "vp", "cp", "dp", "ep", "zero", "shard", "micro_batch", "global_batch", "recompute_index")

Columns = Mapping[str, Any]


class Candidates:
    """Layouts as lanes: each field of a Layout is an array; what the cost model asks for is derived from them."""

    def __init__(self, columns: Columns, schedule: str = "1f1b") -> None:
        self.columns, self.schedule = columns, schedule
        numbers = {name: np.asarray(columns[name], dtype=float) for name in NUMBERS}
        self.tp, self.pp, self.vp, self.cp, self.dp, self.ep = (numbers[name] for name in ("tp", "pp", "vp", "cp", "dp", "ep"))
        self.zero, self.shard = numbers["zero"], numbers["shard"]
        self.micro_batch, self.global_batch = numbers["micro_batch"], numbers["global_batch"]
        self.sequence_parallel = np.asarray(columns["sequence_parallel"], dtype=bool)
        self.full = numbers["recompute_index"] == PLAN_RECOMPUTES.index("full")
        self.selective = numbers["recompute_index"] == PLAN_RECOMPUTES.index("selective")
        self.zero_bubble = np.full(len(self), schedule == "zero-bubble")

    def __len__(self) -> int:
        return len(self.columns["tp"])

    def take(self, which: Any) -> Candidates:
        """The lanes of a mask, a slice or a list of places."""
        return Candidates({name: values[which] for name, values in self.columns.items()}, self.schedule)

    def layout(self, lane: int) -> Layout:
        """One lane as a Layout."""
        numbers = {name: int(self.columns[name][lane]) for name in NUMBERS if name != "recompute_index"}
        return Layout(
            sequence_parallel=bool(self.columns["sequence_parallel"][lane]),
            recompute=PLAN_RECOMPUTES[int(self.columns["recompute_index"][lane])],
            schedule=self.schedule,
            **numbers,
        )


def candidates(
    work: SequenceCost, num_devices: int, global_batch: int, *, domain: int, max_tp: int | None = None, schedule: str = "1f1b"
) -> Candidates:
    """All legal layouts.

    Args:
        global_batch: sequences of one step.
        domain: devices behind one scale-up switch: tensor parallelism stays within it.
        max_tp: the largest degree of tensor parallelism, in place of `domain`.
        schedule: of every pipeline.
    """
    columns = _degrees(work, num_devices, global_batch, max_tp or domain)
    columns = _cross(columns, "ep", [e for e in divisors(work.experts) if work.experts > 1] or [1])
    columns = _kept(columns, columns["tp"] * columns["cp"] * columns["dp"] % columns["ep"] == 0)
    columns = _cross(columns, "micro_batch", [m for m in divisors(global_batch) if m <= MAX_MICRO_BATCH])
    columns = _kept(columns, global_batch // columns["dp"] % columns["micro_batch"] == 0)
    columns = _cross(columns, "vp", range(1, min(MAX_CHUNKS, work.layers) + 1))
    micro = global_batch // (columns["dp"] * columns["micro_batch"])
    chunks = columns["pp"] * columns["vp"]
    interleaved = (columns["pp"] > 1) & (chunks <= work.layers) & (micro % columns["pp"] == 0) & _even_enough(work, columns)
    columns = _kept(columns, (columns["vp"] == 1) | interleaved)
    columns = _sharded(columns, domain)
    columns = _cross(columns, "recompute_index", range(len(PLAN_RECOMPUTES)))
    columns = _cross(columns, "sequence_parallel", (0, 1))
    shares = (columns["tp"] > 1) & (work.seq_len // columns["cp"] % columns["tp"] == 0)
    columns = _kept(columns, shares | (columns["sequence_parallel"] == 0))
    columns["global_batch"] = np.full(len(columns["tp"]), global_batch)
    return Candidates(columns, schedule)


def _degrees(work: SequenceCost, num_devices: int, global_batch: int, max_tp: int) -> dict[str, Any]:
    degrees = np.array(list(legal_degrees(work, num_devices, global_batch, max_tp)), dtype=np.int64).reshape(-1, 4)
    return {name: degrees[:, i] for i, name in enumerate(("tp", "pp", "cp", "dp"))}


def _even_enough(work: SequenceCost, columns: Columns) -> Any:
    """Whether interleaving leaves the fullest stage no more layers than it would have without: else it cannot pay."""
    chunks, pp, layers = columns["pp"] * columns["vp"], columns["pp"], work.layers
    return -(-layers // chunks) * columns["vp"] <= -(-layers // pp)


def _sharded(columns: Columns, domain: int) -> dict[str, Any]:
    """With every ZeRO stage that software runs; ZeRO-3 over all replicas, or over those of one scale-up domain (hybrid sharding)."""
    stages = _cross(columns, "zero", range(4))
    shared = (stages["zero"] == 0) | (stages["dp"] * stages["cp"] > 1)
    stages = _kept(stages, shared & runs_sharded(stages["zero"], stages["pp"]))
    stages["shard"] = np.zeros(len(stages["tp"]), dtype=np.int64)
    node = np.maximum(domain // (stages["tp"] * stages["cp"]), 1)
    hybrid = (stages["zero"] == 3) & (node > 1) & (node < stages["dp"]) & (stages["dp"] % node == 0) & (stages["pp"] == 1)
    within = _kept(stages, hybrid) | {"shard": node[hybrid]}
    return {name: np.concatenate([stages[name], within[name]]) for name in stages}


def _cross(columns: Columns, name: str, values: Sequence[int] | range) -> dict[str, Any]:
    """Every lane once per value of a new column."""
    num_lanes = len(columns["tp"])
    crossed = {key: np.repeat(column, len(values)) for key, column in columns.items()}
    crossed[name] = np.tile(np.array(values, dtype=np.int64), num_lanes)
    return crossed


def _kept(columns: Columns, mask: Any) -> dict[str, Any]:
    return {name: column[mask] for name, column in columns.items()}
