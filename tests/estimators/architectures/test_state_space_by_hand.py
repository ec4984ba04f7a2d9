"""Rows, states and parameters of state-space models, worked out by hand."""

from __future__ import annotations

from estimators.architectures.from_config import model_from_config
from estimators.architectures.mamba2 import Mamba2
from estimators.architectures.state_space import Mamba
from estimators.counting.estimate import estimate
from estimators.facts.registry import model_entry
from estimators.spec import Case, Workload
from tests.support.drawn_decoders import (
    by_name,
)


def test_mamba_130m_by_hand() -> None:
    """64 tokens, D 768, E 1,536, state 16, rank 48: 24 layers of products and a filter over 67 positions, and a tied head."""
    layer = 64 * (768 * 3072 + 1536 * 80 + 48 * 1536 + 1536 * 16 + 1536 * 768) + 67 * 1536 * 4
    assert 2 * (24 * layer + 64 * 768 * 50280) == 16_513_597_440
    step = estimate(Case(model=model_from_config(model_entry("mamba-130m").config, "mamba"), workload=Workload(seq_len=64)))
    assert (step.params, step.forward_flop) == (129_135_360, 16_513_597_440)


def test_a_mamba_layer_by_hand() -> None:
    """5 tokens, D 4, E 8, state 3, rank 2, filter 4: the filter runs on 5 + 3 positions, the state is read once per token."""
    mixer = Mamba(inner=8, state=3, rank=2, taps=4)
    rows = by_name(mixer.ops(Workload(seq_len=5), 4, "mixer", 1))
    assert {name.removeprefix("mixer."): op.flop for name, op in rows.items() if op.flop} == {
        "in": 2 * 5 * 4 * 16,
        "conv": 2 * (5 + 3) * 8 * 4,
        "x": 2 * 5 * 8 * (2 + 2 * 3),
        "dt": 2 * 5 * 2 * 8,
        "scan": 2 * 5 * 8 * 3,
        "out": 2 * 5 * 8 * 4,
    }
    assert sum(op.params for op in rows.values()) == 4 * 16 + (8 * 4 + 8) + 8 * 8 + (2 * 8 + 8) + (8 * 3 + 8) + 8 * 4


def test_a_decode_step_moves_a_state_whose_size_no_context_changes() -> None:
    """Mamba 130M, per layer and sequence: 1,536 channels times a filter of 4 in bf16 and a state of 16 in fp32."""
    model = model_from_config(model_entry("mamba-130m").config, "mamba")
    for context_len in (1, 1000, 10**6):
        step = estimate(Case(model=model, workload=Workload(phase="decode", batch=3, context_len=context_len)))
        assert step.memory_bytes["kv_cache"] == 24 * 3 * 1536 * (4 * 2 + 16 * 4)
    weights = sum(op.count * op.weight_bytes for op in model.ops(Workload(phase="decode", batch=3, context_len=9)))
    assert step.min_bytes == weights + step.memory_bytes["kv_cache"]


def test_mamba_2_keeps_a_state_per_head() -> None:
    """Mamba 2 2.7B: a filter of 4 on 5,120 + 2·128 channels in bf16, a state of 128 on 5,120 in fp32."""
    model = model_from_config(model_entry("mamba2-2.7b").config, "mamba2")
    for workload in (Workload(phase="prefill", seq_len=700), Workload(phase="decode", context_len=700)):
        step = estimate(Case(model=model, workload=workload))
        assert step.memory_bytes["kv_cache"] == 64 * (4 * (5120 + 2 * 128) * 2 + 128 * 5120 * 4)


def test_a_chunk_of_mamba_2_by_hand() -> None:
    """2 heads of 3, state 4, chunks of 5, 7 tokens: two chunks, the second padded; three states are carried."""
    rows = by_name(Mamba2(heads=2, head_width=3, state=4, groups=1, taps=4, chunk=5).ops(Workload(seq_len=7), 3, "m", 1))
    assert {name: rows[f"m.{name}"].flop for name in ("scores", "context", "states", "carry", "output")} == {
        "scores": 2 * 2 * 2 * (5 * 5 * 4),
        "context": 2 * 2 * 2 * (5 * 5 * 3),
        "states": 2 * 2 * 2 * (5 * 4 * 3),
        "carry": 2 * 2 * (3 * 3 * 4 * 3),
        "output": 2 * 2 * 2 * (5 * 4 * 3),
    }
