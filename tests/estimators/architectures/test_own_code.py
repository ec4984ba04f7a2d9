"""Types whose code comes with the repository they are published in: op tables by hand, held to a class with the same shapes.

No class of transformers is of these types, so the truth is one whose layers have the same matrices, its fields mapped by hand; or, where
none has, its parameters and those that differ, by hand in the docstring.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest
import torch

from bench.backend.counting import meta
from bench.backend.on_meta import on_meta
from estimators.architectures import OWN_CODE
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import count_active_params, count_params, estimate
from estimators.errors import BadConfigError, NoOpTableError
from estimators.spec import Case, Phase, Workload
from tests.support.drawn_decoders import agree

Config = dict[str, Any]

D, F, L, N, K, V = 48, 80, 3, 6, 2, 70
SIZES: Config = {"hidden_size": D, "intermediate_size": F, "num_hidden_layers": L, "num_attention_heads": N, "vocab_size": V}
SIZES |= {"max_position_embeddings": 64, "tie_word_embeddings": False, "hidden_act": "silu"}
GROUPED = SIZES | {"num_key_value_heads": K}
AS_GPT: Config = {"n_layer": L, "n_head": N, "vocab_size": V}
AS_MOSAIC: Config = {"d_model": D, "n_layers": L, "n_heads": N, "vocab_size": V - 6, "embedding_size": V, "weight_tying": True}
CHATGLM: Config = {"hidden_size": D, "ffn_hidden_size": F, "num_layers": L, "num_attention_heads": N, "padded_vocab_size": V}
CHATGLM |= {"add_qkv_bias": True, "add_bias_linear": False, "kv_channels": 8, "multi_query_attention": True, "multi_query_group_num": K}
CHATGLM |= {"rmsnorm": True, "post_layer_norm": True, "architectures": ["ChatGLMModel"]}
ROUTED: Config = {"num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 16}
LING = GROUPED | ROUTED | {"num_shared_experts": 2, "first_k_dense_replace": 1, "head_dim": 10, "norm_head": True}
GLM_MOE = GROUPED | {"n_routed_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 16, "n_shared_experts": 2}
GLM_MOE |= {"first_k_dense_replace": 1, "attention_bias": False, "n_group": 1, "topk_group": 1, "num_nextn_predict_layers": 0}
PLAIN_V2 = GLM_MOE | {"num_key_value_heads": N, "kv_lora_rank": None, "qk_nope_head_dim": 0, "qk_rope_head_dim": 0, "v_head_dim": 0}

SAME: dict[str, tuple[Config, Config]] = {
    "Yi": (GROUPED | {"model_type": "Yi"}, GROUPED | {"model_type": "llama"}),
    "skywork": (SIZES | {"model_type": "skywork"}, SIZES | {"model_type": "llama"}),
    "aquila": (SIZES | {"model_type": "aquila", "architectures": ["AquilaModel"]}, SIZES | {"model_type": "llama"}),
    "internlm": (SIZES | {"model_type": "internlm", "bias": True}, SIZES | {"model_type": "llama", "attention_bias": True}),
    "internlm2": (GROUPED | {"model_type": "internlm2", "bias": False}, GROUPED | {"model_type": "llama"}),
    "PanguEmbedded": (GROUPED | {"model_type": "PanguEmbedded", "bias": True}, GROUPED | {"model_type": "llama", "attention_bias": True}),
    "baichuan": (SIZES | {"model_type": "baichuan"}, SIZES | {"model_type": "llama"}),
    "qwen": (
        SIZES | {"model_type": "qwen", "intermediate_size": 2 * F, "no_bias": True, "kv_channels": 8, "architectures": ["QWenLMHeadModel"]},
        SIZES | {"model_type": "qwen2", "num_key_value_heads": N},
    ),
    "chatglm": (
        CHATGLM | {"model_type": "chatglm"},
        GROUPED | {"model_type": "glm", "attention_bias": True, "head_dim": 8, "pad_token_id": 0},
    ),
    "orion": (GROUPED | {"model_type": "orion"}, GROUPED | {"model_type": "stablelm", "use_qkv_bias": False}),
    "hunyuan": (
        GROUPED | {"model_type": "hunyuan", "attention_head_dim": 8, "use_qk_norm": True, "num_experts": 1, "use_cla": False},
        GROUPED | {"model_type": "hunyuan_v1_dense", "head_dim": 8},
    ),
    "solar": (GROUPED | {"model_type": "solar", "sliding_window": 5}, GROUPED | {"model_type": "mistral", "sliding_window": 5}),
    "minicpm": (
        {key: value for key, value in (GROUPED | {"model_type": "minicpm"}).items() if key != "tie_word_embeddings"},
        GROUPED | {"model_type": "llama", "tie_word_embeddings": True},
    ),
    "minicpm with experts": (
        SIZES | {"model_type": "minicpm", "num_experts": 4, "num_experts_per_tok": 2},
        SIZES | {"model_type": "mixtral", "num_key_value_heads": N, "num_local_experts": 4, "num_experts_per_tok": 2},
    ),
    "minicpmv": (GROUPED | {"model_type": "minicpmv", "version": 2.6, "architectures": ["MiniCPMV"]}, GROUPED | {"model_type": "qwen2"}),
    "minicpmo": (GROUPED | {"model_type": "minicpmo", "version": "2.6", "architectures": ["MiniCPMO"]}, GROUPED | {"model_type": "qwen2"}),
    "RefinedWebModel": (
        AS_GPT | {"model_type": "RefinedWebModel", "hidden_size": D, "multi_query": True, "parallel_attn": True, "bias": False},
        SIZES | {"model_type": "falcon", "multi_query": True, "tie_word_embeddings": True},
    ),
    "RefinedWeb": (
        AS_GPT | {"model_type": "RefinedWeb", "hidden_size": D, "n_head_kv": K, "parallel_attn": True, "bias": False},
        SIZES | {"model_type": "falcon", "new_decoder_architecture": True, "num_kv_heads": K, "tie_word_embeddings": True},
    ),
    "stablelm_epoch": (
        GROUPED | {"model_type": "stablelm_epoch", "use_qkv_bias": True, "rope_pct": 0.25},
        GROUPED | {"model_type": "stablelm", "use_qkv_bias": True},
    ),
    "phi-msft": (
        AS_GPT | {"model_type": "phi-msft", "n_embd": D, "n_inner": None, "n_positions": 64, "architectures": ["PhiForCausalLM"]},
        SIZES | {"model_type": "phi", "intermediate_size": 4 * D},
    ),
    "mixformer-sequential": (
        AS_GPT | {"model_type": "mixformer-sequential", "n_embd": D, "n_inner": F, "architecture": {"block_cls": "parallel"}},
        SIZES | {"model_type": "phi"},
    ),
    "hf_olmo": (
        AS_MOSAIC | {"model_type": "hf_olmo", "mlp_ratio": 8, "architectures": ["OLMoForCausalLM"], "n_kv_heads": None},
        SIZES | {"model_type": "olmo", "intermediate_size": 4 * D, "tie_word_embeddings": True},
    ),
    "sdar": (GROUPED | {"model_type": "sdar", "head_dim": 8, "block_size": 4}, GROUPED | {"model_type": "qwen3", "head_dim": 8}),
    "Dream": (GROUPED | {"model_type": "Dream", "architectures": ["DreamModel"]}, GROUPED | {"model_type": "qwen2"}),
    "llada": (
        AS_MOSAIC
        | {"model_type": "llada", "mlp_hidden_size": F, "mlp_ratio": 4, "n_kv_heads": K, "weight_tying": False, "rope": True}
        | {"block_type": "llama", "layer_norm_type": "rms", "architectures": ["LLaDAModelLM"]},
        GROUPED | {"model_type": "llama"},
    ),
    "phi3_v": (GROUPED | {"model_type": "phi3_v", "img_processor": {"name": "clip"}}, GROUPED | {"model_type": "phi3", "pad_token_id": 0}),
    "phi4mm": (GROUPED | {"model_type": "phi4mm", "vision_lora": {"r": 4}}, GROUPED | {"model_type": "phi3", "pad_token_id": 0}),
    "dots_ocr": (GROUPED | {"model_type": "dots_ocr", "vision_config": {"hidden_size": 9}}, GROUPED | {"model_type": "qwen2"}),
    "Keye": (GROUPED | {"model_type": "Keye", "head_dim": 8}, GROUPED | {"model_type": "qwen3", "head_dim": 8}),
    "llava_llama": (GROUPED | {"model_type": "llava_llama", "mm_vision_tower": "clip"}, GROUPED | {"model_type": "llama"}),
    "llava as its authors have it": (
        GROUPED | {"model_type": "llava", "architectures": ["LlavaMistralForCausalLM"], "mm_vision_tower": "clip", "sliding_window": None},
        GROUPED | {"model_type": "mistral", "sliding_window": None},
    ),
    "llava_mistral": (
        GROUPED | {"model_type": "llava_mistral", "mm_vision_tower": "clip", "sliding_window": None},
        GROUPED | {"model_type": "mistral", "sliding_window": None},
    ),
    "llava_qwen": (GROUPED | {"model_type": "llava_qwen", "mm_vision_tower": "siglip"}, GROUPED | {"model_type": "qwen2"}),
    "bailing_moe": (LING | {"model_type": "bailing_moe"}, GLM_MOE | {"model_type": "glm4_moe", "head_dim": 10}),
    "bailing_moe of its second generation": (
        LING
        | {"model_type": "bailing_moe", "architectures": ["BailingMoeV2ForCausalLM"], "use_qk_norm": True, "n_group": 2, "topk_group": 1},
        GLM_MOE | {"model_type": "glm4_moe", "head_dim": 10, "use_qk_norm": True},
    ),
    "bailing_moe_v2": (LING | {"model_type": "bailing_moe_v2"}, GLM_MOE | {"model_type": "glm4_moe", "head_dim": 10, "use_qk_norm": True}),
    "llada2_moe": (
        LING | {"model_type": "llada2_moe", "architectures": ["LLaDA2MoeModelLM"]},
        GLM_MOE | {"model_type": "glm4_moe", "head_dim": 10, "use_qk_norm": True},
    ),
    "deepseek": (GLM_MOE | {"model_type": "deepseek", "moe_layer_freq": 1}, GLM_MOE | {"model_type": "glm4_moe"}),
    "deepseek_v2 without latents": (
        PLAIN_V2 | {"model_type": "deepseek_v2", "q_lora_rank": None, "use_mla": False},
        GLM_MOE | {"model_type": "glm4_moe", "num_key_value_heads": N},
    ),
    "xverse": (SIZES | {"model_type": "xverse", "max_tokenizer_truncation": 40}, SIZES | {"model_type": "llama"}),
    "xverse with experts": (
        SIZES | {"model_type": "xverse", "num_experts": 8, "moe_top_k": 3, "num_shared_experts": 2, "intermediate_size": 16},
        GLM_MOE | {"model_type": "glm4_moe", "num_key_value_heads": N, "first_k_dense_replace": 0},
    ),
}
"""A configuration of somebody's own code -> one of transformers with the same matrices."""

