"""Attention of one layer: how queries, keys and values are made, what is multiplied, what stays in the cache."""

from __future__ import annotations

from functools import partial
from typing import Literal

from estimators.architectures.attention_rows import attention_products, chunk_pairs
from estimators.architectures.part import Part
from estimators.architectures.rows import elementwise, linear, norm, parameters
from estimators.frozen import frozen, replace
from estimators.roles import NormForm, Role
from estimators.spec import Op, Workload

SOURCE = "source"
"""What keys and values of a cross-attention read, in the place of a row's name."""


@frozen
class Attention(Part):
    """Multi-head, grouped-query or multi-query attention.

    Attributes:
        heads, kv_heads, head_width: N, K, H; queries are N·H wide, keys and values K·H.
        query_bias, key_bias, value_bias, out_bias: which projections have a bias.
        fused: query, key and value are one matrix.
        query_norm_width, key_norm_width: widths of norms on queries and keys; 0 for none. A width of H is one norm
            shared by all heads, a width of N·H one norm over all of them.
        qk_norm_bias: whether those norms have a bias.
        qk_norm_params: whether they have parameters at all.
        qk_norm_form: how transformers writes them, see NormForm.
        qk_norm_by_head: whether each head is normed by itself, with a gain of its own.
        qk_norm_first: whether they stand before positions turn queries and keys.
        rotary: whether positions turn queries and keys.
        angle_elements: sines and cosines per position that each layer makes anew; 0 where all share the model's.
        wide_angles: whether those are fp32 beside 16-bit weights, too.
        mask_heads: heads of a mask that is handed over even without a window, and kept: 1 for one that all share; 0 for none.
        repeats_keys: whether keys and values are repeated for every head before they are multiplied, as they are under a mask.
        by_head: whether queries lie head by head in memory, since they are joined from a turned and an unturned part.
        scores: how transformers runs it: `fused`, scaled_dot_product_attention by a kernel; `unfused`, by the same, but
            no kernel fits, since heads share a key unsaid; `biased`, since a bias by distance is learned; `written_out`, in Python;
            `handed_out`, in torch's own attention module, written out in the dtype of compute since it returns its probabilities.
        wide_products: whether queries and keys are cast to fp32 before their product, which autocast undoes.
        capped: whether a tanh holds the scores within bounds.
        causal: whether a query sees only its past.
        window: keys that a query may see, itself included; None for all.
        chunked: whether the window does not slide: a query sees its past within its own chunk of `window` tokens alone,
            while the cache keeps the last window - 1.
        trims_cache: whether keys that have left the window leave the cache too; else they are multiplied and masked.
        sinks: learned logits per head beside the keys.
        output_gate: whether the query's matrix makes a gate on the output too, as wide as the queries.
        context_norm: whether an RMS norm over all heads together stands before the output matrix.
        cross: keys and values come from another sequence (an encoder's output).
        keys_are_values: values are what the key's matrix makes, before its norm and positions (Gemma 4).
        value_norm: whether each head's values are normed, without a gain.
        reads_earlier: whether keys and values are those of an earlier layer of the same kind: no matrices, nothing left in the cache.
        input_width: what queries, keys and values are made of, where that is not as wide as the model; None for the model's width.
        reads_whole: whether it then meets, on the last position of a prefill alone, the keys of all its tokens (Gemma 4).
    """

    heads: int
    kv_heads: int
    head_width: int
    query_bias: bool = False
    key_bias: bool = False
    value_bias: bool = False
    out_bias: bool = False
    fused: bool = False
    query_norm_width: int = 0
    key_norm_width: int = 0
    qk_norm_bias: bool = False
    qk_norm_params: bool = True
    qk_norm_form: NormForm = ""
    qk_norm_by_head: bool = False
    qk_norm_first: bool = True
    rotary: bool = True
    angle_elements: int = 0
    wide_angles: bool = False
    mask_heads: int = 0
    repeats_keys: bool = False
    by_head: bool = False
    scores: Literal["biased", "fused", "handed_out", "unfused", "written_out"] = "fused"
    wide_products: bool = False
    capped: bool = False
    causal: bool = True
    window: int | None = None
    chunked: bool = False
    trims_cache: bool = True
    sinks: bool = False
    output_gate: bool = False
    context_norm: bool = False
    cross: bool = False
    keys_are_values: bool = False
    value_norm: bool = False
    reads_earlier: bool = False
    input_width: int | None = None
    reads_whole: bool = False

    @property
    def inner_width(self) -> int:
        """Width of all heads together: N·H."""
        return self.heads * self.head_width

    @property
    def cache_elements_per_token(self) -> int:
        """Elements that one token leaves in this layer's KV cache: a key and a value per kv head.

        Source: Pope et al. 2022 (arXiv 2211.05102), section 2: 2·K·H per layer.
        """
        return 0 if self.reads_earlier else self._read_elements_per_token

    @property
    def _read_elements_per_token(self) -> int:
        return 2 * self.kv_heads * self.head_width

    @property
    def crosses(self) -> bool:
        """As `cross` says."""
        return self.cross

    @property
    def rotary_width(self) -> int:
        """A whole head's."""
        return self.head_width if self.rotary else 0

    @property
    def keeps(self) -> int | None:
        """Tokens of a sequence that the cache keeps at most."""
        return self.window

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of `count` such layers, D = width.

        A cross-attention projects the encoder's output once, in the prefill, and finds keys and values cached in decode.
        """
        project = partial(linear, w, prefix, count=count, recomputed=True)
        q, kv, d_in = self.inner_width, self.kv_heads * self.head_width, self.input_width or width

        def keys(row: Op, columns: int) -> Op:
            return replace(row, key_columns=columns, cache_heads=self.kv_heads)

        table: list[Op] = []
        if self.fused:
            bias = self.query_bias
            table.append(keys(project("query_key_value", "attention", cut="columns", d_in=d_in, d_out=q + 2 * kv, bias=bias), 2 * kv))
        else:
            query_width = 2 * q if self.output_gate else q
            table.append(project("query", "attention", cut="columns", d_in=d_in, d_out=query_width, bias=self.query_bias))
            rows, reads = self._source_rows(w), (SOURCE,) if self.cross else ()
            projections: tuple[tuple[Role, bool], ...] = (("key", self.key_bias), ("value", self.value_bias))
            for role, bias in projections[: 0 if self.reads_earlier else 1 if self.keys_are_values else 2]:
                table.append(keys(project(role, "attention", cut="columns", d_in=d_in, d_out=kv, bias=bias, rows=rows, reads=reads), kv))
        table += self._norm_ops(w, prefix, count)
        if self.rotary:
            table.append(elementwise(w, prefix, "rotary", cut="heads", width=q + (0 if self.reads_earlier else kv), count=count))
        if self.sinks:
            table.append(replace(parameters(w, prefix, "sinks", "attention", num=self.heads, count=count), role="sinks"))
        table += attention_products(
            w,
            prefix,
            heads=self.heads,
            qk_width=self.head_width,
            v_width=self.head_width,
            cache_elements_per_token=self._read_elements_per_token,
            cache_heads=self.kv_heads,
            causal=self.causal and not self.cross,
            window=self.window,
            trims_cache=self.trims_cache and not (self.reads_whole and w.phase == "prefill"),
            holds=not self.reads_earlier,
            keys=w.source_len if self.cross else None,
            count=count,
            operands=self._operands,
            pairs=chunk_pairs(w, self.window) if self.chunked and self.window else None,
        )
        if self.context_norm:
            table.append(norm(w, prefix, label="context_norm", cut="heads", width=q, bias=False, count=count))
        context = (f"{prefix}.context",)
        table.append(project("output", "attention", cut="rows", d_in=q, d_out=width, bias=self.out_bias, reads=context))
        return table

    @property
    def _operands(self) -> tuple[str, str, str]:
        """Rows that make queries, keys and values; an earlier layer's are not found in this one."""
        if self.fused:
            return "query_key_value", "query_key_value", "query_key_value"
        return "query", "key", "key" if self.keys_are_values else "value"

    def _source_rows(self, w: Workload) -> int:
        if not self.cross:
            return w.num_tokens
        return 0 if w.phase == "decode" else w.batch * w.source_len

    def _norm_ops(self, w: Workload, prefix: str, count: int) -> list[Op]:
        keys = self.kv_heads * self.head_width
        norms: tuple[tuple[Role, int, int], ...] = (
            ("query_norm", self.query_norm_width, self.inner_width),
            ("key_norm", 0 if self.reads_earlier else self.key_norm_width, keys),
        )
        vectors = {"query_norm": w.num_tokens, "key_norm": self._source_rows(w)}
        table = [
            norm(
                w,
                prefix,
                role,
                cut="heads",
                width=size,
                gain=self.qk_norm_params,
                bias=self.qk_norm_bias,
                rows=vectors[role] * total // size,
                count=count,
            )
            for role, size, total in norms
            if size
        ]
        if self.value_norm and not self.reads_earlier:
            rows = w.num_tokens * self.kv_heads
            bare = partial(norm, w, prefix, "value_norm", cut="heads", width=self.head_width, gain=False, bias=False)
            table.append(bare(rows=rows, count=count))
        return table
