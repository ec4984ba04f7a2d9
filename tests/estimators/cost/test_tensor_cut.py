"""What one rank of tensor parallelism holds: torch's own parameters on meta, cut by rule, `==`; closed forms; laws."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.backend.counting import meta
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.cost.layout import Layout
from estimators.cost.tensor_cut import CutParams, cut_params
from estimators.facts.registry import model_ids
from estimators.frozen import replace
from estimators.memory.device import memory_of
from estimators.spec import Model, Op, Workload
from estimators.training.sequence_cost import sequence_cost_of
from estimators.training.step import step_time
from estimators.validation.model import shipped_model
from tests.support.latent_attention_models import DEEPSEEK_V3
from tests.support.planner_jobs import job

Config = dict[str, Any]
SIZES: Config = {"vocab_size": 101, "hidden_size": 96, "intermediate_size": 112, "num_hidden_layers": 2, "pad_token_id": 0}
GROUPED: Config = SIZES | {"num_attention_heads": 8, "num_key_value_heads": 2}
GPT: Config = {"vocab_size": 101, "n_embd": 96, "n_layer": 2, "n_head": 8, "n_positions": 64}

CONFIGS: dict[str, Config] = {
    "llama": GROUPED | {"attention_bias": True, "mlp_bias": True},
    "qwen2": GROUPED | {"tie_word_embeddings": True},
    "qwen3": GROUPED,
    "olmo2": GROUPED,
    "gemma2": GROUPED,
    "phi": GROUPED,
    "starcoder2": GROUPED,
    "mixtral": GROUPED | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2_moe": GROUPED | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16},
    "gpt2": GPT,
    "gpt_bigcode": GPT | {"multi_query": True},
    "falcon": SIZES | {"ffn_hidden_size": 112, "num_attention_heads": 8, "multi_query": True, "new_decoder_architecture": False},
    "deepseek_v3": DEEPSEEK_V3 | {"num_attention_heads": 8, "num_key_value_heads": 8},
    "opt": {
        "vocab_size": 101,
        "hidden_size": 96,
        "word_embed_proj_dim": 96,
        "ffn_dim": 112,
        "num_hidden_layers": 2,
        "num_attention_heads": 8,
    },
}
KEY_HEADS = {"gpt2": 8, "gpt_bigcode": 1, "falcon": 1, "deepseek_v3": 8, "opt": 8}

OUTPUTS = r"\.(q_proj|q_b_proj|kv_b_proj|gate_proj|up_proj|fc1|c_fc|dense_h_to_4h)\.(weight|bias)$"
INPUTS = r"\.(o_proj|down_proj|dense|fc2|out_proj|c_proj|dense_4h_to_h)\.weight$"
KEYS = r"\.(k_proj|v_proj)\.(weight|bias)$"
FUSED = r"\.(c_attn|query_key_value)\.(weight|bias)$"
VOCABULARY = r"(embed_tokens|wte|word_embeddings|lm_head)\.(weight|bias)$"
"""Names of transformers' parameters, by what Megatron-LM and vLLM do with them; all others are on every rank."""


def on_rank(config: Config, ranks: int) -> float:
    """Parameters of one rank, from what torch has, those of routed experts left out."""
    model_type, total = config["model_type"], 0.0
    heads, vocab = KEY_HEADS.get(model_type, 2), config["vocab_size"]
    query_heads = config.get("num_attention_heads") or config["n_head"]
    module = meta.meta_language_model(config)
    for name, parameter in module.named_parameters():
        size, copies = parameter.numel(), min(ranks, heads)
        if ".experts." in name:
            continue
        if re.search(VOCABULARY, name):
            total += math.ceil(vocab / ranks) * size / vocab
        elif re.search(KEYS, name):
            total += size / copies
        elif re.search(FUSED, name):
            keys = size * 2 * heads // (query_heads + 2 * heads)
            total += (size - keys) / ranks + keys / copies
        elif re.search(OUTPUTS, name) or re.search(INPUTS, name):
            total += size / ranks
        else:
            total += size
    return total


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
@pytest.mark.parametrize("model_type", CONFIGS)
def test_a_rank_holds_its_part_of_what_can_be_divided_and_all_else(model_type: str, ranks: int) -> None:
    config = CONFIGS[model_type] | {"model_type": model_type}
    cut = cut_params(model_from_config(config, model_type).ops(Workload()), config["vocab_size"])
    assert cut.on_rank(ranks) == on_rank(config, ranks)


