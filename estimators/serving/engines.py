"""Engines by generation: what a server does unless told otherwise, by name and date; facts, no fits."""

from __future__ import annotations

import functools

from estimators.errors import UnknownNameError
from estimators.facts import data
from estimators.frozen import frozen
from estimators.spec import Hardware
from estimators.units import GIBI


@frozen
class Engine:
    """One generation of an engine. What its steps take is fitted, and stands in `serving_constants.json` under the same id.

    Attributes:
        id: the key; the newest generation of an engine has the engine's name alone.
        engine: what people call it.
        since, until: months of its releases, such as 2025-01; `until` is empty where it lasts.
        block_tokens: tokens of a block of the KV cache.
        memory_fraction: what the engine may take, of what `fraction_of` says.
        fraction_of: `all`: of the device's memory, for weights, activations and cache; `weights and cache`: of the memory that is free
            before the load, for those two; `rest`: of what weights and activations leave, for the cache.
        trims_windows: whether the cache of a layer with a window lets go of what has left it.
        token_budget: prompt and decoded tokens of one step at most.
        max_num_seqs: sequences in flight at most.
        small_token_budget, small_max_num_seqs: the same on smaller devices, see `limits_on`; None for no difference.
        graphs: whether decode steps replay recorded graphs, so that the host does not issue their kernels.
        mixed: whether a step decodes and reads prompts; else prompts are read first, and decode steps wait.
        chunked: whether a prompt may be read in pieces, as the token budget allows.
        reserved_output: share of the tokens that running requests are still to write that must be free when another is let in: 0 where
            requests are pushed out when blocks run out, 1 where none ever is.
        schedules_ahead: whether the next step is decided while one is in flight, so that what arrives waits for one more.
        note: what else is known; source: where the row is from.
    """

    id: str
    engine: str
    since: str
    until: str
    block_tokens: int
    memory_fraction: float
    fraction_of: str
    trims_windows: bool
    token_budget: int
    max_num_seqs: int
    small_token_budget: int | None
    small_max_num_seqs: int | None
    graphs: bool
    mixed: bool
    chunked: bool
    reserved_output: float
    schedules_ahead: bool
    note: str
    source: str

    def limits_on(self, hardware: Hardware) -> tuple[int, int]:
        """Tokens of a step, and sequences in flight, where nobody says: fewer below 70 GiB, and on an A100.

        Source: vLLM, vllm/engine/arg_utils.py, get_batch_defaults.
        """
        if hardware.memory_bytes >= LARGE_BYTES and not hardware.id.startswith("a100"):
            return self.token_budget, self.max_num_seqs
        return self.small_token_budget or self.token_budget, self.small_max_num_seqs or self.max_num_seqs


DEFAULT_ENGINE = "vllm"

LARGE_BYTES = 70 * GIBI
"""Memory of devices that vLLM gives larger limits."""

FRACTIONS_OF = ("all", "weights and cache", "rest")
"""What an engine's fraction of the memory is for."""


@functools.cache
def engines() -> dict[str, Engine]:
    """All generations, by id."""
    fields: tuple[str, ...] = Engine._fields  # type: ignore[attr-defined]
    columns = tuple("schedule" if name == "mixed" else name for name in fields)
    return {row.text("id"): _engine(row) for row in data.read_rows(data.file("serving_engines.csv"), columns)}


def _engine(row: data.Row) -> Engine:
    return Engine(
        id=row.text("id"),
        engine=row.text("engine"),
        since=row.text("since"),
        until=row.optional_text("until"),
        block_tokens=row.integer("block_tokens"),
        memory_fraction=row.number("memory_fraction"),
        fraction_of=row.text("fraction_of", choices=FRACTIONS_OF),
        trims_windows=row.text("trims_windows", choices=("yes", "no")) == "yes",
        token_budget=row.integer("token_budget"),
        max_num_seqs=row.integer("max_num_seqs"),
        small_token_budget=row.optional_integer("small_token_budget"),
        small_max_num_seqs=row.optional_integer("small_max_num_seqs"),
        graphs=row.text("graphs", choices=("yes", "no")) == "yes",
        mixed=row.text("schedule", choices=("mixed", "prefill first")) == "mixed",
        chunked=row.text("chunked", choices=("yes", "no")) == "yes",
        reserved_output=row.optional_number("reserved_output") or 0.0,
        schedules_ahead=row.text("schedules_ahead", choices=("yes", "no")) == "yes",
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
