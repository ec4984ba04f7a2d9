"""Attention that pools the tokens of a sample into one vector (SigLIP)."""

from __future__ import annotations

from estimators.architectures.attention import Attention
from estimators.architectures.feed_forward import FeedForward
from estimators.architectures.rows import edge_norm, elementwise, parameters
from estimators.frozen import frozen, replace
from estimators.spec import Op, Workload


@frozen
class AttentionPool:
    """One learned query attends to all tokens of a sample; a norm and a feed-forward follow.

    Attributes:
        attention: a cross-attention.
        used: whether what comes after reads it; else it runs, and gets no gradient.

    Source: Zhai et al. 2022 (arXiv 2106.04560), section 3.1, multihead attention pooling.
    """

    attention: Attention
    feed_forward: FeedForward
    used: bool = True

    def ops(self, w: Workload, width: int, prefix: str) -> list[Op]:
        """Rows over batch samples of seq_len tokens."""
        one = replace(w, seq_len=1, source_len=w.seq_len)
        table = [
            parameters(w, prefix, "query", "pooler", num=width),
            *self.attention.ops(one, width, f"{prefix}.attention", 1),
            edge_norm(w, prefix, width=width, bias=True, rows=w.batch),
            *self.feed_forward.ops(one, width, f"{prefix}.mlp", 1),
            elementwise(one, prefix, "residual", cut="whole", width=width, reads=2, saved=False),
        ]
        behind = [replace(op, recomputed=False) for op in table]
        return behind if self.used else [replace(op, backward_flop=0, saved_bytes=0) for op in behind]
