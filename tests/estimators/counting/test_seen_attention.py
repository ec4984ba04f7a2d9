"""`causal` counts the attention that a query may see, behind windows and chunks too, in every table that has the word."""

from __future__ import annotations

from typing import Any

import pytest

from estimators.architectures.from_config import model_from_config
from estimators.counting.conventions import model_and_hardware_flop, op_flop, step_flop, unskippable_flop, usual_convention
from estimators.counting.flop_by_tool import ATTENTION, count
from estimators.facts.registry import hardware, model_entry
from estimators.facts.tool_conventions import tool
from estimators.spec import Model, Workload
from estimators.training.sequence_cost import sequence_cost_of

LAYERS = {
    # model: layers that see all their past, layers with a window, the window, heads times their width; from each config.json
    "mistral-7b": (0, 32, 4096, 32 * 128),
    "phi-3-mini": (0, 32, 2047, 32 * 96),
    "starcoder2-7b": (0, 32, 4096, 36 * 128),
    "gemma-2-9b": (21, 21, 4096, 16 * 256),
    "gemma-2-27b": (23, 23, 4096, 32 * 128),
    "gemma-3-1b": (4, 22, 512, 4 * 256),
    "gemma-3-4b": (5, 29, 1024, 8 * 256),
    "gemma-3-27b": (10, 52, 1024, 32 * 128),
    "gpt-oss-20b": (12, 12, 128, 64 * 64),
    "gpt-oss-120b": (18, 18, 128, 64 * 64),
    "command-r7b": (8, 24, 4096, 32 * 128),
    "olmo-3-7b": (8, 24, 4096, 32 * 128),
    "exaone-4.0-32b": (16, 48, 4096, 40 * 128),
    "gpt-neo-1.3b": (12, 12, 256, 16 * 128),
    "llama-3-8b": (32, 0, 0, 32 * 128),
    "gpt-3": (96, 0, 0, 96 * 128),
}

SHORT = {"vocab_size": 1000, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8}
SHORT |= {"num_key_value_heads": 2, "max_position_embeddings": 4096, "tie_word_embeddings": False}


def shipped(name: str) -> Model:
    return model_from_config(model_entry(name).config, name)


WITH_A_TABLE = ("gpt-3", "gpt-neo-1.3b")
LENGTHS = [(name, seq_len) for name in LAYERS for seq_len in (1000, 2048, 8192, 131_072) if name not in WITH_A_TABLE or seq_len <= 2048]
"""Learned positions end at 2,048."""


def twice_pairs(seq_len: int, window: int) -> int:
    """Two times the pairs that `causal` counts of one layer: a triangle of n tokens is n²/2, behind it each query sees the window."""
    seen = min(seq_len, window or seq_len)
    return seen * seen + 2 * (seq_len - seen) * seen


def training_steps(model: Model, seq_len: int, recompute: Any = "none") -> tuple[dict[str, int], int]:
    workload = Workload(phase="train", seq_len=seq_len, recompute=recompute)
    ops = model.ops(workload)
    return step_flop(ops, workload), unskippable_flop(ops, workload)


@pytest.mark.parametrize(("name", "seq_len"), LENGTHS)
def test_a_layer_counts_the_pairs_that_its_queries_see(name: str, seq_len: int) -> None:
    everything, windowed, window, width = LAYERS[name]
    flop, least = training_steps(shipped(name), seq_len)
    square = 12 * width * seq_len**2  # forward and backward, two products each, a multiply-add being two
    matrices = flop["full"] - (everything + windowed) * square
    seen = everything * twice_pairs(seq_len, 0) + windowed * twice_pairs(seq_len, window)
    assert flop["causal"] == matrices + 6 * width * seen
    # What no kernel may skip has the whole diagonal of each triangle: half a pair for each query that sees all its past.
    diagonal = everything * seq_len + windowed * min(seq_len, window)
    assert least - flop["causal"] == 6 * width * diagonal


def test_gpt_oss_takes_60_gflop_a_token() -> None:
    """The cell of the reading: 21.6 in matrices, 38.7 in attention and 0.1 in routers, GFLOP a token at 131,072 tokens."""
    per_token = training_steps(shipped("gpt-oss-20b"), 131_072)[0]["causal"] / 131_072
    assert per_token == pytest.approx(60.4e9, rel=1e-3)


