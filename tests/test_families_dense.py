"""Families of dense decoders: random valid configurations and steps against torch on the meta device, `==`.

What transformers builds from a configuration and torch counts of one step is the truth; the op table is built of the
configuration alone.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from bench.backend import count
from estimators.architectures import FAMILIES
from estimators.architectures.decoder import Decoder
from estimators.estimate import estimate
from estimators.hf_config import model_from_config
from estimators.rules import rules
from estimators.spec import Case, Model, Workload

Config = dict[str, Any]
flags, windows = st.booleans(), st.integers(2, 24)


@st.composite
def shapes(
    draw: st.DrawFn,
    *,
    width: str = "hidden_size",
    layers: str = "num_hidden_layers",
    heads: str = "num_attention_heads",
    kv_heads: str = "num_key_value_heads",
    head_width: str = "",
    multiple: int = 1,
) -> Config:
    """Widths, heads and layers that fit together; a head of its own width where the family has a field for it."""
    groups = draw(st.integers(1, 3))
    n = groups * draw(st.integers(1, 3)) * multiple
    h = draw(st.sampled_from([8, 16, 32]))
    own = bool(head_width) and draw(flags)
    return {
        width: n * (draw(st.sampled_from([4, 12, 20])) if own else h),
        heads: n,
        layers: draw(st.integers(1, 3)),
        **({kv_heads: groups * multiple} if kv_heads else {}),
        **({head_width: h} if own else {}),
    }


def family(shape: st.SearchStrategy[Config], always: Config | None = None, **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[Config]:
    """Configurations of a shape, with fields that are always there and fields that may be left to their defaults."""
    sizes = {"vocab_size": st.integers(20, 200), "tie_word_embeddings": flags}
    return st.tuples(shape, st.fixed_dictionaries({}, optional=sizes | optional)).map(lambda drawn: drawn[0] | (always or {}) | drawn[1])


@st.composite
def layered(draw: st.DrawFn, configs: st.SearchStrategy[Config], key: str, kinds: list[Any], layers: str = "num_hidden_layers") -> Config:
    """The same with a list that says of each layer what it is, or without it."""
    config = draw(configs)
    of_each = st.lists(st.sampled_from(kinds), min_size=config[layers], max_size=config[layers])
    return config | draw(st.fixed_dictionaries({}, optional={key: of_each}))


GPT = {"width": "n_embd", "layers": "n_layer", "heads": "n_head", "kv_heads": ""}
ffn, inner, positions = {"intermediate_size": st.integers(8, 64)}, {"n_inner": st.integers(8, 64)}, {"n_positions": st.integers(64, 99)}
two_biases = {"attention_bias": flags, "mlp_bias": flags}
own_heads = partial(shapes, head_width="head_dim")
sliding = partial(layered, key="layer_types", kinds=["full_attention", "sliding_attention"])
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


@st.composite
def steps(draw: st.DrawFn) -> Workload:
    phase, batch, length = draw(st.sampled_from(["train", "prefill", "decode"])), draw(st.integers(1, 3)), draw(st.integers(1, 40))
    if phase == "decode":
        return Workload(phase="decode", batch=batch, context_len=length)
    return Workload(phase=phase, batch=batch, seq_len=length)


def agree(model: Model, module: nn.Module, workload: Workload, params: int | None = None) -> None:
    """Parameters, forward and backward FLOP of the op table are torch's; every rule's parts add up to its difference."""
    expected, counted = estimate(Case(model=model, workload=workload)), count.torch_count(module, workload)
    assert expected.params == (counted.params if params is None else params)
    assert expected.forward_flop == counted.forward_flop
    assert expected.backward_flop == (counted.backward_flop or 0)
    for rule in rules(model, workload):
        assert rule.unexplained_flop == 0, (rule.name, rule.difference)


def check_random_configurations(model_type: str, examples: int) -> None:
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(DENSE[model_type], steps())
    def check(fields: Config, workload: Workload) -> None:
        config = fields | {"model_type": model_type}
        agree(model_from_config(config, model_type), count.meta_language_model(config), workload)

    check()


@pytest.mark.parametrize("model_type", DENSE)
def test_random_configurations_of_every_dense_family_count_like_torch(model_type: str) -> None:
    check_random_configurations(model_type, 8)


@pytest.mark.slow
@pytest.mark.parametrize("model_type", DENSE)
def test_many_random_configurations_of_every_dense_family_count_like_torch(model_type: str) -> None:
    check_random_configurations(model_type, 60)


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
    assert estimated.params == count.params_of(count.meta_language_model(config))


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
    assert estimated.params == count.params_of(count.meta_language_model(config))


LOCAL: Config = {"model_type": "gpt_neo", "hidden_size": 8, "num_heads": 1, "num_layers": 1}
LOCAL |= {"window_size": 4, "attention_types": [[["local"], 1]]}


def test_gpt_neo_multiplies_what_its_window_hides_and_a_kernel_may_skip_it() -> None:
    """One local layer, one head of 8, window 4, 9 tokens cached: two products of 2·10·8 FLOP, of whose 10 keys 6 are masked."""
    step = estimate(Case(model=model_from_config(LOCAL, "local"), workload=Workload(phase="decode", context_len=9)))
    assert step.forward_flop - step.min_flop == 2 * (2 * 6 * 8)


def test_a_cache_that_is_wrongly_trimmed_is_noticed() -> None:
    """The twin of the random configurations: GPT-Neo as if its cache dropped what has left the window."""
    model, module = model_from_config(LOCAL, "local"), count.meta_language_model(LOCAL)
    agree(model, module, Workload(phase="decode", context_len=9))
    assert isinstance(model, Decoder)
    block = model.blocks[0]
    trimmed = dataclasses.replace(block.parts[0][1], trims_cache=True)  # type: ignore[type-var]
    wrong = dataclasses.replace(model, blocks=(dataclasses.replace(block, parts=(("attention", trimmed), block.parts[1])),))
    with pytest.raises(AssertionError):
        agree(wrong, module, Workload(phase="decode", context_len=9))
