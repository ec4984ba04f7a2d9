"""Vision-language models: the language part counts like torch, and what was left out is said."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoConfig, AutoModelForImageTextToText, AutoModelForMultimodalLM

from bench.backend.counting import meta
from bench.backend.known_values import KnownValues
from bench.backend.models import hf_config
from bench.backend.on_meta import on_meta
from estimators.architectures import FAMILIES
from estimators.architectures.builders.vision import HEAD_OUTSIDE
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import count_params
from estimators.errors import NoOpTableError
from estimators.spec import Workload
from tests.support.drawn_decoders import agree
from tests.support.vision_language_models import TEXT, VISION_LANGUAGE, Config


def params_of_the_language_part(module: torch.nn.Module) -> int:
    inside = ("language_model", "model.language_model", "model.text_model", "lm_head")
    parts = [part for name, part in module.named_modules() if name in inside]
    return sum({id(p): p.numel() for part in parts for p in part.parameters()}.values())


def test_no_vision_language_family_is_without_a_test() -> None:
    assert {model_type for model_type, where in FAMILIES.items() if where == "vision.language_part"} == VISION_LANGUAGE.keys()


@pytest.mark.parametrize("model_type", VISION_LANGUAGE)
def test_the_language_part_of_a_vision_language_model_counts_like_torch(model_type: str) -> None:
    config = VISION_LANGUAGE[model_type] | {"model_type": model_type}
    module = on_meta(lambda: AutoModelForImageTextToText.from_config(hf_config(config), attn_implementation="eager", dtype=torch.bfloat16))
    params, whole = params_of_the_language_part(module), meta.params_of(module)
    if model_type == "llama4":
        module = module.language_model  # the forward of the whole asks the part's output for images, in transformers 5.24
    model = model_from_config(config, model_type)
    for workload in (Workload(phase="train", batch=2, seq_len=12), Workload(phase="decode", batch=3, context_len=14)):
        with KnownValues():  # Gemma 4 asks whether the mask that it made hides anything
            agree(model, module, workload, params)
    assert isinstance(model, Decoder)
    assert model.left_out.startswith("the vision encoder")
    assert params < whole


MISTRAL_4: Config = {
    "model_type": "mistral4",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "vocab_size": 70,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "q_lora_rank": 12,
    "kv_lora_rank": 20,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 10,
    "moe_intermediate_size": 14,
    "n_routed_experts": 6,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
    "tie_word_embeddings": False,
}


def test_mistral_4_inside_mistral_3_counts_like_torch() -> None:
    """It has no class of its own that an auto class maps to: Mistral Small 4 and Large 3 are wholes."""
    images = VISION_LANGUAGE["mistral3"]["vision_config"]
    config = {"model_type": "mistral3", "text_config": MISTRAL_4, "vision_config": images, "tie_word_embeddings": False}
    module = on_meta(lambda: AutoModelForImageTextToText.from_config(hf_config(config), attn_implementation="eager", dtype=torch.bfloat16))
    model = model_from_config(config, "mistral-4")
    for workload in (Workload(phase="train", batch=2, seq_len=12), Workload(phase="decode", batch=3, context_len=14)):
        agree(model, module, workload, params_of_the_language_part(module))


def test_the_default_of_mistral_4_is_mistral_small_4_of_119_billion_parameters() -> None:
    """36 layers of 129 experts of 2,048 beside attention of ranks 1,024 and 256; 119B is the publisher's count (from memory, unchecked)."""
    attention = 4096 * 1024 + 1024 * 32 * 128 + 4096 * (256 + 64) + 256 * 32 * (64 + 128) + 32 * 128 * 4096 + 1024 + 256
    layer = attention + 129 * 3 * 4096 * 2048 + 4096 * 128 + 2 * 4096
    params = count_params(model_from_config({"model_type": "mistral4"}, "m").ops(Workload()))
    assert params == 36 * layer + 2 * 131072 * 4096 + 4096
    assert round(params / 1e9) == 119


