"""A traced op table as JSON: written where torch is, read without it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, get_args

from estimators.architectures.polynomials import Monomial, Polynomial
from estimators.architectures.traced import TracedModel, TracedRow, with_stored
from estimators.errors import BadConfigError
from estimators.roles import Cut, Role
from estimators.spec import Source

FORMAT = 1
"""Of the file. One of another number is not read."""

KEY = "sixnd_traced_op_table"
"""The field that tells such a file from a config.json; its value is FORMAT."""

_SIZES = ("flop", "backward_flop", "least", "matrices", "m", "n", "k", "activation", "saved", "saved_fixed", "cache")
_WORDS = ("name", "component", "kind", "part", "role", "cut")
_NUMBERS = ("count", "params", "weights", "per_token", "chosen", "of")
_OPTIONAL = ("active_params", "window", "element_bytes")
_FLAGS = ("causal", "recomputed", "frozen")
_TEXTS = ("name", "runs", "traced_from", "takes", "reads", "left_out", "not_run")
_COUNTS = ("max_positions", "positions", "layers", "width", "vocab", "kv_heads", "chunk")


def is_traced(config: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a traced op table, rather than a configuration."""
    return KEY in config


QUANTISED = "quantization_config"
"""Of the configuration that was traced, where it has one."""


def as_json(traced: TracedModel, config: Mapping[str, Any] | None = None) -> str:
    """The table as text.

    Args:
        config: that it was traced of, whose quantization_config stands beside the table.
    """
    body: dict[str, Any] = {KEY: FORMAT, **{name: getattr(traced, name) for name in (*_TEXTS, *_COUNTS)}}
    body["sources"], body["source"] = traced.sources, traced.source.title
    body["tables"] = {phase: [_row_json(row) for row in rows] for phase, rows in traced.tables.items()}
    parts = [config, *(part for part in config.values() if isinstance(part, dict))] if config else []
    if given := next((part[QUANTISED] for part in parts if part.get(QUANTISED)), None):
        body[QUANTISED] = given
    return json.dumps(body, separators=(",", ":"))


def from_json(body: Mapping[str, Any], path: str) -> TracedModel:
    """The model that a traced op table describes.

    Args:
        path: of the file, for messages.

    Raises:
        BadConfigError: another format, or fields that are missing or make no sense.
    """
    if body.get(KEY) != FORMAT:
        raise BadConfigError(f"{path}: {KEY} is {str(body.get(KEY))[:20]!r}; expected {FORMAT}: write it anew with show --export")
    try:
        tables = {str(phase): tuple(_row(each) for each in rows) for phase, rows in body["tables"].items()}
        texts = {name: _checked(body[name], str) for name in _TEXTS}
        counts = {name: _checked(body[name], int) for name in _COUNTS}
        if "train" not in tables or not set(tables) <= {"train", "prefill", "decode"} or texts["takes"] not in ("token", "sample"):
            raise ValueError("tables")
        source = Source(title=_checked(body["source"], str))
        model = TracedModel(**texts, **counts, sources=_checked(body["sources"], bool), source=source, tables=tables)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadConfigError(f"{path} is no traced op table: {str(error)[:80]}; expected a file that show --export wrote") from None
    return with_stored(model, {QUANTISED: body[QUANTISED]}) if QUANTISED in body else model


def _checked(value: Any, kind: type) -> Any:
    if type(value) is not kind or (isinstance(value, int) and value < 0):
        raise ValueError(f"{str(value)[:40]!r} is no {kind.__name__}")
    return value


def _row_json(row: TracedRow) -> dict[str, Any]:
    default = _PLAIN
    written = {name: getattr(row, name) for name in _WORDS}
    written |= {n: getattr(row, n) for n in (*_NUMBERS, *_OPTIONAL, *_FLAGS) if getattr(row, n) != getattr(default, n)}
    return written | {name: _polynomial_json(getattr(row, name)) for name in _SIZES if getattr(row, name).terms}


def _row(body: Mapping[str, Any]) -> TracedRow:
    known = {*_WORDS, *_NUMBERS, *_OPTIONAL, *_FLAGS, *_SIZES}
    if not known >= body.keys():
        raise ValueError(f"unknown field {sorted(body.keys() - known)[0]!r}")
    given: dict[str, Any] = {name: _checked(body[name], str) for name in _WORDS}
    given |= {name: _checked(body[name], int) for name in (*_NUMBERS, *_OPTIONAL) if name in body}
    given |= {name: _checked(body[name], bool) for name in _FLAGS if name in body}
    given |= {name: _polynomial(body[name]) for name in _SIZES if name in body}
    if given["role"] not in get_args(Role) or given["cut"] not in get_args(Cut):
        raise ValueError(f"role {given['role']!r} or cut {given['cut']!r}")
    return TracedRow(**given)


def _polynomial_json(polynomial: Polynomial) -> list[Any]:
    """The denominator, then each factor with the variables of its monomial, each as often as its power."""
    terms = [[factor, *(name for name, power in term for _ in range(power))] for term, factor in polynomial.terms]
    return [polynomial.denominator, *terms]


def _polynomial(body: list[Any]) -> Polynomial:
    denominator, *terms = body
    if _checked(denominator, int) < 1:
        raise ValueError("denominator 0")
    return Polynomial(terms=tuple(_term(*term) for term in terms), denominator=denominator)


def _term(factor: int, *names: str) -> tuple[Monomial, int]:
    known = {"batch", "seq", "context", "source", "chunks", "several"}
    if type(factor) is not int or not known >= set(names):
        raise ValueError(f"term {factor} {' '.join(map(str, names))}")
    return tuple((name, names.count(name)) for name in sorted(set(names))), factor


_PLAIN = TracedRow(name="", component="", kind="", part="", role="linear", cut="whole")
