"""A traced model that writes tokens, as a decoder: its rows as the layers that hold them, one block for each kind of cache."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence

from estimators.architectures.block import RMS_NORM, Block
from estimators.architectures.decoder import Decoder
from estimators.architectures.part import Part
from estimators.architectures.rows import checkpoint
from estimators.architectures.traced import TRACED_PHASES, TracedModel, TracedRow
from estimators.frozen import field, frozen, replace
from estimators.spec import Model, Op, Workload

PROJECTIONS = ("query", "key", "value", "query_key_value", "query_down", "kv_down")
"""Roles of what reads a layer's input."""

_WIDENS = ("up", "gate", "gate_up")
_ONE = {"batch": 1, "seq": 1, "context": 1, "source": 0, "chunks": 1, "several": 0}


def as_decoder(model: Model) -> Decoder | None:
    """The model as a decoder-only language model; None where it is none."""
    if isinstance(model, Decoder):
        return model
    return _decoder(model) if isinstance(model, TracedModel) and model.stack is not None else None


@frozen
class Kind:
    """Layers that cache alike.

    Attributes:
        count: of them.
        window: keys that a query sees at most; None for all.
        elements: that one token leaves in the cache of one layer; 0 for layers without a cache that grows.
    """

    count: int
    window: int | None
    elements: int


