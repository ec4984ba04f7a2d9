"""count(module, example_inputs): parameters and FLOP of a user's own network, by module and by operator.

Two routes side by side: torch's dispatcher and fvcore's traced graph. On meta where the network allows it, so that no
weight is touched and no kernel runs; else on the tensors as they are, and the result says so.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import FlopCounterMode

from bench.backend.counting.arguments import copied_with
from bench.backend.counting.does_not_run import DOES_NOT_RUN, first_line, raise_if_ours
from bench.backend.counting.flop_formulas import MENDED
from bench.backend.counting.meta import FVCORE_MATMULS
from bench.backend.counting.products import hides_products
from bench.backend.counting.twin import left_as_it_is, state_on_meta
from bench.backend.known_values import KnownValues
from estimators.errors import BadValueError


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """An operator that may multiply and that no formula covers.

    Attributes:
        name: such as mylib::fused_mlp.
        num_calls: in the passes that were counted.
        output_share_fraction: its outputs' elements over those of all operators: how much of the network it may be.
    """

    name: str
    num_calls: int
    output_share_fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCount:
    """What was counted of one network on one input.

    Attributes:
        params, trainable_params: tied ones once.
        forward_flop, backward_flop: by torch's dispatcher, convention `full`; backward is None with `backward_reason`: not
            asked for, nothing needs a gradient, or an operator has no gradient.
        by_module: qualified module name to (parameters of its own and below, forward FLOP, backward FLOP or None).
        by_operator: operator to forward FLOP.
        fvcore_forward_flop: twice fvcore's multiply-adds; None with `fvcore_reason`.
        unseen: operators that no formula covers; empty means that the count is whole.
        counted_on: meta, or the device on which the network had to run.
        recomputed_flop: of forward passes that run again inside the backward pass; no part of `backward_flop`.
        skippable_flop: of `forward_flop` and of `backward_flop`: products of activations with one another, such as attention's, of which
            a kernel may leave out what is masked.
    """

    params: int
    trainable_params: int
    forward_flop: int
    backward_flop: int | None
    backward_reason: str
    by_module: Mapping[str, tuple[int, int, int | None]]
    by_operator: Mapping[str, int]
    fvcore_forward_flop: int | None
    fvcore_reason: str
    unseen: tuple[Unseen, ...]
    counted_on: str
    recomputed_flop: int = 0
    skippable_flop: tuple[int, int] = (0, 0)


_OF_ACTIVATIONS = ("bmm", "baddbmm", "scaled_dot_product", "flash", "flex_attention")
"""Parts of the names of operators that multiply activations with one another; some multiply weights, too."""


class _Watch(TorchDispatchMode):
    """Sees every operator, to name those that may multiply and have no formula, and to tell what runs inside a backward pass."""

    supports_higher_order_operators = True

    def __init__(self, formulas: Mapping[Any, Callable[..., int]]) -> None:
        super().__init__()
        self.formulas = formulas
        self.backward_flop = self.recomputed_flop = self.skippable_flop = self.skippable_backward_flop = 0
        self.calls: Counter[str] = Counter()
        self.elements: Counter[str] = Counter()
        self.suspects: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = str(getattr(func, "_overloadpacket", func)).replace(".", "::")
        self.calls[name] += 1
        self.elements[name] += sum(t.numel() for t in tree_flatten(out)[0] if isinstance(t, torch.Tensor))
        if hides_products(func):
            self.suspects.add(name)
        formula = self.formulas.get(getattr(func, "_overloadpacket", func))
        if formula is not None:
            self._sum(name, formula(*args, **(kwargs or {}), out_val=out))
        return out

    def _sum(self, name: str, flop: int) -> None:
        is_skippable, in_backward = any(part in name for part in _OF_ACTIVATIONS), torch._C._current_graph_task_id() != -1
        if in_backward and torch.is_grad_enabled():  # only what is run again has its gradients taken afterwards
            self.recomputed_flop += flop
        elif in_backward:
            self.backward_flop += flop
            self.skippable_backward_flop += flop * is_skippable
        else:
            self.skippable_flop += flop * is_skippable

    def unseen(self) -> tuple[Unseen, ...]:
        total = sum(self.elements.values()) or 1
        return tuple(
            Unseen(name=name, num_calls=self.calls[name], output_share_fraction=self.elements[name] / total)
            for name in sorted(self.suspects)
        )


def count(
    module: nn.Module, example_inputs: Any, *, backward: bool = True, fvcore: bool = True, hides_nothing: bool = False
) -> NetworkCount:
    """Parameters and FLOP of one forward (and backward) pass of a network.

    Args:
        module: any network; it is not changed, and its mode (train or eval) is respected.
        example_inputs: one tensor, a sequence of positional arguments, or a mapping of keyword arguments.
        backward: whether a backward pass from the sum of all floating outputs is counted too.
        fvcore: whether fvcore counts the forward pass as a second opinion.
        hides_nothing: whether masks that the network makes itself are taken to hide nothing, for inputs that were made up.

    Raises:
        BadValueError: the network does not run on these inputs, on meta or as it is; one line.
    """
    args, kwargs = _arguments(example_inputs)
    with left_as_it_is(module):
        counted, where, backward_reason = _wherever_it_runs(module, args, kwargs, backward=backward, hides_nothing=hides_nothing)
        second, reason = _fvcore(module, args, kwargs) if fvcore else (None, "not asked for")
    by_module = _with_containers(module, counted.by_module)
    own = {name: sum(p.numel() for p in part.parameters()) for name, part in module.named_modules()}
    return NetworkCount(
        params=own[""],
        trainable_params=sum(p.numel() for p in module.parameters() if p.requires_grad),
        forward_flop=counted.forward_flop,
        backward_flop=counted.backward_flop,
        backward_reason=backward_reason,
        by_module={
            name: (size, forward, None if backward_reason else total - forward)
            for name, size in own.items()
            for forward, total in [by_module.get(name, (0, 0))]
        },
        by_operator=counted.by_operator,
        fvcore_forward_flop=second,
        fvcore_reason=reason,
        unseen=counted.unseen,
        counted_on=where,
        recomputed_flop=counted.recomputed_flop,
        skippable_flop=counted.skippable_flop,
    )


def _with_containers(module: nn.Module, by_module: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """With the sum of its children for each module that was never called itself, such as a list of layers."""
    found = dict(by_module)
    for name, part in reversed(list(module.named_modules())):
        if name not in found:
            inner = [found.get(f"{name}.{child}".removeprefix("."), (0, 0)) for child, _ in part.named_children()]
            found[name] = sum(forward for forward, _ in inner), sum(total for _, total in inner)
    return found


def _wherever_it_runs(module: nn.Module, args: Any, kwargs: Any, *, backward: bool, hides_nothing: bool) -> tuple[Passes, str, str]:
    """What was counted, the device, and why there is no backward pass: both passes on meta or as it is, else the forward pass alone.

    Raises:
        BadValueError: not even a forward pass runs.
    """
    reason = "" if backward else "not asked for"
    cause: Exception | None = None
    for both in (True, False) if backward else (False,):
        try:
            counted, where = _torch_count(module, args, kwargs, on_meta=True, backward=both, hides_nothing=hides_nothing), "meta"
        except DOES_NOT_RUN as error:
            raise_if_ours(error)
            try:
                counted = _torch_count(module, args, kwargs, on_meta=False, backward=both)
                where = str(next(_tensors(args, kwargs)).device)
            except DOES_NOT_RUN as again:
                raise_if_ours(again)
                cause, reason = again, first_line(again)
                continue
        return counted, where, reason or ("nothing needs a gradient" if counted.backward_flop is None else "")
    said = f"{type(module).__name__} does not run on these inputs: {reason}; give the inputs that its forward expects"
    raise BadValueError(said) from cause


def _arguments(example_inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example_inputs, Mapping):
        return (), dict(example_inputs)
    if isinstance(example_inputs, Sequence):
        return tuple(example_inputs), {}
    return (example_inputs,), {}


def _tensors(*trees: Any) -> Iterator[torch.Tensor]:
    return (leaf for leaf in tree_flatten(trees)[0] if isinstance(leaf, torch.Tensor))


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """FLOP of the passes by torch's dispatcher; `backward_flop` is None where there was no backward pass.

    `by_module` has forward FLOP, and those of both passes with what is run again; the others are as in NetworkCount.
    """

    forward_flop: int
    backward_flop: int | None
    by_module: dict[str, tuple[int, int]]
    by_operator: dict[str, int]
    unseen: tuple[Unseen, ...]
    recomputed_flop: int
    skippable_flop: tuple[int, int]


def _torch_count(module: nn.Module, args: Any, kwargs: Any, *, on_meta: bool, backward: bool, hides_nothing: bool = False) -> Passes:
    state = state_on_meta(module) if on_meta else None

    def forward(*args: Any, **kwargs: Any) -> Any:
        return module(*args, **kwargs) if state is None else torch.func.functional_call(module, state, args, kwargs)

    try:
        return passes(module, forward, args, kwargs, on_meta=on_meta, backward=backward, hides_nothing=hides_nothing)
    finally:
        if backward and not on_meta:
            module.zero_grad(set_to_none=True)


def passes(
    module: nn.Module,
    forward: Callable[..., Any],
    args: Any,
    kwargs: Any,
    *,
    on_meta: bool,
    backward: bool,
    hides_nothing: bool = False,
    roots_of: Callable[[Any], Iterable[torch.Tensor]] = _tensors,
) -> Passes:
    """What torch's dispatcher sees of a forward pass, and of the backward pass from the sum of its roots.

    One context holds both passes: torch knows in backward only those modules whose forward it saw in the same one. An operator
    that runs inside a backward pass counts as backward, also where `forward` itself calls for one.

    Args:
        module: whose parts are told apart.
        forward: what is called with the arguments.
        on_meta: whether the arguments' tensors are replaced by stand-ins on meta that know their values where they are whole numbers.
        hides_nothing: see KnownValues.
        roots_of: from what forward returns to the tensors that a gradient is taken of, where they need one.
    """
    counter, known = FlopCounterMode(display=False, depth=None, custom_mapping=MENDED), KnownValues(hides_nothing=hides_nothing)
    watch = _Watch(counter.flop_registry)
    with unfused(), known if on_meta else nullcontext(), watch, counter:
        given = copied_with((args, kwargs), known.stand_in) if on_meta else (args, kwargs)
        out = forward(*given[0], **given[1])
        _, by_operator, forward_by_module = _read(counter, module)
        # a gradient that is one number, expanded, is refused by some kernels
        roots = [(t * torch.ones_like(t)).sum() for t in roots_of(out) if t.requires_grad] if backward else []
        if roots:
            torch.autograd.backward(roots)
        total, _, total_by_module = _read(counter, module)
    forward_flop = total - watch.backward_flop - watch.recomputed_flop
    return Passes(
        forward_flop=forward_flop,
        backward_flop=watch.backward_flop if roots or watch.backward_flop else None,
        by_module={name: (forward_by_module.get(name, 0), flop) for name, flop in total_by_module.items()} | {"": (forward_flop, total)},
        by_operator=by_operator,
        unseen=watch.unseen(),
        recomputed_flop=watch.recomputed_flop,
        skippable_flop=(watch.skippable_flop, watch.skippable_backward_flop),
    )


def _read(counter: FlopCounterMode, module: nn.Module) -> tuple[int, dict[str, int], dict[str, int]]:
    counts = counter.get_flop_counts()
    root = type(module).__name__
    by_module = {
        name.removeprefix(root).removeprefix("."): sum(operators.values()) for name, operators in counts.items() if name != "Global"
    }
    operators = {str(op).removeprefix("aten."): flop for op, flop in counts.get("Global", {}).items()}
    return counter.get_total_flops(), operators, by_module


@contextmanager
def unfused() -> Iterator[None]:
    """torch's fused transformer and recurrent paths off, which hide their matrix products from a dispatcher, and warnings of a run."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings(action="ignore"), torch.backends.mkldnn.flags(enabled=False):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _fvcore(module: nn.Module, args: Any, kwargs: Any) -> tuple[int | None, str]:
    """fvcore's second opinion, or the reason why there is none. It traces, so it runs the network on its real tensors."""
    if kwargs:
        return None, "fvcore takes positional tensors only"
    try:
        from fvcore.nn import FlopCountAnalysis
    except ImportError:
        return None, "fvcore is not installed"
    training = module.training
    try:
        with unfused(), torch.no_grad():
            analysis = FlopCountAnalysis(module.eval(), args).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
            macs = sum(value for name, value in analysis.by_operator().items() if name in FVCORE_MATMULS)
            unseen = sorted(
                name for name in analysis.unsupported_ops() if any(h in name for h in ("attention", "lstm", "gru", "rnn", "::_"))
            )
    except Exception as error:  # fvcore traces through torch.jit, which raises anything
        return None, f"fvcore could not trace it: {type(error).__name__}"
    finally:
        module.train(training)
    return round(2 * macs), f"without a handle: {', '.join(unseen)}" if unseen else ""
