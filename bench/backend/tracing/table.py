"""From passes at several sizes to one table: what corresponds is fitted, what repeats is counted, parameters have one owner."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from fractions import Fraction

from torch import nn

from bench.backend.counting.hf_config import experts_of
from bench.backend.tracing.owners import Key, Owned, owners
from bench.backend.tracing.recorder import Pass, Seen
from bench.backend.tracing.roles import component_of, cut_of, is_of_layers, pattern_of, role_of
from estimators.architectures.polynomials import ZERO, Fit, Polynomial, straight
from estimators.architectures.traced import TracedRow
from estimators.errors import UnavailableError
from estimators.frozen import replace
from estimators.roles import Role

TRAFFIC = ("least", "activation", "saved", "saved_fixed")
SIZES = ("flop", "backward_flop", *TRAFFIC)
"""Attributes of `Seen` that are polynomials in the sizes of a step. Those of TRAFFIC may have terms that no sequence multiplies, such as
sines and cosines, and are then fitted through all sizes and held to none."""

DIMENSIONS = ("matrices", "m", "n", "k")
"""Those that grow with one size of a step at most."""


def rows(model: nn.Module, passes: Sequence[Pass], fit: Fit) -> tuple[TracedRow, ...]:
    """The table of one phase.

    Args:
        passes: at the points of `fit`, then at its checks.

    Raises:
        UnavailableError: a size is no polynomial, or the passes do not correspond.
    """
    aligned, fitted = _fitted(passes, fit)
    num, chosen = experts_of(model)
    owned = owners(model, passes[0], aligned, num, chosen)
    attending = _attending(model, passes[0])
    if any(each.unplaced_flop for each in passes) and not all(each.has_backward for each in passes):
        raise UnavailableError(f"{OTHER_MULTIPLES} operations that were not seen forward")
    unplaced = fit.through([each.unplaced_flop for each in passes])
    if unplaced is None:
        raise UnavailableError("FLOP of gradients are no polynomial in the sizes of a step")
    scans = {key[0] for key, calls in aligned.items() if not calls[0].weight and calls[0].matrices and key[0] not in attending}
    mixers = {path.rpartition(".")[0] if path.rpartition(".")[2].isdigit() else path for path in scans if path}
    table = [_row(key, calls[0], fitted[key], owned[key], attending, mixers) for key, calls in aligned.items()]
    if unplaced != ZERO:
        table.append(replace(_rest(), backward_flop=unplaced))
    table += _spare(model, passes[0], owned)
    table += _caches(passes, fit)
    return _gathered(table)


def _fitted(passes: Sequence[Pass], fit: Fit) -> tuple[dict[Key, list[Seen]], dict[Key, dict[str, Polynomial]]]:
    """What corresponds in all passes, and its sizes.

    Operations of one module that are no polynomials one by one may be one all together: each expert of a loop has its share of the tokens.

    Raises:
        UnavailableError: they are none together either.
    """
    together: set[tuple[str, str]] = set()
    while True:
        aligned = _without_husks(_aligned(passes, together))
        fitted: dict[Key, dict[str, Polynomial]] = {}
        for key, calls in aligned.items():
            try:
                fitted[key] = _sizes(fit, key, calls)
            except UnavailableError:
                if key[2] < 0 or (key[0], key[1], 1) not in aligned:
                    raise
                together.add(key[:2])
                break
        else:
            return aligned, fitted


def _aligned(passes: Sequence[Pass], alike: Set[tuple[str, str]]) -> dict[Key, list[Seen]]:
    """What corresponds in all passes: single operations, or where their number depends on the sizes, all of a module and operator.

    Args:
        alike: modules and operators whose operations are taken together as well.
    """
    numbers: dict[tuple[str, str], set[int]] = defaultdict(set)
    for each in passes:
        counted: dict[tuple[str, str], int] = defaultdict(int)
        for path, operator, _ in each.seen:
            counted[path, operator] += 1
        for known in {*numbers, *counted}:
            numbers[known].add(counted.get(known, 0))
    together = {known for known, counts in numbers.items() if len(counts) > 1 or known in alike}
    found: dict[Key, list[Seen]] = {}
    for place, each in enumerate(passes):
        for key, seen in each.seen.items():
            path, operator, _ = key
            joined = (path, operator) in together
            calls = found.setdefault(
                (path, operator, -1) if joined else key,
                [Seen(path=path, operator=operator, has_backward=one.has_backward) for one in passes],
            )
            if joined:
                _add(calls[place], seen)
            else:
                calls[place] = dataclasses.replace(seen, has_backward=each.has_backward)
    return found


def _without_husks(aligned: dict[Key, list[Seen]]) -> dict[Key, list[Seen]]:
    """What autograd keeps of the input of a layer's matrix, beside that matrix: a layer that does nothing else needs no second row."""
    products = {seen.path: key for key, calls in reversed(aligned.items()) for seen in calls[:1] if seen.weight and seen.flop}
    for path, product in products.items():
        key = (path, "elementwise", 0)
        if key in aligned and not any(seen.activation for seen in aligned[key]):
            pairs = zip(aligned[product], aligned.pop(key), strict=True)
            aligned[product] = [
                dataclasses.replace(seen, saved=seen.saved + more.saved, saved_fixed=seen.saved_fixed + more.saved_fixed)
                for seen, more in pairs
            ]
    return aligned


