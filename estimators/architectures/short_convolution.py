"""A gated convolution over the last few positions, which mixes tokens in place of attention (LFM2)."""

from __future__ import annotations

from functools import partial

from estimators.architectures.part import Part
from estimators.architectures.rows import elementwise, linear
from estimators.architectures.state_space import causal_convolution
from estimators.frozen import frozen
from estimators.spec import Op, Workload


@frozen
class ShortConvolution(Part):
    """Two gates and what they multiply, of the model's width each, come of one matrix; a filter stands between the gates.

    What is kept from token to token is the filter's last inputs, so that nothing grows with the sequence and nothing is scanned.

    Attributes:
        taps: of the filter, which is depthwise.
        bias: of the filter and of both matrices.

    Source: transformers, models/lfm2 (version 5.24).
    """

    taps: int
    bias: bool = False

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of `count` such layers, D = width."""
        project = partial(linear, w, prefix, count=count, recomputed=True)
        conv = causal_convolution(w, prefix, channels=width, taps=self.taps, bias=self.bias, count=count)
        return [
            project("in", "state_space", cut="whole", d_in=width, d_out=3 * width, bias=self.bias),
            elementwise(w, prefix, cut="whole", label="gate_in", width=width, reads=2, count=count),
            conv,
            elementwise(w, prefix, cut="whole", label="gate_out", width=width, reads=2, count=count),
            project("out", "state_space", cut="whole", d_in=width, d_out=width, bias=self.bias, reads=(conv.name,)),
        ]
