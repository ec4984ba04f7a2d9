"""Attention to the last tokens as they are and to what lies behind as compressed entries, all of them or those an indexer chooses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

from estimators.architectures.attention_rows import attention_products
from estimators.architectures.compressor import Compressor, entries, entry_pairs
from estimators.architectures.part import Cached, Part
from estimators.architectures.rows import elementwise, linear, name_of, norm, parameters
from estimators.frozen import frozen, replace
from estimators.spec import Op, Workload


@frozen
class EntryIndexer:
    """Queries of several heads against small entries of its own; each query's best so many are chosen.

    The loss trains nothing of it: a choice has no gradient.

    Attributes:
        heads: of its queries, each as wide as an entry.
        query_rank: of the attention's latent that its queries are made of.
        chosen: entries that a query sees at most.
        compressor: what makes its entries.
    """

    heads: int
    query_rank: int
    chosen: int
    compressor: Compressor

    def ops(self, w: Workload, width: int, prefix: str, count: int, latent: str) -> list[Op]:
        """Rows of `count` such layers, D = width; `latent` names the row whose output its queries are made of."""
        project, size = partial(linear, w, prefix, count=count, cut="whole", recomputed=True), self.compressor.width
        rows = [
            *self.compressor.ops(w, width, prefix, count),
            project("query_up", "attention", d_in=self.query_rank, d_out=self.heads * size, reads=(latent,)),
            elementwise(w, prefix, "rotary", cut="whole", width=self.heads * size, count=count),
            project("index_weights", "attention", d_in=width, d_out=self.heads),
            replace(
                entry_product(
                    w,
                    prefix,
                    "scores",
                    heads=self.heads,
                    width=size,
                    compressor=self.compressor,
                    count=count,
                    reads=(f"{prefix}.query_up", f"{prefix}.weigh"),
                ),
                cut="whole",
            ),
        ]
        return [replace(row, frozen=True, backward_flop=0, saved_bytes=0) for row in rows]


@frozen
class CompressedAttention(Part):
    """Queries of a latent against one head that is key and value at once: of the last tokens, and of compressed ones behind.

    The output is turned back, brought down by group of heads, and up from all groups together.

    Attributes:
        heads, head_width: N, H.
        query_rank: width of the query's latent.
        groups, group_rank: of the output's first matrix, each of whose groups reads its own heads.
        rope_width: of a head, what positions turn.
        window: of tokens that a query sees as they are, itself included.
        compressor: what makes entries of the others; None for a layer that sees the window alone.
        indexer: what chooses the entries that a query sees; None for all.
        chosen_alone: whether the chosen entries alone are multiplied, as engines do, or all, as transformers does.

    Source: DeepSeek-V4 (arXiv 2606.19348), section 2.3, by the docstrings of transformers' class.
    """

    heads: int
    head_width: int
    query_rank: int
    groups: int
    group_rank: int
    rope_width: int
    window: int
    compressor: Compressor | None = None
    indexer: EntryIndexer | None = None
    chosen_alone: bool = False

    @property
    def kv_heads(self) -> int:
        """One head serves all."""
        return 1

    @property
    def rotary(self) -> bool:
        """Positions turn a part of each query and key, and turn the output back."""
        return True

    @property
    def rotary_width(self) -> int:
        """That part."""
        return self.rope_width

    @property
    def cached(self) -> tuple[Cached, ...]:
        """Tokens of the window, entries, and what the entry that is not yet complete will be made of."""
        made = [each for each in (self.compressor, self.indexer and self.indexer.compressor) if each]
        return (Cached(elements_per_token=self.head_width, keeps=self.window), *(cached for each in made for cached in each.cached))

    @property
    def _copies(self) -> int:
        """Of a token of the window: transformers' cache of layers without entries holds what is key and value twice."""
        return 2 if self.compressor is None and not self.chosen_alone else 1

    @property
    def cache_elements_per_token(self) -> int:
        """Elements that one more token leaves of itself and, by its share, of entries, rounded up."""
        return self.head_width + math.ceil(sum(each.elements_per_token for each in self.cached if each.keeps is None))

    @property
    def code_paths(self) -> dict[str, CompressedAttention]:
        """Ways to run it at different cost."""
        names = ("every compressed entry multiplied, as transformers runs it", "chosen entries alone, as serving engines run it")
        return {name: replace(self, chosen_alone=alone) for name, alone in zip(names, (False, True), strict=True)}

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of `count` such layers, D = width."""
        project = partial(linear, w, prefix, count=count, recomputed=True)
        queries, down = self.heads * self.head_width, f"{prefix}.query_down"
        bare = partial(norm, w, prefix, cut="heads", label="head_norm", width=self.head_width, gain=False, bias=False)
        operands = ("query_up", "kv_down", "kv_down")
        window = attention_products(
            w,
            prefix,
            heads=self.heads,
            qk_width=self.head_width,
            v_width=self.head_width,
            cache_elements_per_token=self.head_width * self._copies,
            cache_heads=1,
            window=self.window,
            count=count,
            operands=operands,
        )
        behind = self._entry_ops(w, width, prefix, count)
        contexts = tuple(op.name for op in (*window, *behind) if op.role == "context")
        first = project("output_down", "attention", cut="columns", d_in=queries // self.groups, d_out=self.groups * self.group_rank)
        return [
            project("query_down", "attention", cut="whole", d_in=width, d_out=self.query_rank),
            norm(w, prefix, "query_norm", cut="heads", width=self.query_rank, bias=False, count=count),
            project("query_up", "attention", cut="columns", d_in=self.query_rank, d_out=queries, reads=(down,)),
            bare(rows=w.num_tokens * self.heads, count=count),
            project("kv_down", "attention", cut="whole", d_in=width, d_out=self.head_width),
            norm(w, prefix, "kv_norm", cut="whole", width=self.head_width, bias=False, count=count),
            elementwise(w, prefix, "rotary", cut="heads", width=2 * queries + self.head_width, count=count),
            parameters(w, prefix, "sinks", "attention", num=self.heads, count=count),
            *window,
            *behind,
            replace(
                first,
                activation_bytes=w.bytes_of(w.num_tokens * (queries + self.groups * self.group_rank)),
                saved_bytes=w.bytes_of(w.num_tokens * queries),
                reads=contexts,
            ),
            project("output", "attention", cut="rows", d_in=self.groups * self.group_rank, d_out=width, reads=(f"{prefix}.output_down",)),
        ]

    def _entry_ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """What makes the entries and chooses among them, and both products with them."""
        if self.compressor is None:
            return []
        made, table = f"{prefix}.compressor", self.compressor.ops(w, width, f"{prefix}.compressor", count)
        if self.indexer:
            table += self.indexer.ops(w, width, f"{prefix}.indexer", count, f"{prefix}.query_down")
        product = partial(
            entry_product,
            w,
            made,
            heads=self.heads,
            width=self.head_width,
            compressor=self.compressor,
            count=count,
            chosen=self.indexer.chosen if self.indexer else None,
            chosen_alone=self.chosen_alone,
        )
        table.append(product("scores", reads=(f"{prefix}.query_up", f"{made}.weigh")))
        table.append(product("context", reads=(f"{made}.scores", f"{made}.weigh")))
        return table


def entry_product(
    w: Workload,
    prefix: str,
    role: Literal["scores", "context"],
    *,
    heads: int,
    width: int,
    compressor: Compressor,
    count: int,
    reads: Sequence[str],
    chosen: int | None = None,
    chosen_alone: bool = False,
) -> Op:
    """One product with compressed entries, of every head.

    Args:
        chosen: entries that a query sees at most; None for all that lie behind it.
        chosen_alone: whether no others are multiplied.
    """
    b, t, made = w.batch, w.seq_len, entries(w, compressor.rate)
    keys = min(made, chosen) if chosen and chosen_alone else made
    pairs = entry_pairs(w, compressor.rate, chosen)
    masked = max(0, t * keys - pairs)
    flop, per_pair = 2 * b * heads * t * keys * width, 2 * b * heads * width
    caches = w.phase in ("prefill", "decode") and role == "scores"
    moved = made if w.phase == "prefill" else min(made, pairs)
    return Op(
        name=name_of(prefix, role),
        component="attention",
        kind="attention",
        part=prefix,
        role=role,
        cut="heads",
        count=count,
        flop=flop,
        backward_flop=2 * flop,
        unseen_flop=masked * per_pair,
        masked_flop=masked * per_pair,
        cache_bytes=w.bytes_of(b * moved * compressor.width) * caches,
        held_cache_bytes=compressor.held_bytes(w) * caches,
        activation_bytes=w.bytes_of(b * (heads * t * keys + (heads * t + keys) * width)),
        saved_bytes=w.bytes_of(b * heads * (t * keys + t * width)) if keys else 0,
        recomputed=True,
        mnk=(t, keys, width) if role == "scores" else (t, width, keys),
        reads=tuple(reads),
        tokens_per_key=compressor.rate,
    )