BY_HAND = {"arctic", "deci", "grok-1", "nemotron-nas", "new", "openelm", "telechat"}


@pytest.mark.parametrize("name", SAME)
def test_a_type_of_its_authors_own_code_has_the_parameters_of_the_class_with_the_same_matrices(name: str) -> None:
    config, same = SAME[name]
    assert _params(config) == _of_class(same)


STEPS: dict[str, Phase] = {
    "orion": "train",
    "baichuan": "decode",
    "llada": "train",
    "bailing_moe_v2": "train",
    "deepseek_v2 without latents": "decode",
}


@pytest.mark.parametrize("name", [*STEPS, *(pytest.param(each, marks=pytest.mark.slow) for each in sorted(SAME.keys() - STEPS))])
def test_its_steps_cost_what_that_class_costs(name: str) -> None:
    config, same = SAME[name]
    model, module = model_from_config(config, "mine"), meta.meta_language_model({"pad_token_id": 0} | same)
    for phase in (STEPS[name],) if name in STEPS else ("train", "prefill", "decode"):
        step = Workload(phase="decode", batch=2, context_len=11) if phase == "decode" else Workload(phase=phase, batch=2, seq_len=9)
        agree(model, module, step)


def test_every_type_of_such_code_is_tested() -> None:
    assert {config["model_type"] for config, _ in SAME.values()} - {"deepseek_v2", "llava"} | BY_HAND == OWN_CODE.keys()


