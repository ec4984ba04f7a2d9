"""Families of models: a few frozen dataclasses, and the one table that says which model_type is built how.

Builders are named by module and function and imported when they are asked for, so that a lookup costs one family.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from estimators.spec import Model, Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

FAMILIES: dict[str, str] = {
    "albert": "encoders.albert",
    "apertus": "llama_variants.apertus",
    "arcee": "llama_variants.arcee",
    "aya_vision": "vision.language_part",
    "bamba": "state_space.bamba",
    "bart": "encoder_decoders.bart",
    "bert": "encoders.bert",
    "bitnet": "llama_variants.bitnet",
    "bloom": "layer_norm.bloom",
    "clip": "images.clip",
    "codegen": "gpt.codegen",
    "cohere": "layer_norm.cohere",
    "cohere2": "layer_norm.cohere2",
    "convnext": "convolutional.convnext",
    "cwm": "llama_variants.cwm",
    "dbrx": "expert_variants.dbrx",
    "deberta-v2": "recent_encoders.deberta_v2",
    "deepseek_v2": "deepseek.deepseek_v2",
    "deepseek_v3": "deepseek.deepseek_v3",
    "deit": "images.deit",
    "dense_network": "dense.dense_network",
    "dinov2": "images.dinov2",
    "distilbert": "encoders.distilbert",
    "electra": "encoders.electra",
    "ernie4_5": "llama_variants.ernie4_5",
    "ernie4_5_moe": "expert_variants.ernie4_5_moe",
    "exaone": "llama_variants.exaone",
    "exaone4": "llama_variants.exaone4",
    "falcon": "layer_norm.falcon",
    "falcon_h1": "state_space.falcon_h1",
    "gemma": "gemma.gemma",
    "gemma2": "gemma.gemma2",
    "gemma3": "vision.language_part",
    "gemma3_text": "gemma.gemma3_text",
    "glm": "llama.glm",
    "glm4": "llama.glm4",
    "glm4_moe": "expert_variants.glm4_moe",
    "gpt2": "gpt.gpt2",
    "gpt_bigcode": "gpt.gpt_bigcode",
    "gpt_neo": "gpt.gpt_neo",
    "gpt_neox": "gpt.gpt_neox",
    "gpt_oss": "experts.gpt_oss",
    "gptj": "gpt.gptj",
    "granite": "llama.granite",
    "granitemoe": "expert_variants.granitemoe",
    "helium": "llama_variants.helium",
    "hunyuan_v1_dense": "llama_variants.hunyuan_v1_dense",
    "hunyuan_v1_moe": "expert_variants.hunyuan_v1_moe",
    "idefics3": "vision.language_part",
    "internlm3": "llama_variants.internlm3",
    "internvl": "vision.language_part",
    "iquestcoder": "llama_variants.iquestcoder",
    "jamba": "state_space.jamba",
    "llama": "llama.llama",
    "llama4": "vision.language_part",
    "llama4_text": "expert_variants.llama4_text",
    "llava": "vision.language_part",
    "llava_next": "vision.language_part",
    "llava_onevision": "vision.language_part",
    "mamba": "state_space.mamba",
    "mamba2": "state_space.mamba2",
    "marian": "encoder_decoders.marian",
    "mbart": "encoder_decoders.mbart",
    "ministral": "llama.ministral",
    "ministral3": "llama.ministral3",
    "mistral": "llama.mistral",
    "mistral3": "vision.language_part",
    "mixtral": "experts.mixtral",
    "mobilenet_v2": "mobilenet.mobilenet_v2",
    "modernbert": "recent_encoders.modernbert",
    "mpt": "layer_norm.mpt",
    "mt5": "encoder_decoders.mt5",
    "nemotron": "layer_norm.nemotron",
    "olmo": "llama.olmo",
    "olmo2": "llama.olmo2",
    "olmo3": "llama.olmo3",
    "olmoe": "experts.olmoe",
    "opt": "layer_norm.opt",
    "pegasus": "encoder_decoders.pegasus",
    "phi": "gpt.phi",
    "phi3": "llama.phi3",
    "phimoe": "expert_variants.phimoe",
    "qwen2": "llama.qwen2",
    "qwen2_5_omni_text": "llama.qwen2_5_omni_text",
    "qwen2_5_vl": "vision.language_part",
    "qwen2_5_vl_text": "llama.qwen2_vl_text",
    "qwen2_moe": "experts.qwen2_moe",
    "qwen2_vl": "vision.language_part",
    "qwen2_vl_text": "llama.qwen2_vl_text",
    "qwen3": "llama.qwen3",
    "qwen3_moe": "experts.qwen3_moe",
    "qwen3_next": "state_space.qwen3_next",
    "qwen3_vl": "vision.language_part",
    "qwen3_vl_text": "llama.qwen3_vl_text",
    "resnet": "convolutional.resnet",
    "roberta": "encoders.roberta",
    "seed_oss": "llama_variants.seed_oss",
    "smollm3": "llama_variants.smollm3",
    "smolvlm": "vision.language_part",
    "stablelm": "layer_norm.stablelm",
    "starcoder2": "layer_norm.starcoder2",
    "swin": "images.swin",
    "t5": "encoder_decoders.t5",
    "vaultgemma": "gemma.vaultgemma",
    "vit": "images.vit",
    "whisper": "speech.whisper",
    "xlm-roberta": "encoders.xlm_roberta",
}
"""model_type of config.json -> module.function in `builders`."""


def builder(model_type: str) -> Callable[[Fields, str, Source], Model]:
    """The function that builds a family's dataclass from a config's fields. `model_type` is a key of FAMILIES."""
    module, function = FAMILIES[model_type].split(".")
    build: Callable[[Fields, str, Source], Model] = getattr(import_module(f"estimators.architectures.builders.{module}"), function)
    return build
