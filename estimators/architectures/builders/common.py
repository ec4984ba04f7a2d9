"""What most decoders have in common: attention, a feed-forward, and a stack of equal layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from estimators.architectures.attention import Attention
from estimators.architectures.block import RMS_NORM, Block, Norm
from estimators.architectures.builders.sizes import Sizes
from estimators.architectures.decoder import Decoder
from estimators.architectures.feed_forward import FeedForward
from estimators.architectures.part import Part
from estimators.frozen import replace
from estimators.roles import NormForm
from estimators.spec import Source


def attention_of(
    s: Sizes, *, bias: bool = False, out_bias: bool | None = None, fused: bool = False, rotary: bool = True, window: int | None = None
) -> Attention:
    """Self-attention of these sizes; the output has a bias where the others have, unless said otherwise."""
    return Attention(
        heads=s.heads,
        kv_heads=s.kv_heads,
        head_width=s.head_width,
        query_bias=bias,
        key_bias=bias,
        value_bias=bias,
        out_bias=bias if out_bias is None else out_bias,
        fused=fused,
        rotary=rotary,
        window=window,
    )


def feed_forward_of(s: Sizes, *, width: int | None = None, gated: bool = False, fused: bool = False, bias: bool = False) -> FeedForward:
    """A feed-forward of these sizes with their activation, of another `width` where one is given."""
    return FeedForward(width=s.ffn_width if width is None else width, activation=s.activation, gated=gated, fused=fused, bias=bias)


def with_qk_norm(attention: Attention, *, over_all_heads: bool, bias: bool = False, form: NormForm = "", first: bool = True) -> Attention:
    """The attention with norms on queries and keys: one per head width, or one over all heads.

    A gain of its own for every head has the parameters of one norm over all heads.

    Args:
        form: how they are written.
        first: whether they stand before positions turn queries and keys.
    """
    h = attention.head_width
    return replace(
        attention,
        query_norm_width=attention.heads * h if over_all_heads else h,
        key_norm_width=attention.kv_heads * h if over_all_heads else h,
        qk_norm_bias=bias,
        qk_norm_form=form,
        qk_norm_first=first,
    )


def decoder(
    name: str,
    source: Source,
    s: Sizes,
    attention: Attention | Sequence[Attention],
    feed_forward: Part,
    *,
    norms: int = 2,
    norm: Norm = RMS_NORM,
    parallel: bool = False,
    prenorm: bool = True,
    norm_of_sum: bool = False,
) -> Decoder:
    """A decoder of layers with attention and a feed-forward, without learned positions.

    Args:
        attention: of every layer, or one per layer; equal ones are gathered in one block.
        norms: per layer.
        norm: how they look, the final one included.
        parallel: whether the feed-forward reads the layer's input, beside the attention.
        prenorm: whether norms stand before attention and feed-forward, rather than only behind them.
        norm_of_sum: whether norms behind see the sum with the residual.
    """
    kinds = {attention: s.layers} if isinstance(attention, Attention) else Counter(attention)
    place = {kind: i for i, kind in enumerate(kinds)}
    order = () if isinstance(attention, Attention) else tuple(place[each] for each in attention)
    return Decoder(
        name=name,
        source=source,
        vocab=s.vocab,
        width=s.width,
        blocks=tuple(
            Block(
                count=count,
                parts=(("attention", kind), ("mlp", feed_forward)),
                norms=norms,
                norm=norm,
                parallel=parallel,
                prenorm=prenorm,
                norm_of_sum=norm_of_sum,
            )
            for kind, count in kinds.items()
        ),
        order=() if list(order) == sorted(order) else order,
        max_positions=s.positions,
        final_norm=norm,
        tied=s.tied,
    )
