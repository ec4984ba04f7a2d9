"""Feed-forward of one layer: plain, gated, or a mixture of experts."""

from __future__ import annotations

from estimators.architectures.part import Part
from estimators.architectures.rows import elementwise, linear, parameters
from estimators.frozen import frozen, replace
from estimators.spec import Op, Workload


@frozen
class FeedForward(Part):
    """Two matrices with an activation between, or three where a gate multiplies.

    Attributes:
        width: F.
        gated: gate and up, multiplied, then down.
        fused: gate and up are one matrix.
        bias: of all its linear layers.
        activation_planes: tensors of width F that the activation keeps for backward where it is written out in Python,
            as transformers does GPT-2's: 0.5·x·(1 + tanh(...)) keeps four; one where it is one kernel.
    """

    width: int
    gated: bool = False
    fused: bool = False
    bias: bool = False
    activation_planes: int = 1

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of `count` such layers, D = width."""
        halves = 2 if self.gated else 1
        names = ("gate_up",) if self.fused else ("gate", "up")[-halves:]
        up = self.width * halves // len(names)
        table = [linear(w, f"{prefix}.{name}", "mlp", d_in=width, d_out=up, bias=self.bias, count=count, recomputed=True) for name in names]
        table.append(elementwise(w, f"{prefix}.activation", "elementwise", width=self.width, reads=halves, count=count))
        reads = tuple(f"{prefix}.{name}" for name in names)
        table.append(
            linear(w, f"{prefix}.down", "mlp", d_in=self.width, d_out=width, bias=self.bias, count=count, recomputed=True, reads=reads)
        )
        return table


@frozen
class Experts(Part):
    """A router, `num` gated experts of which `per_token` serve each token, and shared experts that serve all.

    FLOP are those of balanced routing, and of any other: every token is multiplied by per_token experts.

    Attributes:
        num, per_token, width: experts, experts per token, F of one.
        bias: of the experts' layers.
        router_bias: whether the router's linear layer has a bias.
        shared: the always-on experts, taken together; None for none.
        shared_gate: whether a learned scalar gates them.
        steered: whether a frozen bias per expert steers the choice.
        runs_all: whether every expert runs on every token and the unchosen are weighted with 0, as transformers runs
            Llama 4, instead of the chosen alone, as serving engines do.
    """

    num: int
    per_token: int
    width: int
    bias: bool = False
    router_bias: bool = False
    shared: FeedForward | None = None
    shared_gate: bool = False
    steered: bool = False
    runs_all: bool = False

    @property
    def code_paths(self) -> dict[str, Experts]:
        """Ways to run them at different cost; empty where there is no choice."""
        if not self.runs_all:
            return {}
        names = ("every expert on every token, as transformers runs it", "chosen experts alone, as serving engines run it")
        return {name: replace(self, runs_all=runs_all) for name, runs_all in zip(names, (True, False), strict=True)}

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of `count` such layers, D = width."""
        table = [
            linear(w, f"{prefix}.router", "router", d_in=width, d_out=self.num, bias=self.router_bias, count=count, recomputed=True),
            self._expert_op(w, f"{prefix}.experts.gate_up", d_in=width, d_out=2 * self.width, count=count),
            elementwise(w, f"{prefix}.experts.activation", "elementwise", width=self.per_token * self.width, reads=2, count=count),
            self._expert_op(w, f"{prefix}.experts.down", d_in=self.width, d_out=width, count=count, reads=(f"{prefix}.experts.gate_up",)),
        ]
        if self.steered:
            table.append(replace(parameters(w, f"{prefix}.choice_bias", "router", num=self.num, count=count), frozen=True))
        if self.shared:
            table += self.shared.ops(w, width, f"{prefix}.shared", count)
        if self.shared_gate:
            table.append(linear(w, f"{prefix}.shared_gate", "router", d_in=width, d_out=1, count=count, recomputed=True))
        return table

    def _expert_op(self, w: Workload, name: str, *, d_in: int, d_out: int, count: int, reads: tuple[str, ...] = ()) -> Op:
        """One matrix of every expert. Bytes that must move: the experts of one token, since all may choose the same."""
        chosen = w.num_tokens * self.per_token
        rows = w.num_tokens * self.num if self.runs_all else chosen
        per_expert = d_in * d_out + (d_out if self.bias else 0)
        flop = 2 * rows * d_in * d_out
        return Op(
            name=name,
            component="experts",
            kind="matmul",
            count=count,
            params=self.num * per_expert,
            active_params=self.per_token * per_expert,
            flop=flop,
            backward_flop=2 * flop,
            masked_flop=2 * (rows - chosen) * d_in * d_out,
            weight_bytes=self.per_token * per_expert * w.dtype_bytes,
            activation_bytes=rows * (d_in + d_out) * w.dtype_bytes,
            saved_bytes=rows * d_in * w.dtype_bytes,
            recomputed=True,
            mnk=(-(-rows // self.num), d_out, d_in),
            matrices_per_token=self.per_token,
            reads=reads,
        )
