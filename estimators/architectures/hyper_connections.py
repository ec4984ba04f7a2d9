"""Several streams beside one another in place of one residual: what each part reads of them, and how they are mixed."""

from __future__ import annotations

from functools import partial

from estimators.architectures.connections import STREAMS, Connections
from estimators.architectures.rows import linear, norm, parameters
from estimators.frozen import frozen
from estimators.spec import Op, Workload


@frozen
class HyperConnections(Connections):
    """Weights that all streams of a token make: one for each stream that a part reads, one for each that it writes, and a mixture.

    The mixture is made doubly stochastic by `iterations` over streams x streams numbers of a token, which are left out. All weights
    are computed in fp32.

    Attributes:
        streams: how many.
        iterations: in which rows and columns are made to add up to one.

    Source: DeepSeek-V4 (arXiv 2606.19348), section 2.2, by the docstrings of transformers' class.
    """

    streams: int
    iterations: int = 20

    @property
    def weights(self) -> int:
        """Of one token, around one part."""
        return self.streams * (self.streams + 2)

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows around one part of `count` layers, D = width."""
        n, tokens = self.streams, w.num_tokens
        flop, plane = 2 * tokens * n * n * width, w.bytes_of(tokens * width)
        rows = self._weighed(w, width, prefix, count, self.weights, 3, recomputed=True)
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
            activation_bytes=(2 * n + 1) * plane,
            saved_bytes=n * plane,
            recomputed=True,
            mnk=(n, width, n),
            reads=(f"{prefix}.weights", f"{prefix}.streams"),
        )
        collapsed = Op(
            name=f"{prefix}.read",
            component="elementwise",
            kind="elementwise",
            part=prefix,
            role="residual",
            cut="whole",
            count=count,
            activation_bytes=(n + 1) * plane,
            recomputed=True,
        )
        return [*rows, collapsed, mixed]

    def end_ops(self, w: Workload, width: int) -> list[Op]:
        """Rows of what makes one stream of all behind the last layer."""
        return self._weighed(w, width, "final.streams", 1, self.streams, 1, recomputed=False)

    def _weighed(self, w: Workload, width: int, prefix: str, count: int, weights: int, scales: int, *, recomputed: bool) -> list[Op]:
        bare = partial(norm, w, prefix, "norm" if recomputed else "edge_norm", cut="whole", label="norm", gain=False, bias=False)
        edge = self.streams * width
        return [
            bare(width=edge, count=count, recomputed=recomputed),
            linear(
                w, prefix, "linear", STREAMS, cut="whole", label="weights", d_in=edge, d_out=weights, count=count, recomputed=recomputed
            ),
            parameters(w, prefix, "base_and_scales", STREAMS, num=weights + scales, count=count),
        ]
