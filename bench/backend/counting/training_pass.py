"""The FLOP of one forward and backward pass in a training, as it was called, or as a function says; counted on the model's twin on meta."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn

from bench.backend.counting.does_not_run import DOES_NOT_RUN, first_line, raise_if_ours
from bench.backend.counting.module import NetworkCount, passes
from bench.backend.counting.twin import twin, without_recomputation
from bench.backend.generators import generators_kept
from bench.backend.on_meta import autocast_by_the_cpu
from bench.backend.outputs import losses
from estimators.errors import UnavailableError


def count_pass(
    model: nn.Module, args: Any, kwargs: Mapping[str, Any], *, recompute: bool = False, function: Callable[..., Any] | None = None
) -> NetworkCount:
    """FLOP of `model(*args, **kwargs)` and of the gradient of its loss, by torch's dispatcher on meta; convention `full`.

    The model is left alone, and no random number of the user's is drawn. Whole numbers and truth values among the arguments keep
    their values, so that the twin goes the way that the model goes with them: to the last token that is not padding, round a mask
    that hides nothing, along packed documents.

    Args:
        model: in the mode and with the frozen parts that it trains with; on any device.
        args, kwargs: what its forward is given, with real tensors.
        recompute: whether activations that are computed again for the backward pass count twice, as the hardware does them.
        function: called as function(model, *args, **kwargs) in place of the model; it returns a loss or several, or calls
            backward itself and returns None. For a network whose step is not one call, such as a generator and a discriminator.

    Raises:
        UnavailableError: it does not run on meta, forward or backward; one line.
    """
    try:
        copied = twin(model, recompute=recompute)

        def forward(*args: Any, **kwargs: Any) -> Any:
            func = copied if function is None else partial(function, copied)
            return func(*args, **kwargs)

        checkpoints = nullcontext() if recompute else without_recomputation()
        eager = torch.compiler.set_stance("force_eager")
        with generators_kept(model), torch.enable_grad(), eager, autocast_by_the_cpu(), checkpoints:
            counted = passes(copied, forward, args, kwargs, on_meta=True, backward=True, roots_of=losses)
    except DOES_NOT_RUN as error:
        raise_if_ours(error)
        raise UnavailableError(f"{type(model).__name__} does not run on meta: {first_line(error)}") from error
    parameters = list(copied.parameters())
    return NetworkCount(
        params=sum(p.numel() for p in parameters),
        trainable_params=sum(p.numel() for p in parameters if p.requires_grad),
        forward_flop=counted.forward_flop,
        backward_flop=counted.backward_flop,
        backward_reason="nothing needs a gradient" if counted.backward_flop is None else "",
        by_module={},
        by_operator=counted.by_operator,
        fvcore_forward_flop=None,
        fvcore_reason="not asked for",
        unseen=counted.unseen,
        counted_on="meta",
        recomputed_flop=counted.recomputed_flop,
        skippable_flop=counted.skippable_flop,
    )