# 2 B x (36 (2·4,096·4,096/tp + 2·k·128·4,096 + 3·4,096·12,288/tp + 2·4,096 + 2·128) + 2·151,936·4,096/tp + 4,096), k = max(1, 8/tp)
@pytest.mark.parametrize(("tp", "right"), [(1, 16_381_470_720), (8, 2_048_223_232), (16, 1_062_168_576), (32, 569_141_248)])
def test_the_weights_of_qwen3_8b_on_a_device_by_hand(tp: int, right: int) -> None:
    assert memory_of(shipped_model("qwen3-8b"), 4096, Layout(tp=tp, zero=0)).parts["weights"] == right


def test_gradients_and_optimizer_state_of_repeated_heads_are_repeated_too() -> None:
    parts = memory_of(shipped_model("qwen3-8b"), 4096, Layout(tp=32, zero=0)).parts
    assert parts["optimizer"] == 4 * parts["weights"]
    assert parts["master_weights"] == 2 * parts["weights"]
    assert parts["gradients"] == 2 * parts["weights"]


def test_keys_and_values_that_are_kept_for_backward_are_repeated_too() -> None:
    """Llama 3 8B, 32 layers, 4,096 tokens, 8 heads of 128 in bf16: a 16th of the rest, and one head on each of 16 ranks."""
    kept = {tp: memory_of(shipped_model("llama-3-8b"), 4096, Layout(tp=tp, zero=0)).parts["activations"] for tp in (1, 8, 16)}
    inner = (kept[1] - kept[8]) / (1 - 1 / 8)
    keys = 32 * 4096 * 2 * 8 * 128 * 2
    assert kept[16] == pytest.approx(kept[1] - inner * (1 - 1 / 16) + keys * (1 / 8 - 1 / 16), rel=1e-12)


def test_the_heads_of_a_tied_copy_are_words_without_positions() -> None:
    """GPT-2's last stage of two holds the table of words again, and none of its 1,024 positions."""
    small = replace(shipped_model("gpt2"), blocks=(replace(shipped_model("gpt2").blocks[0], count=2),))  # type: ignore[attr-defined]
    work = sequence_cost_of(small, 64)
    assert work.embedding_params == (50257 + 1024) * 768
    assert work.embedding.tables == 50257 * 768


def test_a_step_makes_keys_and_values_of_repeated_heads_on_every_rank() -> None:
    """Qwen3 8B: the same step as one whose keys are divided on, up to 8 ranks; a longer one from 16."""
    one = job("qwen3-8b", "h100-sxm5-80gb", seq_len=4096)
    forgotten = replace(one.work, products=tuple(replace(product, key_columns=0) for product in one.work.products))
    for tp in (4, 8, 16, 32):
        layout = Layout(tp=tp, global_batch=1, zero=0)
        needed, divided = (
            step_time(work, layout, one.machine, one.software, one.efficiency).parts["matmul"] for work in (one.work, forgotten)
        )
        assert (needed > divided) == (tp > 8)


MODELS = [name for name in model_ids() if isinstance(shipped_model(name), Decoder)]


@given(name=st.sampled_from(MODELS), ranks=st.integers(1, 128), more=st.integers(1, 64))
def test_more_ranks_never_hold_more_each_nor_less_together(name: str, ranks: int, more: int) -> None:
    cut = cut_of(shipped_model(name))
    assert cut.total >= cut.on_rank(ranks) >= cut.on_rank(ranks + more) >= cut.whole
    assert ranks * cut.on_rank(ranks) >= cut.total * (1 - 1e-12)
    assert cut.on_rank(1) == cut.total


def cut_of(model: Model, ops: tuple[Op, ...] | None = None) -> CutParams:
    assert isinstance(model, Decoder)
    return cut_params(model.ops(Workload()) if ops is None else ops, model.vocab)


def test_heads_that_were_divided_on_would_be_found() -> None:
    model = shipped_model("qwen3-8b")
    forgotten = cut_of(model, tuple(replace(op, key_columns=0) for op in model.ops(Workload())))
    assert cut_of(model).on_rank(8) == forgotten.on_rank(8)
    assert cut_of(model).on_rank(16) > forgotten.on_rank(16)
