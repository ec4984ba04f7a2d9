"""A residual with a learned part: two matrices of low rank beside the stream (LAuReL, Gemma 3n)."""

from __future__ import annotations

from functools import partial

from estimators.architectures.part import Part
from estimators.architectures.rows import linear, norm
from estimators.frozen import frozen
from estimators.spec import Op, Workload


@frozen
class LearnedResidual(Part):
    """x + norm(B·(A·x)), which is added beside what the attention makes of the same x.

    Attributes:
        rank: rows of A.

    Source: Menghani et al. 2024, LAuReL: Learned Augmented Residual Layer (arXiv 2411.07501), section 2.2.
    """

    rank: int

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of `count` such layers, D = width."""
        project = partial(linear, w, prefix, count=count, cut="whole", recomputed=True)
        down = project("residual_down", "mlp", d_in=width, d_out=self.rank)
        return [
            down,
            project("residual_up", "mlp", d_in=self.rank, d_out=width, reads=(down.name,)),
            norm(w, prefix, cut="whole", width=width, bias=False, count=count),
        ]
