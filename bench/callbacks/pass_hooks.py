"""Hooks of the watched model that see its forward and backward passes and change nothing."""

from __future__ import annotations

import gc
import inspect
import logging
import sys
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

import torch
from torch import nn

from bench.callbacks.given import Documents, documents_in, is_text, look_of_all
from bench.callbacks.guard import Guard
from bench.callbacks.modules import bare, called_modules, is_lightning
from bench.callbacks.passes import Event, Forward, PassLedger
from estimators.errors import UnavailableError

FIGURE = "forward passes"
"""What is unavailable where these hooks fail."""

MAX_GRAPH_NODES = 20_000
"""Of a pass's graph, looked through once per kind of pass for the parameters at its two ends."""

_requires_grad = attrgetter("requires_grad")


class _Pickled:
    """A hook that a copy of the model, or one read from a file, does not have: it does nothing there."""

    def __reduce__(self) -> Any:
        return getattr, (logging.getLogger("sixnd"), "debug")


class _Before(_Pickled):
    def __init__(self, hooks: PassHooks, called: nn.Module, computes: nn.Module) -> None:
        self._hooks, self._called, self._computes = hooks, called, computes

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if torch.compiler.is_compiling():  # so that a compiler that traces this finds nothing
            return
        if module is self._called:
            self._hooks.before(self._computes, args, kwargs)
        else:
            self._hooks.copy_runs()


class _After(_Pickled):
    def __init__(self, hooks: PassHooks, called: nn.Module) -> None:
        self._hooks, self._called = hooks, called

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if not torch.compiler.is_compiling() and module is self._called:
            self._hooks.after(output)