def test_a_chunk_counts_its_own_triangle() -> None:
    """Llama 4 of two chunked layers and two whole ones, 4 chunks of 64 and a rest of 44: 8 heads of 32."""
    fields = SHORT | {"model_type": "llama4_text", "intermediate_size_mlp": 512, "head_dim": 32, "num_local_experts": 4}
    fields |= {"num_experts_per_tok": 1, "attention_chunk_size": 64, "no_rope_layers": [1, 0, 1, 0]}
    model = model_from_config(fields | {"layer_types": ["chunked_attention", "full_attention"] * 2}, "chunked")
    flop, _ = training_steps(model, 300)
    unseen = 2 * (2 * 300**2 - (4 * 64**2 + 44**2)) + 2 * 300**2
    assert flop["full"] - flop["causal"] == 6 * 8 * 32 * unseen


def test_an_encoder_sees_its_band() -> None:
    """ModernBERT: 14 of 22 layers see 64 tokens on either side, 12 heads of 64; the whole layers see all, ahead too."""
    flop, least = training_steps(shipped("modernbert-base"), 1024)
    band = 1024 * 129 - 64 * 65
    assert flop["full"] - flop["causal"] == 14 * 12 * 12 * 64 * (1024**2 - band)
    assert flop["causal"] == least


@pytest.mark.parametrize("name", ["mistral-7b", "gemma-3-4b", "gpt-oss-20b", "phi-3-mini", "llama-4-scout", "llama-3-8b"])
@pytest.mark.parametrize("seq_len", [1000, 16_384])
def test_every_table_has_the_one_count(name: str, seq_len: int) -> None:
    model, workload = shipped(name), Workload(phase="train", seq_len=seq_len, recompute="full")
    ops = model.ops(workload)
    flop = step_flop(ops, workload)
    for convention in ("full", "causal", "hardware"):
        assert sum(op_flop(op, workload, convention) for op in ops) == flop[convention]
        assert count(tool(convention), model, seq_len, "full").flop == flop[convention]
    work = sequence_cost_of(model, seq_len)
    whole = work.forward_flop(causal=False) + work.backward_flop(causal=False)
    unseen = work.unseen_flop + work.unseen_backward_flop
    assert unseen == flop["full"] - flop["causal"]
    assert whole - unseen <= flop["causal"]


@pytest.mark.parametrize("seq_len", [512, 2047, 2048, 4096, 4097, 8192])
def test_a_window_as_long_as_the_sequence_is_none(seq_len: int) -> None:
    model = shipped("mistral-7b")
    ops = model.ops(Workload(phase="train", seq_len=seq_len))
    assert usual_convention(ops) == ("causal" if seq_len > 4096 else "full")
    flop, _ = training_steps(model, seq_len)
    unseen = 32 * 12 * 4096 * seq_len**2 // 2
    assert (flop["full"] - flop["causal"] == unseen) is (seq_len <= 4096)


def test_in_decode_nothing_that_is_multiplied_is_hidden() -> None:
    workload = Workload(phase="decode", context_len=9000)
    for name in ("mistral-7b", "gpt-oss-20b", "llama-3-8b"):
        ops = shipped(name).ops(workload)
        assert step_flop(ops, workload)["causal"] == step_flop(ops, workload)["full"]
        assert usual_convention(ops) == "full"


@pytest.mark.parametrize("name", ["gemma-3-4b", "llama-3-8b"])
def test_mfu_and_hfu_count_alike_what_is_run_again(name: str) -> None:
    model = shipped(name)
    plain, again = (Workload(phase="train", seq_len=8192, recompute=recompute) for recompute in ("none", "full"))
    mfu, hfu = model_and_hardware_flop(model.ops(again), again)
    assert (mfu, mfu) == model_and_hardware_flop(model.ops(plain), plain)
    assert mfu == step_flop(model.ops(plain), plain)["causal" if name == "gemma-3-4b" else "full"]
    head = sum(op.count * op.flop for op in model.ops(plain) if op.component == "head")
    assert hfu - mfu == mfu // 3 - head