FOUR_HEADS = {"num_attention_heads": 4, "num_key_value_heads": 4}
NESTED: dict[str, Config] = {
    "blip-2": {"text_config": TEXT | {"model_type": "opt", "ffn_dim": 48, "word_embed_proj_dim": 32}},
    "deepseek_vl": {"text_config": TEXT | {"model_type": "llama"}},
    "got_ocr2": {"text_config": TEXT | {"model_type": "qwen2"}, "tie_word_embeddings": False},
    "kimi_k25": {"text_config": {"model_type": "deepseek_v3", "num_hidden_layers": 2, "hidden_size": 64, **FOUR_HEADS, "vocab_size": 50}},
    "paligemma": {"text_config": TEXT | {"model_type": "gemma"}},
    "qwen2_5_omni_thinker": {"text_config": TEXT | {"model_type": "qwen2_5_omni_text", "tie_word_embeddings": True}},
    "qwen3_omni_moe_thinker": {"text_config": TEXT | {"model_type": "qwen3_omni_moe_text", "head_dim": 8, "num_experts": 16, **FOUR_HEADS}},
    "qwen2_audio": {"text_config": TEXT | {"model_type": "qwen2", "tie_word_embeddings": True}},
    "video_llava": {"text_config": TEXT | {"model_type": "llama", "tie_word_embeddings": True}},
    "voxtral": {"text_config": TEXT | {"model_type": "llama", "head_dim": 8, "intermediate_size": 48, "tie_word_embeddings": True}},
}
"""Types without an op table whose language part has one: with a head of its own, and with one beside it that the outer word ties."""


@pytest.mark.parametrize("model_type", NESTED)
def test_a_language_part_in_a_type_without_an_op_table_has_torchs_parameters(model_type: str) -> None:
    config = NESTED[model_type] | {"model_type": model_type}
    with torch.device("meta"):
        module = AutoModelForMultimodalLM.from_config(hf_config(config), attn_implementation="eager")
    model = model_from_config(config, model_type)
    assert count_params(model.ops(Workload())) == params_of_the_language_part(module) < meta.params_of(module)


WRAPPERS = sorted(
    {
        *(HEAD_OUTSIDE.keys() - {"cosmos3_omni", "qwen2_5_omni", "qwen2_5_omni_thinker", "qwen3_omni_moe"}),
        *("blip-2", "instructblip", "instructblipvideo", "llama4", "qwen3_vl_moe", "shieldgemma2", "vibevoice"),
    }
)
"""Types whose language part runs a class with an op table."""


@pytest.mark.slow
@pytest.mark.parametrize("model_type", WRAPPERS)
def test_the_default_of_every_wrapper_has_the_parameters_of_torchs_language_part(model_type: str) -> None:
    config = AutoConfig.for_model(model_type)
    try:
        module = on_meta(lambda: AutoModelForMultimodalLM.from_config(config, attn_implementation="eager"))
    except ImportError:
        pytest.skip("its vision tower is timm's")
    except ValueError:  # a class that no auto class maps to
        named = type(config).__name__.removesuffix("Config") + "ForConditionalGeneration"
        module = on_meta(lambda: getattr(transformers, named)._from_config(config, attn_implementation="eager"))
    model = model_from_config(json.loads(config.to_json_string()), model_type)
    assert count_params(model.ops(Workload())) == params_of_the_language_part(module) < meta.params_of(module)


@pytest.mark.parametrize("model_type", HEAD_OUTSIDE)
def test_a_head_beside_the_language_part_is_tied_by_default_as_transformers_class_says(model_type: str) -> None:
    assert HEAD_OUTSIDE[model_type] == bool(getattr(AutoConfig.for_model(model_type), "tie_word_embeddings", False))


QWEN: Config = TEXT | {"model_type": "qwen2", "intermediate_size": 48}
IMAGES_LEFT_OUT = "the vision encoder (vision_config) and the projection of its features: only the language part is counted"
WRAPPED: dict[str, tuple[Config, str]] = {
    "internvl_chat": ({"llm_config": QWEN, "vision_config": {}, "architectures": ["InternVLChatModel"]}, IMAGES_LEFT_OUT),
    "deepseek_vl_v2": ({"language_config": QWEN, "vision_config": {}, "projector_config": {}}, IMAGES_LEFT_OUT),
    "kimi_vl": ({"text_config": QWEN, "vision_config": {}, "quantization_config": {}}, IMAGES_LEFT_OUT),
    "qwen2_5_omni": (
        {"thinker_config": {"text_config": QWEN, "audio_config": {}}, "talker_config": {}},
        "talker_config, the audio encoder (audio_config), what joins them: only the language part is counted",
    ),
    "somebodys_own": ({"text_config": QWEN}, "what joins them: only the language part is counted"),
}
"""A type -> its configuration, and how what is left out is said."""


