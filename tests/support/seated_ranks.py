"""A rank of a training without the other processes: its place in a store, to which a test tells what the others would."""

from __future__ import annotations

from typing import Any

import pytest
import torch.distributed as dist

from bench.callbacks.exchange import RankExchange, Seat

NAME = "a training"


def seat(monkeypatch: pytest.MonkeyPatch, *, rank: int, num_ranks: int = 2, store: Any = None) -> Any:
    """Every training that is watched from here on is that rank's; returns the store."""
    store = dist.HashStore() if store is None else store
    monkeypatch.setattr("bench.callbacks.rank_state.RankExchange", lambda: RankExchange(lambda: Seat(rank, num_ranks, store), NAME))
    return store


def other(store: Any, rank: int, num_ranks: int = 2) -> RankExchange:
    """Another rank, which has begun to watch."""
    exchange = RankExchange(lambda: Seat(rank, num_ranks, store), NAME)
    exchange.meet()
    return exchange