def _add(total: Seen, seen: Seen) -> None:
    for name in SIZES:
        setattr(total, name, getattr(total, name) + getattr(seen, name))
    total.weight, total.read = total.weight or seen.weight, max(total.read, seen.read)


def _sizes(fit: Fit, key: Key, calls: Sequence[Seen]) -> dict[str, Polynomial]:
    """Every size of one operation. Raises UnavailableError for FLOP that are no polynomial."""
    found: dict[str, Polynomial] = {}
    for name in SIZES:
        values = [getattr(seen, name) for seen in calls] if name != "backward_flop" else _gradients(key, calls)
        through = fit.through(values)
        if through is None and name in TRAFFIC:
            through = fit.loosely(values)
        if through is None:
            raise UnavailableError(f"{name} of {key[1]} in {key[0] or 'the model'} is no polynomial in the sizes of a step")
        found[name] = through
    lines = [straight([getattr(seen, name) for seen in calls], (*fit.points, *fit.checks)) for name in DIMENSIONS]
    return found | {name: (line if line is not None and None not in lines else ZERO) for name, line in zip(DIMENSIONS, lines, strict=True)}


def _gradients(key: Key, calls: Sequence[Seen]) -> list[int]:
    """Backward FLOP in all passes, where some have none: as many times the forward FLOP as where gradients were taken.

    Raises:
        UnavailableError: they are another multiple in one pass than in another.
    """
    known = {Fraction(seen.backward_flop, seen.flop) for seen in calls if seen.has_backward and seen.flop}
    if all(seen.has_backward for seen in calls):
        return [seen.backward_flop for seen in calls]
    if len(known) > 1:
        raise UnavailableError(f"{OTHER_MULTIPLES} {key[1]} in {key[0] or 'the model'}")
    return [int(seen.flop * next(iter(known), Fraction(0))) for seen in calls]


OTHER_MULTIPLES = "gradients are another multiple of the forward pass at another size, of"


def _attending(model: nn.Module, first: Pass) -> dict[str, tuple[bool, int | None]]:
    """Modules that attend -> whether a query sees only its past, and the window it has."""
    found: dict[str, tuple[bool, int | None]] = {}
    for path, part in model.named_modules():
        kind = type(part).__name__
        if "Attention" in kind or "Attn" in kind or hasattr(part, "is_causal"):
            causal = getattr(part, "is_causal", None) is not False
            window = getattr(part, "sliding_window", None)
            found[path] = (causal and first.causal, window if isinstance(window, int) and window > 0 else None)
    return found


def _row(
    key: Key,
    seen: Seen,
    sizes: Mapping[str, Polynomial],
    owned: Owned,
    attending: Mapping[str, tuple[bool, int | None]],
    mixers: set[str],
) -> TracedRow:
    path, operator, ordinal = key
    pattern = pattern_of(path)
    within = any(path == mixer or path.startswith(f"{mixer}.") for mixer in mixers)
    role, kind, window, causal = _what(pattern, operator, seen, sizes, attending.get(path))
    of_experts = owned.active is not None and kind == "matmul"
    component = {"lookup": "embedding", "norm": "norm"}.get(kind) or (
        "experts" if of_experts else component_of(pattern, role, mixes=within)
    )
    named = role if kind == "attention" else kind if kind == "scan" else operator
    label = pattern if kind == "matmul" and pattern else f"{pattern}.{named}".removeprefix(".")
    if ordinal > 0 and kind != "attention":
        label = f"{label}.{ordinal}"
    per_token = 1
    if of_experts:
        role = role if role != "linear" else ("down" if ordinal % 2 else "gate_up")
        per_token = owned.per_token
    elif kind == "matmul" and operator == "convolution":
        per_token, role = seen.matrices, "convolution"
    saved = sizes["saved"].without("seq", "seq") if causal else sizes["saved"]
    attends = kind == "attention"
    return TracedRow(
        name=label,
        component=component,
        kind=kind,
        part=pattern.rpartition(".")[0] if kind == "matmul" else pattern,
        role=role,
        cut=cut_of(role, of_experts=of_experts) if kind in ("matmul", "attention") else "vocabulary" if kind == "lookup" else "whole",
        params=owned.params,
        active_params=owned.active,
        weights=_read(kind, seen, owned),
        per_token=per_token,
        window=window,
        causal=causal,
        chosen=owned.chosen,
        of=owned.of,
        recomputed=is_of_layers(pattern),
        flop=sizes["flop"],
        backward_flop=sizes["backward_flop"],
        least=sizes["least"],
        matrices=sizes["matrices"],
        m=sizes["matrices"] if of_experts else sizes["m"],
        n=sizes["n"],
        k=sizes["k"],
        activation=sizes["activation"].without("seq", "seq") if attends or path in attending else sizes["activation"],
        saved=saved,
        saved_fixed=sizes["saved_fixed"],
    )


