"""Multi-head latent attention of one layer: what is cached is narrow, what is multiplied depends on the code path."""

from __future__ import annotations

from functools import partial

from estimators.architectures.attention_rows import attention_products
from estimators.architectures.indexer import Indexer
from estimators.architectures.part import Part
from estimators.architectures.rows import elementwise, linear, norm
from estimators.frozen import frozen, replace
from estimators.spec import Op, Workload


@frozen
class LatentAttention(Part):
    """Keys and values are expanded from a narrow latent, which is all that is cached.

    Attributes:
        heads: N.
        query_rank: width of the query's latent; None where queries are projected directly.
        kv_rank: width of the latent that is cached.
        nope_width, rope_width, value_width: per head, without positions, with them, and of values.
        bias: of the down-projections and the output.
        indexer: what chooses the keys that a query sees; None for nothing, or for the choice of an earlier layer.
        chosen_keys: how many of them a query sees at most; None for all. transformers multiplies all and masks the others, an engine
            reads and multiplies the chosen ones alone.
        turned: whether positions turn what rope_width is for; else it is a part of heads like any other.
        absorbed: whether decode multiplies the cached latents themselves (the expansion of keys is folded into the query,
            that of values into the output), as serving engines do, or expands all of them anew at every step, as
            transformers runs it. Training and prefill expand each token once on both paths.

    Source: DeepSeek-V2 (arXiv 2405.04434), section 2.1.
    """

    heads: int
    query_rank: int | None
    kv_rank: int
    nope_width: int
    rope_width: int
    value_width: int
    bias: bool = False
    indexer: Indexer | None = None
    chosen_keys: int | None = None
    turned: bool = True
    absorbed: bool = False

    @property
    def qk_width(self) -> int:
        """Width of one head's query and key."""
        return self.nope_width + self.rope_width

    @property
    def rotary(self) -> bool:
        """Whether positions turn a part of each query, and the key that all heads share."""
        return self.turned

    @property
    def rotary_width(self) -> int:
        """That of each query, and of the key that all heads share."""
        return self.rope_width if self.turned else 0

    @property
    def cache_elements_per_token(self) -> int:
        """Elements that one token leaves in this layer's cache: the latent, one rotary key for all heads, and an indexer's key."""
        return self.kv_rank + self.rope_width + (self.indexer.width if self.indexer else 0)

    @property
    def code_paths(self) -> dict[str, LatentAttention]:
        """Ways to run it at different cost."""
        names = ("latents expanded at every step, as transformers runs it", "latents absorbed, as serving engines run it")
        return {name: replace(self, absorbed=absorbed) for name, absorbed in zip(names, (False, True), strict=True)}

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of `count` such layers, D = width."""
        project = partial(linear, w, prefix, count=count, recomputed=True)
        query, latent = "query" if self.query_rank is None else "query_up", "kv_up"
        table = self._query_ops(w, width, prefix, count)
        down = self.kv_rank + self.rope_width
        table += [
            project("kv_down", "attention", cut="whole", d_in=width, d_out=down, bias=self.bias),
            norm(w, prefix, "kv_norm", cut="whole", width=self.kv_rank, bias=False, count=count),
            self._expansion(w, prefix, count),
            *self._turns(w, prefix, count),
            *self._products(w, prefix, (query, latent, latent), count),
        ]
        out, context = self.heads * self.value_width, (f"{prefix}.context",)
        table.append(project("output", "attention", cut="rows", d_in=out, d_out=width, bias=self.bias, reads=context))
        if self.indexer:
            table += self.indexer.ops(w, width, f"{prefix}.indexer", count, f"{prefix}.query_down")
        return table

    def _turns(self, w: Workload, prefix: str, count: int) -> list[Op]:
        turned = elementwise(w, prefix, "rotary", cut="heads", width=(self.heads + 1) * self.rope_width, count=count)
        return [turned] if self.turned else []

    def _query_ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        project = partial(linear, w, prefix, count=count, recomputed=True)
        queries, down = self.heads * self.qk_width, f"{prefix}.query_down"
        if self.query_rank is None:
            return [project("query", "attention", cut="columns", d_in=width, d_out=queries)]
        rank = self.query_rank
        return [
            project("query_down", "attention", cut="whole", d_in=width, d_out=rank, bias=self.bias),
            norm(w, prefix, "query_norm", cut="heads", width=rank, bias=False, count=count),
            project("query_up", "attention", cut="columns", d_in=rank, d_out=queries, reads=(down,)),
        ]

    def _expansion(self, w: Workload, prefix: str, count: int) -> Op:
        """From latents to keys and values. An engine that caches them expanded skips those of past tokens."""
        project = partial(linear, w, prefix, count=count, recomputed=True)
        up, down = self.heads * (self.nope_width + self.value_width), (f"{prefix}.kv_down",)

        def rows(tokens: int) -> Op:
            return project("kv_up", "attention", cut="columns", d_in=self.kv_rank, d_out=up, rows=tokens, reads=down)

        once = rows(w.num_tokens)
        if self.absorbed or w.phase != "decode":
            return once
        anew = rows(w.batch * (w.context_len + w.seq_len))
        return replace(anew, masked_flop=anew.flop - once.flop)

    def _products(self, w: Workload, prefix: str, operands: tuple[str, str, str], count: int) -> tuple[Op, Op]:
        """Scores and context. What one path multiplies above the other in decode is no kernel's duty."""

        def products(qk_width: int, v_width: int) -> tuple[Op, Op]:
            return attention_products(
                w,
                prefix,
                heads=self.heads,
                qk_width=qk_width,
                v_width=v_width,
                cache_elements_per_token=self.kv_rank + self.rope_width,
                cache_heads=1,
                window=self.chosen_keys,
                trims_cache=self.absorbed and w.phase == "decode",
                forgets=False,
                count=count,
                operands=operands,
            )

        expanded = products(self.qk_width, self.value_width)
        if w.phase != "decode":
            return expanded
        absorbed = products(self.kv_rank + self.rope_width, self.kv_rank)
        chosen, other = (absorbed, expanded) if self.absorbed else (expanded, absorbed)
        scores, context = (replace(op, masked_flop=max(0, op.flop - cheap.flop)) for op, cheap in zip(chosen, other, strict=True))
        return scores, context
