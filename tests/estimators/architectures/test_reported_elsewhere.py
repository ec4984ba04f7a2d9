"""What people reported other tools to get wrong, held to what makers, peft and torch on meta print."""

from __future__ import annotations

from typing import Any

import pytest

from estimators.architectures.adapters import with_adapters, with_frozen_layers
from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import Estimate, estimate
from estimators.facts.registry import model_entry
from estimators.inference.generation import generation
from estimators.spec import Case, Model, Workload

Config = dict[str, Any]

QWEN2_MOE: Config = dict(model_entry("qwen1.5-moe-a2.7b").config)
QWEN3_MOE: Config = {**model_entry("qwen3-30b-a3b").config, "num_hidden_layers": 12}
LLAMA: Config = dict(model_entry("llama-3-8b").config)


def model(name: str) -> Model:
    return model_from_config(model_entry(name).config, name)


def counted(config: Config, workload: Workload) -> Estimate:
    return estimate(Case(model=model_from_config(config, "reported"), workload=workload))


@pytest.mark.parametrize(
    ("config", "params"),
    [
        (QWEN2_MOE | {"decoder_sparse_step": 2}, 8_085_743_616),
        (QWEN2_MOE | {"decoder_sparse_step": 1, "mlp_only_layers": [0, 3, 23]}, 12_758_274_048),
        (QWEN2_MOE | {"decoder_sparse_step": 3, "mlp_only_layers": [2, 5]}, 4_970_723_328),
        (QWEN2_MOE | {"decoder_sparse_step": 1, "mlp_only_layers": None}, 14_315_784_192),
        (QWEN3_MOE | {"decoder_sparse_step": 2, "mlp_only_layers": [1]}, 4_134_327_296),
    ],
    ids=["every second", "three dense", "every third", "all", "every second but one"],
)
def test_layers_without_experts_are_those_that_transformers_builds(config: Config, params: int) -> None:
    """TRL #5698, EasyR1 #522; parameters of torch on meta, transformers 5.24."""
    assert counted(config, Workload(phase="forward", batch=1, seq_len=8)).params == params


def test_deepseek_v2_lite_trains_what_maxtext_prints() -> None:
    """maxtext #1670: 15.278272413696 TFLOP of DeepSeek-V2-16B at 4 x 256."""
    step = estimate(Case(model=model("deepseek-v2-lite"), workload=Workload(phase="train", batch=4, seq_len=256)))
    assert step.forward_flop + step.backward_flop == 15_278_272_413_696


@pytest.mark.parametrize("tied", [True, False])
def test_a_tied_head_is_multiplied_all_the_same(tied: bool) -> None:
    """TRL #6708; by hand, per token: 6 for each weight of matrices and head, 12·layers·width·T in attention."""
    step = counted(LLAMA | {"tie_word_embeddings": tied}, Workload(phase="train", batch=1, seq_len=1024))
    matrices = 32 * (2 * 4096 * (4096 + 1024) + 3 * 4096 * 14336) + 4096 * 128256
    assert step.forward_flop + step.backward_flop == 1024 * (6 * matrices + 12 * 32 * 4096 * 1024)
    assert step.forward_flop + step.backward_flop == 47_757_888_847_872


def test_vit_large_trains_an_image_of_224_with_369_gflop() -> None:
    """transformers #15006, where the Trainer's figure is 274 TFLOP."""
    step = estimate(Case(model=model("vit-large-patch16-224"), workload=Workload(phase="train", batch=1, seq_len=1)))
    assert step.forward_flop + step.backward_flop == 369_019_994_112


ALL = ("all-linear",)


