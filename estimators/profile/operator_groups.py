"""What limits an operator of torch, by its name alone."""

from __future__ import annotations

CONVOLUTIONS = frozenset({"conv1d", "conv2d", "conv3d"})
"""As inference dispatches them, which does not take them apart."""

PRODUCTS = frozenset({"mm", "addmm", "linear", "mv", "addmv", "dot", "convolution", "convolution_backward"}) | CONVOLUTIONS
UNFUSED_ATTENTION = frozenset({"bmm", "baddbmm", "_softmax", "_safe_softmax", "_softmax_backward_data"})
"""What attention is made of where no kernel does it as one, by products that write their scores."""

WORKLESS = frozenset(
    {"_unsafe_view", "lift_fresh", "empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "_reshape_alias", "detach_"}
)
VIEWS = frozenset(
    {"view", "reshape", "t", "transpose", "expand", "detach", "split", "slice", "unsqueeze", "squeeze", "alias", "permute", "select"}
)


def group_of(name: str, view: bool = False) -> str:
    """The group of an operator by its name, as in estimators.profile.operator_times.OperatorCall, the optimizer's left out.

    Args:
        view: whether its result is known to share the memory of an argument.

    >>> group_of("addmm"), group_of("_softmax"), group_of("gelu"), group_of("view")
    ('matmul', 'attention', 'memory', 'view')
    """
    if view or name in VIEWS | WORKLESS or name.startswith("as_strided"):
        return "view"
    if name in PRODUCTS:
        return "matmul"
    return "attention" if name in UNFUSED_ATTENTION or "attention" in name else "memory"
