"""Feed-forward of one layer: plain, gated, or a mixture of experts."""

from __future__ import annotations

from functools import partial

from estimators.architectures.adapter_names import Names
from estimators.architectures.part import Part
from estimators.architectures.rows import elementwise, linear, name_of, norm, parameters, spare
from estimators.frozen import frozen, replace
from estimators.roles import Cut, Role
from estimators.spec import Op, Workload

LEARNED = {"xielu": 2, "xielu_in_weights": 2}
"""Activation function -> its own trained parameters in each layer: xIELU's two bends (arXiv 2411.13010), in bf16 or as the weights."""


@frozen
class FeedForward(Part):
    """Two matrices with an activation between, or three where a gate multiplies.

    Attributes:
        width: F.
        gated: gate and up, multiplied, then down.
        fused: gate and up are one matrix.
        bias: of all its linear layers.
        last_bias: whether the last of them has one, though the others have none.
        activation: name of the activation function, as configurations have it.
        widened: whether what the last matrix reads is cast to the dtype of its weights before (T5).
        inner_norm: whether an RMS norm stands before the last matrix.
        held_within: whether gate and up are held within bounds before the activation.
        sparse: whether of each token's gate only what lies above a bound by its mean and deviation is let through (Gemma 3n); no kernel
            is known to skip the rest.
    """

    width: int
    gated: bool = False
    fused: bool = False
    bias: bool = False
    last_bias: bool = False
    activation: str = "gelu"
    widened: bool = False
    inner_norm: bool = False
    held_within: bool = False
    sparse: bool = False

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of `count` such layers, D = width."""
        project = partial(linear, w, prefix, count=count, recomputed=True)
        halves = 2 if self.gated else 1
        plain: tuple[Role, ...] = ("gate", "up")
        roles: tuple[Role, ...] = ("gate_up",) if self.fused else plain[-halves:]
        up = self.width * halves // len(roles)
        table = [project(role, "mlp", cut="columns", d_in=width, d_out=up, bias=self.bias) for role in roles]
        reads = tuple(op.name for op in table)
        table.append(elementwise(w, prefix, "activation", cut="columns", width=self.width, reads=halves, count=count))
        if self.activation in LEARNED:
            table.append(parameters(w, prefix, "learned_activation", "mlp", num=LEARNED[self.activation], count=count))
        if self.inner_norm:
            table.append(norm(w, prefix, label="inner_norm", cut="columns", width=self.width, bias=False, count=count))
        bias = self.bias or self.last_bias
        table.append(project("down", "mlp", cut="rows", d_in=self.width, d_out=width, bias=bias, reads=reads))
        return table


@frozen
class Experts(Part):
    """A router, `num` experts of which `per_token` serve each token, and shared experts that serve all.

    FLOP are those of balanced routing, and of any other: every token is multiplied by per_token experts.

    Attributes:
        num, per_token, width: experts, experts per token, F of one.
        identities: further experts that a token may choose and that hand it on as it is. How many of its per_token choices fall on them
            is the token's own; FLOP and active parameters are those of a token that chooses none, the most that one can cost.
        unread: those of them whose gates and ups are held though nothing reads them, as transformers' class holds them.
        gated: whether gate and up, which are one matrix, are multiplied, rather than up alone.
        latent: width that tokens are brought down to before the experts, and up from behind them; None for the model's.
        latent_bias: whether these two projections have a bias.
        activation: name of their activation function.
        bias: of the experts' layers.
        joint_bias: whether one bias is added to what they make together.
        router_bias: whether the router's linear layer has a bias.
        wide_router: whether it is multiplied in fp32, autocast or not.
        widens_router: whether it is multiplied in fp32 unless autocast makes it another.
        router_layer: whether it is a linear layer of its own, whose adapter is as any other's, and no parameter of a router.
        renormalises: whether the chosen weights are divided by their sum, in fp32.
        wide_weights: whether the chosen weights stay fp32 where they weight the experts' results.
        shared: the always-on experts, taken together; None for none.
        shared_gate: whether a learned scalar gates them.
        apart: whether the router and its experts read the layer's unnormed stream through norms of their own, and what they and the
            shared ones make is normed before it is added (Gemma 4).
        router_scaled: whether what the router reads is normed without a gain and scaled by a vector, and each expert by a number.
        steered: whether a frozen bias per expert steers the choice.
        clamped: whether gate and up are held within bounds, and the gate is written out: (up + 1)·gate·sigmoid(a·gate).
        held_within: whether gate and up are held within bounds, and go through the activation as any other's.
        adapter_names: what peft calls those of its matrices that adapters reach, to rows of the op table.
        one_by_one: whether transformers runs them in a loop, each on the tokens that chose it.
        runs_all: whether transformers runs every expert on every token, the unchosen weighted with 0, as it does Llama 4's.
            What those cost is no part of the FLOP that are needed: it is each row's `surplus_flop`.
    """

    num: int
    per_token: int
    width: int
    identities: int = 0
    unread: int = 0
    activation: str = "silu"
    bias: bool = False
    joint_bias: bool = False
    router_bias: bool = False
    wide_router: bool = False
    widens_router: bool = False
    router_layer: bool = False
    renormalises: bool = False
    wide_weights: bool = False
    gated: bool = True
    latent: int | None = None
    latent_bias: bool = False
    shared: FeedForward | None = None
    shared_gate: bool = False
    apart: bool = False
    router_scaled: bool = False
    steered: bool = False
    clamped: bool = False
    held_within: bool = False
    one_by_one: bool = False
    runs_all: bool = False
    adapter_names: Names = ()

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of `count` such layers, D = width."""
        project = partial(linear, w, prefix, count=count, recomputed=True)
        experts, halves = f"{prefix}.experts", 2 if self.gated else 1
        edge, latent = self.latent or width, f"{prefix}.latent_in"
        first: Role = "gate_up" if self.gated else "up"
        reads = (latent,) if self.latent else ()
        up = self._expert_op(w, experts, first, "expert_columns", d_in=edge, d_out=halves * self.width, count=count, reads=reads)
        table = [
            project("router", "router", cut="whole", d_in=width, d_out=self.num + self.identities, bias=self.router_bias),
            up,
            elementwise(w, experts, "activation", cut="expert_columns", width=self.per_token * self.width, reads=halves, count=count),
            self._expert_op(w, experts, "down", "expert_rows", d_in=self.width, d_out=edge, count=count, reads=(up.name,)),
        ]
        if self.latent:
            lead = partial(project, "linear", "mlp", cut="whole", bias=self.latent_bias)
            table.insert(1, lead(label="latent_in", d_in=width, d_out=edge))
            table.append(lead(label="latent_out", d_in=edge, d_out=width, reads=(table[-1].name,)))
        if self.unread:
            unread = spare(experts, "unread", "experts", num=self.unread * halves * self.width * edge, count=count)
            table.append(replace(unread, cut="expert_columns", active_params=0))
        if self.steered:
            table.append(replace(parameters(w, prefix, "choice_bias", "router", num=self.num, count=count), frozen=True))
        if self.joint_bias:
            table.append(parameters(w, prefix, "joint_bias", "experts", num=width, count=count))
        if self.shared:
            table += self.shared.ops(w, width, f"{prefix}.shared", count)
        if self.apart:
            table.append(norm(w, prefix, cut="whole", width=width, bias=False, count=3 * count))
        if self.router_scaled:
            table.append(norm(w, prefix, cut="whole", label="router_norm", width=width, gain=False, bias=False, count=count))
            table.append(parameters(w, prefix, "scales", "router", num=width + self.num, count=count))
        if self.shared_gate:
            table.append(project("shared_gate", "router", cut="whole", d_in=width, d_out=1))
        return table

    def _expert_op(
        self, w: Workload, part: str, role: Role, cut: Cut, *, d_in: int, d_out: int, count: int, reads: tuple[str, ...] = ()
    ) -> Op:
        """One matrix of every expert. Bytes that must move: the experts of one token, since all may choose the same."""
        rows = w.num_tokens * self.per_token
        unchosen = w.num_tokens * (self.num - self.per_token) if self.runs_all else 0
        per_expert = d_in * d_out + (d_out if self.bias else 0)
        flop = 2 * rows * d_in * d_out
        return Op(
            name=name_of(part, role),
            component="experts",
            kind="matmul",
            part=part,
            role=role,
            cut=cut,
            count=count,
            params=self.num * per_expert,
            active_params=self.per_token * per_expert,
            flop=flop,
            backward_flop=2 * flop,
            surplus_flop=2 * unchosen * d_in * d_out,
            weight_bytes=w.bytes_of(self.per_token * per_expert),
            activation_bytes=w.bytes_of(rows * (d_in + d_out)),
            saved_bytes=w.bytes_of(rows * d_in),
            recomputed=True,
            mnk=(-(-rows // self.num), d_out, d_in),
            matrices_per_token=self.per_token,
            reads=reads,
        )
