"""Decoder-only language models: GPT-2 and GPT-3, Phi, Llama, Mistral and their kin differ in a handful of fields."""

from __future__ import annotations

from dataclasses import dataclass

from estimators.architectures.rows import attention, checkpoint, elementwise, linear, lookup, norm
from estimators.spec import Op, Source, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """A stack of L equal layers between an embedding and a head.

    Attributes:
        vocab, width, layers, heads, kv_heads, head_width, ffn_width: V, D, L, N, K, H, F.
        positions: rows of a learned position table; 0 for rotary positions.
        max_positions: the longest sequence that the model was made for.
        gated: whether the feed-forward has a gate (three matrices instead of two).
        qkv_bias, out_bias, ffn_bias, head_bias: which linear layers have a bias.
        fused_qkv: whether query, key and value are one matrix.
        norm_bias: layer norm (gain and bias) or RMS norm (gain).
        norms_per_layer: 1 for parallel blocks, else 2.
        qk_norm: whether each query and key head has a norm of its own.
        tied: whether the head reuses the token embedding.
        window: keys that a query may see; None for all.
    """

    name: str
    source: Source
    vocab: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    ffn_width: int
    positions: int = 0
    max_positions: int
    gated: bool = False
    qkv_bias: bool = False
    out_bias: bool = False
    ffn_bias: bool = False
    head_bias: bool = False
    fused_qkv: bool = False
    norm_bias: bool = False
    norms_per_layer: int = 2
    qk_norm: bool = False
    tied: bool = False
    window: int | None = None

    @property
    def kv_elements_per_token(self) -> int:
        """Elements that one token leaves in one layer's KV cache: a key and a value per kv head.

        Source: Pope et al. 2022 (arXiv 2211.05102), section 2: 2·K·H per layer.
        """
        return 2 * self.kv_heads * self.head_width

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        """The op table of one step. Head on the last position only in a prefill, as `generate` runs it."""
        w = workload
        head_rows = w.batch if w.phase == "prefill" else w.num_tokens
        table = [lookup(w, "embedding.token", num_rows=self.vocab, width=self.width)]
        if self.positions:
            table.append(lookup(w, "embedding.position", num_rows=self.positions, width=self.width))
        table += [*self._attention_ops(w), *self._ffn_ops(w)]
        table.append(norm(w, "layer.norm", width=self.width, bias=self.norm_bias, count=self.layers * self.norms_per_layer))
        table.append(elementwise(w, "layer.residual", "elementwise", width=self.width, reads=2, count=2 * self.layers, saved=False))
        if w.recompute == "full":
            table.append(checkpoint(w, "layer.input", width=self.width, count=self.layers))
        table.append(norm(w, "final.norm", width=self.width, bias=self.norm_bias, recomputed=False))
        table.append(linear(w, "head", "head", d_in=self.width, d_out=self.vocab, bias=self.head_bias, rows=head_rows, owned=not self.tied))
        return tuple(table)

    def _attention_ops(self, w: Workload) -> list[Op]:
        q, kv = self.heads * self.head_width, self.kv_heads * self.head_width
        parts = {"query_key_value": q + 2 * kv} if self.fused_qkv else {"query": q, "key": kv, "value": kv}
        table = [
            linear(
                w, f"layer.attention.{name}", "attention", d_in=self.width, d_out=d, bias=self.qkv_bias, count=self.layers, recomputed=True
            )
            for name, d in parts.items()
        ]
        if self.qk_norm:
            table.append(
                norm(
                    w,
                    "layer.attention.qk_norm",
                    width=self.head_width,
                    bias=self.norm_bias,
                    rows=w.num_tokens * self.heads,
                    count=2 * self.layers,
                )
            )
        if not self.positions:
            table.append(elementwise(w, "layer.attention.rotary", "elementwise", width=q + kv, count=self.layers))
        table += attention(
            w,
            "layer.attention",
            heads=self.heads,
            qk_width=self.head_width,
            v_width=self.head_width,
            cache_elements_per_token=self.kv_elements_per_token,
            window=self.window,
            count=self.layers,
        )
        table.append(
            linear(
                w, "layer.attention.output", "attention", d_in=q, d_out=self.width, bias=self.out_bias, count=self.layers, recomputed=True
            )
        )
        return table

    def _ffn_ops(self, w: Workload) -> list[Op]:
        names = ("gate", "up") if self.gated else ("up",)
        table = [
            linear(
                w, f"layer.mlp.{name}", "mlp", d_in=self.width, d_out=self.ffn_width, bias=self.ffn_bias, count=self.layers, recomputed=True
            )
            for name in names
        ]
        table.append(elementwise(w, "layer.mlp.activation", "elementwise", width=self.ffn_width, reads=len(names), count=self.layers))
        table.append(
            linear(
                w, "layer.mlp.down", "mlp", d_in=self.ffn_width, d_out=self.width, bias=self.ffn_bias, count=self.layers, recomputed=True
            )
        )
        return table
