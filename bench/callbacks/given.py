"""What a forward pass is given, known by the shapes of all of it, and the documents that its rows hold."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Hashable, Mapping
from typing import Any

import torch

from estimators.errors import UnavailableError

MAX_DEPTH = 6
"""Of what is inside of what; deeper or going in circles is not looked through."""

TEXT_INPUTS = frozenset(
    {"input_ids", "attention_mask", "labels", "position_ids", "use_cache", "return_dict", "num_items_in_batch", "shift_labels"}
)
"""What a decoder's forward may be given for its op table to be the whole of it."""

CUMULATIVE_LENGTHS = ("cu_seq_lens_q", "cu_seqlens_q", "cu_seqlens", "cu_seq_lens")
"""Where each packed document begins and the last one ends, by the names of transformers and of flash-attn."""

PACKING_INPUTS = frozenset({*CUMULATIVE_LENGTHS, "seq_idx", "document_ids"}) | {
    f"{what}_{of}" for what in ("cu_seq_lens", "cu_seqlens", "max_length", "max_seqlen", "max_seqlens") for of in ("q", "k")
}
"""What tells where documents are packed in a row."""

_TELLS_OF_DOCUMENTS = frozenset({*CUMULATIVE_LENGTHS, "position_ids", "seq_idx", "document_ids"})

_WITHOUT_WORK = PACKING_INPUTS | {"num_items_in_batch"}
"""Inputs whose shapes and numbers change from batch to batch and are no work of their own; documents are known apart."""

_PLAIN = (str, bytes, int, float, complex, type(None), torch.dtype, torch.device, torch.layout, enum.Enum, range, slice, type)


def look_of(value: Any, depth: int = 0) -> Hashable:
    """What of an argument decides how much is computed: shapes, numbers and names, but not what tensors hold.

    Raises:
        UnavailableError: its shapes are not known.

    >>> look_of({"x": torch.zeros(2, 3), "scale": 2})
    ('dict', (('x', (torch.Size([2, 3]), torch.float32, False)), ('scale', 2)))
    """
    if isinstance(value, torch.Tensor):
        if value.layout is not torch.strided or value.is_nested:
            raise UnavailableError(f"forward is given a tensor of layout {value.layout}, whose work its shape does not tell")
        return value.shape, value.dtype, value.requires_grad
    if isinstance(value, _PLAIN):
        return repr(value) if isinstance(value, slice) else value
    kind = type(value).__name__
    if depth >= MAX_DEPTH:
        raise UnavailableError(f"forward is given a {kind} that is nested too deep to know its shapes")
    if isinstance(value, Mapping):
        return kind, tuple((name, look_of(part, depth + 1)) for name, part in value.items())
    if isinstance(value, list | tuple):
        return kind, tuple(look_of(part, depth + 1) for part in value)
    if isinstance(value, set | frozenset):
        return kind, frozenset(value)
    if hasattr(value, "shape") and hasattr(value, "dtype"):  # numpy's arrays
        return kind, tuple(value.shape), str(value.dtype)
    if isinstance(value, torch.nn.Module) or callable(value):
        return kind, id(value)
    if dataclasses.is_dataclass(value):
        return kind, tuple((field.name, look_of(getattr(value, field.name), depth + 1)) for field in dataclasses.fields(value))
    if hasattr(value, "__dict__"):
        return kind, tuple((name, look_of(part, depth + 1)) for name, part in vars(value).items())
    raise UnavailableError(f"forward is given a {kind}, whose shapes are not known")