@frozen
class TracedPart(Part):
    """Rows of some layers.

    Attributes:
        model: that they are of.
        tables: of each traced phase, the rows with how often they are in all these layers together.
        kind: what they cache.
        num_heads: that mix tokens in the layer that has most.
    """

    model: TracedModel
    tables: Mapping[str, tuple[TracedRow, ...]] = field(hash=False)
    kind: Kind
    num_heads: int

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of `count` of these layers; `width` is the model's."""
        rows = self.tables[TRACED_PHASES[w.phase]]
        if count != self.kind.count:
            rows = tuple(replace(row, count=some) for row in rows if (some := self._of_some(row.count, count)))
        table = zip(rows, self.model.rows_at(w, rows), strict=True)
        return _read([replace(op, kind="attention", part=prefix) if _is_of_attention(row) else op for row, op in table])

    @property
    def is_even(self) -> bool:
        """Whether each of the layers has as many parameters and products as the others."""
        return all(row.count % self.kind.count == 0 for rows in self.tables.values() for row in rows if row.params or row.flop.terms)

    def _of_some(self, total: int, count: int) -> int:
        """Of `total` in all these layers, those of some: of one layer and of all others together they sum to all."""
        return total // self.kind.count if count == 1 else -(-total * count // self.kind.count)

    @property
    def heads(self) -> int:
        """Heads that mix tokens."""
        return self.num_heads if self.kind.elements else 0

    @property
    def kv_heads(self) -> int:
        """Heads that have keys and values of their own."""
        return self.model.kv_heads or self.heads

    @property
    def cache_elements_per_token(self) -> int:
        """Elements that one token leaves in one layer's cache."""
        return self.kind.elements

    @property
    def rotary_width(self) -> int:
        """A whole head's, where the model has no table of positions."""
        return 0 if self.model.positions else max((row.k.at(_ONE) for row in self.tables["decode"] if row.role == "scores"), default=0)

    @property
    def columns(self) -> int:
        """Columns that its widest feed-forward makes of one token at once: F, or F of each expert that the token meets."""
        wide = [row.n.at(_ONE) * row.per_token // (1 + (row.role == "gate_up")) for row in self.tables["decode"] if row.role in _WIDENS]
        return max(wide, default=0)

    @property
    def keeps(self) -> int | None:
        """Tokens that one layer's cache keeps at most."""
        return self.kind.window


@frozen
class TracedBlock(Block):
    """Layers whose norms and residuals are among the rows of their part."""

    def between(self, w: Workload, width: int, prefix: str) -> list[Op]:
        """What checkpointing keeps."""
        return [checkpoint(w, prefix, width=width, count=self.count)] if w.recompute == "full" else []


@frozen
class TracedDecoder(Decoder):
    """A decoder whose rows were traced.

    Attributes:
        model: as it was traced.
        before, behind: of each traced phase, the rows before the first layer and those behind the last.
    """

    model: TracedModel
    before: Mapping[str, tuple[TracedRow, ...]] = field(hash=False)
    behind: Mapping[str, tuple[TracedRow, ...]] = field(hash=False)

    @property
    def has_latents(self) -> bool:
        """Whether keys and values are expanded from a narrow latent."""
        return any(row.role == "kv_down" for row in self.model.tables["decode"])

    @property
    def keeps_nothing(self) -> bool:
        """Whether no cache was seen: what it knows of earlier tokens lies in its class, as RecurrentGemma's does."""
        return not any(row.cache.terms for row in self.model.tables["decode"])

    def embedding_ops(self, w: Workload) -> list[Op]:
        """Rows before the first layer."""
        return list(self.model.rows_at(w, self.before[TRACED_PHASES[w.phase]]))

    def head_ops(self, w: Workload) -> list[Op]:
        """Rows behind the last layer."""
        return list(self.model.rows_at(w, self.behind[TRACED_PHASES[w.phase]]))


@functools.lru_cache(maxsize=64)
def _decoder(model: TracedModel) -> TracedDecoder:
    stack = model.stack
    assert stack is not None
    kinds = tuple(_kinds(model))
    layers: list[dict[str, tuple[TracedRow, ...]]] = [{} for _ in kinds]
    before, behind = {}, {}
    for phase, rows in model.tables.items():
        inside = [row for row in rows if _is_of_layers(row)]
        first = next((i for i, row in enumerate(rows) if row.recomputed), len(rows))
        before[phase] = tuple(row for row in rows[:first] if not _is_of_layers(row))
        behind[phase] = tuple(row for row in rows[first:] if not _is_of_layers(row))
        for place, own in enumerate(_shared_out(inside, kinds)):
            layers[place][phase] = own
    blocks = tuple(
        TracedBlock(
            count=kind.count,
            parts=(("layer", TracedPart(model=model, tables=tables, kind=kind, num_heads=stack.heads)),),
            norms=0,
            norm=RMS_NORM,
        )
        for kind, tables in zip(kinds, layers, strict=True)
    )
    return TracedDecoder(
        name=model.name,
        source=model.source,
        vocab=stack.vocab,
        width=stack.width,
        blocks=blocks,
        order=_in_turns([kind.count for kind in kinds]),
        max_positions=model.max_positions,
        positions=model.positions,
        tied=not any(row.params for rows in model.tables.values() for row in rows if row.role == "head"),
        left_out=model.left_out,
        stored=model.stored,
        model=model,
        before=before,
        behind=behind,
    )


def _is_of_layers(row: TracedRow) -> bool:
    return row.recomputed or row.part == "cache"


def _kinds(model: TracedModel) -> Iterator[Kind]:
    """One for each kind of cache that grows, and one of the layers that have none."""
    left = model.layers
    for row in model.tables["decode"]:
        elements = row.cache.growth("batch", "context")
        if elements and left:
            count = min(row.count, left)
            left -= count
            yield Kind(count=count, window=row.window, elements=elements * row.count // count)
    if left:
        yield Kind(count=left, window=None, elements=0)


def _shared_out(rows: Sequence[TracedRow], kinds: Sequence[Kind]) -> list[tuple[TracedRow, ...]]:
    """The rows by kind of layer: attention by its window, what is as often as layers of one kind alone with those, else evenly."""
    found: list[list[TracedRow]] = [[] for _ in kinds]
    for row in rows:
        for place, count in enumerate(_counts(row, kinds)):
            if count:
                found[place].append(replace(row, count=count))
    return [tuple(own) for own in found]


def _counts(row: TracedRow, kinds: Sequence[Kind]) -> list[int]:
    """How often a row is in the layers of each kind."""
    fits = [kind.elements > 0 and kind.window == row.window for kind in kinds]
    if _is_of_attention(row) and any(fits):
        of_it = [kind.count * fit for kind, fit in zip(kinds, fits, strict=True)]
    elif sum(kind.count == row.count for kind in kinds) == 1:
        of_it = [kind.count * (kind.count == row.count) for kind in kinds]
    else:
        of_it = [kind.count for kind in kinds]
    return _in_parts(row.count, of_it)


def _in_parts(total: int, shares: Sequence[int]) -> list[int]:
    """A number cut by shares, whole numbers that sum to it.

    >>> _in_parts(47, [12, 36])
    [12, 35]
    """
    whole, ends, done = sum(shares), 0, 0
    parts = []
    for share in shares:
        ends += share
        upto = -(-total * ends // whole)
        parts.append(upto - done)
        done = upto
    return parts


def _in_turns(counts: Sequence[int]) -> tuple[int, ...]:
    """The kind of each layer, kinds spread evenly; which layer is of which is not traced.

    >>> _in_turns([1, 3])
    (1, 0, 1, 1)
    """
    places = [((2 * i + 1) / (2 * count), kind) for kind, count in enumerate(counts) for i in range(count)]
    return tuple(kind for _, kind in sorted(places, key=lambda place: place[0])) if len(counts) > 1 else ()


def _read(table: Sequence[Op]) -> list[Op]:
    """Rows of a layer that say what they read: projections the norm of its input, attention those, all else what stands before it."""
    found: list[Op] = []
    last: dict[str, str] = {}
    of_input: tuple[str, ...] | None = None
    for op in table:
        query, key, value = (last.get(role, last.get("query_key_value", "")) for role in ("query", "key", "value"))
        if op.role in PROJECTIONS:
            of_input = (last["norm"],) if of_input is None and "norm" in last else of_input or ()
            reads = of_input
        elif op.role == "scores" and query and key:
            reads = (query, key)
        elif op.role == "context" and value and "scores" in last:
            reads = (last["scores"], value)
        else:
            reads = (found[-1].name,) if found else ()
        found.append(replace(op, reads=reads))
        last[op.role] = op.name
    return found


def _is_of_attention(row: TracedRow) -> bool:
    """Whether it is of products with the cache, or of a cache that grows."""
    return row.kind == "attention" or (row.part == "cache" and row.cache.growth("batch", "context") > 0)
