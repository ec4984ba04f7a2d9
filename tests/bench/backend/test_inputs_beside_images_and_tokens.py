"""Made-up inputs of classes that take more than an image, a sound or tokens, beside the real class on a CPU with inputs of its docs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from bench.backend.counting.module import unfused
from bench.backend.tracing.trace import trace_config
from estimators.architectures.traced import TracedModel
from estimators.counting.estimate import estimate
from estimators.spec import Case, Workload

SMALL: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
T5: dict[str, Any] = {"d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2, "vocab_size": 64, "decoder_start_token_id": 0}


def _tokens(batch: int, length: int) -> torch.Tensor:
    return torch.full((batch, length), 5)


def _timesfm(batch: int, length: int) -> dict[str, Any]:
    return {
        "past_values": torch.rand(batch, 64),
        "past_values_padding": torch.zeros(batch, 64, dtype=torch.long),
        "freq": torch.zeros(batch, 1, dtype=torch.long),
    }


def _flat_patches(batch: int, length: int) -> dict[str, Any]:
    places = torch.ones(batch, 24, 2)
    return {"flattened_patches": torch.cat([places, torch.rand(batch, 24, 48)], -1), "decoder_input_ids": _tokens(batch, length)}


def _boxes(batch: int, length: int) -> dict[str, Any]:
    return {"input_ids": _tokens(batch, length), "bbox": torch.rand(batch, length, 4), "decoder_input_ids": _tokens(batch, length)}


PIX2STRUCT: dict[str, Any] = {
    "text_config": {"hidden_size": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2, "vocab_size": 64},
    "vision_config": {"hidden_size": 32, "d_kv": 16, "d_ff": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    | {"patch_embed_hidden_size": 48, "seq_len": 24},
}
KINDS: dict[str, tuple[dict[str, Any], Any]] = {
    "timesfm": ({**SMALL, "patch_length": 8, "context_length": 64, "horizon_length": 8, "head_dim": 16}, _timesfm),
    "pix2struct": (PIX2STRUCT, _flat_patches),
    "udop": ({**T5, "num_decoder_layers": 2}, _boxes),
    "xmod": (
        {**SMALL, "vocab_size": 64, "languages": ["en_XX", "de_DE"]},
        lambda batch, length: {"input_ids": _tokens(batch, length), "lang_ids": torch.ones(batch, dtype=torch.long)},
    ),
    "perceiver": (
        {"d_model": 32, "d_latents": 48, "num_latents": 8, "num_self_attends_per_block": 2, "vocab_size": 64, "max_position_embeddings": 64}
        | {"num_self_attention_heads": 2, "num_cross_attention_heads": 2, "architectures": ["PerceiverForMaskedLM"]},
        lambda batch, length: {"inputs": _tokens(batch, length)},
    ),
}


QUICK = ("perceiver", "xmod")


@pytest.mark.parametrize("model_type", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in KINDS])
def test_what_was_made_up_costs_what_the_inputs_of_its_docs_cost(model_type: str) -> None:
    fields, inputs = KINDS[model_type]
    traced = trace_config({"model_type": model_type, **fields}, model_type)
    model = _real(traced, model_type, fields)
    length = 13 if traced.item == "token" else 1
    with unfused(), FlopCounterMode(display=False) as counted, torch.no_grad():
        model(**inputs(3, length))
    said = estimate(Case(model=traced, workload=Workload(phase="forward", batch=3, seq_len=length)))
    assert (said.params, said.forward_flop) == (sum(p.numel() for p in model.parameters()), counted.get_total_flops())


def _real(traced: TracedModel, model_type: str, fields: dict[str, Any]) -> Any:
    config = transformers.AutoConfig.for_model(model_type, **fields)
    return getattr(transformers, traced.runs)._from_config(config, attn_implementation="eager").eval().requires_grad_(False)
