"""Counts that misled: each with the smallest configuration or module that showed it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import nn

from bench.backend.counting.built_class import build, parse
from bench.backend.counting.hf_config import count_config
from bench.backend.counting.made_inputs import MadeInputs
from bench.backend.counting.module import count
from bench.backend.models import hf_config
from bench.backend.on_meta import on_meta
from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import count_params
from estimators.errors import BadConfigError, NoOpTableError
from estimators.spec import Workload

SMALL: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96, "vocab_size": 128}


def by_transformers(config: dict[str, Any]) -> int:
    model = on_meta(lambda: transformers.AutoModelForCausalLM.from_config(hf_config(config)))
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("head_dim", [None, 8, 32])
def test_a_width_of_heads_that_is_stated_is_taken(head_dim: int | None) -> None:
    config = {"model_type": "cohere2", **SMALL, "num_key_value_heads": 2, **({"head_dim": head_dim} if head_dim else {})}
    assert count_params(model_from_config(config, "cohere2").ops(Workload())) == by_transformers(config)


def test_latent_heads_need_not_divide_the_width() -> None:
    config = {"model_type": "deepseek_v3", **SMALL, "hidden_size": 160, "num_attention_heads": 6, "num_key_value_heads": 6}
    config |= {"kv_lora_rank": 16, "q_lora_rank": 24, "qk_nope_head_dim": 12, "qk_rope_head_dim": 8, "v_head_dim": 12}
    config |= {"n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "first_k_dense_replace": 1, "n_group": 1}
    config |= {"topk_group": 1}
    assert count_params(model_from_config(config, "deepseek_v3").ops(Workload())) == by_transformers(config)


def test_attention_to_another_sequence_is_no_part_of_a_decoder_s_table() -> None:
    config = {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 50, "add_cross_attention": True}
    with pytest.raises(NoOpTableError, match="add_cross_attention is true; the op table of 'gpt2' has no attention to another sequence"):
        model_from_config(config, "gpt2")
    assert model_from_config(config | {"add_cross_attention": False}, "gpt2")


def test_a_class_whose_package_is_missing_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lazy:
        __version__ = transformers.__version__

        def __getattr__(self, name: str) -> Any:
            if name == "XGLMForCausalLM":
                raise ImportError("\nXGLMForCausalLM requires the torchaudio library but it was not found.\nPlease install it.\n")
            return getattr(transformers, name)

    monkeypatch.setitem(__import__("sys").modules, "transformers", Lazy())
    config = {"model_type": "xglm", "architectures": ["XGLMForCausalLM"], "d_model": 32, "num_layers": 1, "attention_heads": 4}
    with pytest.raises(BadConfigError, match="transformers cannot import 'XGLMForCausalLM'") as caught:
        count_config(config, batch=1, seq_len=8)
    assert "\n" not in str(caught.value)


def test_infinity_as_transformers_writes_it_is_read() -> None:
    config = hf_config({"model_type": "mamba2", "time_step_limit": [0.0, {"__float__": "Infinity"}], "num_heads": 128, "head_dim": 64})
    assert tuple(config.time_step_limit) == (0.0, float("inf"))


class Remembers(nn.Module):
    """Keeps something of its first forward pass, on the module, in a buffer and on a part."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.register_buffer("seen", torch.zeros(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not hasattr(self, "pos"):
            self.pos = torch.arange(4.0, device=x.device)
        self.inner.last = x.mean()
        self.seen = self.seen + 1
        return self.inner(x) + self.pos


def test_a_network_is_left_as_it_was() -> None:
    module, x = Remembers(), torch.ones(2, 4)
    assert count(module, x).forward_flop == 2 * 2 * 16
    assert not hasattr(module, "pos")
    assert not hasattr(module.inner, "last")
    assert module.seen.tolist() == [0.0] * 4
    assert module(x).device.type == "cpu"


def test_a_list_of_layers_has_the_sum_of_its_children() -> None:
    class Stack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.layers:
                x = layer(x)
            return x

    by_module = count(Stack(), torch.ones(2, 4)).by_module
    assert by_module["layers"][:2] == (3 * 20, 3 * 2 * 2 * 16)
    assert by_module["layers"][2] == sum(by_module[f"layers.{i}"][2] or 0 for i in range(3))


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({"model_type": "xglm", "d_model": 32, "num_layers": 1, "attention_heads": 4, "ffn_dim": 64, "vocab_size": 100}, {"input_ids"}),
        ({"model_type": "squeezebert", **SMALL, "embedding_size": 64}, {"input_ids"}),
        (
            {"model_type": "videomae", **SMALL, "image_size": 32, "patch_size": 8, "num_frames": 4, "decoder_hidden_size": 32},
            {"pixel_values"},
        ),
    ],
    ids=lambda value: value.get("model_type", "") if isinstance(value, dict) else "",
)
def test_inputs_are_made_up_that_run(config: dict[str, Any], names: set[str]) -> None:
    made = MadeInputs(on_meta(lambda: transformers.AutoModel.from_config(hf_config(config))))
    given = made.of(2, 7)
    assert given.keys() >= names
    assert all(value.shape[0] == 2 for value in given.values())
    assert made.reads_tokens is ("input_ids" in names)


TOWERS: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.mark.parametrize(
    ("config", "runs"),
    [
        (
            {
                "model_type": "vision-text-dual-encoder",
                "vision_config": {"model_type": "vit", "image_size": 32, **TOWERS},
                "text_config": {"model_type": "bert", "vocab_size": 64, **TOWERS},
            },
            "VisionTextDualEncoderModel",
        ),
        (
            {
                "model_type": "encoder-decoder",
                "encoder": {"model_type": "bert", "vocab_size": 64, **TOWERS},
                "decoder": {"model_type": "bert", "vocab_size": 64, "is_decoder": True, "add_cross_attention": True, **TOWERS},
            },
            "EncoderDecoderModel",
        ),
    ],
    ids=["compares", "reads and writes"],
)
def test_a_part_that_is_no_language_model_of_its_own_is_not_taken_for_the_whole(config: dict[str, Any], runs: str) -> None:
    parsed, named, left_out = parse(config)
    assert (type(build(parsed, named)).__name__, left_out) == (runs, "")


def test_a_product_by_groups_has_its_gradient_by_hand() -> None:
    """Two groups of 8 rows of 16 by 16 x 24: 2 · 16 · 16 · 24, and as much for the weights, since the input needs none."""

    class Grouped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2, 16, 24, dtype=torch.bfloat16))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch._grouped_mm(x, self.weight, offs=torch.tensor([8, 16], dtype=torch.int32))

    said = count(Grouped(), torch.ones(16, 16, dtype=torch.bfloat16), fvcore=False)
    assert (said.forward_flop, said.backward_flop) == (12_288, 12_288)
