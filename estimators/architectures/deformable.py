"""Attention that looks at a few places of each map, which every query chooses (Deformable DETR)."""

from __future__ import annotations

from functools import partial

from estimators.architectures.part import Part
from estimators.architectures.rows import elementwise, linear
from estimators.frozen import frozen, replace
from estimators.spec import Op, Workload


@frozen
class DeformableAttention(Part):
    """Each query and head looks at `points` places of each of `levels` maps, and weighs what it finds there.

    What lies at a place is interpolated between four positions, and the sum over places is weighted: one number each for an element, no
    matrix product, and no FLOP under the convention, as torch's counter has it.

    Attributes:
        heads: N.
        crosses_over: whether the maps are another sequence than the queries: an encoder's output.

    Source: Zhu et al. 2020, Deformable DETR (arXiv 2010.04159), section 4.1.
    """

    heads: int
    levels: int
    points: int
    crosses_over: bool = True

    @property
    def crosses(self) -> bool:
        """As `crosses_over` says."""
        return self.crosses_over

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of `count` such layers over seq_len queries a sample, and over source_len positions of all maps."""
        project = partial(linear, w, prefix, component="attention", bias=True, count=count, recomputed=True)
        places = self.heads * self.levels * self.points
        mapped = w.batch * w.source_len if self.crosses_over else w.num_tokens
        found = elementwise(replace(w, seq_len=w.seq_len * places), prefix, cut="heads", width=width // self.heads, reads=4, count=count)
        return [
            project(role="linear", cut="whole", label="places", d_in=width, d_out=2 * places),
            project(role="linear", cut="whole", label="weights", d_in=width, d_out=places),
            project(role="value", cut="columns", d_in=width, d_out=width, rows=mapped),
            found,
            project(role="output", cut="rows", d_in=width, d_out=width, reads=(found.name,)),
        ]
