"""Families of dense decoders: random valid configurations and steps against torch on the meta device, `==`.

What transformers builds from a configuration and torch counts of one step is the truth; the op table is built of the
configuration alone.
"""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import strategies as st

from bench.backend.counting import meta
from estimators.architectures import FAMILIES
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import estimate
from estimators.spec import Case, Workload
from tests.support.drawn_decoders import (
    Config,
    agree,
    check_random_configurations,
    family,
    flags,
    layered,
    own_heads,
    shapes,
    sliding,
    windows,
)

GPT = {"width": "n_embd", "layers": "n_layer", "heads": "n_head", "kv_heads": ""}
ffn, inner, positions = {"intermediate_size": st.integers(8, 64)}, {"n_inner": st.integers(8, 64)}, {"n_positions": st.integers(64, 99)}
two_biases = {"attention_bias": flags, "mlp_bias": flags}
pad = {"pad_token_id": 0}

DENSE: dict[str, st.SearchStrategy[Config]] = {
    "arcee": family(own_heads(), **ffn, **two_biases),
    "bloom": family(shapes(layers="n_layer", heads="n_head", kv_heads="")),
    "codegen": family(shapes(**GPT, multiple=4), {"rotary_dim": 4}, **inner, **positions),
    "cohere": family(shapes(), pad, **ffn, attention_bias=flags, use_qk_norm=flags),
    "cohere2": sliding(family(shapes(), pad, **ffn, attention_bias=flags, sliding_window=windows)),
    "ernie4_5": family(own_heads(), pad, **ffn, use_bias=flags),
    "exaone4": sliding(family(shapes(), **ffn, sliding_window=windows)),
    "falcon": st.one_of(
        family(shapes(kv_heads="num_kv_heads"), {"new_decoder_architecture": True}, bias=flags, num_ln_in_parallel_attn=st.integers(1, 2)),
        family(shapes(kv_heads=""), multi_query=flags, parallel_attn=flags, alibi=flags, bias=flags, ffn_hidden_size=st.integers(8, 64)),
    ),
    "gemma": family(own_heads(), **ffn, attention_bias=flags, use_bidirectional_attention=flags),
    "gemma2": sliding(family(own_heads(), **ffn, sliding_window=windows)),
    "gemma3_text": sliding(family(own_heads(), **ffn, sliding_window=windows, attention_bias=flags, use_bidirectional_attention=flags)),
    "glm": family(own_heads(), pad, **ffn, attention_bias=flags),
    "glm4": family(own_heads(), pad, **ffn, attention_bias=flags),
    "gpt2": family(shapes(**GPT), **inner, **positions),
    "gpt_bigcode": family(shapes(**GPT), **inner, **positions, multi_query=flags),
    "gpt_neo": family(shapes(layers="num_layers", heads="num_heads", kv_heads=""), **ffn, window_size=windows).flatmap(
        lambda config: st.sampled_from(["global", "local"]).map(
            lambda first: (
                config | {"attention_types": [[[first], 1]] + [[["local"], config["num_layers"] - 1]] * (config["num_layers"] > 1)}
            )
        )
    ),
    "gpt_neox": family(shapes(kv_heads=""), **ffn, attention_bias=flags, use_parallel_residual=flags),
    "gptj": family(shapes(**GPT), {"rotary_dim": 4}, **inner, **positions),
    "granite": family(shapes(), **ffn, **two_biases),
    "internlm3": st.tuples(family(own_heads(), pad, **ffn), flags).map(lambda d: d[0] | {"qkv_bias": d[1], "bias": d[1]}),
    "llama": family(own_heads(), **ffn, **two_biases),
    "ministral": sliding(family(shapes(), {"head_dim": 8}, **ffn, sliding_window=windows)),
    "ministral3": family(own_heads(), pad, **ffn, sliding_window=st.none() | windows),
    "mistral": family(own_heads(), **ffn, sliding_window=st.none() | windows),
    "mpt": family(shapes(width="d_model", layers="n_layers", heads="n_heads", kv_heads=""), max_seq_len=st.integers(64, 99)),
    "nemotron": family(own_heads(), **ffn, **two_biases),
    "olmo": family(shapes(), pad, **ffn, attention_bias=flags),
    "olmo2": family(shapes(), pad, **ffn, attention_bias=flags),
    "olmo3": sliding(family(shapes(), pad, **ffn, attention_bias=flags, sliding_window=windows)),
    "opt": family(
        shapes(kv_heads=""),
        ffn_dim=st.integers(8, 64),
        enable_bias=flags,
        layer_norm_elementwise_affine=flags,
        do_layer_norm_before=flags,
        word_embed_proj_dim=st.integers(8, 64),
        max_position_embeddings=st.integers(64, 99),
    ),
    "phi": family(shapes(), **ffn, qk_layernorm=flags),
    "phi3": family(shapes(), pad, **ffn, sliding_window=st.none() | windows),
    "qwen2": sliding(family(shapes(), {"use_sliding_window": True}, **ffn, sliding_window=windows, max_window_layers=st.integers(0, 2))),
    "qwen3": sliding(family(own_heads(), {"use_sliding_window": True}, **ffn, attention_bias=flags, max_window_layers=st.integers(0, 2))),
    "seed_oss": family(own_heads(), **ffn, attention_bias=flags, attention_out_bias=flags, mlp_bias=flags),
    "smollm3": layered(
        family(shapes(), pad, **ffn, **two_biases, use_sliding_window=flags, sliding_window=windows), "no_rope_layers", [0, 1]
    ),
    "stablelm": family(shapes(), pad, **ffn, use_qkv_bias=flags, qk_layernorm=flags, use_parallel_residual=flags),
    "starcoder2": family(shapes(), **ffn, use_bias=flags, sliding_window=st.none() | windows),
}