def _params(config: Config) -> int:
    return count_params(model_from_config(config, "mine").ops(Workload()))


def _of_class(config: Config) -> int:
    return _of_fields(json.dumps({"pad_token_id": 0} | config))


@functools.cache
def _of_fields(config: str) -> int:
    return meta.params_of(meta.meta_language_model(json.loads(config)))


def _layer(config: Config) -> int:
    """Parameters of one layer of a class of transformers."""
    one, two = (_of_class(config | {"num_hidden_layers": layers}) for layers in (1, 2))
    return two - one


def test_telechat_has_a_bias_on_the_last_matrices_alone() -> None:
    """Llama's parameters, and two biases of D in each layer."""
    config: Config = {"hidden_size": D, "ffn_hidden_size": F, "n_layer": L, "n_head": N, "vocab_size": V, "num_key_value_heads": K}
    assert (
        _params(config | {"model_type": "telechat"})
        == _of_class(GROUPED | {"model_type": "llama", "tie_word_embeddings": True}) + L * 2 * D
    )


def test_grok_1_has_norms_behind_attention_and_experts_too() -> None:
    """Mixtral's parameters, and two gains of D more in each layer."""
    routed = GROUPED | {"num_experts_per_tok": 2, "tie_word_embeddings": True}
    mixtral = _of_class(routed | {"model_type": "mixtral", "num_local_experts": 4})
    assert _params(routed | {"model_type": "grok-1", "num_experts": 4}) == mixtral + L * 2 * D


