"""Activation functions by their names in configurations, as transformers writes them: what each keeps of its input.

One kernel keeps one plane. Those that are written in Python keep a plane for each product and each function in them.
Source: transformers, activations.py (version 5.24).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from estimators.memory.autograd.tape import Tape, Tensor


def _gelu_tanh(tape: Tape, x: Tensor) -> Tensor:
    """0.5·x·(1 + tanh(c·(x + 0.044715·x³)))."""
    half, inside = tape.like(x), tape.add(x, tape.power(x))
    return tape.mul(half, tape.like(tape.of_result(inside)))


def _gelu_fast(tape: Tape, x: Tensor) -> Tensor:
    """0.5·x·(1 + tanh(x·c·(1 + 0.044715·x·x)))."""
    half, scaled = tape.like(x), tape.like(x)
    inside = tape.mul(scaled, tape.like(tape.mul(tape.like(x), x)))
    return tape.mul(half, tape.like(tape.of_result(inside)))


def _gelu_erf(tape: Tape, x: Tensor) -> Tensor:
    """x·0.5·(1 + erf(x / sqrt(2)))."""
    return tape.mul(tape.like(x), tape.like(tape.of_input(tape.like(x))))


def _quick_gelu(tape: Tape, x: Tensor) -> Tensor:
    """x·sigmoid(1.702·x)."""
    return tape.mul(x, tape.of_result(x))


def _squared_relu(tape: Tape, x: Tensor) -> Tensor:
    return tape.power(tape.of_result(x))


def _laplace(tape: Tape, x: Tensor) -> Tensor:
    """0.5·(1 + erf((x - mu) / (sigma·sqrt(2))))."""
    return tape.of_input(tape.like(x))


def _clipped_gelu(tape: Tape, x: Tensor) -> Tensor:
    return tape.of_input(tape.of_input(x))


def _root_of_softplus(tape: Tape, x: Tensor) -> Tensor:
    return tape.of_result(tape.of_input(tape.wide(x)))


def _xielu(tape: Tape, x: Tensor) -> Tensor:
    """Where x > 0: a·x·x + b·x, else (exp(min(x, eps)) - 1 - x)·c + b·x, with a and c learned."""
    return _bent(tape, x, tape.size)


def _xielu_in_weights(tape: Tape, x: Tensor) -> Tensor:
    """The same with a and c in the dtype of the weights, to which what they multiply is widened."""
    return _bent(tape, x, tape.weight_size)


def _bent(tape: Tape, x: Tensor, size: int) -> Tensor:
    above = tape.mul(tape.mul(tape.view(x, x.elements), tape.tensor(1, size, "once")), x)
    tape.keep(x)  # of the minimum
    below = tape.mul(tape.like(tape.of_result(x)), tape.tensor(1, size, "once"))
    tape.index(x.elements, x.place, size=1)
    return tape.add(above, below)


def _identity(tape: Tape, x: Tensor) -> Tensor:
    return x


WRITTEN_OUT: Mapping[str, Callable[[Tape, Tensor], Tensor]] = {
    "gelu_10": _clipped_gelu,
    "gelu_accurate": _gelu_tanh,
    "gelu_fast": _gelu_fast,
    "gelu_new": _gelu_tanh,
    "gelu_python": _gelu_erf,
    "gelu_python_tanh": _gelu_tanh,
    "laplace": _laplace,
    "linear": _identity,
    "quick_gelu": _quick_gelu,
    "relu": Tape.of_result,
    "relu2": _squared_relu,
    "sigmoid": Tape.of_result,
    "sqrtsoftplus": _root_of_softplus,
    "tanh": Tape.of_result,
    "xielu": _xielu,
    "xielu_in_weights": _xielu_in_weights,
}
"""Name -> what it does; every other name is one kernel, which keeps its input."""


def activated(tape: Tape, name: str, x: Tensor) -> Tensor:
    """The result of the activation function of that name."""
    return WRITTEN_OUT.get(name, Tape.of_input)(tape, x)
