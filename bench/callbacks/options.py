"""The options of whoever watches a training: wrong ones are told before it begins."""

from __future__ import annotations

import os
from pathlib import Path

from bench.backend import device as devices
from bench.callbacks.exchange import is_first
from bench.records.draft import make_folder
from estimators.errors import BadValueError


def expect_options(
    out: str | os.PathLike[str], *, every: int, accumulate: int | None = None, dtype: str | None = None, optimizer: str | None = None
) -> None:
    """See that a training can be watched with these options, before it begins; the folder of records is made and tried.

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