def test_grok_1_as_published_by_hand() -> None:
    """64 layers of 6144·(2·6144 + 2·1024) of attention, 8·3·6144·32768 of experts, a router and four gains; a table of tokens, a gain.

    xAI says 314B, and a quarter of it for a token: the layers alone are 314.9 B.
    """
    config: Config = {
        "model_type": "grok-1",
        "hidden_size": 6144,
        "intermediate_size": 32768,
        "num_hidden_layers": 64,
        "vocab_size": 131072,
    }
    config |= {"num_attention_heads": 48, "num_key_value_heads": 8, "num_experts": 8, "num_experts_per_tok": 2}
    layer = 6144 * (2 * 6144 + 2 * 1024) + 8 * 3 * 6144 * 32768 + 8 * 6144 + 4 * 6144
    ops = model_from_config(config, "mine").ops(Workload())
    assert count_params(ops) == 64 * layer + 131072 * 6144 + 6144 == 315_684_820_992
    assert count_active_params(ops) == count_params(ops) - 64 * 6 * 3 * 6144 * 32768


@pytest.mark.parametrize("every", [1, 2])
def test_arctic_has_a_dense_feed_forward_beside_its_experts(every: int) -> None:
    """Mixtral's layers, with 3·D² and a gain of D more where experts are; Llama's where none are."""
    config = GROUPED | {"model_type": "arctic", "num_local_experts": 4, "num_experts_per_tok": 2, "moe_layer_frequency": every}
    config |= {"parallel_attn_mlp_res": True, "use_residual": True}
    routed = _layer(GROUPED | {"model_type": "mixtral", "num_local_experts": 4}) + 3 * D * D + D
    dense, sparse = _layer(GROUPED | {"model_type": "llama"}), L // every
    assert _params(config) == 2 * V * D + D + sparse * routed + (L - sparse) * dense


