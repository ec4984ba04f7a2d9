"""What networks over maps of features are made of in diffusion: residual blocks, transformers over a map, changes of resolution.

Shapes as diffusers has them: a map is H x W positions of C channels, one per sample.
"""

from __future__ import annotations

import math

from estimators.architectures.attention_rows import attention_products
from estimators.architectures.rows import convolution, elementwise, linear, norm
from estimators.frozen import frozen, replace
from estimators.spec import Op, Workload

Map = tuple[int, ...]
"""Height and width in positions; frames before them, of a video."""


def on_map(w: Workload, size: Map) -> Workload:
    """The same step with a position of the map for a token."""
    return replace(w, seq_len=math.prod(size))


def filter_rows(
    w: Workload,
    part: str,
    label: str,
    before: Map,
    channels: tuple[int, int],
    *,
    taps: int = 9,
    after: Map | None = None,
    data: bool = False,
) -> list[Op]:
    """One convolution with a bias.

    Args:
        before, after: the map that it reads and makes; `after` is the same unless given.
        channels: that it reads and makes.
        taps: positions under the filter.
        data: whether it reads data, whose gradient nobody needs.
    """
    out = before if after is None else after
    return [
        convolution(
            w,
            part,
            label,
            "convolution",
            channels_in=channels[0],
            channels_out=channels[1],
            taps=taps,
            in_positions=math.prod(before),
            out_positions=math.prod(out),
            bias=True,
            input_grad=not data,
        )
    ]


def group_norm(w: Workload, part: str, label: str, size: Map, channels: int) -> Op:
    """A norm over groups of channels, with gain and bias."""
    return norm(on_map(w, size), part, cut="whole", label=label, width=channels, bias=True, recomputed=False)


@frozen
class Residual:
    """Two filters with norms and activations before them, and a sum with the input.

    Attributes:
        before, after: channels; where they differ the input goes through a filter of one position.
        taps: positions under a filter; 3 x 3.
        time: width of the embedding of the time step that is added between; 0 for none.

    Source: Rombach et al. 2022 (arXiv 2112.10752), as diffusers' ResnetBlock2D builds it.
    """

    before: int
    after: int
    taps: int = 9
    time: int = 0

    def ops(self, w: Workload, prefix: str, size: Map) -> list[Op]:
        """Rows of one block on a map."""
        here = on_map(w, size)
        table = [
            group_norm(w, prefix, "norm1", size, self.before),
            elementwise(here, prefix, "activation", cut="whole", label="activation1", width=self.before),
            *filter_rows(w, prefix, "conv1", size, (self.before, self.after), taps=self.taps),
        ]
        if self.time:
            table.append(
                linear(w, prefix, "projection", "mlp", cut="whole", label="time", d_in=self.time, d_out=self.after, bias=True, rows=w.batch)
            )
        table += [
            group_norm(w, prefix, "norm2", size, self.after),
            elementwise(here, prefix, "activation", cut="whole", label="activation2", width=self.after),
            *filter_rows(w, prefix, "conv2", size, (self.after, self.after), taps=self.taps),
        ]
        if self.before != self.after:
            table += filter_rows(w, prefix, "shortcut", size, (self.before, self.after), taps=1)
        table.append(elementwise(here, prefix, "residual", cut="whole", width=self.after, reads=2, saved=False))
        return table


