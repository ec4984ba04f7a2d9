"""The state-space mixer of Mamba 2, as transformers runs it without kernels of its own."""

from __future__ import annotations

from functools import partial

from estimators.architectures.part import Part
from estimators.architectures.rows import elementwise, linear, norm, parameters
from estimators.architectures.state_space import begins, causal_convolution, scan, with_state
from estimators.frozen import frozen
from estimators.spec import Op, Workload


@frozen
class Mamba2(Part):
    """State-space duality: heads with one decay each, run as attention inside chunks and as a recurrence between them.

    Attributes:
        heads, head_width: N, H; E = N·H channels.
        state, groups: state per channel; groups of heads that share input and output vectors.
        taps: of the convolution.
        chunk: tokens per chunk; a sequence is padded to whole chunks.
        bias, conv_bias, out_bias: of the projection in, the convolution and the projection out.
        normed: whether a gated norm stands before the projection out.
        scaled: whether the projection in is multiplied by a vector of constants, which are in fp32.

    Source: Dao and Gu 2024 (arXiv 2405.21060), section 6.
    """

    heads: int
    head_width: int
    state: int
    groups: int
    taps: int
    chunk: int
    bias: bool = False
    conv_bias: bool = True
    out_bias: bool = False
    normed: bool = True
    scaled: bool = False

    @property
    def inner(self) -> int:
        """E: channels of all heads together."""
        return self.heads * self.head_width

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of `count` such layers, D = width."""
        project = partial(linear, w, prefix, count=count, recomputed=True)
        e, mixed = self.inner, self.inner + 2 * self.groups * self.state
        joined = e + mixed + self.heads
        scans = self._chunked(w, prefix, count) if begins(w) else [self._recurrent(w, prefix, count)]
        table = [
            project("in", "state_space", cut="whole", d_in=width, d_out=joined, bias=self.bias),
            causal_convolution(w, prefix, channels=mixed, taps=self.taps, bias=self.conv_bias, count=count),
            parameters(w, prefix, "decay_and_skip", "state_space", num=3 * self.heads, count=count),
            *scans,
            elementwise(w, prefix, cut="whole", label="gate", width=e, reads=2, count=count),
        ]
        if self.normed:
            table.append(norm(w, prefix, cut="whole", width=e, bias=False, count=count))
        last = (scans[-1].name,)
        table.append(project("out", "state_space", cut="whole", d_in=e, d_out=width, bias=self.out_bias, reads=last))
        return table

    def _recurrent(self, w: Workload, prefix: str, count: int) -> Op:
        """One token: each head's state, H x n, times the output vector."""
        conv, kept = f"{prefix}.conv", self.inner * self.state
        mnk = (self.head_width, 1, self.state)
        return scan(w, prefix, "output", matrices=w.batch * self.heads, mnk=mnk, reads=(conv, conv), count=count, kept=kept)

    def _chunked(self, w: Workload, prefix: str, count: int) -> list[Op]:
        """The five products of transformers' mamba2_chunk_scan, over whole chunks.

        The least that any algorithm multiplies is the smaller of the recurrence, 2·T·n·H per head, and the masked square
        of the sequence, T·(T + 1)·(n + H).
        """
        c, n, h = self.chunk, self.state, self.head_width
        chunks = -(-w.seq_len // c)
        each, t = w.batch * chunks * self.heads, w.seq_len
        least = w.batch * self.heads * min(2 * t * n * h, t * (t + 1) * (n + h))
        conv, scores, states = (f"{prefix}.{name}" for name in ("conv", "scores", "states"))

        def product(label: str, mnk: tuple[int, int, int], reads: tuple[str, str], least_flop: int = 0, matrices: int = each) -> Op:
            return scan(w, prefix, label, matrices=matrices, mnk=mnk, reads=reads, count=count, least_flop=least_flop)

        carry = product("carry", (chunks + 1, n * h, chunks + 1), (f"{prefix}.in", states), matrices=w.batch * self.heads)
        return [
            product("scores", (c, c, n), (conv, conv)),
            product("context", (c, h, c), (scores, conv)),
            product("states", (h, n, c), (conv, conv)),
            with_state(w, carry, self.inner * n),
            product("output", (c, h, n), (conv, carry.name), least),
        ]