def test_openelms_layers_grow() -> None:
    """Qwen3's layers, whose norms on queries and keys are the same: heads 3 and 6, feed-forwards 0.6·D and 2·D, to the next 16."""
    config: Config = {
        "model_type": "openelm",
        "model_dim": D,
        "num_transformer_layers": 2,
        "vocab_size": V,
        "head_dim": 8,
        "ffn_dim_divisor": 16,
    }
    config |= {"num_query_heads": [3, 6], "num_kv_heads": [1, 2], "ffn_multipliers": [0.6, 2.0], "share_input_output_layers": True}
    layer = SIZES | {"model_type": "qwen3", "head_dim": 8}
    first = layer | {"num_attention_heads": 3, "num_key_value_heads": 1, "intermediate_size": 32}
    second = layer | {"num_attention_heads": 6, "num_key_value_heads": 2, "intermediate_size": 96}
    assert _params(config) == V * D + D + _layer(first) + _layer(second)


OPENELM_270M: Config = {"model_type": "openelm", "model_dim": 1280, "num_transformer_layers": 16, "vocab_size": 32000, "head_dim": 64}
OPENELM_270M |= {"num_query_heads": [12] * 5 + [16] * 7 + [20] * 4, "num_kv_heads": [3] * 5 + [4] * 7 + [5] * 4}
OPENELM_270M |= {"ffn_multipliers": [0.5, 0.73, 0.97, 1.2, 1.43, 1.67, 1.9, 2.13, 2.37, 2.6, 2.83, 3.07, 3.3, 3.53, 3.77, 4.0]}
OPENELM_270M |= {"ffn_dim_divisor": 256, "share_input_output_layers": True}


def test_deci_has_key_heads_of_each_layers_own() -> None:
    layer = SIZES | {"model_type": "llama"}
    config = SIZES | {"model_type": "deci", "num_key_value_heads_per_layer": [1, 3, 6], "num_key_value_heads": 6}
    assert _params(config) == 2 * V * D + D + sum(_layer(layer | {"num_key_value_heads": heads}) for heads in (1, 3, 6))


NAS: Config = {key: value for key, value in SIZES.items() if key != "intermediate_size"} | {
    "model_type": "nemotron-nas",
    "intermediate_size": None,
}
OFF = {"no_op": True, "n_heads_in_group": None, "ffn_mult": None}


def test_what_a_search_left_of_llama() -> None:
    """Of three layers one has attention alone, one a feed-forward of 2·8·48 / 3 = 256, one both; each with the norm before it."""
    whole = [{"attention": {"no_op": False, "n_heads_in_group": 3}, "ffn": {"no_op": False, "ffn_mult": 8.0}}]
    parts = [{"attention": whole[0]["attention"], "ffn": OFF}, {"attention": OFF, "ffn": whole[0]["ffn"]}]
    both = _layer(GROUPED | {"model_type": "llama", "intermediate_size": 256})
    config = NAS | {"block_configs": [*whole, *parts], "architectures": ["DeciLMForCausalLM"]}
    assert _params(config) == 2 * V * D + D + 2 * both
    model = model_from_config(config, "mine")
    assert isinstance(model, Decoder)
    assert sum(op.flop for op in model.ops(Workload(phase="decode", context_len=7)) if op.role == "scores") == 2 * 2 * D * 8


