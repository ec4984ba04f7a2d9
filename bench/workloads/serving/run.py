"""One serving run, decided: which requests arrive how, and what the engine may hold."""

from __future__ import annotations

from dataclasses import dataclass

from bench.workloads.language.run import LanguageRun


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingRun(LanguageRun):
    """What serving needs to know beside what a generation does. `seq_len` is a prompt's length, `new_tokens` an answer's.

    Attributes:
        requests: that are sent.
        concurrency: in flight at most, each followed by the next when it is answered; None for arrivals at a rate.
        rate: requests a second, Poisson by the seed; None for a closed loop.
        page_size: tokens of a block of the cache.
        num_blocks: of the cache.
        max_batch_tokens: of one step.
    """

    requests: int
    concurrency: int | None
    rate: float | None
    page_size: int
    num_blocks: int
    max_batch_tokens: int

    @property
    def sequences(self) -> int:
        """In flight at most."""
        return self.concurrency or self.requests

    @property
    def total_tokens(self) -> int:
        """Of a prompt and its answer."""
        return self.seq_len + self.new_tokens
