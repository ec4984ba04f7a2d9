"""How large a batch is: rows, positions, padding. Nothing waits for a device: a count on one stays there until it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from estimators.errors import BadValueError


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSize:
    """The size of one batch.

    Attributes:
        rows: sequences or samples.
        length: positions of a sequence, padding included; 1 for samples without one.
        num_padding: positions that hold no token, a scalar on the device where the mask lies there; None where no mask tells.
        item: token or sample.
    """

    rows: int
    length: int
    num_padding: int | torch.Tensor | None = None
    item: str = "token"


def size_of(batch: Any) -> BatchSize:
    """The size of a batch: by `input_ids` (or `inputs_embeds`) and `attention_mask`, else the first dimension of its first tensor.

    Raises:
        BadValueError: no tensor in it; one line.

    >>> ids = torch.zeros(2, 5, dtype=torch.long)
    >>> size_of({"input_ids": ids, "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])})
    BatchSize(rows=2, length=5, num_padding=3, item='token')
    >>> size_of((torch.zeros(8, 3), torch.zeros(8)))
    BatchSize(rows=8, length=1, num_padding=None, item='sample')
    """
    if isinstance(batch, Mapping):
        for name in ("input_ids", "inputs_embeds"):
            tensor = batch.get(name)
            if isinstance(tensor, torch.Tensor) and tensor.dim() >= 2:
                rows, length = int(tensor.shape[0]), int(tensor.shape[1])
                return BatchSize(rows=rows, length=length, num_padding=_padding(batch.get("attention_mask"), rows, length))
    first = _first_tensor(batch)
    if first is None or first.dim() == 0:
        raise BadValueError(
            f"cannot tell the size of a batch of type {type(batch).__name__}; expected tensors with a first dimension of rows, "
            "or a mapping with input_ids; say it yourself with Watch(model).step(tokens=...)"
        )
    return BatchSize(rows=int(first.shape[0]), length=1, item="sample")


def told_size(batch: Any, tokens: int | None, padding: int, seq_len: int | None) -> BatchSize | None:
    """The size that was told in place of a batch; None where there is a batch.

    Raises:
        BadValueError: neither was given, or counts that no batch has.

    >>> told_size(None, tokens=30, padding=2, seq_len=16)
    BatchSize(rows=2, length=16, num_padding=2, item='token')
    """
    if batch is not None:
        return None
    if tokens is None:
        raise BadValueError("step() was given neither a batch nor tokens; expected step(batch), or step(tokens=...)")
    positions = tokens + padding
    if tokens < 0 or padding < 0 or positions == 0 or (seq_len is not None and (seq_len < 1 or positions % seq_len)):
        given = f"tokens={tokens}, padding={padding}, seq_len={seq_len}"
        raise BadValueError(f"{given}: expected counts from 0, and tokens and padding together a multiple of seq_len")
    if seq_len is None:
        return BatchSize(rows=positions, length=1, num_padding=padding)
    return BatchSize(rows=positions // seq_len, length=seq_len, num_padding=padding)


def _padding(mask: Any, rows: int, length: int) -> int | torch.Tensor | None:
    if not isinstance(mask, torch.Tensor) or tuple(mask.shape) != (rows, length):
        return None
    padding = rows * length - mask.count_nonzero()
    return int(padding) if mask.device.type == "cpu" else padding


def _first_tensor(batch: Any) -> torch.Tensor | None:
    if isinstance(batch, torch.Tensor):
        return batch
    parts = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, Sequence) and not isinstance(batch, str) else ()
    return next((tensor for part in parts if (tensor := _first_tensor(part)) is not None), None)
