"""Engines by generation: what a server does unless told otherwise, by name and date; facts, no fits."""

from __future__ import annotations

import functools

from estimators.errors import UnknownNameError
from estimators.facts import data
from estimators.frozen import frozen


@frozen
class Engine:
    """One generation of an engine. What its steps take is fitted, and stands in `serving_constants.json` under the same id.

    Attributes:
        id: the key; the newest generation of an engine has the engine's name alone.
        engine: what people call it.
        since, until: months of its releases, such as 2025-01; `until` is empty where it lasts.
        block_tokens: tokens of a block of the KV cache.
        memory_fraction: of the device's memory, what weights, activations and cache may take together.
        token_budget: prompt and decoded tokens of one step at most.
        max_num_seqs: sequences in flight at most.
        graphs: whether decode steps replay recorded graphs, so that the host does not issue their kernels.
        note: what else is known; source: where the row is from.
    """

    id: str
    engine: str
    since: str
    until: str
    block_tokens: int
    memory_fraction: float
    token_budget: int
    max_num_seqs: int
    graphs: bool
    note: str
    source: str


DEFAULT_ENGINE = "vllm"


@functools.cache
def engines() -> dict[str, Engine]:
    """All generations, by id."""
    columns: tuple[str, ...] = Engine._fields  # type: ignore[attr-defined]
    return {row.text("id"): _engine(row) for row in data.read_rows(data.file("serving_engines.csv"), columns)}


def _engine(row: data.Row) -> Engine:
    return Engine(
        id=row.text("id"),
        engine=row.text("engine"),
        since=row.text("since"),
        until=row.optional_text("until"),
        block_tokens=row.integer("block_tokens"),
        memory_fraction=row.number("memory_fraction"),
        token_budget=row.integer("token_budget"),
        max_num_seqs=row.integer("max_num_seqs"),
        graphs=row.text("graphs", choices=("yes", "no")) == "yes",
        note=row.optional_text("note"),
        source=row.text("source"),
    )


ALSO_CALLED = {"trtllm": "tensorrt-llm", "trt-llm": "tensorrt-llm", "llama.cpp": "llama-cpp", "hf": "transformers", "fastgen": "deepspeed"}
"""What else engines are called."""


def engine(name: str) -> Engine:
    """A generation of an engine by its id or what people call it.

    >>> engine("TRT-LLM").id, engine("vllm").block_tokens
    ('tensorrt-llm', 16)

    Raises:
        UnknownNameError: no such engine.
    """
    wanted = name.strip().casefold().replace("_", "-").replace(" ", "-")
    wanted = ALSO_CALLED.get(wanted, wanted)
    if wanted not in engines():
        raise UnknownNameError("engine", name, engines(), "python -m bench list engines")
    return engines()[wanted]