@pytest.mark.parametrize(
    ("name", "rank", "targets", "trainable"),
    [
        ("gpt-neox-20b", 8, ("query_key_value",), 8_650_752),  # peft #1020
        ("llama-3-8b", 8, ("q_proj", "v_proj"), 3_407_872),  # llama-cookbook #642
        ("opt-125m", 8, ("q_proj", "v_proj"), 294_912),  # qlora #260
        # "trainable params: ..." as trainings of these print it
        ("llama-2-7b", 8, ALL, 19_988_480),
        ("llama-2-7b", 64, ALL, 159_907_840),
        ("llama-2-13b", 8, ("q_proj", "v_proj"), 6_553_600),
        ("llama-3-8b", 16, ALL, 41_943_040),
        ("llama-3.2-3b", 32, ("q_proj", "v_proj"), 9_175_040),
        ("qwen2-7b", 16, ALL, 40_370_176),
        ("qwen3-8b", 16, ALL, 43_646_976),
        ("gemma-2-9b", 16, ALL, 54_018_048),
        ("phi-3-mini", 16, ALL, 25_165_824),
        ("falcon-7b", 8, ("query_key_value",), 2_359_296),
        ("phi-1.5", 8, ("q_proj", "v_proj"), 1_572_864),
        ("gpt2", 8, ("c_attn",), 294_912),
    ],
)
def test_adapters_train_what_was_printed(name: str, rank: int, targets: tuple[str, ...], trainable: int) -> None:
    tuned = with_adapters(model(name), rank, targets)
    assert estimate(Case(model=tuned, workload=Workload(phase="train", batch=1, seq_len=8))).trainable_params == trainable


@pytest.mark.parametrize(
    ("config", "token_bytes"),
    [
        (LLAMA | {"hidden_size": 3584, "num_hidden_layers": 4, "num_attention_heads": 16, "head_dim": 256, "vocab_size": 32000}, 32_768),
        (
            {
                "model_type": "qwen3",
                "hidden_size": 2560,
                "intermediate_size": 9728,
                "num_hidden_layers": 36,
                "num_attention_heads": 32,
                "num_key_value_heads": 8,
                "head_dim": 128,
                "vocab_size": 151936,
                "tie_word_embeddings": True,
            },
            147_456,
        ),
        (
            {
                "model_type": "mistral",
                "hidden_size": 5120,
                "intermediate_size": 32768,
                "num_hidden_layers": 40,
                "num_attention_heads": 32,
                "num_key_value_heads": 8,
                "head_dim": 128,
                "sliding_window": None,
                "vocab_size": 131072,
            },
            163_840,
        ),
        (
            {
                "model_type": "qwen2",
                "hidden_size": 1536,
                "intermediate_size": 8960,
                "num_hidden_layers": 28,
                "num_attention_heads": 12,
                "num_key_value_heads": 2,
                "vocab_size": 151936,
                "use_sliding_window": False,
                "sliding_window": 4096,
                "tie_word_embeddings": False,
            },
            28_672,
        ),
    ],
    ids=["llama with wide heads", "qwen3", "mistral", "qwen2"],
)
def test_a_token_in_the_cache_is_layers_times_keys_and_values_of_the_heads_own_width(config: Config, token_bytes: int) -> None:
    """LMCache #694, Model-Optimizer #2482, vllm #14350; by hand: layers · 2 · key-value heads · head width · 2 bytes."""
    of = model_from_config(config, "reported")
    held = [
        generation(of, prompt_tokens=length, new_tokens=1, batch=1, dtype="bf16").peak_memory_bytes["kv_cache"] for length in (100, 101)
    ]
    assert held[1] - held[0] == token_bytes


def test_frozen_layers_leave_the_gradients_of_three_layers() -> None:
    """Automodel #786: Qwen2.5 72B with 77 of 80 layers frozen logs 2,633,054,208 trainable ones; head and last norm are trained as well."""
    step = estimate(Case(model=with_frozen_layers(model("qwen2.5-72b"), 77), workload=Workload(phase="train", batch=1, seq_len=8)))
    config = model_entry("qwen2.5-72b").config
    outside = config["vocab_size"] * config["hidden_size"] + config["hidden_size"]
    assert step.trainable_params == 2_633_054_208 + outside == 3_878_770_688
