"""Constructors of op-table rows: what one linear layer, attention product, norm or lookup costs.

Shape letters: B batch, T tokens this step, S keys attended to, D model width, F feed-forward width, N heads,
K key-value heads, H head width, V vocabulary, L layers.
"""

from __future__ import annotations

from estimators.roles import Cut, Role
from estimators.spec import Op, Workload


def name_of(part: str, label: str) -> str:
    """What a row is called: by what it is a part of, and itself."""
    return f"{part}.{label}" if part else label


def linear(
    workload: Workload,
    part: str,
    role: Role,
    component: str,
    *,
    cut: Cut,
    label: str = "",
    d_in: int,
    d_out: int,
    bias: bool = False,
    rows: int | None = None,
    count: int = 1,
    owned: bool = True,
    input_grad: bool = True,
    recomputed: bool = False,
    reads: tuple[str, ...] = (),
) -> Op:
    """A weight matrix (d_in x d_out) applied to `rows` vectors: 2·rows·d_in·d_out FLOP.

    Backward is two products of the same size, one for the weight's gradient and one for the input's; the first
    layer of a network needs no input gradient. A bias costs no FLOP under the project's convention.

    Args:
        part, label: the row is called ``part.label``; after its role where it has no label of its own.
        rows: vectors in the step; all tokens of the step unless given. With 0 of them the weight is not even read.
        owned: False for a tied weight that another op owns; a bias is always its own.
        input_grad: False where the input is data.
        reads: rows whose outputs it multiplies; empty for the input of its part of the layer.

    >>> linear(Workload(seq_len=10), "", "up", "mlp", cut="columns", d_in=3, d_out=4, bias=True).flop
    240
    """
    m = workload.num_tokens if rows is None else rows
    flop = 2 * m * d_in * d_out
    own = d_out if bias else 0
    weights = d_in * d_out + own
    return Op(
        name=name_of(part, label or role),
        component=component,
        kind="matmul",
        part=part,
        role=role,
        cut=cut,
        count=count,
        params=weights if owned else own,
        flop=flop,
        backward_flop=2 * flop if input_grad else flop,
        weight_bytes=workload.bytes_of(weights) if m else 0,
        activation_bytes=workload.bytes_of(m * (d_in + d_out)),
        saved_bytes=workload.bytes_of(m * d_in),
        recomputed=recomputed,
        mnk=(m, d_out, d_in),
        reads=reads,
    )


