"""Alternating updates: several streams of which each layer computes one and predicts and corrects the others (Gemma 3n)."""

from __future__ import annotations

from functools import partial

from estimators.architectures.connections import STREAMS, Connections
from estimators.architectures.rows import elementwise, linear, norm, parameters
from estimators.frozen import frozen, replace
from estimators.spec import Op, Workload


@frozen
class AlternatingUpdates(Connections):
    """Around a layer: a mixture of all streams before it, and what the layer made of one of them added to each behind it.

    The streams' weights are made of the one that the layer reads, normed, by a router that serves before and behind.

    Attributes:
        streams: n; all but the first are made of the embedding by matrices, and become one again behind the last layer.

    Source: Baykal et al. 2023, Alternating Updates for Efficient Transformers (arXiv 2301.13310), section 3.
    """

    streams: int

    @property
    def adds_within(self) -> bool:
        """The layer is computed on one stream, with residuals."""
        return True

    def begin_ops(self, w: Workload, width: int) -> list[Op]:
        """A matrix for each stream but the first, on the embedding."""
        return self._between_widths(w, width, "embedding.streams", w.num_tokens)

    def before_ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """The router, n² weights of what it says, and the streams' mixture by those: 2·D·n² FLOP of a token."""
        n, tokens = self.streams, w.num_tokens
        flop, plane = 2 * tokens * n * n * width, w.bytes_of(tokens * width)
        routed = self._routed(w, width, prefix, "predict", count)
        weights = linear(
            w,
            prefix,
            "stream_mixture",
            STREAMS,
            cut="whole",
            label="predict",
            d_in=n,
            d_out=n * n,
            count=count,
            recomputed=True,
            reads=(routed[-1].name,),
        )
        mixed = Op(
            name=f"{prefix}.mix",
            component=STREAMS,
            kind="scan",
            part=prefix,
            role="linear",
            cut="whole",
            count=count,
            flop=flop,
            backward_flop=2 * flop,
            activation_bytes=2 * n * plane,
            saved_bytes=n * plane,
            recomputed=True,
            mnk=(width, n, n),
            reads=(f"{prefix}.streams", weights.name),
        )
        return [*routed, weights, mixed]

    def behind_ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """The router again, on what the layer made; n weights, a vector, and what is added to every stream."""
        n = self.streams
        routed = self._routed(w, width, prefix, "correct", count, owned=False)
        inner = partial(linear, w, prefix, "linear", STREAMS, cut="whole", count=count, recomputed=True)
        return [
            *routed,
            inner(label="correct", d_in=n, d_out=n, reads=(routed[-1].name,)),
            parameters(w, prefix, "scale", STREAMS, num=width, count=count),
            elementwise(w, prefix, "residual", cut="whole", label="corrected", width=n * width, reads=2, count=count),
        ]

    def end_ops(self, w: Workload, width: int) -> list[Op]:
        """A matrix on each stream but the first."""
        return self._between_widths(w, width, "final.streams", w.num_tokens)

    def _routed(self, w: Workload, width: int, prefix: str, label: str, count: int, *, owned: bool = True) -> list[Op]:
        """A norm and D·n weights on one stream of a token, which are read once for both uses."""
        inner = partial(linear, w, prefix, "stream_router", STREAMS, cut="whole", count=count, recomputed=True)
        look = norm(w, prefix, cut="whole", label=f"{label}_norm", width=width, bias=False, count=count)
        rows = [look, inner(label=f"{label}_router", d_in=width, d_out=self.streams, reads=(look.name,))]
        return rows if owned else [replace(row, params=0, weight_bytes=0) for row in rows]

    def _between_widths(self, w: Workload, width: int, part: str, rows: int) -> list[Op]:
        count = self.streams - 1
        return [linear(w, part, "linear", STREAMS, cut="whole", d_in=width, d_out=width, rows=rows, count=count)] if count else []