@pytest.mark.parametrize("model_type", DENSE)
def test_random_configurations_of_every_dense_family_count_like_torch(model_type: str) -> None:
    check_random_configurations(model_type, DENSE[model_type], 8)


@pytest.mark.slow
@pytest.mark.parametrize("model_type", DENSE)
def test_many_random_configurations_of_every_dense_family_count_like_torch(model_type: str) -> None:
    check_random_configurations(model_type, DENSE[model_type], 60)


MODULES = {"gpt", "llama", "llama_variants", "layer_norm", "gemma"}
INSIDE_VISION_LANGUAGE = {"qwen2_vl_text", "qwen2_5_vl_text", "qwen3_vl_text"}
CANNOT_DO_WITHOUT = {"ministral": {"head_dim": 128}, "nemotron": {"num_key_value_heads": 48}}
"""What transformers' own model of the class needs though its configuration says None."""


def test_no_dense_family_is_without_a_test() -> None:
    here = {model_type for model_type, where in FAMILIES.items() if where.split(".")[0] in MODULES}
    assert here == DENSE.keys() | INSIDE_VISION_LANGUAGE


@pytest.mark.parametrize("model_type", DENSE)
def test_a_missing_field_takes_the_default_of_transformers_class(model_type: str) -> None:
    config = {"model_type": model_type} | CANNOT_DO_WITHOUT.get(model_type, {})
    estimated = estimate(Case(model=model_from_config(config, model_type), workload=Workload()))
    assert estimated.params == meta.params_of(meta.meta_language_model(config))


@pytest.mark.parametrize(
    ("key", "model_type"),
    [("num_key_value_heads", each) for each in ("cohere", "ernie4_5", "granite", "internlm3", "llama", "olmo2", "phi3", "qwen2", "qwen3")]
    + [("head_dim", each) for each in ("ernie4_5", "internlm3", "llama", "mistral", "nemotron", "seed_oss")],
)
def test_a_null_is_not_a_missing_field(key: str, model_type: str) -> None:
    """Null is as many key-value heads as heads, and a head width that divides the width, whatever the class's defaults are."""
    config = {"model_type": model_type, "hidden_size": 48, "num_attention_heads": 6, "num_hidden_layers": 1, "num_key_value_heads": 3}
    config |= {"pad_token_id": 0, key: None}
    estimated = estimate(Case(model=model_from_config(config, model_type), workload=Workload()))
    assert estimated.params == meta.params_of(meta.meta_language_model(config))


LOCAL: Config = {"model_type": "gpt_neo", "hidden_size": 8, "num_heads": 1, "num_layers": 1}
LOCAL |= {"window_size": 4, "attention_types": [[["local"], 1]]}


def test_gpt_neo_multiplies_what_its_window_hides_and_a_kernel_may_skip_it() -> None:
    """One local layer, one head of 8, window 4, 9 tokens cached: two products of 2·10·8 FLOP, of whose 10 keys 6 are masked."""
    step = estimate(Case(model=model_from_config(LOCAL, "local"), workload=Workload(phase="decode", context_len=9)))
    assert step.forward_flop - step.min_flop == 2 * (2 * 6 * 8)


def test_a_cache_that_is_wrongly_trimmed_is_noticed() -> None:
    """The twin of the random configurations: GPT-Neo as if its cache dropped what has left the window."""
    model, module = model_from_config(LOCAL, "local"), meta.meta_language_model(LOCAL)
    agree(model, module, Workload(phase="decode", context_len=9))
    assert isinstance(model, Decoder)
    block = model.blocks[0]
    trimmed = dataclasses.replace(block.parts[0][1], trims_cache=True)  # type: ignore[type-var]
    wrong = dataclasses.replace(model, blocks=(dataclasses.replace(block, parts=(("attention", trimmed), block.parts[1])),))
    with pytest.raises(AssertionError):
        agree(wrong, module, Workload(phase="decode", context_len=9))
