"""Encoder-decoders: what their figures mean, row by row."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from bench.backend.counting import meta
from estimators.architectures.from_config import model_from_config
from estimators.counting.conventions import unskippable_flop
from estimators.counting.estimate import count_params
from estimators.errors import BadValueError
from estimators.facts.registry import model_entry
from estimators.spec import Op, Workload
from tests.support.encoders_and_images import WRITING, step


def row(ops: tuple[Op, ...], name: str) -> Op:
    return next(op for op in ops if op.name == name)


def test_a_decode_step_reads_cached_keys_of_the_source_and_no_weight_of_the_encoder() -> None:
    """T5-small, 2 sequences, 9 tokens written, 14 read: a cache of 2·512 elements per token and layer, in two bytes each."""
    model = model_from_config(model_entry("t5-small").config, "t5-small")
    ops = model.ops(Workload(phase="decode", batch=2, context_len=9, source_len=14))
    assert row(ops, "decoder.layer.attention.scores").cache_bytes == 2 * (9 + 1) * 2 * 512 * 2
    assert row(ops, "decoder.layer.cross_attention.scores").cache_bytes == 2 * 14 * 2 * 512 * 2
    encoder = [op for op in ops if op.name.startswith("encoder.")]
    assert sum(op.count * op.params for op in encoder) > 0
    assert sum(op.flop + op.weight_bytes + op.cache_bytes + op.activation_bytes for op in encoder) == 0
    assert row(ops, "decoder.layer.cross_attention.key").weight_bytes == 0
    assert row(ops, "decoder.layer.cross_attention.query").weight_bytes == 512 * 512 * 2


def test_a_prefill_writes_keys_of_the_whole_source() -> None:
    model = model_from_config(model_entry("t5-small").config, "t5-small")
    ops = model.ops(Workload(phase="prefill", batch=3, seq_len=1, source_len=100))
    assert row(ops, "decoder.layer.cross_attention.scores").cache_bytes == 3 * 100 * 2 * 512 * 2
    assert row(ops, "decoder.layer.attention.scores").cache_bytes == 3 * 1 * 2 * 512 * 2
    assert row(ops, "encoder.layer.attention.query").mnk == (300, 512, 512)


def test_a_source_is_as_long_as_what_the_decoder_has_seen_unless_it_is_given() -> None:
    model = model_from_config(model_entry("t5-small").config, "t5-small")
    for given_, stated in (
        (Workload(phase="train", seq_len=64), Workload(phase="train", seq_len=64, source_len=64)),
        (Workload(phase="decode", context_len=63), Workload(phase="decode", context_len=63, source_len=64)),
    ):
        assert model.ops(given_) == model.ops(stated)


def test_writing_token_by_token_behind_a_prefill_costs_what_no_causal_kernel_may_skip() -> None:
    """The whole of T5 at once, less its masked pairs, is one prefill of the first token and one decode step per further token."""
    model, source, target = model_from_config(model_entry("t5-small").config, "t5-small"), 20, 7
    whole = Workload(phase="forward", seq_len=target, source_len=source)
    first = step(model, Workload(phase="prefill", seq_len=1, source_len=source)).forward_flop
    rest = sum(step(model, Workload(phase="decode", context_len=i, source_len=source)).forward_flop for i in range(1, target))
    assert first + rest == unskippable_flop(model.ops(whole), whole)


def test_only_the_decoders_own_square_is_halved_under_the_causal_convention() -> None:
    """T5-small: 6 layers, 8 heads of 64: half of 4·L·N·H·T² forward; the encoder and the cross-attention see everything."""
    said = step(model_from_config(model_entry("t5-small").config, "t5-small"), Workload(seq_len=32, source_len=100))
    assert said.flop["full"] - said.flop["causal"] == 2 * 6 * 512 * 32 * 32
    bert = step(model_from_config({"model_type": "bert"}, "bert"), Workload(seq_len=32))
    assert bert.flop["full"] == bert.flop["causal"] == bert.min_flop


def test_whispers_sinusoids_are_parameters_that_no_training_changes() -> None:
    module = meta.meta_model(model_entry("whisper-tiny").config)
    ops = model_from_config(model_entry("whisper-tiny").config, "whisper").ops(Workload())
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad)
    assert sum(op.count * op.trainable_params for op in ops) == trainable
    assert count_params(ops) - trainable == 1500 * 384


def test_whispers_encoder_takes_thirty_seconds_and_nothing_else() -> None:
    model = model_from_config({"model_type": "whisper"}, "whisper")
    assert model.ops(Workload(source_len=1500)) == model.ops(Workload())
    with pytest.raises(
        BadValueError, match="source_len 1499: the encoder of whisper takes 1500 positions and nothing else; give that or 0"
    ):
        model.ops(Workload(source_len=1499))


def test_a_wrong_op_table_is_noticed() -> None:
    """The twin of all checks above: one head, one layer or one tie too many changes the count."""
    right: dict[str, Any] = {
        "model_type": "bart",
        "d_model": 24,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "vocab_size": 50,
    }
    right |= {"encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    module: nn.Module = meta.meta_model(right)
    counted = meta.torch_count(module, WRITING[0])
    said = step(model_from_config(right, "right"), WRITING[0])
    assert (said.params, said.forward_flop, said.backward_flop) == (counted.params, counted.forward_flop, counted.backward_flop)
    for change in ({"decoder_layers": 3}, {"encoder_ffn_dim": 33}, {"tie_word_embeddings": False}, {"architectures": ["BartModel"]}):
        wrong = step(model_from_config(right | change, "wrong"), WRITING[0])
        assert (wrong.params, wrong.forward_flop) != (counted.params, counted.forward_flop), change
