"""Leaf formulas of the literature, one citation each. They take plain numbers; nothing here knows a model."""

from __future__ import annotations


def six_nd(params: int, tokens: int) -> int:
    """Training FLOP by the rule of thumb: 6·N·D. Two FLOP per parameter and token forward, four backward.

    Source: Kaplan et al. 2020 (arXiv 2001.08361), section 2.1; N there leaves out embeddings.

    >>> f"{six_nd(174_604_259_328, 300 * 10**9):.4g}"
    '3.143e+23'
    """
    return 6 * params * tokens


def two_n(params: int, tokens: int) -> int:
    """Forward FLOP by the rule of thumb: 2·N per token.

    Source: Kaplan et al. 2020 (arXiv 2001.08361), table 1.

    >>> two_n(10, 3)
    60
    """
    return 2 * params * tokens


def palm_training_flop(params: int, layers: int, heads: int, head_width: int, seq_len: int, tokens: int) -> int:
    """Training FLOP: (6·N + 12·L·H·Q·T) per token, full attention square.

    Source: Chowdhery et al. 2022 (arXiv 2204.02311), appendix B.

    >>> palm_training_flop(124_439_808, 12, 12, 64, 1024, 1)
    859885056
    """
    return (6 * params + 12 * layers * heads * head_width * seq_len) * tokens


def chinchilla_forward_flop(
    *, layers: int, width: int, heads: int, key_width: int, ffn_width: int, vocab: int, seq_len: int, num_sequences: int = 1
) -> int:
    """Forward FLOP of whole sequences; embeddings as a product with a one-hot matrix, softmax as 3 per score.

    embeddings 2·s·V·d; per layer: q, k, v 2·3·s·d·(k·h), logits 2·s²·(k·h), softmax 3·h·s², reduction 2·s²·(k·h),
    output 2·s·(k·h)·d, dense block 2·s·(2·d·f); final logits 2·s·d·V. Backward is twice the forward.

    Source: Hoffmann et al. 2022 (arXiv 2203.15556), appendix F.

    >>> chinchilla_forward_flop(layers=1, width=2, heads=1, key_width=2, ffn_width=8, vocab=10, seq_len=1)
    187
    """
    s, inner = seq_len, key_width * heads
    attention = 2 * 3 * s * width * inner + 2 * s * s * inner + 3 * heads * s * s + 2 * s * s * inner + 2 * s * inner * width
    dense = 2 * s * (width * ffn_width + ffn_width * width)
    return num_sequences * (2 * s * vocab * width + layers * (attention + dense) + 2 * s * width * vocab)


def megatron_training_flop(*, num_sequences: int, seq_len: int, layers: int, width: int, vocab: int, recompute: bool) -> int:
    """Training FLOP of a GPT: 96·B·s·l·h²·(1 + s/(6h) + V/(16·l·h)) with full recomputation, 72 and V/(12·l·h) without.

    The factor is 4 passes of the layers (forward, recomputed forward, twice that backward) and 3 of the head.

    Source: Narayanan et al. 2021 (arXiv 2104.04473), equation 3 and its derivation in the appendix.

    >>> megatron_training_flop(num_sequences=1, seq_len=6, layers=1, width=1, vocab=16, recompute=True)
    1728
    """
    b, s, n, h = num_sequences, seq_len, layers, width
    layer_forward = b * n * (24 * s * h * h + 4 * s * s * h)
    head_forward = 2 * b * s * h * vocab
    return (4 if recompute else 3) * layer_forward + 3 * head_forward
