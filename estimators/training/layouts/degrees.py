"""Every way to share devices between tensor, pipeline, context and data parallelism."""

from __future__ import annotations

from collections.abc import Iterator

from estimators.cost.divisibility import divisors, legal_cut
from estimators.training.sequence_cost import SequenceCost

MIN_CONTEXT_TOKENS = 2048
MAX_CONTEXT_DEGREE = 64


def legal_degrees(work: SequenceCost, num_devices: int, global_batch: int, max_tp: int) -> Iterator[tuple[int, int, int, int]]:
    """Every tp, pp, cp and dp that multiply to the devices, cut the model and divide the batch."""
    contexts = [c for c in divisors(work.seq_len) if c == 1 or (work.seq_len % (2 * c) == 0 and c <= MAX_CONTEXT_DEGREE)]
    contexts = [c for c in contexts if c == 1 or (work.seq_len // c >= MIN_CONTEXT_TOKENS and not work.scan_layers)]
    for tp in (d for d in divisors(num_devices) if d <= max_tp and legal_cut(work, d)):
        for pp in (d for d in divisors(num_devices // tp) if d <= work.layers):
            for cp in (c for c in contexts if num_devices // (tp * pp) % c == 0):
                dp = num_devices // (tp * pp * cp)
                if global_batch % dp == 0:
                    yield tp, pp, cp, dp
