"""Families with an op table of their own are the check of the tracer: their rows, which know no torch, sum to those that were traced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from bench.backend.counting import meta
from bench.backend.counting.hf_config import count_config
from bench.backend.counting.meta import meta_model
from bench.backend.tracing.trace import trace, trace_config
from estimators.architectures.from_config import model_from_config
from estimators.architectures.traced import TracedModel
from estimators.architectures.waves import WaveEncoder
from estimators.counting.estimate import estimate
from estimators.frozen import replace
from estimators.samples import Audio
from estimators.spec import Case, Estimate, Model, Workload
from tests.support.block_kinds import DELTA_RULE, DENSE, ENCODER_DECODERS, ENCODERS, EXPERTS, IMAGES, MAPS, MIXERS, kind

ALL: Mapping[str, Mapping[str, Any]] = {**DENSE, **EXPERTS, **MIXERS, **ENCODERS, **ENCODER_DECODERS, **IMAGES, **MAPS}
DELTA = {"layer_types": ["linear_attention", "full_attention"]}
HYBRIDS: Mapping[str, Mapping[str, Any]] = {
    "bamba": {"attn_layer_indices": [1]},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention"]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "nemotron_h": {"layers_block_type": ["linear_attention", "full_attention"]},
    **dict.fromkeys(DELTA_RULE, DELTA),
}
"""One layer of each mixer: where none attends, transformers cannot ask a cache for its length."""

DIFFERENT = {
    "clip": {"flop"},
    "deberta-v2": {"embedding_params"},
    "deepseek_v32": {"flop"},
    "glm_moe_dsa": {"flop"},
    "wavlm": {"embedding_params"},
    "whisper": {"embedding_params"},
}
"""What a trace does not see: that CLIP's text has a causal mask, which its modules do not say; which keys an indexer chooses; that
DeBERTa's distances and the positions of Whisper's encoder, which are multiplied or added as they are, lie in tables, and that those of
WavLM, which are looked up in one, belong to its attention."""
SECOND = Audio(duration_s=1)
"""Of speech that is made up for a trace."""
FAST = ("llama", "mixtral", "bert", "resnet")
FIGURES = ("params", "active_params", "embedding_params", "forward_flop", "backward_flop", "surplus_flop", "flop")
"""Of every phase. `flop` has each convention: what a causal mask and a window leave, and what is recomputed."""


def both(model_type: str) -> tuple[Model, TracedModel]:
    config = kind(model_type, ALL[model_type], 2) | HYBRIDS.get(model_type, {})
    by_hand = model_from_config(config, model_type)
    return by_hand, trace(meta_model(config | ({"architectures": [by_hand.runs]} if by_hand.runs else {})), model_type)


def workloads(model: Model) -> list[Workload]:
    """At sizes that were not traced."""
    length = 1 if model.item == "sample" else min(20, model.max_positions)
    heard = SECOND if isinstance(model, WaveEncoder) else None
    found = [Workload(phase=phase, batch=2, seq_len=length, sample=heard) for phase in ("train", "forward")]
    if model.generates:
        found += [Workload(phase="prefill", batch=2, seq_len=length), Workload(phase="decode", batch=3, context_len=33)]
    return found


def of(model: Model, workload: Workload) -> Estimate:
    return estimate(Case(model=model, workload=workload))


def differences(by_hand: Model, traced: TracedModel) -> list[tuple[str, str, object, object]]:
    found = []
    for workload in workloads(by_hand):
        said, seen = of(by_hand, workload), of(traced, replace(workload, sample=None))
        figures = {name: (getattr(said, name), getattr(seen, name)) for name in FIGURES}
        if workload.phase in ("prefill", "decode"):
            figures["kv_cache"] = (said.memory_bytes.get("kv_cache", 0), seen.memory_bytes.get("kv_cache", 0))
        hidden = DIFFERENT.get(traced.name, set())
        found += [(workload.phase, name, a, b) for name, (a, b) in figures.items() if a != b and name not in hidden]
    return found


@pytest.mark.parametrize("model_type", FAST)
def test_a_few_families_equal_their_traced_tables(model_type: str) -> None:
    assert differences(*both(model_type)) == []


@pytest.mark.slow
@pytest.mark.parametrize("model_type", [name for name in ALL if name not in FAST])
def test_every_other_family_equals_its_traced_table(model_type: str) -> None:
    assert differences(*both(model_type)) == []


def test_a_table_of_another_model_would_be_found() -> None:
    by_hand, _ = both("llama")
    wider = kind("llama", {**ALL["llama"], "intermediate_size": 177}, 2)
    assert {name for _, name, _, _ in differences(by_hand, trace_config(wider, "llama"))} >= {"params", "forward_flop", "backward_flop"}


@pytest.mark.slow
def test_a_scan_that_pads_to_chunks_is_told_from_a_line() -> None:
    """Qwen3.5's delta rule takes 64 tokens together: up to 64 cost the same, and 65 as much as 128. Beside torch's count of the class."""
    config = {"model_type": "qwen3_5_text", "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 2}
    config |= {"head_dim": 16, "intermediate_size": 64, "vocab_size": 64, "linear_num_value_heads": 2, "linear_num_key_heads": 2}
    config |= {"linear_key_head_dim": 16, "linear_value_head_dim": 16}
    traced = trace_config(config, "qwen3_5_text")
    assert traced.chunk == 64
    for length in (20, 64, 65, 200):
        counted = count_config(config, batch=2, seq_len=length).network
        assert counted is not None
        said = of(traced, Workload(phase="train", batch=2, seq_len=length))
        assert (said.forward_flop, said.backward_flop) == (counted.forward_flop, counted.backward_flop)


LIGHTNING: dict[str, Any] = {
    "model_type": "minimax",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "vocab_size": 70,
    "block_size": 20,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
}


def test_a_scan_whose_first_block_has_nothing_before_it_is_counted_on_either_side_of_it() -> None:
    """MiniMax's lightning attention in blocks of 20: below them, at their end and beyond, where sequences that it was traced on end."""
    traced = trace_config(LIGHTNING, "minimax")
    module = meta.meta_language_model(LIGHTNING)
    for workload in (
        *(Workload(phase="train", seq_len=length) for length in (10, 20, 21, 150)),
        Workload(phase="prefill", batch=2, seq_len=90),
        Workload(phase="decode", batch=2, context_len=90),
    ):
        ours, torchs = estimate(Case(model=traced, workload=workload)), meta.torch_count(module, workload)
        assert (ours.forward_flop, ours.backward_flop or None) == (torchs.forward_flop, torchs.backward_flop), workload
    held = [op for op in traced.ops(Workload(phase="decode", batch=3, context_len=90)) if op.held_cache_bytes]
    assert {op.name: op.held_cache_bytes for op in held} == {"cache.products": 3 * 4 * 8 * 8 * 2, "cache.keys": 3 * 91 * 2 * 2 * 8 * 2}
