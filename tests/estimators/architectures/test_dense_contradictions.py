"""Configurations of decoders that contradict themselves, or ask for what no such model has: each is one line."""

from __future__ import annotations

from typing import Any

import pytest

from estimators.architectures.from_config import model_from_config
from estimators.errors import BadConfigError


@pytest.mark.parametrize(
    ("model_type", "fields", "match"),
    [
        ("gptj", {"n_embd": 66, "n_head": 4}, "n_embd 66 is not a multiple of n_head 4"),
        ("bloom", {"hidden_size": 10, "n_head": 4}, "n_embed 10 is not a multiple of n_head 4"),
        ("codegen", {"n_embd": 60, "n_head": 6}, "n_head 6 is not a multiple of 4 "),
        ("qwen2", {"num_attention_heads": 8}, "num_attention_heads 8 is not a multiple of num_key_value_heads 32"),
        ("mistral", {"sliding_window": 0}, "sliding_window is '0'; expected a whole number from 1"),
        ("gpt_neo", {"window_size": 0}, "window_size is '0'"),
        ("gemma2", {"sliding_window": None}, "sliding_window is 'None'; expected a whole number from 1, since layers have sliding"),
        ("gemma3_text", {"sliding_window_pattern": 0}, "sliding_window_pattern is '0'"),
        ("gemma2", {"layer_types": ["full_attention"]}, "layer_types is .*; expected a list of 26 words"),
        ("qwen3", {"num_hidden_layers": 1, "layer_types": ["linear"]}, "layer_types is .*; expected a list of 1 words"),
        ("qwen3", {"num_hidden_layers": 1, "layer_types": "full_attention"}, "layer_types is 'full_attention'"),
        ("qwen3", {"num_hidden_layers": 1, "layer_types": ["sliding_attention"]}, "sliding_window is 'None'"),
        ("cohere2", {"num_hidden_layers": 10**9}, "num_hidden_layers is '1000000000'; expected at most 10,000 layers where they differ"),
        ("gpt_neo", {"num_layers": 10**9}, "num_layers is '1000000000'; expected at most 10,000 layers"),
        ("gpt_neo", {"attention_types": [[["global"], 10**9]]}, "attention_types is .*24 layers together"),
        ("gpt_neo", {"attention_types": [[["banded"], 24]]}, "attention_types is"),
        ("gpt_neo", {"attention_types": [["global", 24]]}, "attention_types is"),
        ("gpt_neo", {"attention_types": "global"}, "attention_types is 'global'"),
        ("gpt_neo", {"attention_types": [[["global"], 23]]}, "attention_types is"),
        ("falcon", {"new_decoder_architecture": True, "parallel_attn": False}, "parallel_attn is 'False'; expected true"),
        ("falcon", {"num_ln_in_parallel_attn": 2}, "num_ln_in_parallel_attn is '2'; expected 1, or 2 with new_decoder_architecture"),
        (
            "falcon",
            {"num_attention_heads": 4, "hidden_size": 32, "num_kv_heads": 2, "multi_query": False},
            "num_kv_heads is '2'; expected 4",
        ),
        ("mpt", {"expansion_ratio": 2}, "expansion_ratio is '2'; expected 4"),
        (
            "mpt",
            {"attn_config": {"attn_type": "multiquery_attention"}},
            "attn_type is 'multiquery_attention'; expected multihead_attention",
        ),
        ("mpt", {"attn_config": [1]}, r"attn_config is '\[1\]'; expected an object"),
        ("internlm3", {"qkv_bias": True}, "qkv_bias is 'True'; expected the same as bias"),
        ("smollm3", {"no_rope_layers": [1, 0]}, "no_rope_layers is .*; expected a list of 36 zeros and ones"),
        ("llava", {}, "text_config is 'None'; expected the object that describes the language part"),
        ("gemma3", {"text_config": {"model_type": "perceiver"}}, "text_config.model_type is 'perceiver'; expected a language model's"),
        ("gemma3", {"text_config": {"model_type": "llava"}}, "text_config.model_type is 'llava'; expected a language model's"),
        ("gemma3", {"text_config": {"model_type": ["llama"]}}, "text_config.model_type is"),
        ("llava", {"text_config": {"model_type": "dense_network", "widths": [1, 1]}}, "text_config.model_type is .*; expected a decoder's"),
        ("llava", {"text_config": {"num_hidden_layers": 0}}, "llava: text_config: num_hidden_layers is '0'"),
    ],
)
def test_a_configuration_that_contradicts_itself_is_one_line(model_type: str, fields: dict[str, Any], match: str) -> None:
    with pytest.raises(BadConfigError, match=match) as caught:
        model_from_config(fields | {"model_type": model_type}, model_type)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
