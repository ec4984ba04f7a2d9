"""Attention and a feed-forward that several layers run with the same weights, each with matrices of low rank of its own (Zamba 2)."""

from __future__ import annotations

from functools import partial

from estimators.architectures.attention import Attention
from estimators.architectures.feed_forward import FeedForward
from estimators.architectures.part import Compound, Part
from estimators.architectures.rows import linear, norm, spare
from estimators.frozen import frozen, replace
from estimators.roles import Role
from estimators.spec import Op, Workload


@frozen
class SharedTransformer(Compound):
    """What a layer adds to the input of its mixer: attention over the stream beside the embedding, a feed-forward, and a matrix.

    Norms stand before the attention, 2D wide, and before the feed-forward; there is no residual. Norms, attention and feed-forward are
    one set of weights for all layers that run it, which are read at each use: a step's layers between two uses leave nothing of them in a
    cache. The matrix behind is each layer's own, and so are two matrices of `rank` beside gate and up.

    Attributes:
        attention: it reads 2D.
        rank: of the matrices of low rank.
        adapts_attention: whether queries, keys and values have such matrices too.
        owned: whether its weights are counted here, rather than in an earlier layer.
        spare_sets: sets of such matrices for other layers, which are held here too where each layer has a copy of all weights.

    Source: Glorioso et al. 2024, The Zamba2 Suite (arXiv 2411.15242), section 2.
    """

    attention: Attention
    feed_forward: FeedForward
    rank: int
    adapts_attention: bool = False
    owned: bool = True
    spare_sets: int = 0

    @property
    def inside(self) -> tuple[Part, ...]:
        """Its attention and its feed-forward."""
        return self.attention, self.feed_forward

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of `count` such layers, D = width."""
        outer = prefix.rpartition(".")[0]
        attends, feeds = f"{outer}.attention", f"{outer}.mlp"
        bare = partial(norm, w, prefix, cut="whole", bias=False, count=count)
        behind = bare(label="middle_norm", width=width)
        middle = (f"{attends}.output", behind.name)
        shared = [bare(label="input_norm", width=2 * width), *self.attention.ops(w, width, attends, count), behind]
        shared += [_reading(op, middle) for op in self.feed_forward.ops(w, width, feeds, count)]
        own = [row for role in self._adapted for row in self._low_rank(w, attends, role, 2 * width, self.attention.inner_width, count)]
        own += [_reading(op, middle) for op in self._low_rank(w, feeds, "gate_up", width, 2 * self.feed_forward.width, count)]
        out = linear(
            w,
            prefix,
            "linear",
            "mlp",
            cut="whole",
            d_in=width,
            d_out=width,
            count=count,
            recomputed=True,
            reads=(f"{feeds}.down",),
        )
        held = [spare(prefix, "own_of_others", "mlp", num=self.spare_sets * sum(op.params for op in own), count=count)]
        return [*(shared if self.owned else (replace(op, params=0) for op in shared)), *own, out, *held[: self.spare_sets]]

    @property
    def _adapted(self) -> tuple[str, ...]:
        return ("query", "key", "value") if self.adapts_attention else ()

    def _low_rank(self, w: Workload, part: str, beside: str, d_in: int, d_out: int, count: int) -> list[Op]:
        """Rows of two matrices whose product is added to what `beside` makes."""
        down, up = (f"{beside}_own_{half}" for half in ("down", "up"))
        component = "mlp" if beside == "gate_up" else "attention"

        def matrix(role: Role, label: str, inputs: int, outputs: int, reads: tuple[str, ...] = ()) -> Op:
            return linear(
                w, part, role, component, cut="whole", label=label, d_in=inputs, d_out=outputs, count=count, recomputed=True, reads=reads
            )

        return [
            matrix("own_down", down, d_in, self.rank),
            matrix("own_up", up, self.rank, d_out, (f"{part}.{down}",)),
        ]


def _reading(op: Op, rows: tuple[str, ...]) -> Op:
    """A matrix that reads the input of its part reads these rows instead."""
    return replace(op, reads=rows) if op.mnk and not op.reads else op