def convolution(
    workload: Workload,
    part: str,
    label: str,
    component: str,
    *,
    channels_in: int,
    channels_out: int,
    taps: int,
    in_positions: int,
    out_positions: int,
    groups: int = 1,
    bias: bool = False,
    count: int = 1,
    input_grad: bool = True,
    recomputed: bool = False,
) -> Op:
    """A filter of `taps` positions moved over an image or a signal: 2·B·out_positions·C_out·(C_in/groups)·taps FLOP.

    Padding is multiplied like any other input. Backward is one such product for the weight's gradient and one for the
    input's; the first layer of a network needs no input gradient. Where filters overlap, a kernel that transforms the
    input first (Winograd, FFT) multiplies no more than each input position once per pair of channels, so only that is
    no kernel's to skip.

    Args:
        taps: positions under the filter, such as 9 for 3 x 3.
        in_positions, out_positions: positions of one sample before and after.
        groups: parts that the channels are split into, each convolved by itself; as many as channels is depthwise.
        input_grad: False where the input is data.

    Source: Lavin and Gray 2016, Fast Algorithms for Convolutional Neural Networks (arXiv 1509.09308), section 4.

    ResNet's first layer, 7 x 7 on 224 x 224 with a stride of 2: 2·112²·64·3·49.

    >>> convolution(Workload(), "", "c", "mlp", channels_in=3, channels_out=64, taps=49, in_positions=50176, out_positions=12544).flop
    236027904
    """
    m, fan_in = workload.batch * out_positions, channels_in // groups * taps
    flop = 2 * m * channels_out * fan_in
    weights = channels_out * fan_in + (channels_out if bias else 0)
    read = workload.batch * in_positions * channels_in
    least_flop = 2 * workload.batch * in_positions * channels_out * (channels_in // groups)
    return Op(
        name=name_of(part, label),
        component=component,
        kind="matmul",
        part=part,
        role="convolution",
        cut="whole",
        count=count,
        params=weights,
        flop=flop,
        backward_flop=2 * flop if input_grad else flop,
        masked_flop=max(0, flop - least_flop),
        weight_bytes=workload.bytes_of(weights),
        activation_bytes=workload.bytes_of(read + m * channels_out),
        saved_bytes=workload.bytes_of(read),
        recomputed=recomputed,
        mnk=(m, channels_out // groups, fan_in),
        matrices_per_token=groups,
    )


def norm(
    workload: Workload,
    part: str,
    role: Role = "norm",
    *,
    cut: Cut,
    label: str = "",
    width: int,
    bias: bool,
    gain: bool = True,
    component: str = "norm",
    rows: int | None = None,
    count: int = 1,
    recomputed: bool = True,
) -> Op:
    """A layer norm (gain and bias), RMS norm (gain) or bare norm: parameters and bytes; no FLOP under the convention."""
    m = workload.num_tokens if rows is None else rows
    params = width * (gain + bias)
    return Op(
        name=name_of(part, label or role),
        component=component,
        kind="norm",
        part=part,
        role=role,
        cut=cut,
        count=count,
        params=params,
        weight_bytes=workload.bytes_of(params),
        activation_bytes=workload.bytes_of(2 * m * width),
        saved_bytes=workload.bytes_of(m * width),
        recomputed=recomputed,
    )


def edge_norm(workload: Workload, part: str, *, width: int, bias: bool, gain: bool = True, rows: int | None = None) -> Op:
    """A norm before the first layer or behind the last: full activation checkpointing leaves it alone."""
    return norm(workload, part, "edge_norm", cut="whole", label="norm", width=width, gain=gain, bias=bias, rows=rows, recomputed=False)


def lookup(workload: Workload, part: str, role: Role, *, num_rows: int, width: int, component: str = "embedding") -> Op:
    """A table of `num_rows` vectors, read by index: parameters, one row that must move at least, no FLOP."""
    return Op(
        name=name_of(part, role),
        component=component,
        kind="lookup",
        part=part,
        role=role,
        cut="vocabulary" if role in ("token", "layer_token") else "whole",
        params=num_rows * width,
        weight_bytes=workload.bytes_of(width),
        activation_bytes=workload.bytes_of(2 * workload.num_tokens * width),
    )


def elementwise(
    workload: Workload,
    part: str,
    role: Role = "elementwise",
    component: str = "elementwise",
    *,
    cut: Cut,
    label: str = "",
    width: int,
    reads: int = 1,
    count: int = 1,
    recomputed: bool = True,
    saved: bool = True,
) -> Op:
    """An operation on each element (activation function, residual add, rotary embedding): bytes only."""
    plane = workload.bytes_of(workload.num_tokens * width)
    return Op(
        name=name_of(part, label or role),
        component=component,
        kind="elementwise",
        part=part,
        role=role,
        cut=cut,
        count=count,
        activation_bytes=plane * (reads + 1),
        saved_bytes=plane if saved else 0,
        recomputed=recomputed,
    )


def checkpoint(workload: Workload, part: str, *, width: int, count: int) -> Op:
    """The input that full activation checkpointing keeps of each layer, to run it forward again."""
    return Op(
        name=name_of(part, "input"),
        component="elementwise",
        kind="checkpoint",
        part=part,
        role="checkpoint",
        cut="whole",
        count=count,
        saved_bytes=workload.bytes_of(workload.num_tokens * width),
    )


def parameters(workload: Workload, part: str, label: str, component: str, *, num: int, count: int = 1) -> Op:
    """Parameters that take part in no matrix product and no norm, such as attention sinks or a class token."""
    return Op(
        name=name_of(part, label),
        component=component,
        kind="elementwise",
        part=part,
        role="parameters",
        cut="whole",
        count=count,
        params=num,
        weight_bytes=workload.bytes_of(num),
        recomputed=True,
    )


def spare(part: str, label: str, component: str, *, num: int, count: int = 1) -> Op:
    """Parameters that are held and that no step uses, such as the mask token of a pre-training that is over."""
    return Op(
        name=name_of(part, label),
        component=component,
        kind="elementwise",
        part=part,
        role="parameters",
        cut="whole",
        count=count,
        params=num,
    )


def idle(op: Op) -> Op:
    """An op that the step does not run: its parameters are held, and nothing else is done with them."""
    mnk = (0, *op.mnk[1:]) if op.mnk else None
    return Op(
        name=op.name,
        component=op.component,
        kind=op.kind,
        part=op.part,
        role=op.role,
        cut=op.cut,
        count=op.count,
        params=op.params,
        frozen=op.frozen,
        mnk=mnk,
        matrices_per_token=op.matrices_per_token,
    )
