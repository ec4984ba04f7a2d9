"""The options of whoever watches a training: wrong ones are told before it begins."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

from torch import nn

from bench.backend import device as devices
from bench.callbacks.exchange import is_first
from bench.callbacks.guard import Guard
from bench.records.draft import make_folder
from bench.streams import say
from estimators.errors import BadValueError


def expect_options(
    out: str | os.PathLike[str],
    *,
    every: int,
    accumulate: int | None = None,
    dtype: str | None = None,
    optimizer: str | None = None,
    inputs: Any = None,
) -> None:
    """See that a training can be watched with these options, before it begins; the folder of records is made and tried.

    `inputs` did say what of a batch forward is given. It is seen now, and whoever still says it is told so once.

    Raises:
        BadValueError: an option out of its range.
        UnavailableError: the folder cannot be written.
    """
    for option, value, least in (("every", every, 0), ("accumulate", 1 if accumulate is None else accumulate, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise BadValueError(f"{option} is {value!r}; expected a whole number from {least}")
    if dtype is not None and dtype not in devices.DTYPES:
        raise BadValueError(f"dtype {dtype[:40]!r} is unknown; expected one of: {', '.join(devices.DTYPES)}")
    if optimizer not in (None, "adamw", "sgd"):
        raise BadValueError(f"optimizer {str(optimizer)[:40]!r} is unknown; expected adamw, sgd or None")
    if is_first():
        make_folder(Path(out))
        if inputs is not None:
            _tell_of_inputs()


@functools.cache
def _tell_of_inputs() -> None:
    Guard().attempt(
        "telling of inputs=", say, "sixnd: inputs= has no effect any more: what forward is given is seen as it is; leave it out"
    )


def device_of(model: nn.Module) -> str:
    """Where the first parameter of a model lies.

    Raises:
        BadValueError: it has none.
    """
    parameter = next(model.parameters(), None)
    if parameter is None:
        raise BadValueError(f"{type(model).__name__} has no parameters; expected the network that is trained")
    return str(parameter.device)
