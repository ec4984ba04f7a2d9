"""Models whose op table was traced: rows as data, each size a polynomial in the sizes of the step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from estimators.architectures.attention_rows import growing_queries, visible_pairs
from estimators.architectures.left_alone import component_of
from estimators.architectures.polynomials import ZERO, Polynomial, Sizes, in_chunks
from estimators.architectures.quantised import Quantisation, quantisation
from estimators.architectures.rows import checkpoint
from estimators.errors import BadValueError
from estimators.frozen import field, frozen, replace
from estimators.roles import Cut, Role
from estimators.samples import Sample
from estimators.spec import Item, Model, Op, Phase, Source, Workload
from estimators.stack import Stack

TRACED_PHASES: Mapping[Phase, str] = {"train": "train", "forward": "train", "prefill": "prefill", "decode": "decode"}
"""Phase of a workload -> the traced table that has its rows; what a training step runs forward is a forward pass."""


@frozen
class TracedRow:
    """`count` identical operations of one traced phase; sizes are of one of them, see `Op`.

    Attributes:
        matrices: how many products of one shape (m, n, k) the operation is, all sequences together.
        weights: elements of parameters that it reads.
        window: keys that a query of it may see at most, itself included; None for all.
        causal: whether a query sees only its past.
        element_bytes: of an element of its cache, where that is not the dtype's.
        chosen, of: of so many experts that ran, those that a token is routed to; what the others cost is surplus.
        least: of a filter, FLOP that no algorithm may skip; nothing where that is all.
        activation, saved, cache: elements that it reads and writes, that backward keeps, and that its cache holds when the step is over.
        saved_fixed: bytes that backward keeps beside, of masks and indices.
        recomputed: whether it lies in one of the layers, which checkpointing runs again.
    """

    name: str
    component: str
    kind: str
    part: str
    role: Role
    cut: Cut
    count: int = 1
    params: int = 0
    active_params: int | None = None
    weights: int = 0
    per_token: int = 1
    window: int | None = None
    causal: bool = False
    element_bytes: int | None = None
    chosen: int = 1
    of: int = 1
    recomputed: bool = False
    frozen: bool = False
    flop: Polynomial = ZERO
    backward_flop: Polynomial = ZERO
    least: Polynomial = ZERO
    matrices: Polynomial = ZERO
    m: Polynomial = ZERO
    n: Polynomial = ZERO
    k: Polynomial = ZERO
    activation: Polynomial = ZERO
    saved: Polynomial = ZERO
    saved_fixed: Polynomial = ZERO
    cache: Polynomial = ZERO

    def op(self, w: Workload, sizes: Sizes, kv_heads: int) -> Op:
        """The row of the op table at one workload."""
        held = sizes
        if self.window is not None and w.phase == "decode":
            sizes = {**sizes, "context": min(w.context_len, self.window - 1)}
            held = {**sizes, "context": min(w.context_len, self.window - 2)}
        elif self.window is not None:
            held = {**sizes, "seq": min(w.seq_len, self.window - 1)}
        ran, mnk = self.flop.at(sizes), (self.m.at(sizes), self.n.at(sizes), self.k.at(sizes))
        flop = ran * self.chosen // self.of
        masked, halves = self._masked(w, flop, mnk)
        element_bytes = self.element_bytes or w.dtype_bytes
        moved = sizes if w.phase == "decode" else held
        return Op(
            name=self.name,
            component=self.component,
            kind=self.kind,
            part=self.part,
            role=self.role,
            cut=self.cut,
            count=self.count,
            params=self.params,
            active_params=self.active_params,
            flop=flop,
            backward_flop=self.backward_flop.at(sizes) * self.chosen // self.of if w.phase in ("train", "forward") else 0,
            surplus_flop=ran - flop,
            masked_flop=masked + self._skippable(w, sizes, flop),
            unseen_flop=masked + halves,
            weight_bytes=w.bytes_of(self.weights),
            cache_bytes=round(self.cache.at(moved) * element_bytes),
            held_cache_bytes=round(self.cache.at(held) * element_bytes),
            cache_heads=kv_heads or 1,
            key_columns=mnk[1] if self.role in ("key", "value") else 0,
            activation_bytes=w.bytes_of(self.activation.at(sizes)),
            saved_bytes=w.bytes_of(self.saved.at(sizes)) + self.saved_fixed.at(sizes),
            recomputed=self.recomputed,
            mnk=mnk if self.kind != "elementwise" and all(mnk) else None,
            matrices_per_token=self.per_token,
            frozen=self.frozen,
        )

    def _skippable(self, w: Workload, sizes: Sizes, flop: int) -> int:
        """Of `flop`, what another algorithm need not multiply.

        Scans and filters that overlap (see `convolution`), and in a decode step what is made anew of every cached token.
        """
        if self.kind == "scan":
            return flop
        if self.kind == "matmul" and w.phase == "decode" and "context" in self.m.variables:
            return flop - self.flop.at({**sizes, "context": 0})
        return max(0, flop - self.least.at(sizes)) if self.least.terms else 0

    def _masked(self, w: Workload, flop: int, mnk: tuple[int, int, int]) -> tuple[int, int]:
        """Of `flop`, those of masked pairs, and of half the diagonal; see `attention_products`."""
        if not self.causal or self.kind != "attention" or not flop:
            return 0, 0
        t, keys = mnk[0], mnk[1] if self.role == "scores" else mnk[2]
        pairs = t * keys
        masked = max(0, pairs - visible_pairs(w, self.window)) if w.phase != "decode" else 0
        halves = growing_queries(w, self.window) if w.phase != "decode" else 0
        return flop * masked // pairs, flop * halves // (2 * pairs)


@frozen
class TracedModel(Model):
    """A model whose operations were seen on meta, at a few sizes.

    Attributes:
        runs: the class that was traced.
        traced_from: what built and ran it, with versions, such as "transformers 5.24.0".
        tables: of each phase that was traced (train, prefill, decode), its rows.
        takes: what one row of input is.
        max_positions: the longest sequence that it was made for.
        positions: rows of its table of positions; 0 where positions are computed.
        layers, width, vocab: of a stack of repeated layers; 0 where there is none.
        kv_heads: heads that have keys and values of their own, as its configuration says; 0 where it does not.
        chunk: tokens that its scans take together; a shorter rest is padded to as many. 0 for none.
        sources: whether an encoder's input lies beside the tokens.
        reads: what each sample is, in words, where it takes no tokens.
        left_out: what the configuration has beside it and is not counted; empty for nothing.
        not_run: parts with parameters that no traced step ran, with their parameters in words.
        stored: how its checkpoint holds the matrices of layers; None for as they are computed with.
    """

    phases: ClassVar[tuple[Phase, ...]] = ("train", "forward")

    name: str
    source: Source
    runs: str
    traced_from: str
    tables: Mapping[str, tuple[TracedRow, ...]] = field(hash=False)
    takes: Item = "token"
    max_positions: int = 1
    positions: int = 0
    layers: int = 0
    width: int = 0
    vocab: int = 0
    kv_heads: int = 0
    chunk: int = 0
    sources: bool = False
    reads: str = ""
    left_out: str = ""
    not_run: str = ""
    stored: Quantisation | None = None

    @property
    def item(self) -> Item:  # type: ignore[override]  # a traced model's is data
        """What one row of input is."""
        return self.takes

    @property
    def phases_traced(self) -> tuple[Phase, ...]:
        """Those that it has a table of."""
        return tuple(phase for phase, table in TRACED_PHASES.items() if table in self.tables)

    @property
    def generates(self) -> bool:
        """Whether a decode step was traced."""
        return "decode" in self.tables

    @property
    def stack(self) -> Stack | None:
        """Its layers, where it writes tokens and no encoder lies beside it."""
        if "decode" not in self.tables or self.sources or not (self.layers and self.vocab):
            return None
        one = {"batch": 1, "seq": 1, "context": 1, "source": 0, "chunks": 1, "several": 0}
        scores = [row.matrices.at(one) for row in self.tables["train"] if row.role == "scores"]
        return Stack(
            layers=self.layers,
            width=self.width,
            vocab=self.vocab,
            heads=max(scores, default=0),
            kv_heads=self.kv_heads or max(scores, default=0),
            kv_elements=sum(row.count * row.cache.growth("batch", "context") for row in self.tables["decode"]),
        )

    @property
    def sample(self) -> Sample | None:
        """None: what it reads is a fixed size of its configuration's own."""
        return None

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        """The op table of one step.

        Raises:
            BadValueError: a phase that was not traced, or a cache beside a phase that has none.
        """
        self.demand_sample(workload)
        rows = self.tables.get(TRACED_PHASES[workload.phase])
        if rows is None:
            expected = f"expected one of: {', '.join(self.phases_traced)}"
            raise BadValueError(f"phase {workload.phase!r}: {self.name} was traced without it; {expected}")
        if workload.context_len and workload.phase != "decode":
            raise BadValueError(f"context_len {workload.context_len}: {self.name} was traced on empty caches; leave it at 0")
        table = self.rows_at(workload, rows)
        if self.stored is not None:
            table = [self.stored.held(workload, op) for op in table]
        if workload.recompute == "full" and self.layers:
            table.append(checkpoint(workload, "layer", width=self.width, count=self.layers))
        return tuple(table)

    def components(self) -> tuple[frozenset[str], ...]:
        """Of each layer, what its matrices are of; see `left_alone`. Which layer has which is not traced: each has all."""
        step = self.ops(Workload(phase="decode", context_len=1))
        return (frozenset(component_of(op) for op in step if op.mnk and op.params),) * self.layers

    def rows_at(self, workload: Workload, rows: Sequence[TracedRow]) -> list[Op]:
        """Rows of the table that a workload has, or some of them, at its sizes."""
        sizes = self._sizes(workload)
        return [row.op(workload, sizes, self.kv_heads) for row in rows]

    def saved_at(self, workload: Workload, row: TracedRow) -> tuple[int, int]:
        """What one of a row's operations leaves for backward: elements of the dtype, and bytes beside."""
        sizes = self._sizes(workload)
        return row.saved.at(sizes), row.saved_fixed.at(sizes)

    def _sizes(self, w: Workload) -> Sizes:
        source = w.source_len or (w.context_len + 1 if w.phase == "decode" else w.seq_len)
        return {"batch": w.batch, "seq": w.seq_len, "context": w.context_len, "source": source, **in_chunks(w.seq_len, self.chunk)}


def with_stored(model: TracedModel, config: Mapping[str, Any]) -> TracedModel:
    """The model as its checkpoint holds it, where that is a language model's.

    Args:
        config: that it was traced of, or its quantization_config alone.

    Raises:
        BadConfigError: a quantization_config that makes no sense.
    """
    return replace(model, stored=quantisation(config, model.name, model.components)) if model.stack is not None else model
