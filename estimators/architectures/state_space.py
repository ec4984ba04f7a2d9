"""State-space mixers of one layer, as transformers runs them without kernels of their own: what all share, and Mamba.

A step rewrites a state of fixed size instead of growing a cache: `cache_bytes` is that state, once, in fp32 or wider, beside the
convolution's last inputs in the dtype of compute. Only matrix products are FLOP under the convention; the state's update is
elementwise and costs bytes.
"""

from __future__ import annotations

from functools import partial

from estimators.architectures.part import Part
from estimators.architectures.rows import convolution, elementwise, linear, name_of, norm, parameters
from estimators.frozen import frozen, replace
from estimators.roles import NormForm
from estimators.spec import Op, Workload

STATE_ELEMENT_BYTES = 4
"""Of a recurrent state, in which rounding would add up from token to token: transformers and llama.cpp keep it in fp32."""


def begins(w: Workload) -> bool:
    """Whether the step finds no state: all but a decode step behind at least one token."""
    return w.phase != "decode" or w.context_len == 0


def causal_convolution(w: Workload, prefix: str, *, channels: int, taps: int, bias: bool, count: int) -> Op:
    """A depthwise filter over the last `taps` positions.

    transformers pads on both sides and cuts off what it does not need: a sequence of T tokens costs
    max(T, taps) + taps - 1 positions, a decode step 2.
    """
    positions = max(w.seq_len, taps) + taps - 1 if begins(w) else 2
    op = convolution(
        w,
        prefix,
        "conv",
        "state_space",
        channels_in=channels,
        channels_out=channels,
        taps=taps,
        in_positions=w.seq_len,
        out_positions=positions,
        groups=channels,
        bias=bias,
        count=count,
        recomputed=True,
    )
    return keeping(w, replace(op, reads=(f"{prefix}.in",)), w.bytes_of(channels * taps))


def scan(
    w: Workload,
    part: str,
    label: str,
    *,
    matrices: int,
    mnk: tuple[int, int, int],
    reads: tuple[str, str],
    count: int,
    kept: int = 0,
    least_flop: int = -1,
) -> Op:
    """`matrices` products (m x k) · (k x n) of two activations.

    Args:
        kept: elements of the state that one sequence keeps.
        least_flop: what every algorithm must multiply; all of it unless given.
    """
    m, n, k = mnk
    flop = 2 * matrices * m * n * k
    row = Op(
        name=name_of(part, label),
        component="state_space",
        kind="scan",
        part=part,
        role="scan",
        cut="whole",
        count=count,
        flop=flop,
        backward_flop=2 * flop,
        masked_flop=flop - least_flop if least_flop >= 0 else 0,
        activation_bytes=w.bytes_of(matrices * (m * k + k * n + m * n)),
        saved_bytes=w.bytes_of(matrices * (m * k + k * n)),
        recomputed=True,
        mnk=mnk,
        reads=reads,
    )
    return with_state(w, row, kept)


def with_state(w: Workload, row: Op, elements: int) -> Op:
    """The row that rewrites a recurrent state of so many elements per sequence: in fp32 at least, whatever is computed in."""
    return keeping(w, row, max(STATE_ELEMENT_BYTES * elements, w.bytes_of(elements)))


def keeping(w: Workload, row: Op, sequence_bytes: int) -> Op:
    """The row with so many bytes per sequence that an inference step rewrites and leaves behind."""
    kept = w.batch * sequence_bytes if w.phase in ("prefill", "decode") else 0
    return replace(row, cache_bytes=kept, held_cache_bytes=kept)


@frozen
class Mamba(Part):
    """Selective state space: every channel has a state of its own, and its step size, input and output depend on the token.

    Attributes:
        inner, state, rank: channels E, state per channel, rank of the step sizes' projection.
        taps: of the convolution.
        bias, conv_bias: of the projections in and out, and of the convolution.
        normed: how step size, input and output vectors are normed, see NormForm; empty for not at all.

    Source: Gu and Dao 2023 (arXiv 2312.00752), section 3.
    """

    inner: int
    state: int
    rank: int
    taps: int
    bias: bool = False
    conv_bias: bool = True
    normed: NormForm = ""

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of `count` such layers, D = width."""
        project = partial(linear, w, prefix, count=count, recomputed=True)
        e, n, low = self.inner, self.state, self.rank + 2 * self.state
        table = [
            project("in", "state_space", cut="whole", d_in=width, d_out=2 * e, bias=self.bias),
            causal_convolution(w, prefix, channels=e, taps=self.taps, bias=self.conv_bias, count=count),
            project("x", "state_space", cut="whole", d_in=e, d_out=low, reads=(f"{prefix}.conv",)),
            project("dt", "state_space", cut="whole", d_in=self.rank, d_out=e, bias=True, reads=(f"{prefix}.x",)),
            parameters(w, prefix, "decay_and_skip", "state_space", num=e * n + e, count=count),
            # each position's state, E x n, times its output vector
            scan(
                w,
                prefix,
                "scan",
                matrices=w.num_tokens,
                mnk=(e, 1, n),
                reads=(f"{prefix}.dt", f"{prefix}.x"),
                count=count,
                kept=e * n,
            ),
            elementwise(w, prefix, cut="whole", label="gate", width=e, reads=2, count=count),
            project("out", "state_space", cut="whole", d_in=e, d_out=width, bias=self.bias, reads=(f"{prefix}.scan",)),
        ]
        if self.normed:
            table.append(norm(w, prefix, cut="whole", width=low, gain=self.normed != "rms_bare", bias=False, count=count))
        return table
