"""What one pass on meta does, operation by operation: in which module, of what shape, with whose weights, and its gradients."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from bench.backend.counting.flop_formulas import MENDED
from bench.backend.counting.products import hides_products

_aten = torch.ops.aten
_MATRICES = {_aten.mm: (0, 1), _aten.addmm: (1, 2), _aten.bmm: (0, 1), _aten.baddbmm: (1, 2)}
"""Products of two matrices, or of stacks of them -> the places of their operands."""
_LOOKUPS = (_aten.embedding,)
_TRAFFIC = frozenset(
    (
        *("add", "add_", "sub", "sub_", "mul", "mul_", "div", "div_", "neg", "pow", "exp", "sqrt", "rsqrt", "sin", "cos", "erf", "clamp"),
        *("silu", "silu_", "gelu", "gelu_", "relu", "relu_", "tanh", "sigmoid", "softplus", "hardswish", "leaky_relu", "elu", "mish"),
        "native_dropout",
    )
)
"""Element-wise operators that a framework runs as kernels of their own unless it fuses them."""


@dataclass(slots=True)
class Seen:
    """One operation as one pass ran it, or those of one module and operator together.

    Attributes:
        path: of the module that ran it.
        operator: such as convolution; matmul for all products of two matrices or stacks of them, since which of torch's it is depends
            on the batch; or what its rows have in common: norm, elementwise, lookup.
        least: of a filter, FLOP that no algorithm may skip.
        matrices, m, n, k: how many products of which shape; 0 where the operator has no such form.
        weight: the parameter that it multiplies with; empty for activations alone.
        read: elements of that parameter which it read.
        saved: elements of floating point that autograd keeps; saved_fixed: bytes of anything else.
        tokens, has_backward: of the pass that it belongs to.
    """

    path: str
    operator: str
    calls: int = 1
    flop: int = 0
    backward_flop: int = 0
    least: int = 0
    matrices: int = 0
    m: int = 0
    n: int = 0
    k: int = 0
    weight: str = ""
    read: int = 0
    activation: int = 0
    saved: int = 0
    saved_fixed: int = 0
    tokens: int = 0
    has_backward: bool = True


@dataclass(slots=True)
class Pass:
    """Everything of one pass.

    Attributes:
        seen: by path, operator and which call of it in that module it was.
        first_use: parameter -> the operation that read it first.
        visited: paths of modules that ran.
        unplaced_flop: of the backward pass, those that belong to no operation seen forward.
        unseen: operators that may multiply and have no formula.
        cache: of each layer and kind (keys, filters, states): the window of the layer or 0, and the elements held when the pass was over.
        tokens: rows of input of the pass.
        has_backward: whether gradients were taken; without, `backward_flop` are unknown.
        causal: whether the model is a decoder, whose attention masks the future unless a layer says otherwise.
    """

    seen: dict[tuple[str, str, int], Seen] = field(default_factory=dict)
    first_use: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    visited: set[str] = field(default_factory=set)
    unplaced_flop: int = 0
    unseen: set[str] = field(default_factory=set)
    cache: list[tuple[str, int, int]] = field(default_factory=list)
    tokens: int = 0
    causal: bool = True
    has_backward: bool = True


class Recorder(TorchDispatchMode):
    """Sees every operator of a pass over one model."""

    supports_higher_order_operators = True

    def __init__(self, model: nn.Module, *, tokens: int, causal: bool = True) -> None:
        super().__init__()
        self.result = Pass(tokens=tokens, causal=causal)
        self._formulas = FlopCounterMode(display=False, custom_mapping=MENDED).flop_registry
        self._paths = {id(part): name for name, part in model.named_modules()}
        self._kinds = {name: type(part).__name__ for name, part in model.named_modules()}
        self._weights = {p.untyped_storage()._cdata: name for name, p in model.named_parameters()}
        self._sizes = {name: p.numel() for name, p in model.named_parameters()}
        self._held: list[Any] = []  # storages whose identity stands for a weight or a saved tensor, so that it is not given away
        self._counts: Counter[tuple[str, str]] = Counter()
        self._by_node: dict[int, Seen] = {}
        self._last_node = -1
        self._saved: set[tuple[int, int]] = set()
        self._stack: list[str] = [""]

    @contextmanager
    def watching(self) -> Iterator[Pass]:
        """Inside, every operator and every saved tensor is recorded."""
        before = nn.modules.module.register_module_forward_pre_hook(self._entered)
        after = nn.modules.module.register_module_forward_hook(self._left, always_call=True)
        try:
            with torch.autograd.graph.saved_tensors_hooks(self._keep, lambda kept: kept), self:
                yield self.result
        finally:
            before.remove()
            after.remove()

    @property
    def path(self) -> str:
        """Of the module that is running."""
        return self._stack[-1]

    def _entered(self, module: nn.Module, args: Any) -> None:
        path = self._paths.get(id(module), self.path)
        self._stack.append(path)
        self.result.visited.add(path)
        if "Norm" in type(module).__name__:
            width = next((leaf.numel() for leaf in args if isinstance(leaf, torch.Tensor)), 0)
            self._together("norm").activation += 2 * width

    def _left(self, module: nn.Module, args: Any, output: Any) -> None:
        if len(self._stack) > 1:
            self._stack.pop()

    def _together(self, operator: str) -> Seen:
        """What all operators of a kind in the running module have in common."""
        key = (self.path, operator, 0)
        if key not in self.result.seen:
            self.result.seen[key] = Seen(path=self.path, operator=operator)
        return self.result.seen[key]

    def _in_norm(self) -> bool:
        return "Norm" in self._kinds.get(self.path, "")

    def _keep(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        key = (storage._cdata, tensor.numel())
        if key not in self._saved and storage._cdata not in self._weights:
            self._saved.add(key)
            self._held.append(storage)
            kept = self._together("norm" if self._in_norm() else "elementwise")
            if tensor.is_floating_point():
                kept.saved += tensor.numel()
            else:
                kept.saved_fixed += tensor.numel() * tensor.element_size()
        return tensor

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        packet = getattr(func, "_overloadpacket", func)
        formula = self._formulas.get(packet)
        backward = torch._C._current_graph_task_id() != -1
        if hides_products(func):
            self.result.unseen.add(_name(packet))
        if formula is not None:
            flop = formula(*args, **kwargs, out_val=out)
            if backward:
                self._gradient(flop)
            else:
                self._product(packet, args, out, flop)
        elif not backward:
            self._other(packet, args, kwargs, out)
        return out

    def _node(self) -> int | None:
        """The node of autograd's graph that an operator was just given; None where it has none of its own."""
        number: int = torch._C._autograd._get_sequence_nr() - 1
        if number <= self._last_node:
            return None
        self._last_node = number
        return number

    def _gradient(self, flop: int) -> None:
        node: Any = torch._C._current_autograd_node()
        seen = self._by_node.get(node._sequence_nr()) if node is not None else None
        if seen is None:
            self.result.unplaced_flop += flop
        else:
            seen.backward_flop += flop

    def _weight_of(self, tensor: Any) -> str:
        if not isinstance(tensor, torch.Tensor) or tensor.layout is not torch.strided:
            return ""
        name: str = self._weights.get(tensor.untyped_storage()._cdata, "")
        return name

    def _product(self, packet: Any, args: Any, out: Any, flop: int) -> None:
        name = "matmul" if packet in _MATRICES else _name(packet)
        ordinal = self._counts[self.path, name]
        self._counts[self.path, name] += 1
        key = (self.path, name, ordinal)
        seen = self.result.seen[key] = Seen(path=self.path, operator=name, flop=flop, tokens=self.result.tokens)
        node = self._node()
        if node is not None:
            self._by_node[node] = seen
        tensors = _tensors_of(args)
        weights = {self._weight_of(t): t for t in tensors if self._weight_of(t)}
        _shape(seen, packet, args, out)
        seen.weight = max(weights, key=lambda name: self._sizes[name], default="")
        seen.read = sum(t.numel() for t in weights.values())
        seen.activation = sum(t.numel() for t in tensors if not self._weight_of(t)) + (out.numel() if isinstance(out, torch.Tensor) else 0)
        if packet in _MATRICES and self._weight_of(args[_MATRICES[packet][0]]) and not self._weight_of(args[_MATRICES[packet][1]]):
            seen.m, seen.n = seen.n, seen.m  # the weights stand first
        for weight in weights:
            self.result.first_use.setdefault(weight, key)

    def _other(self, packet: Any, args: Any, kwargs: Any, out: Any) -> None:
        node = self._node()
        tensors = _tensors_of((*args, *kwargs.values()))
        made = _tensors_of(out if isinstance(out, list | tuple) else (out,))
        named = [self._weight_of(t) for t in tensors]
        name = _name(packet)
        if packet in _LOOKUPS and named[0]:
            self.result.first_use.setdefault(named[0], (self.path, "lookup", 0))
            seen = self._together("lookup")
            seen.weight, seen.read = named[0], tensors[0].shape[-1]
            seen.activation += 2 * made[0].numel()
            return
        weights = [weight for weight in named if weight]
        floating = [weight for t, weight in zip(tensors, named, strict=True) if t.is_floating_point() or t.is_complex()]
        if weights and all(floating) and not any(t.untyped_storage()._cdata in self._weights for t in made if t.numel()):
            largest = max(weights, key=lambda weight: self._sizes[weight])  # made of weights alone, such as the experts of each token
            for t in made:
                self._weights[t.untyped_storage()._cdata] = largest
                self._held.append(t.untyped_storage())
        elif weights and any(t.untyped_storage()._cdata not in self._weights for t in made):
            kind = "norm" if self._in_norm() else "elementwise"
            for weight in weights:
                self._together(kind)
                self.result.first_use.setdefault(weight, (self.path, kind, 0))
        if name in _TRAFFIC and not self._in_norm() and made and made[0].is_floating_point() and not self._weight_of(made[0]):
            inputs = sum(t.numel() for t, weight in zip(tensors, named, strict=True) if not weight)
            self._together("elementwise").activation += made[0].numel() + inputs
        if node is not None and weights:
            self._by_node.setdefault(node, Seen(path=self.path, operator=name))


