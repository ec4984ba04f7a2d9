"""Logits and loss by path, against peaks of single kernels that Liger's benchmark measured on an A100, forward and backward.

Source: linkedin/Liger-Kernel@ead96b61, benchmark/data/all_benchmark_data.csv, MiB.
"""

from __future__ import annotations

import pytest

from estimators.tuning.loss import loss_memory

MIB = 2**20
WIDTH, VOCAB = 4096, 128_256
LIGER_CROSS_ENTROPY = {4096: 256.32861328125, 8192: 512.32861328125, 16384: 1024.32861328125, 65536: 4096.32861328125, 131072: 8192.328125}
"""Entries of the vocabulary -> peak; 8 x 2,048 tokens, fp32 logits."""
LIGER_FUSED_LINEAR = {4096: 4245.5478515625, 8192: 4466.9697265625, 16384: 4910.4384765625, 32768: 5794.6259765625}
"""Tokens -> peak; width 4,096, 128,256 entries, bf16."""
TORCH_CROSS_ENTROPY = {4096: 1280.1259765625, 131072: 40960.125}
TORCH_HEAD_AND_LOSS = {4096: 6092.2822265625, 32768: 27582.5}


def slope(measured: dict[int, float], low: int, high: int) -> float:
    """Bytes more for each step of what is varied."""
    return (measured[high] - measured[low]) * MIB / (high - low)


@pytest.mark.parametrize("high", [8192, 16384, 65536, 131072])
def test_ligers_cross_entropy_works_in_place(high: int) -> None:
    """4 bytes a logit in fp32: the gradient is written over it. To 0.2 %."""
    said = [loss_memory("liger", 16_384, WIDTH, vocab, size=4).logits_bytes for vocab in (4096, high)]
    assert (said[1] - said[0]) / (high - 4096) == pytest.approx(slope(LIGER_CROSS_ENTROPY, 4096, high), rel=0.002)


@pytest.mark.parametrize("high", [8192, 16384, 32768])
def test_ligers_fused_linear_holds_one_chunk_of_logits(high: int) -> None:
    """10 bytes a logit of a chunk, 2 an element of the hidden states' gradient; the kernel's peak has the hidden states themselves as well.

    To 0.5 %: 220 bytes a token of what is measured are nothing that its code names.
    """
    said = [loss_memory("liger-fused", tokens, WIDTH, VOCAB, size=2).logits_bytes + 2 * tokens * WIDTH for tokens in (4096, high)]
    assert (said[1] - said[0]) / (high - 4096) == pytest.approx(slope(LIGER_FUSED_LINEAR, 4096, high), rel=0.005)


def test_torchs_loss_takes_five_copies_of_fp32_logits_and_six_bytes_a_logit_behind_a_16_bit_head() -> None:
    """Which is why paths are told apart; transformers' loop makes fp32 of 16-bit logits and holds 12 bytes, or 14 where they are kept."""
    assert slope(TORCH_CROSS_ENTROPY, 4096, 131072) / 16_384 == pytest.approx(20, rel=1e-4)
    assert slope(TORCH_HEAD_AND_LOSS, 4096, 32768) == pytest.approx(6 * VOCAB + 4 * WIDTH, rel=1e-4)
    tokens = 2048
    plain, kept, wide = (
        loss_memory(path, tokens, WIDTH, VOCAB, size=size).logits_bytes  # type: ignore[arg-type]
        for path, size in (("plain", 2), ("plain-kept", 2), ("plain-kept", 4))
    )
    assert (plain, kept, wide) == (12 * tokens * VOCAB, 14 * tokens * VOCAB, 16 * tokens * VOCAB)


def test_chunks_do_not_grow_with_the_vocabulary_beyond_a_tile() -> None:
    said = [loss_memory("chunked", 16_384, WIDTH, vocab, size=2).logits_bytes for vocab in (65_536, 262_144)]
    assert said[0] == said[1] == 2 * 4096 * 32_768 + 4 * 16_384 * WIDTH


@pytest.mark.parametrize("path", ["liger", "liger-fused", "chunked", "cut-cross-entropy", "fused-16-bit"])
def test_a_trained_head_has_its_gradient_made_in_the_same_moment(path: str) -> None:
    frozen, trained = (
        loss_memory(path, 4096, WIDTH, VOCAB, size=2, trained_head=size)  # type: ignore[arg-type]
        for size in (0, 2)
    )
    assert frozen.head_gradient_bytes == 0
    assert trained.head_gradient_bytes == (4 if path == "chunked" else 2) * WIDTH * VOCAB
