"""Tokens of a batch where they are named: positions, padding and those that bear a loss, of an encoder-decoder on both sides.

A count on a device stays there, as a scalar, until somebody reads it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch

IGNORED = -100
"""The label that torch's cross entropy passes over."""

SOURCES, TARGETS = ("input_ids", "inputs_embeds", "tokens"), ("decoder_input_ids", "decoder_inputs_embeds")
"""Names of what a model computes, the one that is given first."""

_OF_A_DECODER = frozenset(TARGETS)

ARRAYS, TEXTS = (torch.Tensor, np.ndarray), (str, bytes)

Scalar: TypeAlias = int | torch.Tensor | None


@dataclass(frozen=True, slots=True)
class LabelUse:
    """What a model makes of the labels that it is given.

    Attributes:
        as_target: they are the tokens that a decoder computes beside those of the encoder's `input_ids`.
        shifted: the loss compares each position with the next one's label, so that the first label of a row bears none.
    """

    as_target: bool = False
    shifted: bool = False


AS_GIVEN = LabelUse()
"""Labels as the batch has them."""


class TokenCounts(NamedTuple):
    """Rows, positions of the longest row, positions of all, padding in them, tokens that bear a loss; None where not told."""

    rows: int
    length: int
    num_positions: int
    num_padding: Scalar
    num_loss_tokens: Scalar


def added(counts: Sequence[TokenCounts]) -> TokenCounts:
    """Several batches as one; a padding or loss that one of them does not tell is left out of the sum, None where none tells."""
    return TokenCounts(
        rows=sum(each.rows for each in counts),
        length=max(each.length for each in counts),
        num_positions=sum(each.num_positions for each in counts),
        num_padding=_sum([each.num_padding for each in counts]),
        num_loss_tokens=_sum([each.num_loss_tokens for each in counts]),
    )


def named_tokens(named: Mapping[str, Any], use: LabelUse) -> TokenCounts | None:
    """The tokens of `input_ids` (or `inputs_embeds`, `tokens`), of any number of dimensions or a list; None where there are none.

    A decoder's tokens (`decoder_input_ids`, else an encoder-decoder's labels) are added to the source's, whose length stays. Pairs
    such as `chosen_input_ids` and `rejected_input_ids` are added.

    >>> ids = torch.zeros(4, 3, 16, dtype=torch.long)
    >>> named_tokens({"input_ids": ids}, LabelUse())
    TokenCounts(rows=12, length=16, num_positions=192, num_padding=None, num_loss_tokens=None)
    >>> named_tokens({"input_ids": ids[0], "labels": torch.zeros(3, 5, dtype=torch.long)}, LabelUse(as_target=True))
    TokenCounts(rows=3, length=16, num_positions=63, num_padding=0, num_loss_tokens=15)
    """
    source = _first_side(named, SOURCES, "attention_mask", "labels", use)
    if source is None:
        pairs = [name for name in named if isinstance(name, str) and "input_ids" in name and not name.startswith("decoder")]
        beside = ("attention_mask", "labels")
        names = [(name, *(name.replace("input_ids", other) for other in beside)) for name in pairs]
        sides = [_side(named, ids, mask, labels, use) for ids, mask, labels in names]
        known = [side for side in sides if side is not None]
        return added(known) if known else _target(named, use)
    target = _target(named, use) if use.as_target or not _OF_A_DECODER.isdisjoint(named.keys()) else None
    if target is None:
        return source
    return added([source._replace(num_loss_tokens=None), target])._replace(rows=source.rows, length=source.length)


def num_real(mask: Any, shape: tuple[int, ...]) -> Scalar:
    """Positions that a mask of the tokens' shape lets through; None for any other mask, such as one of queries by keys.

    A mask of numbers is one where a token is, or none where one is and negative where none is (what is added to scores).
    """
    if type(mask) is not torch.Tensor:
        mask = _plain(mask)
    if not isinstance(mask, ARRAYS) or mask.shape != shape:
        return None
    if isinstance(mask, np.ndarray):
        mask = torch.from_numpy(mask)
    if not mask.is_floating_point():
        return int(np.count_nonzero(mask.numpy())) if mask.is_cpu else None if mask.is_meta else mask.count_nonzero()
    if mask.is_meta:
        return None
    real, negative = mask.count_nonzero(), (mask < 0).count_nonzero()
    real = torch.where(real == negative, mask.numel() - negative, real)
    return int(real) if mask.is_cpu else real


