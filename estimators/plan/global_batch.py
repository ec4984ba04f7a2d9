"""How many sequences a step has, where nobody says: what published runs of that size took, rounded so that devices can share it."""

from __future__ import annotations

PUBLISHED = (
    (1.0e9, 500_000),
    (5.0e9, 1_000_000),
    (100e9, 2_000_000),
    (300e9, 3_200_000),
    (float("inf"), 16_000_000),
)
"""Parameters up to which a batch of so many tokens was taken.

Source: Brown et al. 2020 (arXiv 2005.14165), table 2.1: 0.5 M tokens to 0.76B, 1 M to 2.7B, 2 M to 13B, 3.2 M at 175B; Llama 3
(arXiv 2407.21783), section 3.4: 16 M tokens for most of the 405B run. Between 13B and 175B the smaller batch is kept.
"""

BATCH_SOURCE = "the batch of published runs of that size: GPT-3 (arXiv 2005.14165, table 2.1), Llama 3 405B (arXiv 2407.21783, section 3.4)"


def default_global_batch(params: int, seq_len: int, num_devices: int) -> int:
    """Sequences of one step: the published tokens, as the nearest 2^k or 3·2^k times what is odd in the number of devices.

    >>> default_global_batch(175 * 10**9, 2048, 1024)
    1536
    """
    tokens = next(tokens for most, tokens in PUBLISHED if params <= most)
    odd = num_devices
    while odd % 2 == 0:
        odd //= 2
    choices = [odd * start << power for start in (1, 3) for power in range(40)]
    wanted = tokens / seq_len
    return min(choices, key=lambda batch: (abs(batch - wanted), batch))
