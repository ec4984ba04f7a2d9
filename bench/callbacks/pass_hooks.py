"""Hooks of the watched model that see its forward and backward passes and change nothing."""

from __future__ import annotations

import gc
import inspect
import logging
import sys
import threading
from collections import defaultdict
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import torch
from torch import nn

from bench.backend.outputs import tensors_in
from bench.callbacks.from_outputs import FromOutputs
from bench.callbacks.given import Documents, documents_in, is_text, look_of_all
from bench.callbacks.gradient_graph import Ends
from bench.callbacks.guard import Guard
from bench.callbacks.modules import bare, called_modules, is_lightning
from bench.callbacks.passes import Event, Forward, PassLedger
from estimators.errors import UnavailableError

FIGURE = "forward passes"
"""What is unavailable where these hooks fail."""

_BROKEN_OFF = "a forward pass broke off, and how much of it was computed is not known"

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
        self._insides: defaultdict[int, _Inside] = defaultdict(list)
        self._ends: dict[int, Ends] = {}
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

    def begin_step(self) -> None:
        """A step begins: what has been compiled in place since the last is seen from outside of its graph from here on."""
        inside = self._insides[threading.get_ident()]
        if not _is_outermost(inside):  # torch tells no hook of what is no Exception, such as Ctrl-C
            self._ledger.cannot_tell(_BROKEN_OFF)
            inside.clear()
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

    def backward_from(self, seen: FromOutputs, number: int) -> None:
        """A gradient has come to one output of a call."""
        self._guard("training_flop", self._backward_from, seen, number)

    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        call: _Call | None = None
        inside = self._insides[threading.get_ident()]
        if id(module) in self._lightning and "forward" in vars(module):  # DDP of Lightning calls the training step in place of it
            call = _SEE_THROUGH
        elif _is_outermost(inside) and self._ledger.trains and not torch.jit.is_tracing() and (module.training or torch.is_grad_enabled()):
            call = self._begun(module, args, kwargs)
        inside.append((call, id(sys.exc_info()[1])))

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
            of, documents, forward = ledger.known(look), documents_in(named), None
            if of is None or of not in self._ends or not self._ends[of].is_one:
                forward = Forward(module, args, kwargs, named, is_text(named), all(trained))
            if of is None:
                assert forward is not None
                of = ledger.number(look, forward)
            if documents is not None or again or forward is not None:
                return _Call(of, documents, again, any(trained), forward)
            known = self._calls.get(of)
            if known is None:
                known = self._calls[of] = _Call(of, None, again, any(trained))
            return known
        except UnavailableError as error:
            ledger.cannot_tell(str(error))
            return None

    def _after(self, output: Any) -> None:
        inside = self._insides[threading.get_ident()]
        call, handled = inside.pop() if inside else (None, 0)
        if call is None or call is _SEE_THROUGH:
            return
        if output is None and id(sys.exc_info()[1]) != handled:
            self._ledger.cannot_tell("a forward pass was recomputed in part" if call.again else _BROKEN_OFF)
            return
        self._ledger.add(call.forward)
        if torch.is_grad_enabled():
            returned = tensors_in(output)
            roots: list[Any] = []
            for tensor in returned:
                if (root := tensor.grad_fn) is not None and root not in roots:
                    roots.append(root)
            if not returned and call.trains:
                self._ledger.cannot_tell("forward returned no tensor by which its backward pass could be seen")
            if roots:
                self._follow(call, roots, returned)
        if self._see_output is not None and not call.again:
            self._see_output(output)

    def _follow(self, call: _Call, roots: list[Any], returned: list[torch.Tensor]) -> None:
        """See a gradient come to the outputs of a call: to any of them, or to each where they do not all come to the same parameters."""
        ends = self._ends.get(call.of)
        if ends is None:
            ends = self._ends[call.of] = Ends(roots)
        if ends.is_one or call.given is None:
            seen = _Backward(self, call)
            for root in roots:
                root.register_prehook(seen)
            return
        places = [next(place for place, tensor in enumerate(returned) if tensor.grad_fn is root) for root in roots]
        some = FromOutputs(call.backward, call.given, ends, places)
        for number, root in enumerate(roots):
            root.register_prehook(_OfOutput(self, some, number))

    def _is_followed(self, ends: Ends, number: int) -> bool:
        """Whether the backward pass that has come to an output computes the gradients of all that is behind it; else say why not."""
        if torch.is_grad_enabled():
            self._ledger.cannot_tell("gradients of gradients are computed, whose FLOP are not known")
            return False
        if not ends.is_whole(number):
            self._ledger.cannot_tell("torch.autograd.grad computes a part of the gradients, whose FLOP are not known")
            return False
        return True

    def _backward(self, call: _Call) -> None:
        if self._is_followed(self._ends[call.of], 0):
            self._ledger.add(call.backward)

    def _backward_from(self, some: FromOutputs, number: int) -> None:
        begun = some.comes_to(number, torch._C._current_graph_task_id())
        if begun is not None:
            self._ledger.add_outputs(begun)
        self._is_followed(some.ends, number)


class _Call:
    """A forward pass as the ledger knows it, shared by all of its kind that are alike.

    Attributes:
        of: number of its kind.
        again: whether it recomputes.
        trains: whether a parameter of it needs a gradient.
        given: what it was given, where its outputs do not all come to the same parameters, or that is not known yet.
        forward: what it is to the ledger.
        backward: what its backward pass is.
    """

    __slots__ = ("again", "backward", "forward", "given", "of", "trains")

    def __init__(self, of: int, documents: Documents | None, again: bool, trains: bool, given: Forward | None = None) -> None:
        self.of, self.again, self.trains, self.given = of, again, trains, given
        self.forward, self.backward = Event("again" if again else "forward", of, documents), Event("backward", of, documents)


_SEE_THROUGH = _Call(-1, None, again=False, trains=False)
"""A call that is no pass itself, whose parts' calls are."""

_Inside = list[tuple[_Call | None, int]]
"""The calls that are under way in a thread, each with which error was being handled when it began."""


def _is_outermost(inside: _Inside) -> bool:
    return not inside or all(call is _SEE_THROUGH for call, _ in inside)


class _Backward:
    """The hook of all outputs of one call: one of them is enough, once per backward pass. It holds nothing of the graph."""

    def __init__(self, hooks: PassHooks, call: _Call) -> None:
        self._hooks, self._call, self._task = hooks, call, -1

    def __call__(self, gradients: tuple[torch.Tensor | None, ...]) -> None:
        task = torch._C._current_graph_task_id()
        if task != self._task:
            self._task = task
            self._hooks.backward(self._call)


class _OfOutput:
    """The hook of one output of such a call."""

    def __init__(self, hooks: PassHooks, some: FromOutputs, number: int) -> None:
        self._hooks, self._some, self._number = hooks, some, number

    def __call__(self, gradients: tuple[torch.Tensor | None, ...]) -> None:
        self._hooks.backward_from(self._some, self._number)


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
