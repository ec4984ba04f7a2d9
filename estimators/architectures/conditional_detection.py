"""Conditional DETR: what a query looks for and where it looks are projected apart."""

from __future__ import annotations

from functools import partial

from estimators.architectures.attention import SOURCE
from estimators.architectures.attention_rows import attention_products
from estimators.architectures.detection import Detr
from estimators.architectures.part import Part
from estimators.architectures.rows import linear
from estimators.frozen import frozen, replace
from estimators.spec import Op, Workload


@frozen
class PlacedAttention(Part):
    """Attention among queries, whose contents and positions are projected by matrices of their own and added.

    Attributes:
        fed: whether the contents need a gradient; those that enter the first layer do not.

    Source: Meng et al. 2021, Conditional DETR (arXiv 2108.06152), section 3.3.
    """

    number: int
    head_width: int
    fed: bool = True

    @property
    def heads(self) -> int:
        """As `number` says."""
        return self.number

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of `count` such layers."""
        project = partial(linear, w, prefix, component="attention", cut="columns", d_in=width, d_out=width, bias=True, count=count)
        return [
            project(role="query", input_grad=self.fed, recomputed=True),
            project(role="position_query", recomputed=True),
            project(role="key", input_grad=self.fed, recomputed=True),
            project(role="position_key", recomputed=True),
            project(role="value", input_grad=self.fed, recomputed=True),
            *attention_products(
                w,
                prefix,
                heads=self.number,
                qk_width=self.head_width,
                v_width=self.head_width,
                cache_elements_per_token=0,
                cache_heads=self.number,
                causal=False,
                count=count,
            ),
            linear(
                w,
                prefix,
                "output",
                "attention",
                cut="rows",
                d_in=width,
                d_out=width,
                bias=True,
                count=count,
                recomputed=True,
                reads=(f"{prefix}.context",),
            ),
        ]


@frozen
class PlacedCrossAttention(Part):
    """Attention of queries to a map, contents beside positions: heads of queries and keys are twice as wide as those of values.

    Attributes:
        first: whether it is the first layer's, which adds the positions of queries to their contents by one more matrix.
        positions_fed: whether positions of the map are learned, so that they need a gradient.

    Source: Meng et al. 2021 (arXiv 2108.06152), section 3.3.
    """

    number: int
    head_width: int
    first: bool = False
    positions_fed: bool = False

    @property
    def heads(self) -> int:
        """As `number` says."""
        return self.number

    @property
    def crosses(self) -> bool:
        """It reads a map."""
        return True

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of `count` such layers over seq_len queries and source_len positions a sample."""
        project = partial(linear, w, prefix, component="attention", d_in=width, d_out=width, bias=True, count=count, recomputed=True)
        of_queries, of_map = partial(project, cut="columns"), partial(project, cut="columns", rows=w.batch * w.source_len, reads=(SOURCE,))
        return [
            of_queries(role="query"),
            *([of_queries(role="linear", label="query_content_position")] if self.first else []),
            of_queries(role="position_query"),
            of_map(role="key"),
            of_map(role="position_key", input_grad=self.positions_fed),
            of_map(role="value"),
            *attention_products(
                w,
                prefix,
                heads=self.number,
                qk_width=2 * self.head_width,
                v_width=self.head_width,
                cache_elements_per_token=0,
                cache_heads=self.number,
                causal=False,
                keys=w.source_len,
                count=count,
            ),
            project(role="output", cut="rows", reads=(f"{prefix}.context",)),
        ]


@frozen
class ConditionalDetr(Detr):
    """DETR whose queries look at a place that follows from their positions, and from what they hold, layer by layer."""

    def decoder_rows(self, w: Workload) -> list[Op]:
        """Rows of the layers, of the place of each query, and of how far what it holds moves that."""
        d, later = self.width, self.decoder.count - 1
        network = partial(linear, w, cut="whole", component="embedding", role="projection", d_in=d, bias=True)
        table = [
            network("decoder.place", label="in", d_out=d),
            network("decoder.place", label="out", d_out=2),
            network("decoder.moved", label="in", d_out=d, rows=w.num_tokens * later),
            network("decoder.moved", label="out", d_out=d, rows=w.num_tokens * later),
        ]
        for label, count, first in (("first", 1, True), ("rest", later, False)):
            parts = tuple((name, _in_place(part, first=first)) for name, part in self.decoder.parts)
            if count:
                table += replace(self.decoder, count=count, parts=parts).ops(w, d, f"decoder.{label}")
        return table


def _in_place(part: Part, *, first: bool) -> Part:
    if isinstance(part, PlacedAttention):
        return replace(part, fed=not first)
    return replace(part, first=first) if isinstance(part, PlacedCrossAttention) else part
