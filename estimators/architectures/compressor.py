"""What makes one entry of the keys and values of several tokens: a sum weighted by learned gates."""

from __future__ import annotations

from functools import partial

from estimators.architectures.part import Cached
from estimators.architectures.rows import elementwise, linear, norm, parameters
from estimators.frozen import frozen, replace
from estimators.spec import Op, Workload

WIDE_BYTES = 4
"""Of a gate with its position's bias, which is fp32."""


def entries(w: Workload, rate: int) -> int:
    """Entries of one sequence when the step is over: one of each `rate` tokens.

    >>> entries(Workload(phase="decode", context_len=7), 4)
    2
    """
    return (w.context_len + w.seq_len) // rate


def entry_pairs(w: Workload, rate: int, most: int | None) -> int:
    """Pairs of a query and an entry of one sequence that lies wholly behind it, `most` of each query; None for all.

    The query at position p, from 0, sees (p + 1) // rate entries.

    >>> entry_pairs(Workload(seq_len=9), 4, None), entry_pairs(Workload(seq_len=9), 4, 1)
    (8, 6)
    """

    def before(tokens: int) -> int:
        full = tokens if most is None else min(tokens, most * rate - 1)
        whole, rest = divmod(full, rate)
        growing = rate * (whole * (whole - 1) // 2) + whole * (rest + 1)
        return growing + (tokens - full) * (most or 0)

    return before(w.context_len + w.seq_len) - before(w.context_len)


@frozen
class Compressor:
    """Keys and gates of each token, gates with a bias for the place in the entry, a softmax over places, a sum, a norm.

    Attributes:
        width: of an entry.
        rate: tokens that one entry stands for.
        overlaps: whether an entry is made of the tokens of the one before it, too, of which each token has a second key and gate.

    Source: DeepSeek-V4 (arXiv 2606.19348), sections 2.3.1 and 2.3.2, by the docstrings of transformers' class.
    """

    width: int
    rate: int
    overlaps: bool = False

    @property
    def columns(self) -> int:
        """Of each of its two matrices."""
        return self.width * (1 + self.overlaps)

    @property
    def cached(self) -> tuple[Cached, ...]:
        """Entries; keys and gates of tokens whose entry is not complete; of the last complete one what overlaps, gates in fp32."""
        found = (
            Cached(elements_per_token=self.width / self.rate),
            Cached(elements_per_token=2 * self.columns, keeps=self.rate - 1, trims=True),
        )
        overlap = Cached(elements_per_token=self.width * 3, keeps=self.rate, trims=True)
        return (*found, overlap) if self.overlaps else found

    def held_bytes(self, w: Workload) -> int:
        """The same of all sequences of a step, when it is over."""
        made, begun = entries(w, self.rate), (w.context_len + w.seq_len) % self.rate
        values = made * self.width + begun * 2 * self.columns
        overlap = self.rate * self.width * (self.overlaps and made > 0)
        return w.bytes_of(w.batch * (values + overlap)) + WIDE_BYTES * w.batch * overlap

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of `count` such layers, D = width. Where no entry is complete, nothing depends on them, and they get no gradient."""
        project = partial(linear, w, prefix, count=count, cut="whole", recomputed=True)
        closed = entries(w, self.rate) - w.context_len // self.rate
        matrices = [
            project("kv_down", "attention", d_in=width, d_out=self.columns),
            project("gate", "attention", d_in=width, d_out=self.columns),
        ]
        weighed = elementwise(w, prefix, cut="whole", label="weigh", width=self.columns, reads=2, count=count)
        if not closed:
            matrices = [replace(row, backward_flop=0) for row in matrices]
        return [
            *matrices,
            parameters(w, prefix, "place_bias", "attention", num=self.rate * self.columns, count=count),
            replace(weighed, reads=tuple(row.name for row in matrices)),
            norm(w, prefix, "kv_norm", cut="whole", width=self.width, bias=False, rows=w.batch * closed, count=count),
        ]
