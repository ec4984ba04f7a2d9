"""Small decoders of many families whose modules are wrapped or frozen by hand, and what they are held to."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from bench.backend.counting import meta
from estimators.architectures.adapters import FineTuned
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import estimate
from estimators.counting.rules_of_thumb import rules
from estimators.facts.registry import model_entry, model_ids
from estimators.spec import Case, Op, Source, Workload
from tests.support.latent_attention_models import DEEPSEEK_V3

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
    """The module with its first layers frozen and all that runs before them: embedding, positions, a norm or projection behind it.

    What chooses keys runs without a gradient wherever it is.
    """
    layers = layers_of(module, base.layers)
    embeddings = [part for part in module.modules() if isinstance(part, nn.Embedding)]
    leading = ("word_embeddings_layernorm", "project_in", "per_layer_model_projection", "per_layer_projection_norm", "altup_projections")
    before = [part for name, part in module.named_modules() if name.endswith(leading)]
    choosing = [part for part in module.modules() if type(part).__name__.endswith("Indexer")]
    for part in (*embeddings, *before, *choosing, *layers[:frozen]):
        part.requires_grad_(False)
    return module


def agree(model: FineTuned, module: nn.Module, workload: Workload) -> None:
    expected, counted = estimate(Case(model=model, workload=workload)), meta.torch_count(module, workload)
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
DEEPSEEK: Config = DEEPSEEK_V3 | {"n_group": 2, "topk_group": 1, "num_nextn_predict_layers": 0}
DEEPSEEK_V4: Config = {
    "model_type": "deepseek_v4",
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "head_dim": 16,
    "q_lora_rank": 12,
    "o_groups": 2,
    "o_lora_rank": 6,
    "moe_intermediate_size": 20,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "vocab_size": 100,
    "sliding_window": 4,
    "index_n_heads": 2,
    "index_head_dim": 8,
    "index_topk": 2,
    "hc_sinkhorn_iters": 2,
    "compress_rates": {"compressed_sparse_attention": 2, "heavily_compressed_attention": 3},
    "layer_types": ["heavily_compressed_attention", "compressed_sparse_attention", "sliding_attention"],
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
    "gemma3n_text": {"layer_types": ["sliding_attention", "full_attention"], "num_kv_shared_layers": 0},
    "gemma4_text": {"layer_types": ["sliding_attention", "full_attention"]},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention"]},
    "kimi_linear": {"layer_types": ["linear_attention", "full_attention"]},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "nemotron_h": {"layers_block_type": ["linear_attention", "full_attention"]},
    "zamba2": {"layers_block_type": ["linear_attention", "hybrid"]},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    **{name: {"full_attention_interval": 2} for name in ("qwen3_5_moe_text", "qwen3_5_text", "qwen3_next")},
}


def shallow(config: Config) -> Config:
    """The same model with two layers."""
    few = {key: 2 for key in DEPTHS if key in config} | {key: config[key][:2] for key in OF_EACH_LAYER if config.get(key)}
    return dict(config) | few | VARIED.get(config["model_type"], {})


class Encoder:
    """Something that is not a decoder."""

    name, source = "an encoder", Source(title="none")

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        return ()
