"""What chooses the keys that a query sees: a small attention of its own, whose scores are ranked instead of weighting values."""

from __future__ import annotations

from functools import partial

from estimators.architectures.attention_rows import attended_keys, held_keys, visible_pairs
from estimators.architectures.rows import linear, name_of, norm
from estimators.frozen import frozen, replace
from estimators.roles import Role
from estimators.spec import Op, Workload


@frozen
class Indexer:
    """Queries of several heads against one key a token, which stays in a cache of its own; the scores of heads are weighted and added.

    It runs without a gradient: the loss of a language model trains nothing of it.

    Attributes:
        heads, width: of its queries; the key has one head of that width.
        query_rank: of the attention's latent that its queries are made of.

    Source: DeepSeek-V3.2-Exp report, section 2.1 (DeepSeek Sparse Attention).
    """

    heads: int
    width: int
    query_rank: int

    def ops(self, w: Workload, width: int, prefix: str, count: int, latent: str) -> list[Op]:
        """Rows of `count` such layers, D = width; `latent` names the row whose output its queries are made of."""
        project = partial(linear, w, prefix, count=count, cut="whole", recomputed=True)
        rows = [
            project("index_query", "attention", d_in=self.query_rank, d_out=self.heads * self.width, reads=(latent,)),
            project("index_key", "attention", d_in=width, d_out=self.width),
            norm(w, prefix, "key_norm", cut="whole", width=self.width, bias=True, count=count),
            project("index_weights", "attention", d_in=width, d_out=self.heads),
            self._product(w, prefix, "scores", self.width, count, (f"{prefix}.index_query", f"{prefix}.index_key")),
            self._product(w, prefix, "context", 1, count, (f"{prefix}.scores", f"{prefix}.index_weights")),
        ]
        return [replace(row, frozen=True, backward_flop=0, saved_bytes=0) for row in rows]

    def _product(self, w: Workload, prefix: str, role: Role, depth: int, count: int, reads: tuple[str, str]) -> Op:
        """All heads' queries against all keys, or the sum of their scores by weight; fp32 in both."""
        b, t, s = w.batch, w.seq_len, attended_keys(w, None)
        pairs = t * s - visible_pairs(w, None)
        token_bytes = w.bytes_of(b * self.width) if depth > 1 and w.phase in ("prefill", "decode") else 0
        held = held_keys(w, None)
        return Op(
            name=name_of(prefix, role),
            component="attention",
            kind="attention",
            part=prefix,
            role=role,
            cut="whole",
            count=count,
            flop=2 * b * self.heads * t * s * depth,
            unseen_flop=b * self.heads * (2 * pairs + (t if w.phase != "decode" else 0)) * depth,
            masked_flop=2 * b * self.heads * pairs * depth,
            cache_bytes=(min(held, t) if w.phase == "prefill" else s) * token_bytes,
            held_cache_bytes=held * token_bytes,
            cache_heads=1,
            activation_bytes=4 * b * (self.heads * t * s + (self.heads * t + s) * depth),
            recomputed=True,
            mnk=(t, s, depth) if role == "scores" else (1, s, self.heads),
            reads=reads,
        )
