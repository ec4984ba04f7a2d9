"""Masks of the objects that DETR finds: each query's attention to the map, enlarged step by step beside the backbone's maps."""

from __future__ import annotations

import math

from estimators.architectures.convolution import Convolution, Map
from estimators.architectures.freezing import with_gradients
from estimators.architectures.rows import linear
from estimators.frozen import frozen, replace
from estimators.spec import Op, Workload


@frozen
class MaskHead:
    """A map of scores for each query and head, and filters over it and the features, on every query's maps by itself.

    Attributes:
        width: D of the queries.
        heads: of the scores.
        channels: of the backbone's maps of the last stage but one, and of those before it, the smallest map first.
        fed: which of these maps need a gradient.

    Source: Carion et al. 2020 (arXiv 2005.12872), section 4.4 and figure 8.
    """

    width: int
    heads: int
    channels: tuple[int, int, int]
    fed: tuple[bool, bool, bool]

    def ops(self, w: Workload, queries: int, sizes: tuple[Map, ...]) -> list[Op]:
        """Rows over batch images.

        Args:
            sizes: of the last map, and of the three before it.
        """
        d, every = self.width, replace(w, batch=w.batch * queries)
        joined = d + self.heads
        table = self._scores(w, queries, math.prod(sizes[0]))
        for name, c_in, c_out in (("conv1", joined, joined), ("conv2", joined, d // 2)):
            table += self._block(f"masks.{name}", c_in, c_out, sizes[0]).ops(every)
        for i, (channels, fed, size) in enumerate(zip(self.channels, self.fed, sizes[1:], strict=True), start=1):
            inner = d // 2**i
            adapter = replace(self._block(f"masks.step.{i}.adapter", channels, inner, size, kernel=1), norm=None, activation=False)
            table += [op if fed else with_gradients(op, frozen=False, fed=(False,)) for op in adapter.ops(every)]
            table += self._block(f"masks.step.{i}.conv", inner, inner // 2, size).ops(every)
        last = replace(self._block("masks.out", d // 16, 1, sizes[-1]), norm=None, activation=False)
        return table + last.ops(every)

    def _scores(self, w: Workload, queries: int, positions: int) -> list[Op]:
        d = self.width
        flop = 2 * w.batch * queries * positions * d
        size = w.bytes_of(w.batch * (queries + positions) * d)
        return [
            linear(w, "masks", "query", "head", cut="columns", d_in=d, d_out=d, bias=True, rows=w.batch * queries),
            linear(w, "masks", "key", "head", cut="columns", d_in=d, d_out=d, bias=True, rows=w.batch * positions),
            Op(
                name="masks.scores",
                component="head",
                kind="attention",
                part="masks",
                role="similarity",
                cut="heads",
                flop=flop,
                backward_flop=2 * flop,
                activation_bytes=size + w.bytes_of(w.batch * self.heads * queries * positions),
                saved_bytes=size,
                mnk=(queries, positions, d // self.heads),
                reads=("masks.query", "masks.key"),
            ),
        ]

    def _block(self, name: str, c_in: int, c_out: int, size: Map, *, kernel: int = 3) -> Convolution:
        """A filter, a norm over groups of channels, an activation."""
        return Convolution(
            name=name,
            channels_in=c_in,
            channels_out=c_out,
            kernel=(kernel, kernel),
            before=size,
            after=size,
            bias=True,
        )
