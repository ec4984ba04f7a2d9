"""Adapters of low rank against torch on the meta device, `==`: the modules are wrapped by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.pytorch_utils import Conv1D

from bench.backend.counting import meta
from estimators.architectures.adapter_names import EXPERTS
from estimators.architectures.adapters import names_in, with_adapters
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import estimate
from estimators.errors import BadValueError
from estimators.facts.registry import model_entry
from estimators.frozen import replace
from estimators.spec import Case, Model, Workload
from tests.support.fine_tuned import (
    DEEPSEEK,
    DEEPSEEK_V4,
    FALCON_H1,
    FAMILY_MODELS,
    GPT2,
    GPT_OSS,
    JAMBA,
    LLAMA,
    MAMBA,
    MAMBA2,
    MIXTRAL,
    NEXT,
    OLMO2,
    PHI,
    QWEN_MOE,
    RANK,
    STARCODER,
    STEPS,
    TRAIN,
    Config,
    Encoder,
    adapt,
    agree,
    layers_of,
    shallow,
)

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
    *((DEEPSEEK_V4, names) for names in (("q_a_proj",), ("q_b_proj",), ("kv_proj", "gate_proj"), ("o_b_proj",))),
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
    module = adapt(meta.meta_language_model(config), names)
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
    module = adapt(meta.meta_language_model(LLAMA), names)
    forward, backward = Products(), Products()
    with forward:
        logits = module(input_ids=torch.zeros(2, 6, dtype=torch.long, device="meta"), use_cache=True).logits
    with backward:
        logits.sum().backward()
    rows = [op for op in with_adapters(model_from_config(LLAMA, "base"), RANK, names).ops(TRAIN) if op.flop]
    assert sorted(forward.flop) == sorted(op.flop for op in rows for _ in range(op.count))
    assert sorted(backward.flop) == sorted(op.flop for op in rows for _ in range(op.count * op.backward_flop // op.flop))


@pytest.mark.parametrize("name", [name for kind, name in FAMILY_MODELS.items() if kind != "deepseek_v4"])  # refused, as peft fails
def test_adapters_on_every_linear_layer_of_every_family_count_like_torch(name: str) -> None:
    """What "all-linear" means: every linear layer that peft does not take for its experts' name; those experts have a test apart."""
    config = shallow(model_entry(name).config)
    module, model = meta.meta_language_model(config), model_from_config(config, name)
    assert isinstance(model, Decoder)
    inside = layers_of(module, 2).named_modules()
    linear = {
        name.rpartition(".")[2] for name, part in inside if isinstance(part, nn.Linear | Conv1D) and "Router" not in type(part).__name__
    }
    rows = names_in(model)
    weight_alone = {"dt_proj", "correction_coefs"}  # transformers multiplies by the weight of these, past the module that holds it
    names = {name for name in linear - weight_alone if rows.get(name) not in EXPERTS}
    apart = EXPERTS | {"dt"} | {row for name, row in rows.items() if name not in linear}
    with_all = with_adapters(model, RANK, ("all-linear",))
    agree(replace(with_all, targets=with_all.targets - apart), adapt(module, tuple(names)), TRAIN)


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
    assert held["weights"] + held["edges"] == 2 * 6_738_415_616
    assert (held["adapters"], held["gradients"], held["optimizer"], held["copies"]) == tuple(4_194_304 * n for n in (4, 4, 8, 2))


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


def test_a_frozen_weight_that_is_counted_as_trained_is_noticed() -> None:
    model = with_adapters(model_from_config(LLAMA, "base"), RANK, ("q_proj", "v_proj"))
    module = adapt(meta.meta_language_model(LLAMA), ("q_proj",))
    with pytest.raises(AssertionError):
        agree(model, module, TRAIN)


@pytest.mark.parametrize(
    ("model", "rank", "targets", "match"),
    [
        (LLAMA, 0, (), "an adapter of rank 0; expected a whole number from 1"),
        (LLAMA, 8, ("router",), "base has no linear layer 'router'; expected all-linear or some of: down, gate, key"),
        (MIXTRAL, 8, ("gate_proj",), "no linear layer 'gate_proj'"),
        (MAMBA, 8, ("conv1d",), "no linear layer 'conv1d'"),
        (None, 8, (), "adapters on an encoder: expected a language model that generates"),
    ],
)
def test_adapters_that_make_no_sense_are_refused_in_one_line(model: Config | None, rank: int, targets: tuple[str, ...], match: str) -> None:
    base: Model = Encoder() if model is None else model_from_config(model, "base")
    with pytest.raises(BadValueError, match=match) as caught:
        with_adapters(base, rank, targets)
    assert "\n" not in str(caught.value)


def test_targets_are_queries_and_values_unless_named() -> None:
    """Hu et al. 2021, section 4.2; where they are one matrix, or come from latents, the matrices that make them."""
    for config, targets in ((LLAMA, {"query", "value"}), (GPT2, {"query_key_value"}), (DEEPSEEK, {"query_up", "kv_up"}), (MAMBA, {"in"})):
        assert with_adapters(model_from_config(config, "base"), 8).targets == targets
