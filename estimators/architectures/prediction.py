"""Layers beside a decoder that predict further tokens: multi-token prediction."""

from __future__ import annotations

from estimators.architectures.block import Block
from estimators.architectures.rows import linear, norm
from estimators.frozen import frozen
from estimators.spec import Op, Workload


def in_words(count: int) -> str:
    """So many of these layers.

    >>> in_words(1)
    '1 multi-token prediction layer'
    """
    return f"{count:,} multi-token prediction layer{'s' if count > 1 else ''}"


@frozen
class PredictionLayers:
    """Each joins the last hidden state with the next token's embedding, runs one more layer and the decoder's own head.

    They are no part of the decoder's op table: transformers builds them apart (MtpModel), for speculative decoding, and
    training code leaves them out after pre-training. Embedding and head are the decoder's.

    Attributes:
        block: the layers, as the decoder has them.

    Source: DeepSeek-V3 (arXiv 2412.19437), section 2.2.
    """

    block: Block

    def ops(self, w: Workload, width: int, vocab: int) -> tuple[Op, ...]:
        """Rows of all prediction layers, D = width. Head on the last position only, outside training."""
        count, look = self.block.count, self.block.norm
        head_rows = w.num_tokens if w.phase in ("train", "forward") else w.batch
        return (
            norm(w, "prediction", cut="whole", width=width, gain=look.gain, bias=look.bias, count=3 * count),
            linear(
                w,
                "prediction",
                "projection",
                "prediction",
                cut="whole",
                label="join",
                d_in=2 * width,
                d_out=width,
                count=count,
                recomputed=True,
            ),
            *self.block.ops(w, width, "prediction.layer"),
            linear(w, "prediction", "head", "head", cut="vocabulary", d_in=width, d_out=vocab, rows=head_rows, count=count, owned=False),
        )
