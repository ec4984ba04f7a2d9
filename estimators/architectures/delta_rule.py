"""Linear attention of one layer by the gated delta rule, as transformers runs it without kernels of its own (Qwen3-Next, Qwen3.5)."""

from __future__ import annotations

from functools import partial

from estimators.architectures.part import Part
from estimators.architectures.rows import elementwise, linear, norm, parameters
from estimators.architectures.state_space import begins, causal_convolution, scan, with_state
from estimators.frozen import frozen, replace
from estimators.roles import Role
from estimators.spec import Op, Workload


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
            *(self._chunked(w, prefix, count) if begins(w) else [self._recurrent(w, prefix, count)]),
            norm(w, prefix, cut="whole", width=self.value_width, bias=False, rows=w.num_tokens * self.value_heads, count=count),
        ]
        last = (table[-2].name,)
        table.append(project("out", "state_space", cut="whole", d_in=values, d_out=width, reads=last))
        return table

    @property
    def _state(self) -> int:
        return self.value_heads * self.key_width * self.value_width

    def _recurrent(self, w: Workload, prefix: str, count: int) -> Op:
        row = elementwise(w, prefix, cut="whole", label="update", width=self._state, reads=2, count=count)
        return with_state(w, replace(row, reads=(f"{prefix}.weigh", f"{prefix}.conv")), self._state)

    def _chunked(self, w: Workload, prefix: str, count: int) -> list[Op]:
        """The products of transformers' torch_chunk_gated_delta_rule. None is a kernel's duty: the recurrence has no product.

        All but scores and the keys' overlap is weighed by gates and decays first. The first chunk finds a state of zeros, which
        needs no gradient; nothing depends on the state that the last leaves.
        """
        c, k, v = self.chunk, self.key_width, self.value_width
        chunks = -(-w.seq_len // c)
        each = w.batch * self.value_heads
        conv, weighed, solved = (f"{prefix}.{name}" for name in ("conv", "weigh", "solve"))

        def product(
            label: str, mnk: tuple[int, int, int], reads: tuple[str, str], *, no_first_gradient: bool = False, dead_last: bool = False
        ) -> Op:
            op = scan(w, prefix, label, matrices=each * chunks, mnk=mnk, reads=reads, count=count, least_flop=0)
            per_chunk = op.flop // chunks
            return replace(op, backward_flop=op.backward_flop - per_chunk * no_first_gradient - 2 * per_chunk * dead_last)

        overlap = product("overlap", (c, c, k), (weighed, conv))
        systems = product("solve", (c, k + v, c), (overlap.name, weighed))
        write = product("write", (k, v, c), (weighed, solved), dead_last=True)
        return [
            overlap,
            product("scores", (c, c, k), (conv, conv)),
            replace(systems, flop=0, masked_flop=0, backward_flop=systems.flop),
            product("recall", (c, v, k), (solved, solved), no_first_gradient=True),
            with_state(w, write, self._state),
            product("read", (c, v, k), (weighed, solved), no_first_gradient=True),
            product("context", (c, v, c), (weighed, solved)),
        ]
