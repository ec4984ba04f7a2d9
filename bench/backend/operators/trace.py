"""The operators that a step dispatches, seen on tensors that have shapes and no memory.

torch's fake tensors stand for tensors of the real device, so that the step chooses the kernels that it will choose
there: on a CPU fused attention is fused, where the meta device falls back to plain products.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only
from torch.utils.flop_counter import conv_flop, flop_registry, shape_wrapper

from bench.backend.counting.flop_formulas import MENDED
from bench.backend.counting.meta import flop_counter
from bench.backend.operators.operator import GATHERS, SHORT, Spec, composite_flop, mnk_of, name_of
from bench.backend.unread_values import plain_sequences
from estimators.frozen import replace
from estimators.profile.operator_groups import CONVOLUTIONS, WORKLESS, group_of
from estimators.profile.operator_times import OperatorCall

_LONGEST_KEY = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One operator with one set of arguments: what a calibration can repeat.

    Attributes:
        operator: torch's overload; `args` and `kwargs` hold a Spec for every tensor.
        kept: whether its result outlives the step, as a gradient does: on a CPU it lies in fresh pages, which cost a fault each.
    """

    operator: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    piece: OperatorCall
    kept: bool = False


@dataclass(slots=True)
class _Seen:
    operator: Any
    args: Any
    kwargs: Any
    ages: list[int | None]
    places: list[int]
    out_bytes: int
    flop: int
    is_view: bool


@dataclass(slots=True)
class SeenOperators:
    """What `watching` saw."""

    seen: list[_Seen] = field(default_factory=list)
    touched_bytes: int = 0


class _Watch(TorchDispatchMode):
    """Notes every operator; of every input, how many bytes were touched since it was last in use."""

    def __init__(self) -> None:
        super().__init__()
        self.result = SeenOperators()
        self._last: dict[int, int] = {}
        self._alive: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.namespace == "prim":
            return out
        result, inputs = self.result, _tensors((args, kwargs))
        outputs = _tensors(out)
        view = func.is_view or name_of(func) in WORKLESS
        ages = [result.touched_bytes - self._last[at] if (at := _place(t)) in self._last else None for t in inputs]
        mended = MENDED.get(func._overloadpacket)
        formula = shape_wrapper(mended) if mended else flop_registry.get(func._overloadpacket)
        if name_of(func) in CONVOLUTIONS:
            formula = _of_one_convolution
        if formula is not None:
            flop = int(formula(*args, **(kwargs or {}), out_val=out))
        else:
            flop = composite_flop(name_of(func), [_plain(t) for t in inputs])
            if not flop and len(inputs) > 1 and func._can_decompose():
                flop = _of_its_parts(func, args, kwargs or {})
        out_bytes = sum(t.numel() * t.element_size() for t in outputs)
        if not view:
            result.touched_bytes += sum(t.numel() * t.element_size() for t in inputs) + out_bytes
            for t in (*inputs, *outputs):
                self._last[_place(t)] = result.touched_bytes
                self._alive.append(t.untyped_storage())  # a storage's address must not be given out anew
        described = tree_map_only(torch.Tensor, _plain, (args, kwargs or {}))
        places = [] if view else [_place(t) for t in outputs]
        result.seen.append(_Seen(func, described[0], described[1], ages, places, out_bytes, flop, view))
        return out


def _of_one_convolution(x: torch.Tensor, weight: torch.Tensor, *_: Any, out_val: torch.Tensor, **__: Any) -> int:
    return int(conv_flop(x, weight, None, None, None, None, False, out_val=out_val))


def _of_its_parts(func: Any, args: Any, kwargs: Any) -> int:
    """FLOP of an operator that inference does not take apart, such as matmul or einsum."""
    with flop_counter() as counter:
        func.decompose(*args, **kwargs)
    return int(counter.get_total_flops())


def _plain(tensor: torch.Tensor) -> Spec:
    return Spec(
        tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype, False, isinstance(tensor, torch.nn.Parameter) and tensor.requires_grad
    )


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, torch.Tensor)]


def _place(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def calls_of(step: Callable[[], object], cache_bytes: int) -> list[Call]:
    """The operators of one step, those with equal arguments together, in the order of their first call.

    Args:
        step: to be called inside `fake()` by whoever made its tensors there; returns the tensors that it leaves behind.
        cache_bytes: what was touched longer ago than so many bytes is taken to have left the caches.
    """
    with _Watch() as watch:
        left = {_place(t) for t in _tensors(step())}
    result = watch.result
    merged: dict[str, Call] = {}
    for seen in result.seen:
        args, kwargs = _aged(seen, result.touched_bytes, cache_bytes)
        call = _call(seen, args, kwargs, kept=not left.isdisjoint(seen.places))
        before = merged.get(call.piece.key)
        merged[call.piece.key] = call if before is None else _again(before)
    return list(merged.values())


def _aged(seen: _Seen, step_bytes: int, cache_bytes: int) -> tuple[Any, Any]:
    """The arguments, each marked cold if more than the caches hold was touched since; first touches wait for a whole step."""
    ages = iter(seen.ages)
    stays = seen.is_view or name_of(seen.operator) in GATHERS

    def aged(spec: Spec) -> Spec:
        age = next(ages)
        return dataclasses.replace(spec, cold=not stays and (step_bytes if age is None else age) > cache_bytes)

    args, kwargs = tree_map_only(Spec, aged, (seen.args, seen.kwargs))
    return args, kwargs


def _again(call: Call) -> Call:
    return dataclasses.replace(call, piece=replace(call.piece, count=call.piece.count + 1))


def _call(seen: _Seen, args: tuple[Any, ...], kwargs: dict[str, Any], kept: bool) -> Call:
    name = name_of(seen.operator)
    specs = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Spec)]
    widest = max(specs, key=lambda spec: spec.num_bytes, default=None)
    written = ", ".join(_argument(leaf) for leaf in tree_flatten((args, kwargs))[0])
    overload = seen.operator._overloadname
    piece = OperatorCall(
        key=f"{name}.{overload}({written})"[:_LONGEST_KEY] + (" kept" if kept else ""),
        kind=name,
        group=group_of(name, seen.is_view),
        dtype=SHORT.get(widest.dtype, "other") if widest else "other",
        mnk=mnk_of(name, specs),
        flop=seen.flop,
        num_bytes=2 * seen.out_bytes if name in GATHERS else sum(spec.num_bytes for spec in specs) + seen.out_bytes,
        cold_bytes=sum(spec.num_bytes for spec in specs if spec.cold),
    )
    return Call(operator=seen.operator, args=args, kwargs=kwargs, piece=piece, kept=kept)


def _argument(leaf: Any) -> str:
    return str(leaf) if isinstance(leaf, (Spec, int, float, bool, str, type(None))) else str(leaf).replace("torch.", "")


@contextmanager
def fake(device: torch.device | str = "cpu") -> Iterator[FakeTensorMode]:
    """Inside, a step's model, inputs and step itself are made, as if on the device, and run."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode, torch.device(device), plain_sequences(), warnings.catch_warnings(action="ignore"):
        yield mode
