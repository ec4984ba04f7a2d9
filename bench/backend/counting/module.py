"""count(module, example_inputs): parameters and FLOP of a user's own network, by module and by operator.

Two routes side by side: torch's dispatcher and fvcore's traced graph. On meta where the network allows it, so that no
weight is touched and no kernel runs; else on the tensors as they are, and the result says so.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from bench.backend.counting.flop_formulas import MENDED
from bench.backend.counting.meta import FVCORE_MATMULS
from estimators.errors import BadValueError

HIDES_PRODUCTS = (
    "_native_multi_head_attention",
    "_transformer_encoder_layer_fwd",
    "mkldnn_rnn_layer",
    "_cudnn_rnn",
    "_thnn_fused_lstm_cell",
    "_cdist_forward",
    "_euclidean_dist",
    "_pdist_forward",
    "_trilinear",
    "_fft_",
    *("linalg_inv", "linalg_solve", "linalg_svd", "linalg_qr", "linalg_cholesky", "linalg_eig", "linalg_det", "linalg_slogdet"),
    *("linalg_lu", "linalg_ldl", "linalg_lstsq", "linalg_matrix_exp", "linalg_householder", "linalg_pinv"),
    *("cholesky_solve", "cholesky_inverse", "triangular_solve", "ormqr", "geqrf"),
    *("_sparse_mm", "_sparse_addmm", "_sparse_sparse_matmul", "sparse_sampled_addmm", "_spsolve", "_cslt_sparse_mm"),
    *("_int_mm", "_weight_int4pack_mm", "_weight_int8pack_mm", "_dyn_quant_matmul", "_mixed_dtypes_linear"),
)
"""Operators of torch that multiply many numbers with many inside and have no formula: a part of their names."""


DOES_NOT_RUN = (RuntimeError, NotImplementedError, TypeError, ValueError, AttributeError, LookupError, AssertionError)
"""What a network raises on inputs that it was not made for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """An operator that may multiply and that no formula covers.

    Attributes:
        name: such as mylib::fused_mlp.
        num_calls: in the forward pass.
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


class _Watch(TorchDispatchMode):
    """Sees every operator, to name those that may multiply and have no formula."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.elements: Counter[str] = Counter()
        self.suspects: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = str(func._overloadpacket).replace(".", "::")
        self.calls[name] += 1
        self.elements[name] += sum(t.numel() for t in tree_flatten(out)[0] if isinstance(t, torch.Tensor))
        formula = func._overloadpacket in flop_registry or func._overloadpacket in MENDED
        if not formula and (func.namespace not in ("aten", "prim", "prims", "profiler") or any(h in name for h in HIDES_PRODUCTS)):
            self.suspects.add(name)
        return out

    def unseen(self) -> tuple[Unseen, ...]:
        total = sum(self.elements.values()) or 1
        return tuple(
            Unseen(name=name, num_calls=self.calls[name], output_share_fraction=self.elements[name] / total)
            for name in sorted(self.suspects)
        )


def count(module: nn.Module, example_inputs: Any, *, backward: bool = True, fvcore: bool = True) -> NetworkCount:
    """Parameters and FLOP of one forward (and backward) pass of a network.

    Args:
        module: any network; it is not changed, and its mode (train or eval) is respected.
        example_inputs: one tensor, a sequence of positional arguments, or a mapping of keyword arguments.
        backward: whether a backward pass from the sum of all floating outputs is counted too.
        fvcore: whether fvcore counts the forward pass as a second opinion.

    Raises:
        BadValueError: the network does not run on these inputs, on meta or as it is; one line.
    """
    args, kwargs = _arguments(example_inputs)
    counted, where, backward_reason = _wherever_it_runs(module, args, kwargs, backward=backward)
    second, reason = _fvcore(module, args, kwargs) if fvcore else (None, "not asked for")
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
            for forward, total in [counted.by_module.get(name, (0, 0))]
        },
        by_operator=counted.by_operator,
        fvcore_forward_flop=second,
        fvcore_reason=reason,
        unseen=counted.unseen,
        counted_on=where,
    )


