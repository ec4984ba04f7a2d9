"""What people fine-tune: adapters of peft on a frozen model, and linear layers whose weights are packed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers import LlamaForSequenceClassification

from bench.backend.counting.training_pass import count_pass
from bench.backend.counting.twin import is_packed_linear
from tests.support.small_llamas import LLAMA_FLOP, batch, by_torch, llama

ADAPTERS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("LoraConfig", {"r": 4, "target_modules": ["q_proj", "v_proj"], "lora_dropout": 0.1}),
    "lora everywhere, head trained": ("LoraConfig", {"r": 4, "target_modules": "all-linear", "modules_to_save": ["lm_head"]}),
    "lora on the embedding": ("LoraConfig", {"r": 4, "target_modules": ["embed_tokens", "q_proj"]}),
    "dora": ("LoraConfig", {"r": 4, "target_modules": ["q_proj", "v_proj"], "use_dora": True}),
    "adalora": ("AdaLoraConfig", {"total_step": 100, "target_modules": ["q_proj", "v_proj"]}),
    "ia3": ("IA3Config", {"target_modules": ["k_proj", "down_proj"], "feedforward_modules": ["down_proj"]}),
    "loha": ("LoHaConfig", {"r": 4, "target_modules": ["q_proj", "v_proj"]}),
    "lokr": ("LoKrConfig", {"r": 4, "target_modules": ["q_proj", "v_proj"]}),
    "vera": ("VeraConfig", {"r": 4, "target_modules": ["q_proj", "v_proj"]}),
    "norms alone": ("LNTuningConfig", {"target_modules": ["input_layernorm"]}),
    "prefix": ("PrefixTuningConfig", {"num_virtual_tokens": 5}),
    "prefix by a network": ("PrefixTuningConfig", {"num_virtual_tokens": 5, "prefix_projection": True, "encoder_hidden_size": 16}),
    "prompt": ("PromptTuningConfig", {"num_virtual_tokens": 5}),
    "p-tuning": ("PromptEncoderConfig", {"num_virtual_tokens": 5, "encoder_hidden_size": 16}),
}


def adapted(name: str, model: Any = None, task: str = "CAUSAL_LM") -> Any:
    peft = pytest.importorskip("peft")
    kind, options = ADAPTERS[name]
    return peft.get_peft_model(model or llama(), getattr(peft, kind)(task_type=task, **options))


def flop(model: nn.Module, given: dict[str, Any], *, recompute: bool = False) -> int:
    counted = count_pass(model, (), given, recompute=recompute)
    assert counted.unseen == ()
    return counted.forward_flop + (counted.backward_flop or 0) + counted.recomputed_flop


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapters_training_is_counted_as_torch_sees_the_real_one(name: str) -> None:
    model = adapted(name)
    assert flop(model, batch()) == by_torch(model, **batch()) != LLAMA_FLOP


def test_lora_by_the_figure_of_the_crowd() -> None:
    assert 4 * flop(adapted("lora"), batch()) == 25_821_184


def test_checkpoints_of_lora_cost_the_hardware_and_not_the_model() -> None:
    model = adapted("lora")
    model.gradient_checkpointing_enable()
    model.enable_input_require_grads()  # as Trainer does then; without checkpoints nothing needs a gradient below the first adapter
    assert 4 * flop(model, batch()) == 25_821_184
    assert flop(model, batch(), recompute=True) == by_torch(model, **batch())


def test_lora_of_a_classifier() -> None:
    model = adapted("lora", llama(LlamaForSequenceClassification), "SEQ_CLS")
    given = batch(labels=torch.tensor([0, 1, 0, 1]))
    assert flop(model, given) == by_torch(model, **given)


class FourBit(nn.Linear):
    """As bitsandbytes keeps 4 bits: two numbers a byte, and a forward that reads them."""

    def __init__(self, width: int, outputs: int, bias: bool = True) -> None:
        super().__init__(width, outputs, bias)
        self.weight = nn.Parameter(torch.zeros(width * outputs // 2, 1, dtype=torch.uint8), requires_grad=False)
        for parameter in self.parameters():
            parameter.requires_grad = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert not self.weight.is_meta, "a kernel has no meta"
        return x @ torch.zeros(self.in_features, self.out_features)


class Grouped(nn.Module):
    """As GPTQ and AWQ keep theirs: no weight by that name."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.in_features, self.out_features, self.bias = width, outputs, None
        self.register_buffer("qweight", torch.zeros(width // 8, outputs, dtype=torch.int32))

    forward = FourBit.forward


class Subclass(nn.Parameter):
    """As torchao and Int8Params keep theirs: a tensor of a class of its own."""


class OfASubclass(nn.Linear):
    def __init__(self, width: int, outputs: int) -> None:
        super().__init__(width, outputs)
        self.weight = Subclass(self.weight.detach(), requires_grad=False)
        self.bias.requires_grad = False


PACKED = {"bytes": FourBit, "no weight": Grouped, "class of its own": OfASubclass}


@pytest.mark.parametrize("kind", PACKED)
def test_a_packed_layer_between_trained_ones_is_a_frozen_product(kind: str) -> None:
    """4 rows, 8 -> 64 -> 32 -> 2 by hand: forward; the first's weights; the packed one's input; the last one's both."""
    layer = PACKED[kind](64, 32)
    model = nn.Sequential(nn.Linear(8, 64), layer, nn.Linear(32, 2))
    assert is_packed_linear(layer)
    forward, first, packed, last = (8 * n for n in (8 * 64 + 64 * 32 + 32 * 2, 8 * 64, 64 * 32, 32 * 2))
    counted = count_pass(model, (torch.randn(4, 8),), {})
    assert (counted.forward_flop, counted.backward_flop, counted.unseen) == (forward, first + packed + 2 * last, ())
    assert counted.trainable_params == 8 * 64 + 64 + 32 * 2 + 2


def test_torchs_own_dynamic_quantisation_is_counted() -> None:
    model = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 2)), {nn.Linear})
    counted = count_pass(model, (torch.randn(4, 8),), {})
    assert (counted.forward_flop, counted.unseen) == (2 * 4 * (8 * 64 + 64 * 2), ())


