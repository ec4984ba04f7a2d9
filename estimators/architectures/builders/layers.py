"""Decoders whose layers differ in what they are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from estimators.architectures.attention import Attention
from estimators.architectures.block import RMS_NORM, Block, Norm
from estimators.architectures.builders.sizes import MAX_VARIED_LAYERS, Sizes
from estimators.architectures.decoder import Decoder
from estimators.architectures.part import Part
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

Parts = tuple[tuple[str, Part], ...]
"""Name to part, in order: what one layer is made of."""


def layered(
    name: str,
    source: Source,
    s: Sizes,
    layers: Sequence[Parts],
    *,
    norms: int = 2,
    norm: Norm = RMS_NORM,
) -> Decoder:
    """A decoder with the parts of each layer given one by one; equal layers are gathered in one block.

    Args:
        norms: per layer.
        norm: how they look, the final one included.
    """
    kinds: list[Parts] = []
    for parts in layers:  # few kinds: comparing is faster than hashing
        if parts not in kinds:
            kinds.append(parts)
    order = tuple(kinds.index(parts) for parts in layers)
    return Decoder(
        name=name,
        source=source,
        vocab=s.vocab,
        width=s.width,
        blocks=tuple(Block(count=order.count(i), parts=parts, norms=norms, norm=norm) for i, parts in enumerate(kinds)),
        order=() if list(order) == sorted(order) else order,
        max_positions=s.positions,
        final_norm=norm,
        tied=s.tied,
    )


def windowed(attention: Attention, windows: Sequence[int | None]) -> list[Attention]:
    """The attention of each layer; layers with the same window share one."""
    by_window = {window: replace(attention, window=window) for window in set(windows)}
    return [by_window[window] for window in windows]


def varied_layers(f: Fields, s: Sizes) -> range:
    """The index of every layer, for families that tell layers apart one by one.

    Raises:
        BadConfigError: too many of them.
    """
    if s.layers > MAX_VARIED_LAYERS:
        raise f.fail("num_hidden_layers", s.layers, f"at most {MAX_VARIED_LAYERS:,} layers where they differ")
    return range(s.layers)


def indices(f: Fields, key: str) -> frozenset[int]:
    """A list of layer indices from 0; empty where it is null or not there.

    Raises:
        BadConfigError: no list of whole numbers.
    """
    value = f.config.get(key)
    if value is None:
        return frozenset()
    if not isinstance(value, list) or not all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in value):
        raise f.fail(key, value, "a list of layer indices from 0")
    return frozenset(value)


def layer_kinds(f: Fields, keys: tuple[str, ...], layers: int, words: Mapping[str, str], default: Sequence[str]) -> list[str]:
    """What each layer is, as the first of `keys` that is set lists them.

    Args:
        layers: how many there must be; 0 for as many as are listed.
        words: each word that may stand there -> what it means.
        default: the same where none is set.

    Raises:
        BadConfigError: no list of so many of these words.
    """
    key = next((key for key in keys if f.config.get(key) is not None), "")
    if not key:
        return list(f.default(keys[0], tuple(default)))
    value = f.config[key]
    fits = isinstance(value, list) and 0 < len(value) <= MAX_VARIED_LAYERS and len(value) == (layers or len(value))
    if not fits or not all(isinstance(word, str) and word in words for word in value):
        raise f.fail(key, value, f"a list of {layers or 'one or more'} words, each one of {', '.join(words)}")
    return [words[word] for word in value]
