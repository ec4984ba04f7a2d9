"""Adapters of low rank and frozen layers against torch on the meta device, `==`: the modules are wrapped by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.pytorch_utils import Conv1D

from bench.backend import count
from estimators.architectures.decoder import Decoder
from estimators.architectures.lora import FineTuned, with_adapters, with_frozen_layers
from estimators.errors import BadValueError
from estimators.estimate import estimate
from estimators.hf_config import model_from_config
from estimators.registry import model_entry, model_ids
from estimators.rules import rules
from estimators.spec import Case, Model, Op, Source, Workload

Config = dict[str, Any]
RANK = 3
TRAIN = Workload(phase="train", batch=2, seq_len=6)
STEPS = (TRAIN, Workload(phase="prefill", batch=2, seq_len=5), Workload(phase="decode", batch=3, context_len=9))


class Adapted(nn.Module):
    """y = W·x + B·(A·x), with W frozen: the adapter of Hu et al. 2021 (arXiv 2106.09685), section 4.1, without dropout and scale."""

    def __init__(self, base: nn.Module, rank: int) -> None:
        super().__init__()
        d_out, d_in = reversed(base.weight.shape) if isinstance(base, Conv1D) else base.weight.shape
        self.base, self.weight = base, base.weight
        self.a = nn.Linear(d_in, rank, bias=False, device="meta")
        self.b = nn.Linear(rank, d_out, bias=False, device="meta")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + self.b(self.a(x))


def adapt(module: nn.Module, names: tuple[str, ...]) -> nn.Module:
    """The module frozen, with an adapter beside each linear layer of these names."""
    module.requires_grad_(False)
    chosen = [
        (parent, name, child)
        for parent in module.modules()
        for name, child in parent.named_children()
        if name in names and isinstance(child, nn.Linear | Conv1D)
    ]
    assert {name for _, name, _ in chosen} == set(names)
    for parent, name, child in chosen:
        setattr(parent, name, Adapted(child, RANK))
    return module


def layers_of(module: nn.Module, num: int) -> nn.ModuleList:
    return next(part for part in module.modules() if isinstance(part, nn.ModuleList) and len(part) == num)


def freeze(module: nn.Module, base: Decoder, frozen: int) -> nn.Module:
    """The module with its first layers frozen and all that runs before them: embedding, positions, a norm or projection behind it."""
    layers = layers_of(module, base.layers)
    embeddings = [part for part in module.modules() if isinstance(part, nn.Embedding)]
    before = [part for name, part in module.named_modules() if name.endswith(("word_embeddings_layernorm", "project_in"))]
    for part in (*embeddings, *before, *layers[:frozen]):
        part.requires_grad_(False)
    return module


def agree(model: FineTuned, module: nn.Module, workload: Workload) -> None:
    expected, counted = estimate(Case(model=model, workload=workload)), count.torch_count(module, workload)
    assert expected.params == counted.params
    assert expected.trainable_params == sum(p.numel() for p in module.parameters() if p.requires_grad)
    assert expected.forward_flop == counted.forward_flop
    assert expected.backward_flop == (counted.backward_flop or 0)
    for rule in rules(model, workload):
        assert rule.unexplained_flop == 0, (rule.name, rule.difference)


SMALL: Config = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 100,
}
LLAMA: Config = {**SMALL, "model_type": "llama"}
PHI: Config = {**SMALL, "model_type": "phi"}
GPT2: Config = {"model_type": "gpt2", "n_embd": 32, "n_layer": 3, "n_head": 4, "vocab_size": 100, "n_positions": 64}
STARCODER: Config = {**SMALL, "model_type": "starcoder2"}
OLMO2: Config = {**SMALL, "model_type": "olmo2", "pad_token_id": 0}
MIXTRAL: Config = {**SMALL, "model_type": "mixtral", "num_local_experts": 4}
QWEN_MOE: Config = {
    **SMALL,
    "model_type": "qwen2_moe",
    "num_experts": 6,
    "moe_intermediate_size": 20,
    "shared_expert_intermediate_size": 24,
    "decoder_sparse_step": 2,
}
GPT_OSS: Config = {**SMALL, "model_type": "gpt_oss", "num_local_experts": 8, "sliding_window": 8, "num_hidden_layers": 4}
DEEPSEEK: Config = {
    **SMALL,
    "model_type": "deepseek_v3",
    "num_key_value_heads": 4,
    "q_lora_rank": 12,
    "kv_lora_rank": 8,
    "qk_nope_head_dim": 6,
    "qk_rope_head_dim": 4,
    "v_head_dim": 10,
    "moe_intermediate_size": 20,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "n_group": 2,
    "topk_group": 1,
    "first_k_dense_replace": 1,
}
MAMBA: Config = {"model_type": "mamba", "hidden_size": 32, "num_hidden_layers": 3, "vocab_size": 100, "state_size": 4}
MAMBA2: Config = {**MAMBA, "model_type": "mamba2", "num_heads": 8, "head_dim": 8, "n_groups": 2, "chunk_size": 8}
JAMBA: Config = {
    **SMALL,
    "model_type": "jamba",
    "num_hidden_layers": 6,
    "num_experts": 4,
    "attn_layer_period": 3,
    "attn_layer_offset": 1,
    "mamba_d_state": 4,
}
FALCON_H1: Config = {
    **SMALL,
    "model_type": "falcon_h1",
    "mamba_d_ssm": 48,
    "mamba_n_heads": 8,
    "mamba_d_state": 4,
    "mamba_chunk_size": 8,
}
NEXT: Config = {
    **SMALL,
    "model_type": "qwen3_next",
    "head_dim": 16,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 20,
    "shared_expert_intermediate_size": 12,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 6,
    "linear_value_head_dim": 10,
    "full_attention_interval": 2,
}

ADAPTED = [
    *((LLAMA, (name,)) for name in ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")),
    (LLAMA, ("q_proj", "v_proj")),
    (LLAMA, ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")),
    (LLAMA | {"num_hidden_layers": 1}, ("q_proj",)),
    (LLAMA | {"tie_word_embeddings": True, "attention_bias": True}, ("v_proj", "down_proj")),
    *((GPT2, (name,)) for name in ("c_attn", "c_proj", "c_fc")),
    *((PHI, names) for names in (("q_proj",), ("dense",), ("fc1", "v_proj"), ("fc2",))),
    (STARCODER, ("c_proj",)),
    (OLMO2, ("q_proj", "down_proj")),
    (MIXTRAL, ("q_proj", "v_proj")),
    (QWEN_MOE, ("down_proj",)),
    (GPT_OSS, ("k_proj",)),
    *((DEEPSEEK, (name,)) for name in ("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj")),
    *((MAMBA, (name,)) for name in ("in_proj", "x_proj", "out_proj")),
    *((MAMBA2, (name,)) for name in ("in_proj", "out_proj")),
    *((JAMBA, names) for names in (("q_proj",), ("x_proj", "v_proj"), ("down_proj",))),
    *((FALCON_H1, names) for names in (("q_proj",), ("in_proj",), ("out_proj",))),
    *((NEXT, names) for names in (("in_proj_qkvz",), ("in_proj_ba",), ("q_proj", "out_proj"))),
]


@pytest.mark.parametrize(
    ("config", "names"), ADAPTED, ids=lambda value: value["model_type"] if isinstance(value, dict) else "+".join(value)
)
def test_adapters_count_like_torch_with_hand_made_adapters(config: Config, names: tuple[str, ...]) -> None:
    model = with_adapters(model_from_config(config, "base"), RANK, names)
    module = adapt(count.meta_language_model(config), names)
    for workload in STEPS:
        agree(model, module, workload)


class Products(TorchDispatchMode):
    """Writes down every matrix product by its FLOP."""

    def __init__(self) -> None:
        super().__init__()
        self.flop: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.bmm):
            self.flop.append(2 * args[0].numel() * args[1].shape[-1])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("names", [("q_proj", "v_proj"), ("k_proj",), ("o_proj", "up_proj")])
def test_every_single_product_of_forward_and_backward_is_in_the_op_table(names: tuple[str, ...]) -> None:
    """Not only the sums: torch runs as many products of each size as there are rows, weight gradients and input gradients."""
    module = adapt(count.meta_language_model(LLAMA), names)
    forward, backward = Products(), Products()
    with forward:
        logits = module(input_ids=torch.zeros(2, 6, dtype=torch.long, device="meta"), use_cache=True).logits
    with backward:
        logits.sum().backward()
    rows = [op for op in with_adapters(model_from_config(LLAMA, "base"), RANK, names).ops(TRAIN) if op.flop]
    assert sorted(forward.flop) == sorted(op.flop for op in rows for _ in range(op.count))
    assert sorted(backward.flop) == sorted(op.flop for op in rows for _ in range(op.count * op.backward_flop // op.flop))


FROZEN = [
    LLAMA,
    LLAMA | {"tie_word_embeddings": True},
    GPT2,
    PHI,
    OLMO2,
    QWEN_MOE,
    GPT_OSS,
    DEEPSEEK,
    MAMBA,
    MAMBA2,
    JAMBA,
    FALCON_H1,
    NEXT,
]


@pytest.mark.parametrize("config", FROZEN, ids=lambda config: config["model_type"])
def test_frozen_first_layers_count_like_torch(config: Config) -> None:
    base = model_from_config(config, "base")
    assert isinstance(base, Decoder)
    for frozen in range(base.layers + 1 - base.tied):
        agree(with_frozen_layers(base, frozen), freeze(count.meta_language_model(config), base, frozen), TRAIN)


def first_of_each_family() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in model_ids():
        config = model_entry(name).config
        if config["model_type"] not in found and isinstance(model_from_config(config, name), Decoder):
            found[config["model_type"]] = name
    return found


FAMILY_MODELS = first_of_each_family()
DEPTHS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
OF_EACH_LAYER = ("layer_types", "no_rope_layers")
VARIED = {
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "bamba": {"attn_layer_indices": [1]},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "qwen3_next": {"full_attention_interval": 2},
}


def shallow(config: Config) -> Config:
    """The same model with two layers."""
    few = {key: 2 for key in DEPTHS if key in config} | {key: config[key][:2] for key in OF_EACH_LAYER if config.get(key)}
    return dict(config) | few | VARIED.get(config["model_type"], {})


@pytest.mark.parametrize("name", FAMILY_MODELS.values())
def test_a_published_model_of_every_family_with_its_first_layer_frozen_counts_like_torch(name: str) -> None:
    """Whether norms stand before or behind, and what runs in parallel, decides which gradients the second layer needs."""
    config = shallow(model_entry(name).config)
    base = model_from_config(config, name)
    assert isinstance(base, Decoder)
    agree(with_frozen_layers(base, 1), freeze(count.meta_language_model(config), base, 1), TRAIN)


@pytest.mark.parametrize("name", FAMILY_MODELS.values())
def test_adapters_on_every_linear_layer_of_every_family_count_like_torch(name: str) -> None:
    """What "all-linear" means: every linear layer but routers, the scalar gate of a shared expert and step-size projections."""
    config = shallow(model_entry(name).config)
    module = count.meta_language_model(config)
    left_out = {"router", "wg", "shared_expert_gate", "dt_proj"}
    inside = layers_of(module, 2).named_modules()
    names = {name.rpartition(".")[2] for name, part in inside if isinstance(part, nn.Linear | Conv1D)} - left_out
    agree(with_adapters(model_from_config(config, name), RANK, ("all-linear",)), adapt(module, tuple(names)), TRAIN)


# ---- published figures


def test_llama_2_7b_with_rank_8_trains_what_pefts_documentation_prints() -> None:
    """trainable params: 4,194,304 || all params: 6,742,609,920 (peft's quicktour for Llama 7B with r 8 on q_proj and v_proj)."""
    tuned = with_adapters(model_from_config(model_entry("llama-2-7b").config, "llama-2-7b"), 8, ("q_proj", "v_proj"))
    step = estimate(Case(model=tuned, workload=TRAIN))
    assert (step.trainable_params, step.params) == (4_194_304, 6_742_609_920)


def test_gpt_3_with_adapters_trains_what_the_paper_prints() -> None:
    """Hu et al. 2021, table 4: rank 1 on queries and values of 96 layers of 12,288 is 4.7M parameters, rank 8 is 37.7M.

    GPT-3's three matrices are one in the op table, so that the count is made of Llama's shapes with GPT-3's sizes.
    """
    sizes = {"hidden_size": 12288, "num_attention_heads": 96, "num_key_value_heads": 96, "num_hidden_layers": 96}
    for rank, millions in ((1, 4.7), (8, 37.7)):
        tuned = with_adapters(model_from_config(LLAMA | sizes, "gpt-3"), rank, ("q_proj", "v_proj"))
        assert estimate(Case(model=tuned, workload=TRAIN)).trainable_params / 1e6 == pytest.approx(millions, abs=0.05)


def test_a_training_step_costs_about_four_instead_of_six_flop_per_weight_and_token() -> None:
    model = model_from_config(model_entry("llama-2-7b").config, "llama-2-7b")
    step = Workload(phase="train", seq_len=128)
    whole, tuned = (estimate(Case(model=each, workload=step)).flop["full"] for each in (model, with_adapters(model, 8)))
    assert tuned / whole == pytest.approx(4 / 6, abs=0.003)


def test_frozen_weights_have_no_gradient_and_no_optimizer_state() -> None:
    """Llama 2 7B in bf16: 2 bytes for each frozen weight; 4 + 4 + 8 + 2 for each trained one."""
    tuned = with_adapters(model_from_config(model_entry("llama-2-7b").config, "llama-2-7b"), 8)
    held = estimate(Case(model=tuned, workload=TRAIN)).memory_bytes
    assert held["frozen_weights"] == 2 * 6_738_415_616
    assert (held["weights"], held["gradients"], held["optimizer"], held["low_precision_copies"]) == tuple(
        4_194_304 * n for n in (4, 4, 8, 2)
    )


def test_a_training_step_reads_frozen_weights_twice_and_writes_none() -> None:
    """Forward and the input's gradient read each matrix; of the first layer only what leads to an adapter."""
    tuned = with_adapters(model_from_config(LLAMA, "base"), RANK, ("q_proj",))
    ops = tuned.ops(TRAIN)
    once = {op.name for op in ops if op.kind == "matmul" and op.backward_flop <= op.weight_grad_flop}
    assert once == {f"layer.0.attention.{name}" for name in ("query", "key", "value", "query.adapter_a")}
    matrices = [op for op in ops if op.kind == "matmul"]
    read = sum(op.count * op.weight_bytes * (1 if op.name in once else 2) for op in matrices)
    others = 2 * sum(op.count * op.weight_bytes for op in ops if op.kind != "matmul")
    trained = sum(op.count * op.trainable_params for op in ops)
    assert estimate(Case(model=tuned, workload=TRAIN)).min_bytes == read + others + 2 * (4 + 8) * trained


# ---- what is refused, and twins


def test_a_frozen_weight_that_is_counted_as_trained_is_noticed() -> None:
    model = with_adapters(model_from_config(LLAMA, "base"), RANK, ("q_proj", "v_proj"))
    module = adapt(count.meta_language_model(LLAMA), ("q_proj",))
    with pytest.raises(AssertionError):
        agree(model, module, TRAIN)


def test_a_layer_of_the_wrong_order_is_noticed() -> None:
    """GPT-OSS alternates windows and full attention: a stack of the same layers in another order has another first layer."""
    base = model_from_config(GPT_OSS, "base")
    assert isinstance(base, Decoder)
    module = freeze(count.meta_language_model(GPT_OSS), base, 2)
    long = Workload(phase="train", batch=1, seq_len=30)
    agree(with_frozen_layers(base, 2), module, long)
    assert base.order == (0, 1, 0, 1)
    in_runs = dataclasses.replace(base, order=())
    assert with_frozen_layers(in_runs, 2).ops(long) != with_frozen_layers(base, 2).ops(long)


class Encoder:
    """Something that is no decoder."""

    name, source = "an encoder", Source(title="none")

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        return ()


@pytest.mark.parametrize(
    ("model", "rank", "targets", "match"),
    [
        (LLAMA, 0, (), "an adapter of rank 0; expected a whole number from 1"),
        (LLAMA, 8, ("router",), "base has no linear layer 'router'; expected all-linear or some of: down, gate, key"),
        (MIXTRAL, 8, ("gate_up",), "no linear layer 'gate_up'"),
        (MAMBA, 8, ("dt_proj",), "no linear layer 'dt_proj'"),
        (None, 8, (), "adapters on an encoder: expected a decoder-only language model"),
    ],
)
def test_adapters_that_make_no_sense_are_refused_in_one_line(model: Config | None, rank: int, targets: tuple[str, ...], match: str) -> None:
    base: Model = Encoder() if model is None else model_from_config(model, "base")
    with pytest.raises(BadValueError, match=match) as caught:
        with_adapters(base, rank, targets)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("layers", [-1, 4])
def test_more_frozen_layers_than_there_are_is_refused(layers: int) -> None:
    with pytest.raises(BadValueError, match="base has 3; expected from 0 to that"):
        with_frozen_layers(model_from_config(LLAMA, "base"), layers)
    with pytest.raises(BadValueError, match="frozen layers of an encoder"):
        with_frozen_layers(Encoder(), 0)


def test_targets_are_queries_and_values_unless_named() -> None:
    """Hu et al. 2021, section 4.2; where they are one matrix, or come from latents, the matrices that make them."""
    for config, targets in ((LLAMA, {"query", "value"}), (GPT2, {"query_key_value"}), (DEEPSEEK, {"query_up", "kv_up"}), (MAMBA, {"in"})):
        assert with_adapters(model_from_config(config, "base"), 8).targets == targets
