"""Decoders drawn part by part, with and without experts."""

from __future__ import annotations

from hypothesis import strategies as st

from estimators.architectures.attention import Attention
from estimators.architectures.block import LAYER_NORM, RMS_NORM, Block
from estimators.architectures.decoder import Decoder
from estimators.architectures.feed_forward import Experts, FeedForward
from estimators.spec import Source


@st.composite
def decoders(draw: st.DrawFn) -> Decoder:
    kv_heads = draw(st.integers(1, 4))
    head_width = draw(st.integers(1, 16))
    attention = Attention(
        heads=kv_heads * draw(st.integers(1, 4)),
        kv_heads=kv_heads,
        head_width=head_width,
        query_bias=draw(st.booleans()),
        fused=draw(st.booleans()),
        query_norm_width=draw(st.sampled_from([0, head_width])),
        window=draw(st.none() | st.integers(1, 64)),
    )
    gated = FeedForward(width=draw(st.integers(1, 128)), gated=draw(st.booleans()), bias=draw(st.booleans()))
    shared = draw(st.sampled_from([None, FeedForward(width=5, gated=True)]))
    experts = Experts(num=8, per_token=draw(st.integers(1, 8)), width=draw(st.integers(1, 32)), shared=shared)
    plain = Block(count=draw(st.integers(1, 6)), parts=(("attention", attention), ("mlp", gated)), norms=2, norm=RMS_NORM)
    routed = Block(count=draw(st.integers(1, 3)), parts=(("attention", attention), ("mlp", experts)), norms=1, norm=LAYER_NORM)
    return Decoder(
        name="drawn",
        source=Source(title="drawn"),
        vocab=draw(st.integers(2, 500)),
        width=draw(st.integers(1, 64)),
        blocks=draw(st.sampled_from([(plain,), (plain, routed)])),
        positions=draw(st.sampled_from([0, 512])),
        max_positions=512,
        tied=draw(st.booleans()),
        head_bias=draw(st.booleans()),
    )
