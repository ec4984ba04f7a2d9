"""How large a batch is: rows, positions, padding, tokens that bear a loss. Nothing waits for a device: a count on one stays there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch.nn.utils.rnn import PackedSequence

from bench.callbacks.batch_parts import MAX_DEPTH, are_samples, are_several, is_array, kind_of, named_parts, num_dims, num_rows, told_rows
from bench.callbacks.token_counts import AS_GIVEN, TEXTS, LabelUse, Scalar, TokenCounts, added, named_tokens
from estimators.errors import BadValueError

SAMPLES = ("pixel_values", "input_features", "input_values", "flattened_patches")
"""Names of images and sounds in transformers' batches: samples, whatever else is beside them."""


class BatchSize(NamedTuple):
    """The size of one batch.

    Attributes:
        rows: sequences or samples.
        length: positions of the longest sequence, padding included, of an encoder-decoder's source; 1 for samples without one.
        num_padding: positions that hold no token, a scalar on the device where the mask lies there; None where no mask tells.
        item: token or sample.
        positions: positions that are computed, padding included, of source and target; None: rows times length.
        num_loss_tokens: tokens that bear a loss, likewise; None where no labels of tokens tell.
        unknown: why the size cannot be told; empty where it can. Rows and length are then 0.
    """

    rows: int
    length: int
    num_padding: Scalar = None
    item: str = "token"
    positions: int | None = None
    num_loss_tokens: Scalar = None
    unknown: str = ""

    @property
    def num_positions(self) -> int:
        """Positions that are computed, padding included."""
        return self.rows * self.length if self.positions is None else self.positions


Size = Callable[[Any], BatchSize | int]
"""From a batch to its size; a number is one of samples."""


def size_of(batch: Any, use: LabelUse = AS_GIVEN, *, one_loader: bool = False) -> BatchSize:
    """The size of a batch: tokens where they are named, else samples: the rows of its first tensor, or the items of a list.

    Several loaders' batches in one are added. Both sides of an encoder-decoder are tokens that a pass computes. Tokens that bear a
    loss are labels other than -100, as the batch has them where `use` does not say that the model shifts them.

    Args:
        batch: tensors or arrays in any nesting.
        use: what the model makes of labels.
        one_loader: whether all of it is one loader's, so that parts that are built alike are columns.

    >>> import torch
    >>> ids = torch.zeros(2, 5, dtype=torch.long)
    >>> size = size_of({"input_ids": ids, "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])})
    >>> size.rows, size.length, size.num_padding, size.item
    (2, 5, 3, 'token')
    >>> size_of((torch.zeros(8, 3), torch.zeros(8))).rows, size_of([{"image": torch.zeros(3, 32, 32)}] * 4).rows
    (8, 4)
    >>> size_of("text").unknown
    'no tensor, list or input_ids in a batch of type str'
    """
    return _size(batch, use, one_loader, MAX_DEPTH) or unknown_size(
        f"no tensor, list or input_ids in a batch of type {type(batch).__name__}"
    )


def size_by_loader(batch: Any, use: LabelUse = AS_GIVEN) -> BatchSize:
    """The size of a batch of which each part is another loader's: the sum of them; a loader that has ended gives none."""
    named = named_parts(batch)
    parts = list(batch if named is None else named.values())
    sizes = [size_of(part, use, one_loader=True) for part in parts if part is not None]
    return _added(sizes) if sizes else unknown_size("no loader gave a batch")


def unknown_size(reason: str) -> BatchSize:
    """Of a batch whose size cannot be told."""
    return BatchSize(rows=0, length=0, item="sample", unknown=reason)


def given_size(size: Size, batch: Any) -> BatchSize:
    """The size that somebody's own function says a batch has.

    >>> given_size(len, ["a", "b"]).rows, given_size(lambda batch: None, []).unknown
    (2, 'size= gave NoneType; expected a BatchSize, or a number of samples')
    """
    said = size(batch)
    if isinstance(said, BatchSize):
        return said
    if isinstance(said, int) and not isinstance(said, bool) and said > 0:
        return BatchSize(rows=said, length=1, item="sample")
    return unknown_size(f"size= gave {type(said).__name__}; expected a BatchSize, or a number of samples")


