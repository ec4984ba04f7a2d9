"""What a batch is put together from: named parts, arrays, lists of samples, the batches of several loaders."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch

from bench.callbacks.token_counts import ARRAYS, SOURCES, TEXTS

Kind = Literal["batch", "sample", "samples"]

IMAGE_CHANNELS = (1, 3, 4)

MAX_DEPTH = 4
"""Containers inside containers that are looked into."""

_PLAIN = (list, *TEXTS, int, float)


def is_array(part: Any) -> bool:
    """Whether it has a shape: a tensor, or an array of numpy."""
    return isinstance(part, ARRAYS)


def num_dims(array: Any) -> int:
    """Dimensions of an array, of a nested tensor as well."""
    return int(array.dim() if isinstance(array, torch.Tensor) else array.ndim)


def num_rows(array: Any) -> int:
    """Its first dimension."""
    return int(array.size(0) if isinstance(array, torch.Tensor) else array.shape[0])


def named_parts(held: Any) -> Mapping[str, Any] | None:
    """Name -> part, of a mapping, a named tuple, a dataclass, or an object with attributes; None where there are no names.

    >>> from types import SimpleNamespace
    >>> dict(named_parts(SimpleNamespace(x=1, _cache=2)))
    {'x': 1}
    """
    if type(held) is dict:
        return held
    if held is None or isinstance(held, _PLAIN) or is_array(held):
        return None
    if isinstance(held, tuple):
        names = getattr(held, "_fields", None)
        return dict(zip(names, held, strict=True)) if names else None
    if isinstance(held, UserDict) and type(held.data) is dict:  # such as transformers' BatchEncoding, whose own `get` is slow
        return held.data
    if isinstance(held, Mapping):
        return held
    names = getattr(type(held), "__dataclass_fields__", None)
    if names is None and hasattr(held, "__dict__"):
        return {name: part for name, part in vars(held).items() if not name.startswith("_")} or None
    if names is None:
        names = [name for kind in type(held).__mro__ for name in getattr(kind, "__slots__", ()) if not name.startswith("_")]
    return {name: getattr(held, name, None) for name in names} or None


def told_rows(held: Any, named: Mapping[str, Any]) -> int | None:
    """The samples that a batch itself states: `num_graphs`, `batch_size`; graphs by their `ptr`, one where none joins several."""
    if type(held) is dict:
        return None
    for name in ("num_graphs", "batch_size"):
        told = getattr(held, name, None)
        if isinstance(told, tuple) and told:
            told = told[0]
        if isinstance(told, int) and not isinstance(told, bool) and told > 0:
            return told
    bounds, owners = (getattr(held, name, None) for name in ("ptr", "batch"))
    if "edge_index" in named or isinstance(getattr(held, "num_nodes", None), int):
        return num_rows(bounds) - 1 if is_array(bounds) else 1 if owners is None else None
    return None


def kind_of(part: Any, depth: int = MAX_DEPTH) -> Kind | None:
    """What a container inside a batch is: a batch itself, one sample, or a list of samples; None where it holds nothing to tell by.

    Arrays that share their first dimension and differ otherwise are the columns of a batch. A list of like arrays is one
    of samples, an image with its channels in front is one.

    >>> image = torch.zeros(3, 32, 32)
    >>> kind_of([image, image]), kind_of({"image": image, "height": 32}), kind_of([torch.zeros(4, 8), torch.zeros(4)])
    ('samples', 'sample', 'batch')
    """
    named = named_parts(part) if depth else None
    if named is not None:
        return _kind_of_named(named, depth, is_one_of_many=False)
    if not depth or is_array(part) or isinstance(part, TEXTS):
        return None
    if not isinstance(part, Sequence):
        rows = told_rows(part, {})
        return None if rows is None else "sample" if rows == 1 else "batch"
    if not part:
        return None
    first = part[0]
    if not is_array(first):
        return _kind_of_list(part, depth)
    if len(part) == 1:
        return "samples" if _is_like_a_sample(first) else "batch"
    second, dims = part[1], num_dims(first)
    if not (is_array(second) and is_array(part[-1])) or (dims and not (num_dims(second) and num_dims(part[-1]))):
        return "sample"  # such as an image and the number of its class
    pair = len(part) == 2 and dims == 2 and num_rows(first) == num_rows(second)  # of inputs and targets
    return "batch" if pair or dims > 3 or _are_columns((first, second)) else "samples"


def are_samples(batch: Sequence[Any]) -> bool:
    """Whether the items of a whole batch are its samples, and not its columns or several batches.

    >>> are_samples([torch.zeros(5), torch.zeros(7)]), are_samples([torch.zeros(8, 3), torch.zeros(8)])
    (True, False)
    """
    if len(batch) < 3 and is_array(batch[0]) and num_dims(batch[0]) > 1:
        return False  # inputs and targets
    some = [batch[0], batch[len(batch) // 2], batch[-1]]
    if not all(map(is_array, some)):
        return not _are_unlike(batch[0], batch[-1]) and _kind_of_list(batch, MAX_DEPTH) == "samples"
    dims = {num_dims(array) for array in some}
    lengths = {int(array.shape[0]) for array in some} if 0 not in dims else {0}
    images = dims == {3} and lengths < {1, 3}
    return dims == {0} or (dims == {1} and len(lengths) > 1) or images


def _are_unlike(first: Any, last: Any) -> bool:
    """Whether one of them is an array, or they have no name in common: inputs and targets, and no two samples."""
    if is_array(first) or is_array(last):
        return True
    return isinstance(first, Mapping) and isinstance(last, Mapping) and first is not last and first.keys().isdisjoint(last.keys())


def are_several(batches: Sequence[Any], rows: Sequence[int]) -> bool:
    """Whether batches of so many rows, side by side, are those of several loaders and not inputs and targets of one.

    They are built of the same types, or with the same names, and differ in rows; or they are lists that are built alike.
    """
    first = batches[0]
    if any(type(batch) is not type(first) for batch in batches):
        return False
    if isinstance(first, Mapping):
        return len(set(rows)) > 1 and all(first.keys() & batch.keys() for batch in batches)
    return len(set(rows)) > 1 or len({_structure(batch) for batch in batches}) == 1


def _structure(part: Any) -> Any:
    """Of an array its dimensions and dtype, of a list those of its items, of anything else its type."""
    if is_array(part):
        return num_dims(part), part.dtype
    if isinstance(part, list | tuple):
        return tuple((num_dims(each), each.dtype) if is_array(each) else type(each) for each in part)
    return type(part)


def _kind_of_named(named: Mapping[str, Any], depth: int, *, is_one_of_many: bool) -> Kind | None:
    for name in SOURCES:
        ids = named.get(name)
        if is_array(ids):
            return "batch" if num_dims(ids) > 1 + name.endswith("embeds") else "sample"
        if isinstance(ids, Sequence) and ids and not isinstance(ids, str):
            return "sample" if isinstance(ids[0], int) else "batch"
    arrays = [part for part in named.values() if is_array(part)]
    if not arrays:
        kind = next((kind for part in named.values() if (kind := kind_of(part, depth - 1))), None)
        return "batch" if kind == "samples" else kind
    if num_dims(arrays[0]) == 3 and arrays[0].shape[0] in IMAGE_CHANNELS:
        return "sample"
    if _are_columns(arrays) or num_dims(arrays[0]) > 3:
        return "batch"
    return "sample" if is_one_of_many or _is_like_a_sample(arrays[0]) else "batch"


def _kind_of_list(part: Sequence[Any], depth: int) -> Kind | None:
    """Of a list whose first item is no array: of strings and numbers, or of the kind that its first item is of."""
    first = part[0]
    if isinstance(first, _PLAIN[1:]):
        return "samples" if isinstance(part[-1], type(first)) else "sample"
    named = named_parts(first)
    kind = kind_of(first, depth - 1) if named is None else _kind_of_named(named, depth - 1, is_one_of_many=isinstance(part, list))
    return "samples" if kind == "sample" else "batch" if kind else None


def _is_like_a_sample(array: Any) -> bool:
    dims = num_dims(array)
    return dims < 2 or (dims == 3 and bool({array.shape[0], array.shape[-1]} & set(IMAGE_CHANNELS)))


def _are_columns(arrays: Sequence[Any]) -> bool:
    """Whether arrays share their first dimension, and differ in their number of dimensions or in what they hold."""
    if len(arrays) < 2 or any(num_dims(array) == 0 for array in arrays):
        return False
    return len({int(array.shape[0]) for array in arrays}) == 1 and len({(num_dims(array), array.dtype) for array in arrays}) > 1
