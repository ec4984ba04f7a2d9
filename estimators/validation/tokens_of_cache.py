"""Tokens of a cache as an engine printed them, beside its printed blocks or its printed memory over the bytes of a token."""

from __future__ import annotations

from decimal import Decimal

from estimators.frozen import frozen
from estimators.units import GIBI, MEBI
from estimators.validation.table import LeftOutError, Record

UNITS = {"bytes": 1, "GiB": GIBI, "MiB": MEBI}


@frozen
class PrintedCache:
    """What an engine printed, and what follows.

    Attributes:
        tokens, low_tokens, high_tokens: by blocks, or by memory with half a unit of its last digit either way.
        printed_tokens: as printed.
    """

    tokens: float
    low_tokens: float
    high_tokens: float
    printed_tokens: float


def printed_cache(record: Record) -> PrintedCache:
    """The cache of one row.

    Raises:
        LeftOutError: no tokens, neither blocks nor memory, layers that differ, or a hybrid model, whose count is of no memory.
    """
    if record.broken:
        raise LeftOutError(record.broken)
    tokens, blocks = record.number("printed_tokens"), record.number("printed_blocks")
    if "wrong" in record.text("verdict") or "hybrid" in record.text("model"):
        raise LeftOutError("of hybrid models engines print no count of tokens that memory gives; concurrency times length is what holds")
    if not tokens:
        raise LeftOutError("no printed tokens")
    if blocks:
        size = record.number("block_tokens") or 1.0
        return PrintedCache(tokens=blocks * size, low_tokens=blocks * size, high_tokens=blocks * size, printed_tokens=tokens)
    memory, half = _memory(record)
    of_token = _token_bytes(record)
    return PrintedCache(
        tokens=memory / of_token, low_tokens=(memory - half) / of_token, high_tokens=(memory + half) / of_token, printed_tokens=tokens
    )


def _memory(record: Record) -> tuple[float, float]:
    """Bytes as printed, and half a unit of the last digit."""
    text = record.text("printed_memory")
    if not text or record.number("printed_memory") is None:
        raise LeftOutError("neither blocks nor the memory of the cache is printed")
    unit = next((size for name, size in UNITS.items() if record.text("memory_unit").startswith(name)), None)
    if unit is None:
        raise LeftOutError(f"a unit of {record.text('memory_unit')[:30]!r}; expected one of: {', '.join(UNITS)}")
    return float(text) * unit, 0.5 * 10.0 ** int(Decimal(text).as_tuple().exponent) * unit


def _token_bytes(record: Record) -> float:
    """On one device: keys and values of its heads, or a latent; keys alone where that is what was printed."""
    layers, size, shards = record.needed("layers"), record.number("kv_bytes_per_element") or 2.0, record.number("kv_shards", 1.0) or 1.0
    if latent := record.number("mla_latent"):
        return layers * latent * size / shards
    heads = max(1.0, record.needed("kv_heads") / shards)
    halves = 1 if "K alone" in record.text("memory_unit") else 2
    return halves * layers * heads * record.needed("head_dim") * size