def test_qlora_is_lora_whatever_the_base_is_stored_in() -> None:
    plain, model = adapted("lora"), llama()
    for part in list(model.modules()):
        for name, child in list(part.named_children()):
            if isinstance(child, nn.Linear) and name != "lm_head":
                setattr(part, name, FourBit(child.in_features, child.out_features, bias=False))
    assert flop(adapted("lora", model), batch()) == flop(plain, batch())


@pytest.mark.parametrize("kind", ["Linear4bit", "Linear8bitLt"])
def test_layers_of_bitsandbytes_are_packed(kind: str) -> None:
    bnb = pytest.importorskip("bitsandbytes")
    model = nn.Sequential(nn.Linear(8, 64), getattr(bnb.nn, kind)(64, 32, bias=False), nn.Linear(32, 2)).to("cpu")
    model[1].weight.requires_grad = False
    counted = count_pass(model, (torch.randn(4, 8),), {})
    assert counted.forward_flop == 8 * (8 * 64 + 64 * 32 + 32 * 2)
    assert counted.backward_flop == 8 * (8 * 64 + 64 * 32 + 2 * 32 * 2)


class Own(nn.Linear):
    """A subclass that computes more, with weights that are what they seem."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(super().forward(x))


@pytest.mark.parametrize(
    "layer", [nn.Linear(8, 8), Own(8, 8), nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)), nn.Bilinear(2, 2, 2)]
)
def test_a_layer_with_a_matrix_of_numbers_is_left_as_it_is(layer: nn.Module) -> None:
    assert not is_packed_linear(layer)
    if isinstance(layer, nn.Linear):
        x = torch.randn(4, 8)
        counted = count_pass(layer, (x,), {})
        assert counted.forward_flop + (counted.backward_flop or 0) == by_torch(layer, x)
