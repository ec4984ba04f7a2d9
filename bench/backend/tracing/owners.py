"""Which operation of a pass owns which parameters, and how many of them one token uses."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from bench.backend.tracing.recorder import Pass, Seen

Key = tuple[str, str, int]
"""Of an operation: its module's path, the operator, and which call of it there it was; -1 for all of them together."""


@dataclass(frozen=True, slots=True)
class Owned:
    """The parameters of one operation.

    Attributes:
        params: of it and of no other.
        active: of them, those that one token uses; None for all.
        chosen, of: of so many experts that every token ran through, those that it is routed to.
        per_token: experts that each token is multiplied with.
    """

    params: int = 0
    active: int | None = None
    chosen: int = 1
    of: int = 1
    per_token: int = 1


def owners(model: nn.Module, first: Pass, aligned: Mapping[Key, Sequence[Seen]], num: int, chosen: int) -> dict[Key, Owned]:
    """What each operation owns: each parameter goes with what read it first.

    Args:
        num, chosen: experts of a layer, and those that a token is routed to, as the configuration says.
    """
    sizes = dict(model.named_parameters())
    of: dict[Key, list[str]] = defaultdict(list)
    at = {(path, operator): (path, operator, ordinal) for path, operator, ordinal in reversed(list(aligned))}
    for name, key in first.first_use.items():
        of[key if key in aligned else at.get(key[:2], next(k for k in aligned if k[0] == key[0]))].append(name)
    found: dict[Key, Owned] = {}
    for key in aligned:
        seen, names = aligned[key][0], of[key]
        params = sum(sizes[name].numel() for name in names)
        bank = sizes[seen.weight].shape[0] if seen.weight in sizes and sizes[seen.weight].dim() >= 2 else 0
        per_token = _per_token(first, seen) if seen.operator == "matmul" and seen.matrices > 1 else 0
        if 1 < bank == num == seen.matrices and chosen < num and seen.m == first.tokens:
            found[key] = Owned(params=params, active=params * chosen // num, chosen=chosen, of=num, per_token=chosen)
        elif 0 < per_token < bank:
            found[key] = Owned(params=params, active=params * per_token // bank, per_token=per_token)
        elif key[2] < 0 and 0 < chosen < num and seen.flop * num == 2 * params * first.tokens * chosen:  # each ran on its tokens alone
            found[key] = Owned(params=params, active=params * chosen // num, per_token=chosen)
        elif biases := sum(sizes[name].numel() for name in names if 0 < chosen < num and _is_bias_of_experts(name, sizes[name], num)):
            found[key] = Owned(params=params, active=params - biases * (num - chosen) // num)
        else:
            found[key] = Owned(params=params)
    return found


def _is_bias_of_experts(name: str, parameter: nn.Parameter, num: int) -> bool:
    return parameter.dim() == 2 and parameter.shape[0] == num and re.search(r"expert.*bias", name) is not None


def _per_token(first: Pass, seen: Seen) -> int:
    """Of a bank of matrices, those that each token is multiplied with: as many products as tokens times choices."""
    return max(1, seen.matrices // first.tokens) if first.tokens and seen.matrices % first.tokens == 0 else 0
