"""The FLOP of passes without an op table: each kind counted once, on a copy on meta, before it computes."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import MethodType
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from bench.backend.counting.module import NetworkCount
from bench.backend.counting.training_pass import count_pass
from bench.backend.outputs import tensors_in
from bench.callbacks.passes import Forward, StepFunction
from bench.callbacks.work import Work, by_kind
from estimators.errors import UnavailableError

T = TypeVar("T")

BUDGET_S, BUDGET_FRACTION = 4.0, 0.002
"""Of a processor for counting: so long at first, and so much of the time since then; a kind of pass beyond it is not counted."""

_ENDS = (0.0, 1.0 - 2.0**-24)
"""The least and the greatest number that torch draws uniformly from [0, 1) in fp32."""

_UNIFORM = ("rand", "rand_like", "uniform_", "uniform", "bernoulli", "bernoulli_")
"""Operators whose draws lie between 0 and 1."""


class Counter:
    """Counts kinds of pass, within a budget of time.

    Attributes:
        unseen: operators without a formula in what was counted.
        spent_s: what counting took.
    """

    def __init__(self) -> None:
        self._begun_s = time.monotonic()
        self.unseen: dict[str, None] = {}
        self.spent_s = 0.0

    def works(self, forward: Forward, function: StepFunction | None = None, *, outputs: tuple[int, ...] = ()) -> dict[str, Work]:
        """The work of each kind of pass.

        Args:
            function: called as function(module, *args) in place of the module.
            outputs: which of the tensors that it returns the backward pass comes from; its loss, or all of them, where empty.

        Raises:
            UnavailableError: it cannot be counted; one line says why.
        """
        if self.spent_s > BUDGET_S + BUDGET_FRACTION * (time.monotonic() - self._begun_s):
            raise UnavailableError("passes of more shapes than counting has time for")
        needs_gradients = function is not None or bool(outputs) or torch.is_grad_enabled() or torch._C._current_graph_task_id() != -1
        counted, again_flop = _on_a_thread_of_its_own(lambda: self._timed(forward, function, outputs))
        self.unseen |= dict.fromkeys(op.name for op in counted.unseen)
        ahead, back = counted.forward_flop, (counted.backward_flop or 0) if needs_gradients else 0
        skippable = counted.skippable_flop
        one = Work(ahead, None, ahead, ahead, ahead, 0, ahead - skippable[0])
        both = Work(
            full_flop=ahead + back,
            causal_flop=None,
            hardware_flop=ahead + back + again_flop,
            forward_flop=ahead,
            model_flop=ahead + back,
            recomputed_flop=again_flop,
            min_flop=ahead + back - sum(skippable),
        )
        return by_kind(one, both)

    def _timed(self, forward: Forward, function: StepFunction | None, outputs: tuple[int, ...]) -> tuple[NetworkCount, int]:
        """A pass without what is there for recomputation, and what recomputation adds."""
        import_module("torch._dynamo")  # which modes that count import, as every optimizer's first step does: no time of counting
        begun_s = time.thread_time()
        try:
            run = _counted(forward, function, outputs)
            if not run.recomputed_flop:
                return run, 0
            needed = _count(forward, function, outputs, _Draws(), recompute=False)
            return needed, sum(_flop(run)) - sum(_flop(needed))
        finally:
            self.spent_s += time.thread_time() - begun_s


def _counted(forward: Forward, function: StepFunction | None, outputs: tuple[int, ...]) -> NetworkCount:
    """A pass as it runs, and where it draws random numbers, again with other draws.

    Raises:
        UnavailableError: random numbers decide, or may decide, what is computed.
    """
    draws = _Draws()
    first = _count(forward, function, outputs, draws)
    if draws.of_others:
        raise UnavailableError(f"forward draws from {draws.of_others}, and what it computes may depend on it")
    if not draws.of_torch:
        return first
    if draws.are_read and not draws.are_uniform:
        raise UnavailableError("forward draws random numbers and looks at them, and what it computes may depend on them")
    ends = [_count(forward, function, outputs, _Draws(end)) for end in _ENDS] if draws.are_read else []
    if any(_flop(other) != _flop(first) for other in ends):
        raise UnavailableError("random numbers decide what forward computes, such as which layers it skips")
    return first


def _flop(counted: NetworkCount) -> tuple[int, int, int]:
    return counted.forward_flop, counted.backward_flop or 0, counted.recomputed_flop


def _count(
    forward: Forward, function: StepFunction | None, outputs: tuple[int, ...], draws: _Draws, *, recompute: bool = True
) -> NetworkCount:
    def observed(copied: nn.Module, *args: Any, **kwargs: Any) -> Any:
        _without_compiled_forwards(copied)
        with draws.of_forward(copied):
            made = function(copied, *args) if function is not None else copied(*args, **kwargs)
        returned = tensors_in(made) if outputs else []
        return [returned[number] for number in outputs] or made

    return count_pass(forward.module, forward.args, forward.kwargs, recompute=recompute, function=observed)


def _without_compiled_forwards(copied: nn.Module) -> None:
    """A forward that torch.compile has replaced in place is that of the model, also in its copy; the copy gets its own."""
    for part in copied.modules():
        plain = getattr(vars(part).get("forward"), "_torchdynamo_orig_callable", None)
        if plain is not None:
            part.forward = MethodType(getattr(plain, "__func__", plain), part)


class _Draws(TorchDispatchMode):
    """Sees the random numbers that a forward pass draws on the CPU; on meta nothing is drawn.

    Args:
        end: what every uniform draw gives; None leaves them.

    Attributes:
        of_torch, of_others: whether torch's generator was drawn from; which others were.
        are_uniform: whether all of torch's draws lie between 0 and 1.
        are_read: whether the pass looks at numbers, which may be those.
    """

    def __init__(self, end: float | None = None) -> None:
        super().__init__()
        self._end = end
        self.of_torch, self.of_others = False, ""
        self.are_uniform, self.are_read = True, False

    @contextmanager
    def of_forward(self, copied: nn.Module) -> Iterator[None]:
        """Around the pass."""
        parts = [part for module in copied.modules() for part in vars(module).values()]
        own = [part for part in (*parts, *(getattr(part, "__self__", None) for part in parts)) if isinstance(part, _GENERATORS)]
        before = _states(own)
        with self:
            yield
        after = _states(own)
        self.of_torch |= after["torch"] != before["torch"]
        self.of_others = " and ".join(name for name in after if name != "torch" and after[name] != before[name])

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if torch.Tag.nondeterministic_seeded in func.tags and isinstance(made, torch.Tensor) and not made.is_meta:
            self.of_torch = True
            if func._schema.name.removeprefix("aten::") not in _UNIFORM:
                self.are_uniform = False
            elif self._end is not None:
                made.fill_(round(self._end) if "bernoulli" in func._schema.name else self._end)
        self.are_read |= bool({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(func.tags))
        return made


_GENERATORS = (torch.Generator, random.Random, np.random.Generator, np.random.RandomState)


def _states(own: list[Any]) -> dict[str, Any]:
    """Of all generators that are known, those of a network's own beside the global ones."""
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": str([_plain(part) for part in np.random.get_state(legacy=True)]),
        "Python's random": random.getstate(),
        "a generator of its own": [_state(generator) for generator in own],
    }


def _state(generator: Any) -> Any:
    if isinstance(generator, torch.Generator):
        return generator.get_state().numpy().tobytes()
    return generator.getstate() if isinstance(generator, random.Random) else str(_of_numpy(generator))


def _plain(part: Any) -> Any:
    return part.tobytes() if isinstance(part, np.ndarray) else part


def _of_numpy(generator: Any) -> Any:
    return generator.bit_generator.state if isinstance(generator, np.random.Generator) else generator.get_state()


def _on_a_thread_of_its_own(do: Callable[[], T]) -> T:
    """Apart from whatever is on around the training: modes that count or trace, autocast, saved tensors' hooks, no_grad."""
    made: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            made.append(do())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="sixnd-count", daemon=True)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return made[0]
