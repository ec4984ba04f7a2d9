"""Linear attention of one layer by the gated delta rule, as transformers runs it without kernels of its own (Qwen3-Next, Qwen3.5, Kimi)."""

from __future__ import annotations

from functools import partial

from estimators.architectures.part import Part
from estimators.architectures.rows import elementwise, linear, norm, parameters
from estimators.architectures.state_space import begins, causal_convolution, scan, with_state
from estimators.frozen import frozen, replace
from estimators.roles import Role
from estimators.spec import Op, Workload


@frozen
class Chunks:
    """Products of a sequence that is cut into chunks of C tokens and padded to whole ones.

    None is a kernel's duty: the recurrence has no product.

    Attributes:
        heads, key_width, value_width: a state of key width x value width for each head.
        tokens: C.
    """

    heads: int
    key_width: int
    value_width: int
    tokens: int = 64

    @property
    def state(self) -> int:
        """Elements of all heads' states."""
        return self.heads * self.key_width * self.value_width

    def product(
        self,
        w: Workload,
        prefix: str,
        label: str,
        mnk: tuple[int, int, int],
        reads: tuple[str, str],
        count: int,
        *,
        no_first_gradient: bool = False,
        dead_last: bool = False,
    ) -> Op:
        """One product (m x k) · (k x n) for each chunk of each head.

        Args:
            no_first_gradient: the first chunk finds a state of zeros, which needs no gradient.
            dead_last: nothing depends on what the last chunk makes.
        """
        chunks = -(-w.seq_len // self.tokens)
        op = scan(w, prefix, label, matrices=w.batch * self.heads * chunks, mnk=mnk, reads=reads, count=count, least_flop=0)
        per_chunk = op.flop // chunks
        return replace(op, backward_flop=op.backward_flop - per_chunk * no_first_gradient - 2 * per_chunk * dead_last)

    def carried(self, w: Workload, prefix: str, count: int, *, reads: tuple[str, str]) -> list[Op]:
        """From chunk to chunk: what the state recalls, what is written to it, and what queries read of it and of their own chunk.

        Args:
            reads: rows of what queries and keys are, weighed by their decays, and of what is to be written.
        """
        c, k, v = self.tokens, self.key_width, self.value_width
        weighed, solved = reads
        write = self.product(w, prefix, "write", (k, v, c), (weighed, solved), count, dead_last=True)
        return [
            self.product(w, prefix, "recall", (c, v, k), (solved, solved), count, no_first_gradient=True),
            with_state(w, write, self.state),
            self.product(w, prefix, "read", (c, v, k), (weighed, solved), count, no_first_gradient=True),
            self.product(w, prefix, "context", (c, v, c), (weighed, solved), count),
        ]

    def by_token(self, w: Workload, prefix: str, count: int, *, reads: tuple[str, str]) -> Op:
        """A decode step rewrites the state element by element."""
        row = elementwise(w, prefix, cut="whole", label="update", width=self.state, reads=2, count=count)
        return with_state(w, replace(row, reads=reads), self.state)


@frozen
class GatedDeltaNet(Part):
    """Each head keeps a matrix of key width x value width, and corrects in it what the token's key already recalls.

    A sequence is cut into chunks of 64 tokens and padded to whole ones. A decode step is elementwise, so that its state
    costs bytes and no FLOP under the convention; the triangular systems of a chunk are solved, not multiplied, and cost
    products in the backward pass alone.

    Attributes:
        key_heads, value_heads: a key head serves several value heads.
        key_width, value_width: of one head.
        taps: of the convolution.
        split: whether the output's gate has a matrix of its own, and so have the writing strength and the decay (Qwen3.5);
            else one makes queries, keys, values and the gate, and one both of the others.

    Source: Yang et al. 2024, Gated Delta Networks (arXiv 2412.06464), section 3.3.
    """

    key_heads: int
    value_heads: int
    key_width: int
    value_width: int
    taps: int
    split: bool = False
    chunk: int = 64

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of `count` such layers, D = width."""
        project = partial(linear, w, prefix, count=count, recomputed=True)
        keys, values = self.key_heads * self.key_width, self.value_heads * self.value_width
        mixed, n = 2 * keys + values, self.value_heads
        columns: dict[Role, int] = {"in": mixed + values, "in_gates": 2 * n}
        if self.split:
            columns = {"in": mixed, "in_gate": values, "in_strength": n, "in_decay": n}
        conv, gates = f"{prefix}.conv", tuple(f"{prefix}.{role}" for role in columns if role not in ("in", "in_gate"))
        table = [
            *(project(role, "state_space", cut="whole", d_in=width, d_out=d_out) for role, d_out in columns.items()),
            causal_convolution(w, prefix, channels=mixed, taps=self.taps, bias=False, count=count),
            replace(elementwise(w, prefix, cut="whole", label="weigh", width=keys + values, count=count), reads=(conv, *gates)),
            parameters(w, prefix, "decay", "state_space", num=2 * self.value_heads, count=count),
            *self._mixed(w, prefix, count),
            norm(w, prefix, cut="whole", width=self.value_width, bias=False, rows=w.num_tokens * self.value_heads, count=count),
        ]
        last = (table[-2].name,)
        table.append(project("out", "state_space", cut="whole", d_in=values, d_out=width, reads=last))
        return table

    @property
    def _chunks(self) -> Chunks:
        return Chunks(heads=self.value_heads, key_width=self.key_width, value_width=self.value_width, tokens=self.chunk)

    def _mixed(self, w: Workload, prefix: str, count: int) -> list[Op]:
        """The products of transformers' torch_chunk_gated_delta_rule.

        All but scores and the keys' overlap is weighed by gates and decays first.
        """
        c, k, v = self.chunk, self.key_width, self.value_width
        conv, weighed, solved = (f"{prefix}.{name}" for name in ("conv", "weigh", "solve"))
        if not begins(w):
            return [self._chunks.by_token(w, prefix, count, reads=(weighed, conv))]
        overlap = self._chunks.product(w, prefix, "overlap", (c, c, k), (weighed, conv), count)
        systems = self._chunks.product(w, prefix, "solve", (c, k + v, c), (overlap.name, weighed), count)
        return [
            overlap,
            self._chunks.product(w, prefix, "scores", (c, c, k), (conv, conv), count),
            replace(systems, flop=0, masked_flop=0, backward_flop=systems.flop),
            *self._chunks.carried(w, prefix, count, reads=(weighed, solved)),
        ]


@frozen
class KimiDeltaAttention(Part):
    """The gated delta rule with a decay of its own for each element of a key, in place of one for each head.

    Overlaps of keys, and scores, are sums of products of three factors, element by element, so that neither is a product of matrices;
    the inverse of a chunk's triangular system is made row by row, and multiplied. Decays and the output's gate come by way of a
    width of one head.

    Attributes:
        heads, head_width: of queries, keys and values alike.
        taps: of the convolution over queries, keys and values.

    Source: Kimi Team 2025, Kimi Linear (arXiv 2510.26692), section 3; transformers, models/kimi_linear (version 5.24).
    """

    heads: int
    head_width: int
    taps: int
    chunk: int = 64

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of `count` such layers, D = width."""
        project = partial(linear, w, prefix, count=count, recomputed=True, component="state_space", cut="whole")
        h, inner = self.head_width, self.heads * self.head_width
        operands: tuple[Role, ...] = ("query", "key", "value")
        conv, decay, strength = (f"{prefix}.{name}" for name in ("conv", "decay_up", "in_strength"))
        filtered = causal_convolution(w, prefix, channels=3 * inner, taps=self.taps, bias=False, count=count)
        table = [
            *(project(role, d_in=width, d_out=inner) for role in operands),
            replace(filtered, reads=tuple(f"{prefix}.{role}" for role in operands)),
            project("decay_down", d_in=width, d_out=h),
            project("decay_up", d_in=h, d_out=inner, reads=(f"{prefix}.decay_down",)),
            project("in_strength", d_in=width, d_out=self.heads),
            replace(elementwise(w, prefix, cut="whole", label="weigh", width=2 * inner, count=count), reads=(conv, decay, strength)),
            parameters(w, prefix, "decay", "state_space", num=inner + self.heads, count=count),
            *self._mixed(w, prefix, count),
            project("out_gate_down", d_in=width, d_out=h),
            project("out_gate_up", d_in=h, d_out=inner, reads=(f"{prefix}.out_gate_down",)),
            norm(w, prefix, cut="whole", width=h, bias=False, rows=w.num_tokens * self.heads, count=count),
        ]
        last = f"{prefix}.context" if begins(w) else f"{prefix}.update"
        table.append(project("output", d_in=inner, d_out=width, reads=(last, f"{prefix}.out_gate_up")))
        return table

    def _mixed(self, w: Workload, prefix: str, count: int) -> list[Op]:
        """The products of transformers' chunk_kimi_delta_attention."""
        chunks = Chunks(heads=self.heads, key_width=self.head_width, value_width=self.head_width, tokens=self.chunk)
        conv, weighed, solved = (f"{prefix}.{name}" for name in ("conv", "weigh", "solve"))
        if not begins(w):
            return [chunks.by_token(w, prefix, count, reads=(weighed, conv))]
        solve = chunks.product(w, prefix, "solve", (self.chunk, 2 * self.head_width, self.chunk), (weighed, weighed), count)
        return [solve, *chunks.carried(w, prefix, count, reads=(weighed, solved))]