@pytest.mark.parametrize("model_type", WRAPPED)
def test_a_type_that_nobody_knows_is_its_language_part(model_type: str) -> None:
    config, said = WRAPPED[model_type]
    model = model_from_config(config | {"model_type": model_type}, model_type)
    assert isinstance(model, Decoder)
    workload = Workload(phase="train", seq_len=8)
    assert model.ops(workload) == model_from_config(QWEN, "inner").ops(workload)
    assert model.left_out == said


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"text_config": {"model_type": "bert"}}, "no decoder's"),
        (
            {"text_config": QWEN, "architectures": ["InternVLForTokenClassification"]},
            "architectures names 'InternVLForTokenClassification'",
        ),
        ({"text_config": {"model_type": "recurrent_gemma"}}, "has no op table"),
        ({"text_config": {}}, "has no op table"),
    ],
)
def test_what_is_no_decoder_with_a_head_has_no_op_table(config: Config, said: str) -> None:
    with pytest.raises(NoOpTableError, match=said):
        model_from_config(config | {"model_type": "somebodys_own"}, "nested")


def test_gemma_3n_is_its_language_part_whose_head_the_whole_ties() -> None:
    text = TEXT | {"model_type": "gemma3n_text", "num_kv_shared_layers": 0}
    parts: Config = {"audio_config": {"model_type": "gemma3n_audio"}, "vision_config": {"model_type": "gemma3n_vision"}}
    model = model_from_config({"model_type": "gemma3n", "text_config": text, **parts}, "whole")
    assert isinstance(model, Decoder)
    assert model.ops(Workload()) == model_from_config(text, "part").ops(Workload())
    assert "audio encoder" in model.left_out
    own_head = model_from_config({"model_type": "gemma3n", "text_config": text, "tie_word_embeddings": False}, "whole")
    head = text["vocab_size"] * text["hidden_size"]
    assert count_params(own_head.ops(Workload())) == count_params(model.ops(Workload())) + head


def test_nothing_is_left_out_of_a_model_of_text() -> None:
    model = model_from_config({"model_type": "gemma3_text"}, "text")
    assert isinstance(model, Decoder)
    assert model.left_out == ""


MISTRAL_SMALL: Config = {"hidden_size": 5120, "intermediate_size": 32768, "num_hidden_layers": 40, "num_attention_heads": 32}
MISTRAL_SMALL |= {"num_key_value_heads": 8, "head_dim": 128, "vocab_size": 131072, "model_type": "mistral"}


def params_of_a_part(**config: Any) -> int:
    return count_params(model_from_config({"vision_config": {}, **config}, "whole").ops(Workload()))


def test_mistral_small_3_1_has_a_head_of_its_own_though_its_file_says_nothing() -> None:
    """40 layers of 2·D·128·(32 + 8) + 3·D·32768 weights and two norms, a last norm, and twice 131,072·D: 23,572,403,200."""
    layer = 2 * 5120 * 128 * (32 + 8) + 3 * 5120 * 32768 + 2 * 5120
    assert 40 * layer + 5120 + 2 * 131072 * 5120 == 23_572_403_200
    assert params_of_a_part(model_type="mistral3", text_config=MISTRAL_SMALL) == 23_572_403_200


@pytest.mark.parametrize(("model_type", "text_type"), [("mistral3", "ministral3"), ("internvl", "qwen2"), ("janus", "llama")])
def test_a_language_part_that_says_no_has_a_head_of_its_own_where_the_whole_says_nothing(model_type: str, text_type: str) -> None:
    text = TEXT | {"model_type": text_type, "intermediate_size": 48}
    head = text["vocab_size"] * text["hidden_size"]
    tied = params_of_a_part(model_type=model_type, text_config=text)
    assert params_of_a_part(model_type=model_type, text_config=text | {"tie_word_embeddings": False}) == tied + head
    assert params_of_a_part(model_type=model_type, text_config=text | {"tie_word_embeddings": False}, tie_word_embeddings=True) == tied
