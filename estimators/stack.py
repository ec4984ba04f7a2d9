"""What the layers of a decoder have in common, however its op table was made."""

from __future__ import annotations

from estimators.frozen import frozen


@frozen
class Stack:
    """What a decoder's layers have in common, and what stands around them.

    Attributes:
        layers, width, vocab: L, D, V.
        streams: vectors of model width that layers hand on of each token.
        heads, kv_heads: that mix tokens, and that have keys and values of their own, in the layer that has most.
        kv_elements: elements of keys and values of one token, all layers.
    """

    layers: int
    width: int
    vocab: int
    heads: int
    kv_heads: int
    kv_elements: int
    streams: int = 1