def _wherever_it_runs(module: nn.Module, args: Any, kwargs: Any, *, backward: bool) -> tuple[_Passes, str, str]:
    """What was counted, the device, and why there is no backward pass: both passes on meta or as it is, else the forward pass alone.

    Raises:
        BadValueError: not even a forward pass runs.
    """
    reason = "" if backward else "not asked for"
    cause: Exception | None = None
    for passes in (True, False) if backward else (False,):
        try:
            counted, where = _torch_count(module, *_on_meta(module, args, kwargs), backward=passes), "meta"
        except DOES_NOT_RUN:
            try:
                counted, where = _torch_count(module, None, args, kwargs, backward=passes), str(next(_tensors(args, kwargs)).device)
            except DOES_NOT_RUN as error:
                cause, reason = error, first_line(error)
                continue
        return counted, where, reason or ("nothing needs a gradient" if counted.backward_flop is None else "")
    said = f"{type(module).__name__} does not run on these inputs: {reason}; give the inputs that its forward expects"
    raise BadValueError(said) from cause


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _arguments(example_inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example_inputs, Mapping):
        return (), dict(example_inputs)
    if isinstance(example_inputs, Sequence):
        return tuple(example_inputs), {}
    return (example_inputs,), {}


def _tensors(*trees: Any) -> Iterator[torch.Tensor]:
    return (leaf for leaf in tree_flatten(trees)[0] if isinstance(leaf, torch.Tensor))


def _to_meta(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(tensor, device="meta").requires_grad_(tensor.requires_grad)


def _on_meta(module: nn.Module, args: Any, kwargs: Any) -> tuple[dict[str, torch.Tensor], Any, Any]:
    """Parameters, buffers and inputs as meta tensors; ties survive, since torch.func.functional_call knows them."""
    state = {name: _to_meta(t.detach()).requires_grad_(t.requires_grad) for name, t in module.named_parameters()}
    state |= {name: _to_meta(t.detach()) for name, t in module.named_buffers()}
    return state, tree_map_only(torch.Tensor, _to_meta, args), tree_map_only(torch.Tensor, _to_meta, kwargs)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Passes:
    """FLOP of the passes by torch's dispatcher; `backward_flop` is None where there was no backward pass.

    `by_module` has forward FLOP, and those of both passes.
    """

    forward_flop: int
    backward_flop: int | None
    by_module: dict[str, tuple[int, int]]
    by_operator: dict[str, int]
    unseen: tuple[Unseen, ...]


def _torch_count(module: nn.Module, state: dict[str, torch.Tensor] | None, args: Any, kwargs: Any, *, backward: bool) -> _Passes:
    """One context holds both passes: torch knows in backward only those modules whose forward it saw in the same one."""
    counter, watch = FlopCounterMode(display=False, depth=None, custom_mapping=MENDED), _Watch()
    with warnings.catch_warnings(action="ignore"), _unfused(), counter:
        with watch:
            out = module(*args, **kwargs) if state is None else torch.func.functional_call(module, state, args, kwargs)
        forward, by_operator, forward_by_module = _read(counter, module)
        roots = [t.sum() for t in _tensors(out) if t.requires_grad] if backward else []
        if roots:
            torch.autograd.backward(roots)
        total, _, total_by_module = _read(counter, module)
    if state is None and roots:
        module.zero_grad(set_to_none=True)
    return _Passes(
        forward_flop=forward,
        backward_flop=total - forward if roots else None,
        by_module={name: (forward_by_module.get(name, 0), flop) for name, flop in total_by_module.items()} | {"": (forward, total)},
        by_operator=by_operator,
        unseen=watch.unseen(),
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
def _unfused() -> Iterator[None]:
    """torch's fused transformer and recurrent paths off: they hide their matrix products from a dispatcher."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.backends.mkldnn.flags(enabled=False):
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
        with warnings.catch_warnings(action="ignore"), _unfused(), torch.no_grad():
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