def num_labelled(labels: Any, *, shifted: bool) -> Scalar:
    """Labels other than -100, less the first of each row where the loss is shifted; None for what is no labels of tokens."""
    if type(labels) is not torch.Tensor:
        labels = _plain(labels)
    if isinstance(labels, torch.Tensor):
        if labels.is_floating_point() or labels.is_meta:
            return None
        if not labels.is_cpu:
            found: torch.Tensor = (labels[..., 1:] if shifted else labels).ne(IGNORED).count_nonzero()
            return found
        labels = labels.numpy()  # three times as fast as torch's own count
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu":
        return None
    return int(np.count_nonzero((labels[..., 1:] if shifted else labels) != IGNORED))


def _first_side(named: Mapping[str, Any], names: Sequence[str], mask: str, labels: str, use: LabelUse) -> TokenCounts | None:
    for name in names:
        if named.get(name) is not None:
            side = _side(named, name, mask, labels, use)
            if side is not None:
                return side
    return None


def _side(named: Mapping[str, Any], ids: str, mask: str, labels: str, use: LabelUse) -> TokenCounts | None:
    """The tokens of one name, with its mask and labels."""
    sizes = _sizes(named[ids], has_features=ids.endswith("embeds"))
    if sizes is None:
        return None
    rows, length, num_positions, shape = sizes
    real, given, shifted = num_real(named.get(mask), shape), named.get(labels), use.shifted
    if labels == "labels" and named.get("shift_labels") is not None:
        given, shifted = named["shift_labels"], False
    elif given is not None and getattr(given, "shape", ()) != shape:
        given = None
    bearing = None if given is None else num_labelled(given, shifted=shifted)
    return TokenCounts(rows, length, num_positions, None if real is None else num_positions - real, bearing)


def _target(named: Mapping[str, Any], use: LabelUse) -> TokenCounts | None:
    """What a decoder computes. Its padding is what its mask hides, else the labels of -100: collators pad targets with them."""
    names = (*TARGETS, "labels") if use.as_target else TARGETS
    side = _first_side(named, names, "decoder_attention_mask", "labels", AS_GIVEN)
    if side is None or side.num_padding is not None or side.num_loss_tokens is None:
        return side
    return side._replace(num_padding=side.num_positions - side.num_loss_tokens)


def _sizes(ids: Any, has_features: bool, depth: int = 3) -> tuple[int, int, int, tuple[int, ...]] | None:
    """Rows, length, positions and the shape of the tokens; None where it is no array and no list of sequences."""
    if isinstance(ids, ARRAYS):
        if isinstance(ids, torch.Tensor) and ids.is_nested:  # sequences behind one another, as in a packed row
            packed = int(ids.values().shape[0]) if ids.layout == torch.jagged else 0
            return (1, packed, packed, ()) if packed else None
        shape = tuple((ids if type(ids) is torch.Tensor else _plain(ids)).shape)
        if has_features:
            shape = shape[:-1]
        if not shape:
            return None
        rows, length = math.prod(shape[:-1]), int(shape[-1])
        return rows, length, rows * length, shape
    if isinstance(ids, TEXTS) or not isinstance(ids, Sequence) or not ids or not depth:
        return None
    if isinstance(ids[0], int):
        return 1, len(ids), len(ids), ()
    each = [_sizes(part, has_features, depth - 1) for part in ids]
    known = [part for part in each if part is not None]
    if len(known) != len(each):
        return None
    rows, lengths, positions, _ = zip(*known, strict=True)
    return sum(rows), max(lengths), sum(positions), ()


def _plain(array: Any) -> Any:
    """The part of a tensor that is on this rank; reading it asks no other."""
    return array if type(array) is torch.Tensor or not hasattr(array, "to_local") else array.to_local()


def _sum(values: Sequence[Scalar]) -> Scalar:
    known = [value for value in values if value is not None]
    total = known[0] if known else None
    for value in known[1:]:
        total = total + value  # type: ignore[operator]
    return total
