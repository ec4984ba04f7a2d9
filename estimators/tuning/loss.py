"""Logits and loss: bytes that the head, the loss and their gradients hold at once, by the path that makes them."""

from __future__ import annotations

from estimators.frozen import frozen
from estimators.tuning.recipes import LossPath

TRL_TILE_TOKENS, TRL_TILE_ENTRIES = 4096, 32768
"""Rows and columns of a tile of TRL's fused head. Source: TRL, kernels/chunked_logprob.py and trainer/utils.py (version 1.16)."""


@frozen
class LossMemory:
    """Bytes at the moment of the loss.

    Attributes:
        logits_bytes: of logits, log-probabilities, their gradients, and gradients of the hidden states that a fused path makes at once.
        head_gradient_bytes: of the gradient of a trained head that is made in the same moment.
    """

    logits_bytes: int
    head_gradient_bytes: int = 0


def loss_memory(
    path: LossPath,
    tokens: int,
    width: int,
    vocab: int,
    *,
    size: int,
    capped: bool = False,
    divided: bool = False,
    widened: bool = True,
    trained_head: int = 0,
    judged_tokens: int = 0,
) -> LossMemory:
    """What one forward pass holds when its loss is made.

    Plain: logits in the dtype of the head's product where the caller keeps them, and log-probabilities and two gradients of them in
    fp32: 12 bytes, and 2 or 4 for the logits kept. Liger's cross entropy and other fused ones write the gradient over an fp32 copy of
    the logits, shifted by a token, beside the copy that is not: 8 bytes, and 2 for the 16-bit logits where the caller keeps them.
    Liger's fused linear makes logits for a chunk of about T·D/V tokens: 8 bytes each (its 16-bit logits, their fp32 copy, and the
    gradient of the chunk before), gradients of all hidden states, and an fp32 loss of each token. Its losses of judged answers go by
    samples; each makes 8 bytes a logit, then the gradient of the whole head beside a 16-bit gradient of the logits, whether the head
    is trained or not, and adds that up in another. TRL's fused head makes tiles of 4,096 x 32,768 logits in the dtype of compute, and
    an fp32 gradient of the hidden states.

    >>> loss_memory("plain-kept", 2048, 4096, 151_936, size=2).logits_bytes == 14 * 2048 * 151_936
    True
    >>> loss_memory("liger", 16_384, 4096, 131_072, size=2).logits_bytes == 16 * 2**30
    True

    Args:
        tokens: of the pass, padding included.
        size: bytes of a logit as the head makes it.
        capped: whether a tanh holds the logits within bounds; it keeps them once more.
        widened: whether logits become fp32 before the loss; without, all of this is in their own dtype.
        divided: whether logits are divided by a temperature, as GRPO's are: one more copy of them.
        trained_head: bytes of an element of the head's gradient; 0 where the head is frozen.
        judged_tokens: of what Liger's losses of preferences, judged answers and GRPO take at once; 0 for cross entropy.

    Source: Liger-Kernel, ops/fused_linear_cross_entropy.py, chunked_loss/fused_linear_preference.py and fused_linear_ppo.py (versions
        0.4 to 0.6), held against the peaks in facts/data/measured/loss_kernels.csv.
    """
    logits, head = tokens * vocab, width * vocab * trained_head
    more = size * logits * (capped + divided)
    if path in ("plain", "plain-kept"):
        is_there = path == "plain-kept" or (size == 4 and widened)
        return LossMemory(logits_bytes=(3 * (4 if widened else size) + size * is_there) * logits + more)
    if path in ("liger", "fused-16-bit", "fused-16-bit-kept"):
        made = 2 * size if not widened else 4 if size == 4 else 8
        return LossMemory(logits_bytes=(made + size * (path == "fused-16-bit-kept")) * logits + more, head_gradient_bytes=head)
    if path == "liger-fused" and judged_tokens:
        chunk, of_head = min(tokens, judged_tokens) * vocab, size * width * vocab
        beside = max(8 * chunk, of_head + size * chunk)
        return LossMemory(
            logits_bytes=beside + size * tokens * width + (0 if trained_head else of_head),
            head_gradient_bytes=of_head if trained_head else 0,
        )
    if path == "liger-fused":
        chunk = min(tokens, _power_of_two(-(-tokens // -(-vocab // width))))
        return LossMemory(logits_bytes=8 * chunk * vocab + size * tokens * width + 4 * tokens, head_gradient_bytes=head)
    if path == "cut-cross-entropy":
        return LossMemory(logits_bytes=size * tokens * width, head_gradient_bytes=head)
    tile = min(tokens, TRL_TILE_TOKENS) * min(vocab, TRL_TILE_ENTRIES)
    return LossMemory(logits_bytes=size * tile + 4 * tokens * width, head_gradient_bytes=4 * width * vocab if trained_head else 0)


MEAN_BYTES, TARGET_BYTES = 4, 8
"""The number of tokens that a mean loss is over, and the index of a token that is to be said."""


def kept_for_backward_bytes(rows: int, seq_len: int, vocab: int, *, size: int, capped: bool = False) -> int:
    """What transformers' own loss leaves for backward: fp32 log-probabilities and targets, and of capped logits the tanh as computed.

    Targets are shifted by a place: of one row a view of one more, which is kept whole.

    >>> kept_for_backward_bytes(2, 1024, 151_936, size=2) == 4 * 2048 * 151_936 + 8 * 2048 + 4
    True

    Args:
        rows, seq_len: of the pass, padding included.
        size: bytes of a logit as the head makes it.
    """
    tokens = rows * seq_len
    targets = tokens + 1 if rows == 1 else tokens
    return tokens * vocab * (4 + (size if capped else 0)) + TARGET_BYTES * targets + MEAN_BYTES


def _power_of_two(number: int) -> int:
    """The least power of two that is not below."""
    return 1 << (number - 1).bit_length()