class TestTranslate:
    def test_a_convention_that_halves_the_square_keeps_its_own_name(self) -> None:
        model = shipped("gemma-3-4b")
        parts = {name: count(tool(name), model, 32_768).parts[ATTENTION] for name in ("full", "megatron", "causal")}
        assert parts["full"] == 34 * 12 * 2048 * 32_768**2
        assert parts["megatron"] == parts["full"] // 2  # issue 1725: windows count like full attention
        assert parts["causal"] == 6 * 2048 * (5 * twice_pairs(32_768, 0) + 29 * twice_pairs(32_768, 1024))

    def test_what_a_tool_counts_of_unseen_pairs_is_known(self) -> None:
        model = shipped("gemma-3-4b")
        whole, half, seen = (count(tool(name), model, 32_768) for name in ("full", "megatron", "causal"))
        assert whole.unseen_flop == whole.parts[ATTENTION] - seen.parts[ATTENTION]
        assert half.unseen_flop == half.parts[ATTENTION] - seen.parts[ATTENTION] > 0
        assert seen.unseen_flop == count(tool("gpt-3"), model, 32_768).unseen_flop == 0

    def test_a_share_above_the_peak_is_explained_by_what_is_masked(self, capsys: pytest.CaptureFixture[str]) -> None:
        from bench.cli.main import main

        words = "translate --model gemma-3-4b --seq-len 131072 --mfu 0.46 --from causal --to full --hardware h100-sxm5-80gb"
        assert main(words.split()) == 0
        printed = " ".join(capsys.readouterr().out.split())
        model = shipped("gemma-3-4b")
        whole, seen = (count(tool(name), model, 131_072).flop for name in ("full", "causal"))
        assert 0.46 * whole / seen > 1
        assert f"{100 * (1 - seen / whole):.1f} % are masked attention, which kernels skip" in printed
        assert "46.0 % of the dense peak" in printed


def test_a_claim_is_held_against_what_its_windows_let_through() -> None:
    """12.8 days are half of the peak's work for what is seen, and more than all of it for the squares."""
    from estimators.training.claim import check_claim

    asked: dict[str, Any] = {"tokens": 10**11, "seq_len": 32_768, "hardware": hardware("h100-sxm5-80gb"), "num_devices": 8}
    claim = check_claim(shipped("mistral-7b"), **asked, wall_s=12.8 * 86_400)
    assert claim.possible
    assert claim.by_convention["full"].utilization > 1 > claim.by_convention["causal"].utilization
    assert claim.least == pytest.approx(claim.by_convention["causal"].utilization, rel=1e-3)
    assert claim.recomputed == pytest.approx(claim.least * 4 / 3, rel=0.02)
    assert not check_claim(shipped("mistral-7b"), **asked, wall_s=7.1 * 86_400).possible


WINDOW = 64
SMALL = {
    "qwen2": {"use_sliding_window": True, "max_window_layers": 2},
    "qwen2_moe": {"use_sliding_window": True, "max_window_layers": 3, "num_experts": 4, "num_experts_per_tok": 2}
    | {"moe_intermediate_size": 64, "shared_expert_intermediate_size": 64},
    "qwen3": {"use_sliding_window": True, "max_window_layers": 1, "head_dim": 32},
    "cohere2": {"layer_types": ["sliding_attention", "full_attention"] * 2, "head_dim": 32},
    "exaone4": {"sliding_window_pattern": 4},
    "gemma2": {"head_dim": 32},
    "gemma3_text": {"head_dim": 32, "layer_types": ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"]},
    "gpt_oss": {"head_dim": 32, "num_local_experts": 4, "num_experts_per_tok": 2},
    "olmo3": {"layer_types": ["sliding_attention"] * 3 + ["full_attention"]},
    "smollm3": {"use_sliding_window": True, "pad_token_id": 0},
}
"""Fields of small configurations of every family whose layers differ, beside SHORT and a window of 64."""


@pytest.mark.parametrize("family", SMALL)
def test_the_layers_that_transformers_gives_a_window_are_counted_with_one(family: str) -> None:
    transformers = pytest.importorskip("transformers")
    fields = SHORT | {"model_type": family, "sliding_window": WINDOW} | SMALL[family]
    kinds = transformers.AutoConfig.for_model(**fields).layer_types
    flop, _ = training_steps(model_from_config(fields, family), 300)
    windowed = kinds.count("sliding_attention")
    assert 0 < windowed < 4
    unseen = sum(2 * 300**2 - twice_pairs(300, WINDOW if kind == "sliding_attention" else 0) for kind in kinds)
    assert flop["full"] - flop["causal"] == 6 * 256 * unseen


@pytest.mark.parametrize("family", ["mistral", "mixtral", "phi3", "starcoder2"])
def test_a_family_whose_layers_are_alike_has_its_window_in_all(family: str) -> None:
    model = model_from_config(SHORT | {"model_type": family, "sliding_window": WINDOW, "num_local_experts": 4, "pad_token_id": 0}, family)
    flop, _ = training_steps(model, 300)
    assert flop["full"] - flop["causal"] == 6 * 256 * 4 * (2 * 300**2 - twice_pairs(300, WINDOW))