class PassHooks:
    """Hooks of a model, and of what compiled it, that tell a ledger of its passes.

    A pass is the outermost call: of the model, or of its parts where they are what is called (a container, a LightningModule).
    Evaluation, in evaluation mode and without gradients, is none. A compiler that traces the hooks finds them empty; a model
    that is compiled, in place or not, is seen from outside.

    Args:
        model: as it was given: wrapped or not.
        ledger: of this rank.
        guard: of this training.
        see_first: called inside the first pass of all.
        see_batch: called with the arguments by name before a pass of a step with gradients, in training mode.
        see_output: called with what it returned.
        compiled: whether torch.compile has wrapped the model out of sight.
    """

    def __init__(
        self,
        model: nn.Module,
        ledger: PassLedger,
        guard: Guard,
        *,
        see_first: Callable[[], None] = lambda: None,
        see_batch: Callable[[dict[str, Any]], None] | None = None,
        see_output: Callable[[Any], None] | None = None,
        compiled: bool = False,
    ) -> None:
        self._ledger, self._guard = ledger, guard
        self._see_first, self._see_batch, self._see_output = see_first, see_batch, see_output
        self._inside: list[_Call | None] = []
        self._ends: dict[int, tuple[nn.Parameter, ...]] = {}
        self._parameters: dict[int, list[nn.Parameter]] = {}
        self._names: dict[int, list[str]] = {}
        self._calls: dict[int, _Call] = {}
        self._handles: list[Any] = []
        self._in_place: list[tuple[nn.Module, Any]] = []
        self._called = called_modules(bare(model))
        self._lightning = {id(module) for module in self._called if is_lightning(module)}
        for module in self._called:
            self._parameters[id(module)] = list(module.parameters())
            self._names[id(module)] = list(inspect.signature(module.forward).parameters)
            self._hook(module, module)
        for outer in _compilers_of(model, search=compiled):
            self._hook(outer, bare(model))

    def _hook(self, called: nn.Module, computes: nn.Module) -> None:
        self._handles += [
            called.register_forward_pre_hook(_Before(self, called, computes), with_kwargs=True),
            called.register_forward_hook(_After(self, called), with_kwargs=True, always_call=True),
        ]

    def look_for_compilers(self) -> None:
        """What has been compiled in place since the last look is seen from outside of its graph from here on."""
        for module in self._called:
            if module._compiled_call_impl is not None and not any(module is known for known, _ in self._in_place):
                self._surround(module)

    def _surround(self, module: nn.Module) -> None:
        compiled = module._compiled_call_impl

        def surrounded(*args: Any, **kwargs: Any) -> Any:
            self.before(module, args, kwargs)
            output = None
            try:
                output = compiled(*args, **kwargs)
            finally:
                self.after(output)
            return output

        module._compiled_call_impl = surrounded
        self._in_place.append((module, compiled))

    def remove(self) -> None:
        """See no more."""
        for handle in self._handles:
            handle.remove()
        for module, compiled in self._in_place:
            module._compiled_call_impl = compiled
        self._handles, self._in_place = [], []

    def before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A module is called."""
        self._guard(FIGURE, self._before, module, args, kwargs)

    def after(self, output: Any) -> None:
        """It has returned, or raised, and then there is no output."""
        self._guard(FIGURE, self._after, output)

    def backward(self, call: _Call) -> None:
        """A gradient has come to the outputs of a call, for the first time in this backward pass."""
        self._guard("training_flop", self._backward, call)

    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        call: _Call | None = None
        if id(module) in self._lightning and "forward" in vars(module):  # DDP of Lightning calls the training step in place of it
            call = _SEE_THROUGH
        elif self._is_outermost() and self._ledger.trains and not torch.jit.is_tracing() and (module.training or torch.is_grad_enabled()):
            call = self._begun(module, args, kwargs)
        self._inside.append(call)

    def _is_outermost(self) -> bool:
        return not self._inside or all(call is _SEE_THROUGH for call in self._inside)

    def copy_runs(self) -> None:
        """A copy that shares the model's hooks is called, such as a replica of DataParallel."""
        if self._ledger.counts:
            self._ledger.cannot_tell("copies of the model run, whose passes are not seen")

    def _begun(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Call | None:
        ledger, again = self._ledger, torch._C._current_graph_task_id() != -1
        named = {**dict(zip(self._names[id(module)], args, strict=False)), **kwargs} if args else kwargs
        if self._see_batch is not None and module.training and torch.is_grad_enabled() and not again:
            self._see_batch(named)
        if ledger.by_function:
            return None
        if torch._C._functorch.maybe_current_level() is not None:
            ledger.cannot_tell("the model runs inside a transform of torch.func")
            return None
        if not ledger.num_seen:
            self._see_first()
        try:
            trained = tuple(map(_requires_grad, self._parameters[id(module)]))
            look = (id(module), module.training, trained, torch.is_grad_enabled() or again, look_of_all(args, kwargs))
            of = ledger.known(look)
            if of is None:
                of = ledger.number(look, Forward(module, args, kwargs, named, is_text(named), all(trained)))
            documents = documents_in(named)
            if documents is not None or again:
                return _Call(of, documents, again)
            known = self._calls.get(of)
            if known is None:
                known = self._calls[of] = _Call(of, None, again)
            return known
        except UnavailableError as error:
            ledger.cannot_tell(str(error))
            return None

    def _after(self, output: Any) -> None:
        call = self._inside.pop() if self._inside else None
        if call is None or call is _SEE_THROUGH:
            return
        if output is None and call.again:
            self._ledger.cannot_tell("a forward pass was recomputed in part")
            return
        self._ledger.add(call.forward)
        if torch.is_grad_enabled():
            roots: list[Any] = []
            _find_roots(output, roots)
            if roots:
                if call.of not in self._ends:
                    self._ends[call.of] = _parameters_at_the_ends(roots)
                seen = _Backward(self, call)
                for root in roots:
                    root.register_prehook(seen)
        if self._see_output is not None and not call.again:
            self._see_output(output)

    def _backward(self, call: _Call) -> None:
        ledger = self._ledger
        if torch.is_grad_enabled():
            ledger.cannot_tell("gradients of gradients are computed, whose FLOP are not known")
            return
        with torch.enable_grad():
            is_whole = all(map(_gets_a_gradient, self._ends[call.of]))
        if not is_whole:
            ledger.cannot_tell("torch.autograd.grad computes a part of the gradients, whose FLOP are not known")
            return
        ledger.add(call.backward)


class _Call:
    """A forward pass under way: the number of its kind, whether it recomputes, and what it and its backward pass are to the ledger."""

    __slots__ = ("again", "backward", "forward", "of")

    def __init__(self, of: int, documents: Documents | None, again: bool) -> None:
        self.of, self.again = of, again
        self.forward, self.backward = Event("again" if again else "forward", of, documents), Event("backward", of, documents)


_SEE_THROUGH = _Call(-1, None, False)
"""A call that is no pass itself, whose parts' calls are."""


class _Backward:
    """The hook of all outputs of one call: one of them is enough, once per backward pass. It holds nothing of the graph."""

    def __init__(self, hooks: PassHooks, call: _Call) -> None:
        self._hooks, self._call, self._task = hooks, call, -1

    def __call__(self, gradients: tuple[torch.Tensor | None, ...]) -> None:
        task = torch._C._current_graph_task_id()
        if task != self._task:
            self._task = task
            self._hooks.backward(self._call)


def _parameters_at_the_ends(roots: list[Any]) -> tuple[nn.Parameter, ...]:
    """The leaves that a graph comes to first and last."""
    leaves: list[Any] = []
    seen, waiting = set(roots), list(roots)
    while waiting and len(seen) < MAX_GRAPH_NODES:
        node = waiting.pop()
        variable = getattr(node, "variable", None)
        if isinstance(variable, nn.Parameter):
            leaves.append(variable)
        for below, _ in node.next_functions:
            if below is not None and below not in seen:
                seen.add(below)
                waiting.append(below)
    return (leaves[0], leaves[-1]) if leaves else ()


def _gets_a_gradient(parameter: nn.Parameter) -> bool:
    """Whether the backward pass that runs comes to a parameter; asked where gradients are on, since a view shows the end of its graph."""
    view: Any = parameter.view_as(parameter).grad_fn
    try:
        return view is None or bool(torch._C._will_engine_execute_node(view.next_functions[0][0]))
    except (RuntimeError, ValueError):  # torch refuses to say it of a parameter that torch.autograd.grad was asked for
        return True


def _compilers_of(model: nn.Module, *, search: bool) -> list[nn.Module]:
    """Modules that torch.compile made around a model."""
    dynamo = sys.modules.get("torch._dynamo.eval_frame")  # nothing is compiled where it was not imported, which takes seconds
    kind = dynamo.OptimizedModule if dynamo else ()
    found: list[nn.Module] = []
    outer: Any = model
    while isinstance(outer, nn.Module):
        if isinstance(outer, kind):
            found.append(outer)
        outer = getattr(outer, "_orig_mod", None) or (getattr(outer, "module", None) if outer is not bare(outer) else None)
    if search:
        inner = bare(model)
        found += [o for o in gc.get_objects() if isinstance(o, kind) and bare(o) is inner and not any(o is f for f in found)]
    return found


def _find_roots(value: Any, found: list[Any], depth: int = 0) -> None:
    """The ends of the graph at the tensors of an output, each once; no loss is made of a cache."""
    if isinstance(value, torch.Tensor):
        root = value.grad_fn
        if root is not None and root not in found:
            found.append(root)
    elif depth < 5:
        if isinstance(value, list | tuple):
            parts: Any = value
        else:
            named = value if isinstance(value, Mapping) else getattr(value, "__dict__", {})
            parts = () if isinstance(value, nn.Module | type) else [part for name, part in named.items() if name != "past_key_values"]
        for part in parts:
            if part is not None:
                _find_roots(part, found, depth + 1)
