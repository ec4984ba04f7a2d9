"""Logits and loss by path; tests/estimators/validation/test_loss_kernels.py holds them against peaks that were measured on a GPU."""

from __future__ import annotations

import pytest

from estimators.tuning.loss import loss_memory

WIDTH, VOCAB = 4096, 128_256


def test_transformers_loop_holds_12_bytes_a_logit_and_the_logits_where_they_are_kept() -> None:
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


def test_ligers_chunk_is_a_power_of_two_of_about_as_many_logits_as_hidden_states() -> None:
    """5,000 tokens in ceil(128,256 / 4,096) = 32 parts are 157, which makes 256."""
    found = loss_memory("liger-fused", 5000, WIDTH, VOCAB, size=2).logits_bytes
    assert found == 8 * 256 * VOCAB + 2 * 5000 * WIDTH + 4 * 5000


@pytest.mark.parametrize(("width", "vocab", "first"), [(4096, 128_256, False), (1024, 128_256, True)])
def test_ligers_loss_of_pairs_holds_one_pair_and_a_gradient_of_the_whole_head(width: int, vocab: int, first: bool) -> None:
    """Of 16 rows of 512 tokens: 8 B a logit of two rows, or a second gradient of the head beside 2 B a logit, whichever is more; added
    up in a first one, though the head is frozen."""
    chunk, head = 2 * 512 * vocab, 2 * width * vocab
    largest = 8 * chunk if first else head + 2 * chunk
    assert (8 * chunk > head + 2 * chunk) == first
    frozen = loss_memory("liger-fused", 16 * 512, width, vocab, size=2, judged_tokens=2 * 512)
    assert frozen.logits_bytes == head + largest + 2 * 16 * 512 * width
    trained = loss_memory("liger-fused", 16 * 512, width, vocab, size=2, judged_tokens=2 * 512, trained_head=2)
    assert (trained.logits_bytes, trained.head_gradient_bytes) == (frozen.logits_bytes - head, head)


def test_a_caller_that_keeps_16_bit_logits_holds_two_bytes_more_and_logits_that_are_not_widened_all_in_16_bits() -> None:
    def a_logit(path: str, **how: bool) -> float:
        return loss_memory(path, 4, WIDTH, VOCAB, size=2, **how).logits_bytes / (4 * VOCAB)  # type: ignore[arg-type]

    assert [a_logit(path) for path in ("plain", "plain-kept", "fused-16-bit", "fused-16-bit-kept")] == [12, 14, 8, 10]
    assert [a_logit(path, widened=False) for path in ("plain", "plain-kept", "fused-16-bit", "fused-16-bit-kept")] == [6, 8, 4, 6]


def test_logits_divided_by_a_temperature_are_there_once_more() -> None:
    plain, divided = (loss_memory("plain-kept", 2048, WIDTH, VOCAB, size=2, divided=each).logits_bytes for each in (False, True))
    assert divided - plain == 2 * 2048 * VOCAB