def look_of_all(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Hashable:
    """Of everything that forward is given."""
    named = [(name, look_of(value)) for name, value in kwargs.items() if value is not None and name not in _WITHOUT_WORK]
    return tuple([look_of(value) for value in args]), tuple(named)


def is_text(named: Mapping[str, Any]) -> bool:
    """Whether a decoder's op table is the whole of a pass: it is given token ids, and nothing else that is computed with."""
    ids = named.get("input_ids")
    given = {name for name, value in named.items() if value is not None}
    return isinstance(ids, torch.Tensor) and ids.dim() == 2 and given <= TEXT_INPUTS | PACKING_INPUTS


@dataclasses.dataclass(slots=True, eq=False)
class Documents:
    """What tells the documents in the rows of one batch, on the host or on its way there.

    Attributes:
        rows, length: of the token ids.
        ends: cumulative lengths; or
        positions, mask: position_ids and attention_mask, both of rows x length.
    """

    rows: int
    length: int
    ends: torch.Tensor | None = None
    positions: torch.Tensor | None = None
    mask: torch.Tensor | None = None

    def lengths(self) -> tuple[int, ...] | None:
        """Of every document, sorted; None where each row is one.

        >>> Documents(1, 5, positions=torch.tensor([[0, 1, 2, 0, 1]])).lengths()
        (2, 3)
        >>> Documents(1, 5, ends=torch.tensor([0, 2, 5])).lengths()
        (2, 3)
        """
        if self.ends is not None:
            found = self.ends.flatten().diff().tolist()
            rest = self.rows * self.length - sum(found)
            return None if rest < 0 or any(length < 0 for length in found) else tuple(sorted([n for n in found if n] + [1] * rest))
        begins = torch.zeros(self.rows, self.length, dtype=torch.bool)
        if self.positions is not None:
            begins[:, 1:] |= self.positions.diff(dim=1) != 1
        if self.mask is not None:
            if bool((self.mask == 0).any()):
                return None  # positions beside padding restart, too, and it is computed with its row
            begins[:, 1:] |= self.mask.diff(dim=1) != 0  # numbers of documents, as packing collators write them
        if not bool(begins.any()):
            return None
        begins[:, 0] = True
        (starts,) = begins.flatten().nonzero(as_tuple=True)
        ends = torch.cat([starts[1:], torch.tensor([self.rows * self.length])])
        return tuple(sorted((ends - starts).tolist()))


def documents_in(named: Mapping[str, Any]) -> Documents | None:
    """Where the documents of a batch of text are told, read without waiting for a device; None where nothing tells."""
    if _TELLS_OF_DOCUMENTS.isdisjoint(named):
        return None
    ids = named.get("input_ids")
    if not isinstance(ids, torch.Tensor) or ids.dim() != 2:
        return None
    rows, length = int(ids.shape[0]), int(ids.shape[1])
    for name in CUMULATIVE_LENGTHS:
        ends = named.get(name)
        if isinstance(ends, torch.Tensor):
            return Documents(rows, length, ends=_on_host(ends))
    positions, mask = (_of_shape(named.get(name), rows, length) for name in ("position_ids", "attention_mask"))
    numbers = next((n for name in ("seq_idx", "document_ids") if (n := _of_shape(named.get(name), rows, length)) is not None), None)
    if numbers is not None:
        return Documents(rows, length, mask=_on_host(numbers) + 1)
    if positions is None:
        return None
    return Documents(
        rows,
        length,
        positions=_on_host(positions).expand(rows, length),
        mask=None if mask is None else _on_host(mask.to(torch.int32)),
    )


def row_of(named: Mapping[str, Any], length: int) -> dict[str, Any]:
    """The arguments of a pass over one row of a length, in place of those of a batch of text."""
    kept = {name: value for name, value in named.items() if name in TEXT_INPUTS and not isinstance(value, torch.Tensor)}
    row = named["input_ids"][:1, :1].expand(1, length)
    return kept | {name: row for name in ("input_ids", "labels") if named.get(name) is not None}


def _of_shape(value: Any, rows: int, length: int) -> torch.Tensor | None:
    fits = isinstance(value, torch.Tensor) and value.dim() == 2 and value.shape[1] == length and value.shape[0] in (1, rows)
    return value if fits else None


def _on_host(tensor: torch.Tensor) -> torch.Tensor:
    """Its numbers, once the device has come so far."""
    if tensor.device.type != "cuda":
        return tensor.detach().to("cpu", copy=True)
    copied = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return copied.copy_(tensor.detach(), non_blocking=True)