def test_gtes_encoder_is_transformers_gte() -> None:
    import transformers

    sizes = SIZES | {"type_vocab_size": 2, "hidden_act": "gelu"}
    config = sizes | {"model_type": "new", "pack_qkv": True, "layer_norm_type": "layer_norm", "position_embedding_type": "rope"}
    known = transformers.AutoConfig.for_model("gte", **sizes, pad_token_id=0)
    module = on_meta(lambda: transformers.GteModel._from_config(known, attn_implementation="eager"))
    unpooled = sum(p.numel() for name, p in module.named_parameters() if "pooler" not in name)
    assert _params(config | {"architectures": ["NewModel"]}) == unpooled
    with meta.flop_counter() as counter, torch.no_grad():
        module(input_ids=torch.zeros(2, 9, dtype=torch.long, device="meta"))
    pooled = 2 * 2 * D * D if unpooled < meta.params_of(module) else 0
    step = Workload(phase="forward", batch=2, seq_len=9)
    found = estimate(Case(model=model_from_config(config, "mine"), workload=step))
    assert found.forward_flop == counter.get_total_flops() - pooled


@pytest.mark.parametrize(
    ("config", "params"),
    [
        (OPENELM_270M, 271_527_168),
        (
            SAME["internlm2"][0]
            | {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32}
            | {"num_key_value_heads": 8, "vocab_size": 92544},
            7_737_708_544,
        ),
        (
            SAME["qwen"][0]
            | {"hidden_size": 4096, "intermediate_size": 22016, "num_hidden_layers": 32, "num_attention_heads": 32}
            | {"kv_channels": 128, "vocab_size": 151936},
            7_721_324_544,
        ),
        (
            SAME["chatglm"][0]
            | {"hidden_size": 4096, "ffn_hidden_size": 13696, "num_layers": 28, "num_attention_heads": 32}
            | {"kv_channels": 128, "padded_vocab_size": 65024},
            6_243_584_000,
        ),
        (
            SAME["orion"][0]
            | {"hidden_size": 5120, "intermediate_size": 15360, "num_hidden_layers": 40, "num_attention_heads": 40}
            | {"num_key_value_heads": 40, "vocab_size": 84608},
            14_498_703_360,
        ),
        (
            SAME["hf_olmo"][0] | {"d_model": 2048, "n_layers": 16, "n_heads": 16, "vocab_size": 50280, "embedding_size": 50304},
            1_176_764_416,
        ),
        (
            SIZES
            | {"model_type": "new", "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
            | {"vocab_size": 250048, "type_vocab_size": 1, "architectures": ["NewForTokenClassification"], "num_labels": 1},
            305_369_089,
        ),
    ],
    ids=["OpenELM 270M", "InternLM2 7B", "Qwen 7B", "ChatGLM3 6B", "Orion 14B", "OLMo 1B", "GTE multilingual base"],
)
def test_parameters_are_those_of_the_published_files(config: Config, params: int) -> None:
    """Elements of their safetensors, from memory, unchecked."""
    assert _params(config) == params


def test_ling_mini_as_published_but_for_what_steers_its_choice() -> None:
    """16,255,643,392 elements in its files (from memory, unchecked), 256 of which steer the choice in each of 19 layers: a buffer."""
    config = LING | {"model_type": "bailing_moe_v2", "hidden_size": 2048, "intermediate_size": 5120, "num_hidden_layers": 20}
    config |= {"num_attention_heads": 16, "num_key_value_heads": 4, "head_dim": 128, "num_experts": 256, "num_experts_per_tok": 8}
    config |= {"num_shared_experts": 1, "moe_intermediate_size": 512, "vocab_size": 157184, "n_group": 8, "topk_group": 4}
    assert _params(config) == 16_255_643_392 - 19 * 256


def test_an_internvl_of_its_authors_code_has_the_language_part_of_such_code() -> None:
    """InternVL 2 8B, whose text InternLM2 writes; what the part leaves out is said beside what the whole does."""
    inner = SAME["internlm2"][0] | {"rows_of_somebody": 3}
    model = model_from_config({"model_type": "internvl_chat", "llm_config": inner, "vision_config": {"hidden_size": 9}}, "mine")
    assert count_params(model.ops(Workload())) == _of_class(SAME["internlm2"][1])
    assert isinstance(model, Decoder)
    assert model.left_out.startswith("the vision encoder (vision_config) and the projection of its features")
    assert model.left_out.endswith("is not: rows_of_somebody")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({**SAME["internlm2"][0], "num_hidden_layers": None}, r"num_hidden_layers or n_layer or n_layers or num_layers is missing"),
        ({key: value for key, value in SAME["Yi"][0].items() if key != "hidden_size"}, "n_embd or n_embed or d_model is missing"),
        ({**SAME["skywork"][0], "num_experts": [16]}, r"num_experts is '\[16\]'; expected 1, or none: the op table of 'skywork'"),
        (CHATGLM | {"model_type": "chatglm", "position_encoding_2d": True}, "position_encoding_2d is 'True'; expected false"),
        (CHATGLM | {"model_type": "chatglm", "num_layers": -1}, "num_layers is '-1'; expected a whole number from 1"),
        (SAME["hunyuan"][0] | {"use_cla": True}, "use_cla is 'True'; expected false: nothing else is known of this type"),
        (SAME["qwen"][0] | {"kv_channels": 9}, "kv_channels is '9'; expected hidden_size over num_attention_heads, which is 8"),
        (SAME["minicpmv"][0] | {"version": 7}, "version is '7'; expected one of 2, 2.0, 2.5"),
        (SIZES | {"model_type": "new", "pack_qkv": False}, "pack_qkv is 'False'; expected true: nothing else is known of this type"),
        (SIZES | {"model_type": "new", "gates": 3}, "what these fields may change, .* is not: gates; leave out what changes no size"),
        (LING | {"model_type": "bailing_moe", "moe_intermediate_size": None}, "moe_intermediate_size is 'None'; expected"),
        (LING | {"model_type": "bailing_moe_v2", "moe_shared_expert_intermediate_size": 7}, "expected moe_intermediate_size, which is 16"),
        (
            SIZES | {"model_type": "openelm", "num_transformer_layers": 2, "num_query_heads": [3]},
            r"expected a list of 2 whole numbers above 0",
        ),
        (NAS | {"block_configs": [1, 2, 3]}, r"expected a list of 3 objects, one for each layer"),
        (NAS | {"block_configs": [{"attention": OFF, "ffn": OFF}] * 3}, "block_configs is 'no_op in every layer'; expected"),
        (NAS | {"block_configs": [{"attention": OFF, "ffn": {"ffn_mult": "much"}}] * 3}, r"block_configs\[0\].ffn: ffn_mult is 'much'"),
    ],
)
def test_what_is_not_known_of_such_code_is_refused_in_one_line(config: Config, said: str) -> None:
    with pytest.raises(BadConfigError, match=said) as caught:
        model_from_config(config, "mine")
    assert "\n" not in str(caught.value)


