"""What layers keep for backward: Korthikanti's formulas and PyTorch's own saved tensors, both to the byte."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from estimators.architectures.feed_forward import Experts
from estimators.architectures.from_config import model_from_config
from estimators.architectures.latent_attention import LatentAttention
from estimators.cost.layout import Layout
from estimators.counting.estimate import estimate
from estimators.facts.registry import model_entry
from estimators.frozen import replace
from estimators.memory.activations import part_kept
from estimators.memory.autograd.layers import stack_kept
from estimators.memory.device import device_memory
from estimators.memory.kernels import AUTOCAST, CLASSIC, EAGER, FOUNDRY, TRANSFORMER_ENGINE, TRANSFORMER_ENGINE_MOE, Kernels
from estimators.memory.layer_memory import ModelMemory, model_memory_of
from estimators.memory.saved import SavedActivations
from estimators.memory.single_device import LOGITS, kept_by_torch
from estimators.spec import Case, Workload
from estimators.validation.model import gpt, llama
from tests.support.saved_tensors import saved_bytes, tokens

S, H, A, L, V = 2048, 6144, 64, 48, 51200
"""Korthikanti et al. 2022 (arXiv 2205.05198), table 3: the 22B model; micro-batch 4, tensor parallel 8."""


def activations(**layout: Any) -> float:
    """Of the 22B model's layers on one device of the paper, the embedding's dropout mask left out as in table 2."""
    found = device_memory(replace(classic(), first_end=replace(classic().first_end, outer=0.0)), Layout(**layout)).parts
    return float(found["activations"])


def classic() -> ModelMemory:
    return model_memory_of(gpt(L, H, A, 0, V, S), S, CLASSIC)


@pytest.mark.parametrize(
    ("layout", "per_layer"),
    [
        ({}, 34 + Fraction(5 * A * S, H)),  # equation 1
        ({"tp": 8}, 10 + 3 + Fraction(5 * A * S, 8 * H)),  # equation 2
        ({"tp": 8, "sequence_parallel": True}, (34 + Fraction(5 * A * S, H)) / 8),  # equation 4
        ({"tp": 8, "recompute": "selective"}, 10 + 3),  # table 2
        ({"tp": 8, "sequence_parallel": True, "recompute": "selective"}, Fraction(34, 8)),  # equation 6
        ({"tp": 8, "recompute": "full"}, 2),  # table 2
    ],
)
def test_activations_are_those_of_the_papers_equations_to_the_byte(layout: dict[str, Any], per_layer: Fraction) -> None:
    assert activations(micro_batch=4, global_batch=4, **layout) == S * 4 * H * L * per_layer


def test_the_first_stage_holds_as_many_micro_batches_as_stages() -> None:
    # equation 5: with p stages the first holds p micro-batches of L / p layers, as much as L layers
    whole = activations(global_batch=64)
    assert activations(pp=8, global_batch=64) == whole
    # section 4.2.3: interleaved in m chunks, 1 + (p - 1) / (p m) times as much
    assert activations(pp=8, vp=2, global_batch=64) == pytest.approx(whole * (1 + 7 / 16), rel=1e-12)
    # fewer micro-batches than stages cannot fill them
    assert activations(pp=8, global_batch=2) == whole * 2 / 8


def test_what_the_paper_adds_for_embedding_head_and_loss_is_there() -> None:
    # section 4.3, p = 1 and sequence parallel: s·b·h·(p / L) mask bytes and 4·s·b·h·(1 + v / h), over t
    parts = device_memory(classic(), Layout(tp=8, sequence_parallel=True)).parts
    assert parts["logits"] == 4 * S * H * (1 + V / H) / 8
    assert parts["activations"] - activations(tp=8, sequence_parallel=True) == S * H / 8


WIDTH, HEADS, KV_HEADS, FFN, VOCAB, BATCH, SEQ = 64, 4, 2, 172, 500, 2, 32


def kept_of(model: Any, *, autocast: bool) -> int:
    """What torch keeps of a pass over BATCH x SEQ tokens."""
    ids = tokens(BATCH, SEQ, VOCAB)
    return saved_bytes(model, {"input_ids": ids, "labels": ids, "use_cache": False}, autocast=autocast)


def hf_llama(layers: int, attention: str) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        intermediate_size=FFN,
        vocab_size=VOCAB,
        attn_implementation=attention,
    )
    return LlamaForCausalLM(config).train()


def hf_gpt2(layers: int, attention: str, dropout: float) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        n_embd=WIDTH,
        n_layer=layers,
        n_head=HEADS,
        vocab_size=VOCAB,
        n_positions=SEQ,
        attn_implementation=attention,
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=dropout,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel(config).train()


def kept_bytes(layers: int, kind: str, kernels: Kernels, dtype: str) -> float:
    """Ours of the same: layers, ends, and of the loss the log-softmax in fp32 and one scalar."""
    if kind == "llama":
        model = llama(layers, WIDTH, HEADS, KV_HEADS, FFN, VOCAB, SEQ)
    else:
        fields = {"model_type": "gpt2", "n_embd": WIDTH, "n_layer": layers, "n_head": HEADS, "vocab_size": VOCAB, "n_positions": SEQ}
        model = model_from_config(fields, name="gpt2")  # type: ignore[assignment]
    held = model_memory_of(model, SEQ, kernels, dtype)
    layer = held.rest.kept
    per_sequence = layers * (layer.inner + layer.outer + layer.scores) + held.first_end.outer + held.last_end.outer + SEQ * VOCAB * 4
    return BATCH * per_sequence + held.shared_bytes + 4


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_hugging_faces_llama_saves_what_is_said_to_the_byte(attention: str, dtype: str) -> None:
    import torch

    kernels = EAGER if attention == "sdpa" else replace(EAGER, fused_attention=False, widened_scores=True)
    for layers in (1, 3):
        model = hf_llama(layers, attention).to({"bf16": torch.bfloat16, "fp32": torch.float32}[dtype])
        assert kept_of(model, autocast=False) == kept_bytes(layers, "llama", kernels, dtype)


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
@pytest.mark.parametrize(("attention", "dropout"), [("sdpa", 0.0), ("eager", 0.0), ("eager", 0.1)])
def test_hugging_faces_gpt2_saves_what_is_said_to_the_byte(attention: str, dropout: float, dtype: str) -> None:
    import torch

    size = {"bf16": 2, "fp32": 4}[dtype]  # of a dropout mask on the CPU; a GPU keeps one byte
    kernels = replace(EAGER, fused_attention=attention == "sdpa", dropout_bytes=size if dropout else 0)
    for layers in (1, 3):
        model = hf_gpt2(layers, attention, dropout).to({"bf16": torch.bfloat16, "fp32": torch.float32}[dtype])
        assert kept_of(model, autocast=False) == kept_bytes(layers, "gpt2", kernels, dtype)


def test_under_autocast_llama_saves_what_is_said() -> None:
    assert kept_of(hf_llama(2, "sdpa"), autocast=True) == kept_bytes(2, "llama", AUTOCAST, "bf16")


def test_the_coefficients_measured_of_llama_are_reproduced() -> None:
    # Measured at b = 1, s = h = 1024, 8 heads, ffn / h = 2.6875, a vocabulary of 1,000, in bf16 with SDPA: 45.54 bytes per s·b·h and
    # layer; 12.72 per s·v for all the rest: the final norm and the head's input, 8·h, weigh as much as v there, the loss alone is 4.
    held = model_memory_of(llama(1, 1024, 8, 8, 2752, 1000, 1024), 1024, EAGER)
    layer = held.rest.kept
    assert (layer.inner + layer.outer) / 1024**2 == pytest.approx(45.54, abs=0.005)
    rest = held.first_end.outer + held.last_end.outer + held.shared_bytes + 4 * 1024 * 1000
    assert rest / (1024 * 1000) == pytest.approx(12.72, abs=0.01)


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_an_estimate_of_a_training_step_has_the_activations_that_autograd_keeps(dtype: str) -> None:
    model = llama(2, WIDTH, HEADS, KV_HEADS, FFN, VOCAB, SEQ)
    saved = kept_of(hf_llama(2, "sdpa"), autocast=dtype == "bf16")
    parts = estimate(Case(model=model, workload=Workload(phase="train", batch=BATCH, seq_len=SEQ, dtype=dtype))).memory_bytes
    gradients_of_loss = 8 * BATCH * SEQ * VOCAB  # held with the log-softmax at the start of backward, kept by nobody
    assert parts["activations"] + parts[LOGITS] == saved - 4 + gradients_of_loss  # 4: the loss itself


def test_with_full_recomputation_inputs_of_layers_are_kept_and_one_layer_is_run_again() -> None:
    model = llama(6, WIDTH, HEADS, KV_HEADS, FFN, VOCAB, SEQ)
    plain, full = (kept_by_torch(model, Workload(phase="train", seq_len=SEQ, dtype="fp32", recompute=mode)) for mode in ("none", "full"))
    assert plain is not None
    assert full is not None
    layer = model_memory_of(model, SEQ, EAGER, "fp32").rest.kept
    assert plain["activations"] - full["activations"] == 5 * (layer.inner + layer.outer) - 6 * SEQ * WIDTH * 4
    assert plain[LOGITS] == full[LOGITS]


def test_the_layer_that_is_run_again_is_the_largest() -> None:
    # one dense layer, wider than the rest with their experts: what widens it is kept once, recomputed or not
    def kept(recompute: Any, ffn: int) -> int:
        config = dict(model_entry("deepseek-v2").config) | {"num_hidden_layers": 4, "intermediate_size": ffn}
        found = kept_by_torch(model_from_config(config, name="m"), Workload(phase="train", seq_len=SEQ, dtype="fp32", recompute=recompute))
        assert found is not None
        return found["activations"]

    wider = kept("none", 200_000) - kept("none", 100_000)
    assert wider > 0
    assert kept("full", 200_000) - kept("full", 100_000) == wider


def test_a_routers_logits_and_probabilities_are_kept_in_fp32_and_gradients_of_experts_with_their_inputs() -> None:
    # 10 tokens, 3 experts each, experts of 32 under a width of 64, bf16
    kept, _, back = part_kept(Experts(num=8, per_token=3, width=32), 64, 10, TRANSFORMER_ENGINE, 2)
    assert kept.outer == 10 * 8 * (4 + 4)
    assert back.routed == 10 * 3 * (32 + 32 + 64) * 2  # gate, up, and the input of both


def test_latent_attention_keeps_its_latents_with_the_rotary_key_beside_them() -> None:
    # DeepSeek-V2 (arXiv 2405.04434), section 2.1, on 10 tokens in bf16: the query's latent of 24, the keys' of 16 with a rotary key of 8 in
    # one tensor; a norm of each keeps its input and 4 bytes a token, the matrix behind it what the norm made
    part = LatentAttention(heads=2, query_rank=24, kv_rank=16, nope_width=12, rope_width=8, value_width=12)
    kept, _, _ = part_kept(part, 64, 10, TRANSFORMER_ENGINE, 2)
    assert kept.outer == 10 * (2 * (24 + 24) + 4 + 2 * (16 + 16) + 4 + 2 * 8)


@pytest.mark.parametrize(("dtype", "input_bytes"), [("fp8", 1), ("mxfp8", 1 + 1 / 32), ("nvfp4", 0.5 + 1 / 16)])
def test_products_below_sixteen_bits_keep_their_inputs_as_they_multiplied_them(dtype: str, input_bytes: float) -> None:
    # a Llama under Transformer Engine: what two norms made and the product of the feed-forward shrink; the attention's output stays in
    # bf16 for its kernel, with a copy for the matrix behind it; norms' inputs, queries, keys, values, gate and up stay in bf16
    model = llama(2, WIDTH, HEADS, KV_HEADS, FFN, VOCAB, SEQ)
    low, sixteen = (model_memory_of(model, SEQ, TRANSFORMER_ENGINE, name).rest.kept for name in (dtype, "bf16"))
    assert sixteen.outer - low.outer == SEQ * 2 * WIDTH * (2 - input_bytes)
    assert sixteen.inner - low.inner == SEQ * (FFN * (2 - input_bytes) - WIDTH * input_bytes)
    assert model_memory_of(model, SEQ, EAGER, dtype).rest.kept == model_memory_of(model, SEQ, EAGER, "bf16").rest.kept


def test_the_router_of_a_mixture_in_eight_bits_keeps_its_input_in_sixteen() -> None:
    # Mixtral: the norm before the experts feeds a router in bf16; their rows, two a token, and product are kept in fp8
    from estimators.validation.model import shipped_model

    low, sixteen = (model_memory_of(shipped_model("mixtral-8x7b"), 16, TRANSFORMER_ENGINE, name).rest.kept for name in ("fp8", "bf16"))
    assert sixteen.outer - low.outer == 16 * 4096
    assert sixteen.routed - low.routed == 16 * 2 * (4096 + 14336)


def test_llm_foundrys_mpt_keeps_32_bytes_per_token_and_width() -> None:
    # by hand, bf16: two norms' inputs and outputs 8, queries, keys and values 6, attention's output 2, feed-forward 8 + 8
    held = model_memory_of(gpt(2, 256, 4, 0, 1000, 128), 128, FOUNDRY)
    statistics = 2 * 2 * 2 + 4 * 4  # two values of two bytes for each norm, four bytes for each head
    assert held.rest.kept.inner + held.rest.kept.outer == 128 * (32 * 256 + statistics)


def test_latent_attention_is_projected_up_again_under_selective_recomputation() -> None:
    # DeepSeek-V3 (arXiv 2412.19437), section 3.2.3: norms and up-projections of latent attention are recomputed
    part = LatentAttention(heads=2, query_rank=24, kv_rank=16, nope_width=12, rope_width=8, value_width=12)
    _, again, _ = part_kept(part, 64, 10, TRANSFORMER_ENGINE, 2)
    assert again.inner == 10 * 2 * ((12 + 8) + (12 + 8) + 12) * 2  # two heads
    assert part_kept(part, 64, 10, EAGER, 2)[1].inner == 0


def test_experts_that_are_run_again_keep_their_norms_input_alone() -> None:
    # Megatron-MoE-ModelZoo's long contexts recompute norms and whole expert layers
    kept, again, _ = part_kept(Experts(num=8, per_token=3, width=32), 64, 10, TRANSFORMER_ENGINE_MOE, 2)
    assert again.routed == kept.routed
    assert part_kept(Experts(num=8, per_token=3, width=32), 64, 10, TRANSFORMER_ENGINE, 2)[1].routed < kept.routed


def test_a_recomputed_stack_keeps_the_inputs_of_its_layers_and_the_largest_of_them() -> None:
    small, large = SavedActivations(inner=10), SavedActivations(outer=20, once=5)
    layers = [(2, small, 3.0), (4, large, 1.0)]
    assert stack_kept(layers, recomputed=False) == SavedActivations(inner=2 * 10, outer=4 * 20, once=4 * 5)
    assert stack_kept(layers, recomputed=True) == SavedActivations(outer=2 * 3 + 4 * 1 + 20, once=5)


def test_a_fully_connected_network_is_left_to_the_op_table() -> None:
    from estimators.validation.model import shipped_model

    assert kept_by_torch(shipped_model("mlp"), Workload(phase="train")) is None