@frozen
class MapTransformer:
    """Layers of self-attention, cross-attention to a text and a gated feed-forward over the positions of a map.

    Attributes:
        channels: D.
        layers: how many.
        heads: of both attentions.
        text_width, text_tokens: of what cross-attention reads.

    Source: Rombach et al. 2022 (arXiv 2112.10752), table 13, as diffusers' Transformer2DModel builds it.
    """

    channels: int
    layers: int
    heads: int
    text_width: int
    text_tokens: int

    def ops(self, w: Workload, prefix: str, size: Map) -> list[Op]:
        """Rows of all layers, and of the norm and the projections around them."""
        here, d, count = on_map(w, size), self.channels, self.layers
        return [
            group_norm(w, prefix, "norm", size, d),
            linear(here, prefix, "projection", "mlp", cut="whole", label="in", d_in=d, d_out=d, bias=True),
            norm(here, f"{prefix}.layer", cut="whole", width=d, bias=True, count=3 * count),
            *attention_over(here, f"{prefix}.layer.attention", d, self.heads, count=count),
            *attention_over(
                here, f"{prefix}.layer.cross_attention", d, self.heads, count=count, source=(self.text_width, self.text_tokens)
            ),
            linear(
                here, f"{prefix}.layer.mlp", "gate_up", "mlp", cut="columns", d_in=d, d_out=8 * d, bias=True, count=count, recomputed=True
            ),
            elementwise(here, f"{prefix}.layer.mlp", "activation", cut="columns", width=4 * d, reads=2, count=count),
            linear(here, f"{prefix}.layer.mlp", "down", "mlp", cut="rows", d_in=4 * d, d_out=d, bias=True, count=count, recomputed=True),
            elementwise(here, f"{prefix}.layer", "residual", cut="whole", width=d, reads=2, count=3 * count, saved=False),
            linear(here, prefix, "projection", "mlp", cut="whole", label="out", d_in=d, d_out=d, bias=True),
            elementwise(here, prefix, "residual", cut="whole", width=d, reads=2, saved=False),
        ]


def attention_over(
    here: Workload,
    prefix: str,
    width: int,
    heads: int,
    *,
    count: int = 1,
    source: tuple[int, int] | None = None,
    source_grad: bool = False,
    bias: bool = False,
    out_bias: bool = True,
    beside: tuple[str, ...] = (),
) -> list[Op]:
    """Rows of attention whose queries are a map's positions.

    Args:
        source: width and tokens of another sequence that is read; None for the map itself.
        source_grad: whether that sequence needs a gradient; else it is data.
        bias, out_bias: whether queries, keys and values have one, and the output.
        beside: rows whose results are added to its own before its output reads them.
    """
    table = [linear(here, prefix, "query", "attention", cut="columns", d_in=width, d_out=width, bias=bias, count=count, recomputed=True)]
    for role in ("key", "value"):
        d_in, rows = (source[0], here.batch * source[1]) if source else (width, None)
        table.append(
            linear(
                here,
                prefix,
                "key" if role == "key" else "value",
                "attention",
                cut="columns",
                d_in=d_in,
                d_out=width,
                bias=bias,
                rows=rows,
                count=count,
                input_grad=source is None or source_grad,
                recomputed=True,
            )
        )
    table += attention_products(
        here,
        prefix,
        heads=heads,
        qk_width=width // heads,
        v_width=width // heads,
        cache_elements_per_token=0,
        cache_heads=heads,
        causal=False,
        keys=source[1] if source else None,
        count=count,
    )
    out = linear(here, prefix, "output", "attention", cut="rows", d_in=width, d_out=width, bias=out_bias, count=count, recomputed=True)
    return [*table, replace(out, reads=(f"{prefix}.context", *beside))]


def two_linear(w: Workload, part: str, widths: tuple[int, int, int], *, data: bool = True, times: int = 1) -> list[Op]:
    """Two linear layers with an activation between, on one vector a sample: what embeds a time step.

    Args:
        data: whether they read data, whose gradient nobody needs.
        times: that they run in the step, on the same weights.
    """
    d_in, inner, out = widths
    first = linear(
        w,
        part,
        "projection",
        "embedding",
        cut="whole",
        label="in",
        d_in=d_in,
        d_out=inner,
        bias=True,
        rows=w.batch * times,
        input_grad=not data,
    )
    second = linear(w, part, "projection", "embedding", cut="whole", label="out", d_in=inner, d_out=out, bias=True, rows=w.batch * times)
    return [first, second]