@functools.cache
def _name(packet: Any) -> str:
    return str(packet).replace("aten.", "")


def _tensors_of(values: Any) -> list[torch.Tensor]:
    """The tensors among an operator's arguments or results, and those of lists of them."""
    inner = (leaf for value in values for leaf in (value if isinstance(value, list | tuple) else (value,)))
    return [leaf for leaf in inner if isinstance(leaf, torch.Tensor)]


def _shape(seen: Seen, packet: Any, args: Any, out: Any) -> None:
    """The shape of the products, where the operator has one: all of them together are 2 · matrices · m · n · k."""
    if packet in _MATRICES:
        first, second = (args[place] for place in _MATRICES[packet])
        seen.matrices = first.shape[0] if first.dim() == 3 else 1
        seen.m, seen.k, seen.n = first.shape[-2], first.shape[-1], second.shape[-1]
    elif packet is _aten.convolution:
        x, weight = args[0], args[1]
        transposed, groups = args[6], args[8]
        positions = math.prod((x if transposed else out).shape[2:])
        seen.matrices, seen.m = groups, x.shape[0] * positions
        seen.n = weight.shape[1] if transposed else weight.shape[0] // groups
        inside = math.prod((out if transposed else x).shape[2:])
        seen.least = 2 * x.shape[0] * inside * out.shape[1] * x.shape[1] // groups
        seen.k = math.prod(weight.shape[2:]) * (weight.shape[0] // groups if transposed else weight.shape[1])
