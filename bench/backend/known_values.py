"""Values on the meta device: what a forward pass was given in tensors, and what follows from that alone, can be looked at there.

A model looks into its positions for packed documents, into its masks for padding, into its tokens for the last one that is
not padding. Tensors on meta have no values. While `KnownValues` is entered, every small tensor that was given, every constant,
and every result of known ones is computed beside its stand-in on meta; where a way or a shape depends on it, the value decides
as it does in the real pass. What follows from weights stays unknown: to look at it raises what torch raises on meta. But for
the choice of a router: which k of n are chosen (`topk`) moves work from one expert to another and makes none, so they are taken
evenly.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten
from torch.utils.weak import WeakTensorKeyDictionary

from bench.backend.known_looks import made_by

MAX_ELEMENTS = 1 << 22
"""Of a tensor whose values are kept: the tokens, masks and positions of a batch are far below, a mask of all pairs of tokens soon above."""

AS_IT_IS = "as_it_is"
"""Attribute of a tensor that stays where it is, since a pass makes a list of it: the rows and columns of images, say."""

OF_BUILDING = "known_of_building"
"""Attribute of a tensor on meta that a module made of constants while it was built: the values that it has where it computes."""

MAX_OF_BUILDING = 64
"""Elements of such a tensor, if its numbers are fractions: shares and switches, no tables."""

_META, _CPU = torch.device("meta"), torch.device("cpu")
_aten = torch.ops.aten


class KnownValues(TorchDispatchMode):
    """Runs operators on meta, and those whose values are known on the CPU beside it.

    Enter it before the modes that count: what is computed beside is then not seen by them.
    """

    supports_higher_order_operators = True

    def __init__(self, *, hides_nothing: bool = False, max_elements: int = MAX_ELEMENTS) -> None:
        """Of a pass that is about to run.

        Args:
            max_elements: of a constant whose values are kept.
            hides_nothing: whether to take it that no mask of the model's own hides anything, where nobody knows: all of it is true, and
                of its opposite not any. For inputs that were made up, which have no padding.
        """
        super().__init__()
        self._hides_nothing, self._max_elements = hides_nothing, max_elements
        self._values: Any = WeakTensorKeyDictionary()
        self._stale: dict[int, Any] = {}
        self._of_numbers: list[Callable[..., torch.Tensor]] = []

    def __enter__(self) -> KnownValues:
        self._of_numbers.append(torch.tensor)
        torch.tensor = self._tensor
        super().__enter__()
        return self

    def __exit__(self, *why: Any) -> None:
        super().__exit__(*why)
        torch.tensor = self._of_numbers.pop()

    def _tensor(self, data: Any, **how: Any) -> torch.Tensor:
        """torch.tensor, which no dispatcher sees: of numbers, on meta."""
        func = self._of_numbers[-1]
        made: torch.Tensor = func(data, **how)
        if made.is_meta and made.numel() <= self._max_elements:
            with suppress(RuntimeError):
                self._values[made] = func(data, **{**how, "device": _CPU})
        return made

    def stand_in(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor on meta of the same look, whose values are known where they are small numbers of whole or truth values."""
        if tensor.is_meta or hasattr(tensor, AS_IT_IS):
            return tensor
        plain = tensor.detach()
        standing = _empty_like(plain).requires_grad_(tensor.requires_grad)
        if not plain.is_floating_point() and not plain.is_complex() and plain.numel() <= MAX_ELEMENTS and type(plain) is torch.Tensor:
            self._values[standing] = plain.to(_CPU, copy=True)
        return standing

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not isinstance(func, torch._ops.OpOverload):
            return func(*args, **kwargs)
        if self._hides_nothing and func is _aten.eq.Scalar and args[1] == 0 and args[0].is_meta and args[0].is_floating_point():
            made = func(*args, **kwargs)
            self._values[made] = torch.zeros(1, dtype=torch.bool).expand(made.shape)  # what was made up is no padding
            return made
        if self._knows_nothing_of(func, args, kwargs):
            return made_by(func, args, kwargs)
        if self._hides_nothing and func is _aten.index.Tensor:
            args = (args[0], [None if index is None else self._hiding_nothing(index) for index in args[1]])
        leaves, tree = tree_flatten((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        if not any(t.is_meta for t in tensors) and not any(_is_meta(leaf) for leaf in leaves):
            return func(*args, **kwargs)
        goes_to_meta = [self.stand_in(leaf) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        if func._overloadpacket in _OF_ONE_DTYPE:
            goes_to_meta = _of_one_dtype(goes_to_meta)
        values = [self._value(leaf) if isinstance(leaf, torch.Tensor) else _CPU if _is_meta(leaf) else leaf for leaf in goes_to_meta]
        is_known = not any(value is None for leaf, value in zip(goes_to_meta, values, strict=True) if isinstance(leaf, torch.Tensor))
        is_known &= torch.Tag.nondeterministic_seeded not in func.tags
        args, kwargs = tree_unflatten(goes_to_meta, tree)
        if is_known and (tensors or self._is_small(func, args, kwargs)):
            return self._both(func, (args, kwargs), tree_unflatten(values, tree))
        self._forget_written(func, args, kwargs)
        if _has_no_kernel(func) and sum(t.numel() for t in tensors) <= MAX_ELEMENTS and all(t.layout is torch.strided for t in tensors):
            return self._by_trial(func, goes_to_meta, values, tree)
        out = _by_known_shapes(func, self._value)(*args, **kwargs)
        if self._hides_nothing and func._overloadpacket in _QUESTIONS:
            self._values[out] = torch.full(out.shape, _QUESTIONS[func._overloadpacket])
        if func is _aten.topk.default and out[1].numel() <= MAX_ELEMENTS:
            self._values[out[1]] = _even_shares(out[1].shape, args[0].shape, *args[2:3], **kwargs)
        return out

    def _knows_nothing_of(self, func: Any, args: Any, kwargs: Any) -> bool:
        """Whether an operator works on meta alone, of values that nobody knows, and makes none: most of a pass, and quickly told."""
        if not _is_plain(func) or not args:
            return False
        tensors = [leaf for part in (*args, *kwargs.values()) for leaf in (part if isinstance(part, list | tuple) else (part,))]
        tensors = [leaf for leaf in tensors if isinstance(leaf, torch.Tensor) or _is_meta(leaf)]
        if not tensors or not all(isinstance(leaf, torch.Tensor) and leaf.is_meta and leaf not in self._values for leaf in tensors):
            return False
        if any(hasattr(leaf, OF_BUILDING) for leaf in tensors):
            return False
        return func._overloadpacket not in _OF_ONE_DTYPE or len({leaf.dtype for leaf in tensors}) == 1

    def _hiding_nothing(self, index: torch.Tensor) -> torch.Tensor:
        """An index as it is; a mask of which nobody knows anything leaves everything."""
        if index.dtype is not torch.bool or not index.is_meta or self._value(index) is not None or index.numel() > MAX_ELEMENTS:
            return index
        return self.stand_in(torch.ones(index.shape, dtype=torch.bool))

    def keep_of_building(self, module: nn.Module) -> None:
        """Let what a module made of constants, in buffers and beside them, be known in every pass over it."""
        for part in module.modules():
            for tensor in (*part._buffers.values(), *vars(part).values()):
                value = self._value(tensor) if isinstance(tensor, torch.Tensor) and tensor.is_meta else None
                if value is not None and (value.numel() <= MAX_OF_BUILDING or not value.is_floating_point()):
                    setattr(tensor, OF_BUILDING, value)

    def _is_small(self, func: Any, args: Any, kwargs: Any) -> bool:
        """Whether a tensor made of numbers alone is small enough to be made twice."""
        made = [t for t in tree_flatten(func(*args, **kwargs))[0] if isinstance(t, torch.Tensor)]
        return all(t.numel() <= self._max_elements for t in made)

    def _value(self, tensor: torch.Tensor) -> torch.Tensor | None:
        if tensor not in self._values and hasattr(tensor, OF_BUILDING):
            self._values[tensor] = getattr(tensor, OF_BUILDING).clone()
        value: torch.Tensor | None = self._values.get(tensor)
        return None if value is None or value.untyped_storage()._cdata in self._stale else value

    def _both(self, func: Any, given: Any, values: Any) -> Any:
        """The operator's values on the CPU, and what stands for them: what meta makes, or where meta cannot know it, its own shape."""
        found = func(*values[0], **values[1])
        leaves, tree = tree_flatten(found)
        if not any(isinstance(leaf, torch.Tensor) for leaf in leaves) or _leaves_meta(func, given):
            return found
        if {torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output} & set(func.tags):
            standing = [_empty_like(leaf) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        else:
            standing = tree_flatten(func(*given[0], **given[1]))[0]
        for stand_in, value in zip(standing, leaves, strict=True):
            if isinstance(stand_in, torch.Tensor) and value.numel() <= MAX_ELEMENTS:
                self._values[stand_in] = value
        return tree_unflatten(standing, tree)

    def _by_trial(self, func: Any, given: list[Any], values: list[Any], tree: Any) -> Any:
        """Of an operator that has no kernel on meta: the shapes that it gives on the CPU, with zeros for what is not known."""
        leaves = [
            torch.zeros(leaf.shape, dtype=leaf.dtype) if isinstance(leaf, torch.Tensor) and value is None else value
            for leaf, value in zip(given, values, strict=True)
        ]
        args, kwargs = tree_unflatten(leaves, tree)
        return tree_map_only(torch.Tensor, _empty_like, func(*args, **kwargs))

    def _forget_written(self, func: Any, args: Any, kwargs: Any) -> None:
        """What is written over with what is not known, and whatever shares its storage, is known no longer."""
        if not func._schema.is_mutable:
            return
        for tensor in tree_flatten((args, kwargs))[0]:
            value = self._values.get(tensor) if isinstance(tensor, torch.Tensor) else None
            if value is not None and _writes(func, args, kwargs, tensor):
                self._stale[value.untyped_storage()._cdata] = value.untyped_storage()


_QUESTIONS = {_aten.all: True, _aten.any: False}
"""What a model asks of a mask, and the answer of one that hides nothing."""

_OF_ONE_DTYPE = {_aten.mm, _aten.addmm, _aten.bmm, _aten.baddbmm, _aten.mv, _aten.addmv, _aten.convolution, _aten.convolution_backward}
"""Products, whose operands autocast brings to one dtype where tensors lie on a device; on meta it does not act."""


def _of_one_dtype(leaves: list[Any]) -> list[Any]:
    """The tensors, each of the widest dtype of them all."""
    dtypes = {leaf.dtype for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()}
    if len(dtypes) < 2:
        return leaves
    widest = max(dtypes, key=lambda dtype: dtype.itemsize)
    return [leaf.to(widest) if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() else leaf for leaf in leaves]


def _even_shares(shape: torch.Size, of: torch.Size, dim: int = -1, **_: Any) -> torch.Tensor:
    """A choice of k among n that takes each of the n as often as the others, give or take one.

    >>> _even_shares(torch.Size([3, 2]), torch.Size([3, 4])).tolist()
    [[0, 1], [2, 3], [0, 1]]
    """
    moved = torch.empty(shape, device=_META).movedim(dim, -1).shape
    places = torch.arange(shape.numel()).remainder(of[dim]).reshape(moved)
    return places.movedim(-1, dim)


def _empty_like(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(tensor, device=_META)


_KERNELS = ("Meta", "CompositeExplicitAutograd", "CompositeExplicitAutogradNonFunctional", "CompositeImplicitAutograd")
"""Where torch looks for what to run on meta."""


@functools.cache
def _has_no_kernel(func: Any) -> bool:
    """Whether an operator of torch's own packages does not run on meta at all, such as a CTC loss; others' are not tried out."""
    if func.namespace not in ("aten", "torchvision", "torchaudio") or func._schema.is_mutable:
        return False
    return not any(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), kind) for kind in _KERNELS) and not func.py_kernels


@functools.cache
def _is_plain(func: Any) -> bool:
    """Whether an operator runs on meta as it is, whatever its tensors hold."""
    data = {torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output}
    own_way = (_aten.topk.default, _aten.index.Tensor, _aten.masked_select.default, _aten._to_copy.default)
    return func not in own_way and func._overloadpacket not in _QUESTIONS and not data & set(func.tags) and not _has_no_kernel(func)


def _is_meta(leaf: Any) -> bool:
    return isinstance(leaf, torch.device) and leaf == _META


def _leaves_meta(func: Any, given: Any) -> bool:
    """Whether it is a copy from meta to a device that has values."""
    device = given[1].get("device")
    return func is _aten._to_copy.default and device is not None and torch.device(device) != _META


def _writes(func: Any, args: Any, kwargs: Any, tensor: torch.Tensor) -> bool:
    named = zip(func._schema.arguments, args, strict=False)
    written = [value for argument, value in named if argument.alias_info is not None and argument.alias_info.is_write]
    written += [kwargs[a.name] for a in func._schema.arguments if a.name in kwargs and a.alias_info is not None and a.alias_info.is_write]
    return any(tensor is leaf for leaf in tree_flatten(written)[0])


def _by_known_shapes(func: Any, value_of: Callable[[torch.Tensor], torch.Tensor | None]) -> Callable[..., Any]:
    """The operator, or where the shape of its result is that of a known mask, one whose shape meta knows."""
    if func is _aten.index.Tensor:
        return lambda x, indices: func(x, _without_masks(indices, value_of))
    if func is _aten.masked_select.default:

        def selected(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            value = value_of(mask)
            if value is None:
                return func(x, mask)  # raises what meta raises
            shape = torch.broadcast_shapes(x.shape, mask.shape)
            return x.new_empty(int(value.expand(shape).count_nonzero()))

        return selected
    return func  # type: ignore[no-any-return]


def _without_masks(indices: Any, value_of: Callable[[torch.Tensor], torch.Tensor | None]) -> list[Any]:
    """Indices with the places of each known mask in place of it."""
    plain: list[Any] = []
    for index in indices:
        value = value_of(index) if index is not None and index.dtype in (torch.bool, torch.uint8) else None
        plain += [index] if value is None else [_empty_like(places) for places in value.nonzero(as_tuple=True)]
    return plain
