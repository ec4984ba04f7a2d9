"""What the graph behind a forward pass's outputs says of its backward pass: which parameters it comes to, and from which outputs."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from torch import nn

MAX_GRAPH_NODES = 20_000
"""Of a pass's graph, looked through once per kind of pass, from each output, for the parameters that it comes to."""


class Ends:
    """Of the outputs of one kind of pass: the parameters that a gradient comes to from each.

    Args:
        roots: the graph's ends at the outputs, each once.

    Attributes:
        is_one: whether a gradient comes to the same parameters from every output, such as a loss and the logits that it is made of.
    """

    def __init__(self, roots: list[Any]) -> None:
        leaves = [_leaves(root) for root in roots]
        self._leaves = [frozenset(map(id, found)) for found in leaves]
        self._at_the_ends = [(found[0], found[-1]) if found else () for found in leaves]
        self.is_one = len(set(self._leaves)) <= 1

    def is_whole(self, number: int) -> bool:
        """Whether the backward pass that runs comes from an output to the nearest and the farthest of its parameters."""
        torch._C._set_grad_enabled(True)
        try:
            return all(map(_gets_a_gradient, self._at_the_ends[number]))
        finally:
            torch._C._set_grad_enabled(False)

    def are_all(self, numbers: set[int]) -> bool:
        """Whether a gradient comes from these outputs to every parameter that it comes to from any."""
        return frozenset().union(*(self._leaves[number] for number in numbers)) == frozenset().union(*self._leaves)


def _leaves(root: Any) -> list[nn.Parameter]:
    """The parameters that a graph comes to, the nearest first."""
    found: list[nn.Parameter] = []
    seen, waiting = {root}, deque([root])
    while waiting and len(seen) < MAX_GRAPH_NODES:
        node = waiting.popleft()
        variable = getattr(node, "variable", None)
        if isinstance(variable, nn.Parameter):
            found.append(variable)
        for below, _ in node.next_functions:
            if below is not None and below not in seen:
                seen.add(below)
                waiting.append(below)
    return found


def _gets_a_gradient(parameter: nn.Parameter) -> bool:
    """Whether the backward pass that runs comes to a parameter; asked where gradients are on, since a view shows the end of its graph."""
    view: Any = parameter.view_as(parameter).grad_fn
    try:
        return view is None or bool(torch._C._will_engine_execute_node(view.next_functions[0][0]))
    except (RuntimeError, ValueError):  # torch refuses to say it of a parameter that torch.autograd.grad was asked for
        return True