def _size(held: Any, use: LabelUse, one_loader: bool, depth: int) -> BatchSize | None:
    """Of what is a batch as a whole; None where it cannot be told."""
    if is_array(held):
        return _samples(num_rows(held)) if num_dims(held) else None
    named = named_parts(held) if depth else None
    if isinstance(held, PackedSequence):
        return _samples(int(held.batch_sizes[0]))
    if named is None:
        if not isinstance(held, Sequence):
            rows = told_rows(held, {})
            return None if rows is None else _samples(rows)
        if not depth or isinstance(held, TEXTS) or not held:
            return None
        return _of_samples(held, use) if are_samples(held) else _of_columns(held, use, one_loader, depth)
    tokens = named_tokens(named, use)
    if tokens is not None:
        return _of_tokens(tokens)
    rows = told_rows(held, named)
    if rows is not None:
        return _samples(rows)
    told = next((named[name] for name in SAMPLES if named.get(name) is not None), None)
    return _of_columns(list(named.values()) if told is None else [told], use, one_loader, depth)


def _of_samples(samples: Sequence[Any], use: LabelUse) -> BatchSize | None:
    """Of a list of samples; of tokens where each names its own."""
    named = [named_parts(sample) for sample in samples] if named_parts(samples[0]) else []
    tokens = [counts for each in named if each and (counts := named_tokens(each, use))]
    return _of_tokens(added(tokens)) if tokens else _samples(len(samples))


def _of_columns(parts: Sequence[Any], use: LabelUse, one_loader: bool, depth: int) -> BatchSize | None:
    """Of the columns of a batch, which share their rows, or of several loaders' batches, which do not or are built alike."""
    inner = [(part, kind) for part in parts if not is_array(part) and (kind := kind_of(part))]
    rows = [num_rows(part) for part in parts if is_array(part) and num_dims(part)]
    if not inner:
        return _samples(rows[0]) if rows else None
    first, kind = inner[0]
    batches = [part for part, kind in inner if kind != "samples"]
    if kind == "samples":  # beside them, lists are targets
        batches = [first] if named_parts(first[0]) else [part for part in batches if named_parts(part)]
    sized = [(part, size) for part in batches if (size := _size(part, use, one_loader, depth - 1))]
    sizes = [size for _, size in sized]
    if any(size.item == "token" for size in sizes):
        return _added(sizes)
    if rows and is_array(parts[0]):
        return _samples(rows[0])
    if kind == "samples":
        columns = num_rows(first[0]) if is_array(first[0]) and num_dims(first[0]) else 0
        return _samples(columns if columns in rows and len(first) not in rows else len(first))
    if len(sizes) > 1 and not one_loader and are_several([part for part, _ in sized], [size.rows for size in sizes]):
        return _added(sizes)
    return sizes[0] if sizes else None


def _added(sizes: Sequence[BatchSize]) -> BatchSize:
    """Several batches as one: of those with tokens, where there are any."""
    unsized = next((size for size in sizes if size.unknown), None)
    if unsized is not None:
        return unsized
    tokens = [size for size in sizes if size.item == "token"]
    if not tokens:
        return BatchSize(rows=sum(size.rows for size in sizes), length=1, item="sample")
    return _of_tokens(added([TokenCounts(s.rows, s.length, s.num_positions, s.num_padding, s.num_loss_tokens) for s in tokens]))


def _samples(rows: int) -> BatchSize | None:
    return BatchSize(rows=rows, length=1, item="sample") if rows else None


def _of_tokens(tokens: TokenCounts) -> BatchSize:
    return BatchSize(tokens.rows, tokens.length, tokens.num_padding, "token", tokens.num_positions, tokens.num_loss_tokens)


def told_size(_: None, tokens: int | None, padding: int, seq_len: int | None) -> BatchSize:
    """The size that was told in place of a batch.

    Raises:
        BadValueError: neither was given, or counts that no batch has.

    >>> size = told_size(None, tokens=30, padding=2, seq_len=16)
    >>> size.rows, size.length, size.num_padding
    (2, 16, 2)
    """
    if tokens is None:
        raise BadValueError("step() was given neither a batch nor tokens; expected step(batch), or step(tokens=...)")
    positions = tokens + padding
    if tokens < 0 or padding < 0 or positions == 0 or (seq_len is not None and (seq_len < 1 or positions % seq_len)):
        given = f"tokens={tokens}, padding={padding}, seq_len={seq_len}"
        raise BadValueError(f"{given}: expected counts from 0, and tokens and padding together a multiple of seq_len")
    if seq_len is None:
        return BatchSize(rows=positions, length=1, num_padding=padding)
    return BatchSize(rows=positions // seq_len, length=seq_len, num_padding=padding)