def test_a_layer_that_a_search_made_linear_has_no_op_table() -> None:
    off = [{"attention": {"no_op": False, "replace_with_linear": True}, "ffn": OFF}] * 3
    with pytest.raises(NoOpTableError, match="replace_with_linear is true; the op table of a layer has attention and a feed-forward"):
        model_from_config(NAS | {"block_configs": off}, "mine")


def test_fields_that_are_not_read_and_could_be_of_a_size_are_said() -> None:
    """Drop-outs, tokens and constants are not; a field that is off is not."""
    config = SAME["Yi"][0] | {"rows_of_somebody": 3, "wings": False, "attention_dropout": 0.1, "eos_token_id": 2, "rms_norm_eps": 1e-6}
    model = model_from_config(config, "mine")
    assert isinstance(model, Decoder)
    assert model.left_out.endswith("which are not read, as the code that comes with the repository is not: rows_of_somebody")
    assert model_from_config(SAME["Yi"][0], "mine").left_out == ""  # type: ignore[attr-defined]


def test_a_denoiser_sees_all_tokens() -> None:
    for name in ("Dream", "llada"):
        model = model_from_config(SAME[name][0], "mine")
        assert isinstance(model, Decoder)
        assert model.blocks[0].attention is not None
        assert not model.blocks[0].attention.causal
        assert model.left_out.startswith("how often it is run on a text that it denoises")