def _what(
    pattern: str, operator: str, seen: Seen, sizes: Mapping[str, Polynomial], attending: tuple[bool, int | None] | None
) -> tuple[Role, str, int | None, bool]:
    """Role, kind, window, and whether it is masked."""
    if operator == "lookup":
        return ("position" if "position" in pattern else "token"), "lookup", None, False
    if operator == "norm":
        return "norm", "norm", None, False
    if operator == "elementwise":
        causal, window = attending or (False, None)
        return "elementwise", "elementwise", window, causal
    if seen.weight:
        return role_of(pattern), "matmul", None, False
    grows = sizes["n"].variables & {"seq", "context", "source"}
    shrinks = sizes["k"].variables & {"seq", "context", "source"}
    if attending is not None and (grows or shrinks) and sizes["flop"] != ZERO:
        causal, window = attending
        square = {*sizes["m"].variables, *(grows or shrinks)}
        return ("scores" if grows else "context"), "attention", window, causal and square <= {"seq", "context"}
    return "scan", "scan", None, False


def _read(kind: str, seen: Seen, owned: Owned) -> int:
    """Elements of parameters that the operation must read: of experts, those of one token."""
    if owned.active is not None:
        return owned.active
    return seen.read if kind in ("lookup", "matmul") else owned.params


def _rest() -> TracedRow:
    return TracedRow(name="gradients", component="elementwise", kind="scan", part="", role="elementwise", cut="whole")


def _spare(model: nn.Module, first: Pass, owned: Mapping[Key, Owned]) -> list[TracedRow]:
    """Parameters that no operation of the pass reads."""
    tables = {path for path, part in model.named_modules() if isinstance(part, nn.Embedding)}
    return [
        TracedRow(
            name=pattern_of(name),
            component="embedding" if name.rpartition(".")[0] in tables else "unused",
            kind="lookup" if name.rpartition(".")[0] in tables else "elementwise",
            part=pattern_of(name).rpartition(".")[0],
            role="parameters",
            cut="whole",
            params=parameter.numel(),
            recomputed=is_of_layers(pattern_of(name)),
        )
        for name, parameter in model.named_parameters()
        if name not in first.first_use
    ]


def _caches(passes: Sequence[Pass], fit: Fit) -> list[TracedRow]:
    """What each layer's cache holds when the step is over."""
    found = []
    for place, (kind, window, _) in enumerate(passes[0].cache):
        held = fit.through([each.cache[place][2] for each in passes])
        if held is None:
            raise UnavailableError(f"the cache of layer {place} is no polynomial in the sizes of a step")
        found.append(
            TracedRow(
                name=f"cache.{kind}",
                component="attention" if kind == "keys" else "state_space",
                kind="elementwise",
                part="cache",
                role="elementwise",
                cut="whole",
                window=window or None,
                element_bytes=4 if kind == "states" else None,
                cache=held,
            )
        )
    return found


def _gathered(table: Sequence[TracedRow]) -> tuple[TracedRow, ...]:
    """Equal rows as one with its count; names that are left twice are numbered."""
    counts: dict[TracedRow, int] = defaultdict(int)
    for row in table:
        if row.params or row.weights or any(getattr(row, name) != ZERO for name in (*SIZES, "cache")):
            counts[row] += 1
    taken: dict[str, int] = defaultdict(int)
    found = []
    for row, count in counts.items():
        taken[row.name] += 1
        name = row.name if taken[row.name] == 1 else f"{row.name}#{taken[row.name]}"
        found.append(replace(row, name=name, count=count))
    return tuple(found)
