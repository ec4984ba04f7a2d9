"""Models of several kinds of input: the language part is counted, the rest is named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from estimators.architectures import FAMILIES, OWN_CODE, builder
from estimators.architectures.decoder import Decoder
from estimators.architectures.named_family import family_of
from estimators.errors import NoOpTableError
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

ONLY = "only the language part is counted"

NAMED = {"vision_config": "the vision encoder (vision_config)", "audio_config": "the audio encoder (audio_config)"}
"""What the usual parts of a configuration describe."""

LEFT_OUT = f"{NAMED['vision_config']} and the projection of its features: {ONLY}"

TEXT_PARTS = ("text_config", "llm_config", "language_config")
"""What configurations of several kinds of input call their language part."""

SPEAKING = "thinker_config"
"""What holds the language part of a model that speaks as well: Qwen's Omni."""

NOT_PARTS = ("quantization_config", "generation_config", "projector_config")
"""Objects in a configuration that describe no part of the model, or what joins two."""

LANGUAGE_PARTS: dict[str, tuple[str, bool]] = {
    "aya_vision": ("cohere2", True),
    "gemma3": ("gemma3_text", True),
    "gemma4": ("gemma4_text", True),
    "glm46v": ("glm4v_text", False),
    "glm4v": ("glm4v_text", False),
    "glm4v_moe": ("glm4v_moe_text", False),
    "idefics3": ("llama", False),
    "internvl": ("qwen2", True),
    "llama4": ("llama4_text", False),
    "llava": ("llama", False),
    "llava_next": ("llama", False),
    "llava_onevision": ("qwen2", False),
    "mistral3": ("mistral", True),
    "mllama": ("mllama_text_model", False),
    "qwen2_5_vl": ("qwen2_vl_text", False),
    "qwen2_vl": ("qwen2_vl_text", False),
    "qwen3_5": ("qwen3_5_text", False),
    "qwen3_5_moe": ("qwen3_5_moe_text", False),
    "qwen3_vl": ("qwen3_vl_text", False),
    "qwen3_vl_moe": ("qwen3_vl_moe_text", False),
    "smolvlm": ("llama", False),
}
"""model_type -> that of the language part where text_config has none; whether the head is tied where nothing is said."""

TIED_BY_TEXT_CONFIG = ("llama4", "llava", "qwen2_5_vl", "qwen2_vl")
"""Families whose configuration class takes the language part's word on a tied head; the others ask the outer config alone."""

HEAD_OUTSIDE: dict[str, bool] = {
    "audioflamingo3": False,
    "cohere2_vision": True,
    "cosmos3_omni": False,
    "deepseek_vl": True,
    "deepseek_vl_hybrid": True,
    "exaone4_5": False,
    "fast_vlm": False,
    "fun_asr_nano": True,
    "gemma3n": True,
    "glmasr": True,
    "got_ocr2": True,
    "granite_speech": True,
    "granite_speech_plus": True,
    "idefics2": False,
    "janus": True,
    "kimi_k25": True,
    "lighton_ocr": True,
    "llava_next_video": False,
    "moss_transcribe_diarize": True,
    "musicflamingo": False,
    "omniasr": False,
    "ovis2": True,
    "paligemma": True,
    "perception_lm": False,
    "pp_chart2table": True,
    "qianfan_ocr": False,
    "qwen2_5_omni": False,
    "qwen2_5_omni_thinker": False,
    "qwen2_audio": False,
    "qwen3_asr": True,
    "qwen3_omni_moe": False,
    "qwen3_omni_moe_thinker": False,
    "vibevoice_asr": False,
    "video_llama_3": False,
    "video_llava": False,
    "vipllava": False,
    "voxtral": False,
}
"""Types without an op table whose head lies beside the language part: it is tied by the outer configuration's word alone, and where
that says nothing, as its class in transformers 5.24 does. Of all other types the part has a head of its own."""

OWN_HEAD = (("mistral3", "mistral"), ("mistral3", "mistral4"))
"""A family and its language part whose published checkpoints have heads of their own, though their files say nothing of it (Mistral
Small 3.1, 3.2 and 4, from memory, unchecked): transformers ties such a head on meta and separates it when it loads the weights."""

FLAT = ("qwen2_5_vl", "qwen2_vl")
"""Families whose published configs have the language part's fields at the top, without a text_config."""


def language_part(f: Fields, name: str, source: Source) -> Decoder:
    """The decoder in `text_config`, with a note of what was left out.

    Raises:
        BadConfigError: no text_config, or one of a family that is not a language model's.
        NoOpTableError: one of a family without an op table.
    """
    family = f.config["model_type"]
    default_type, tied = LANGUAGE_PARTS[family]
    text = f.config.get("text_config", f.config if family in FLAT else None)
    if not isinstance(text, dict):
        raise f.fail("text_config", text, "the object that describes the language part")
    stated = text.get("model_type")
    text_type = default_type if stated in (None, family) else family_of(text) or stated
    if not isinstance(text_type, str) or text_type not in (*FAMILIES, *OWN_CODE) or text_type in LANGUAGE_PARTS:
        error = f.fail("text_config.model_type", text_type, "a language model's: one of the families that have an op table")
        raise NoOpTableError(str(error)) if isinstance(text_type, str) and text_type not in (*FAMILIES, *OWN_CODE) else error
    part = f.part("text_config", text)
    tied = _is_tied(f, part, tied and (family, text_type) not in OWN_HEAD)
    if family in TIED_BY_TEXT_CONFIG:
        tied = tied or text.get("tie_word_embeddings") is True
    model = builder(text_type)(f.part("text_config", {**text, "tie_word_embeddings": tied}), name, source)
    if not isinstance(model, Decoder):
        raise f.fail("text_config.model_type", text_type, "a decoder's")
    return replace(model, left_out=_joined(LEFT_OUT, model.left_out))


def _joined(*said: str) -> str:
    return "; ".join(each for each in said if each)


def _is_tied(outer: Fields, part: Fields, default: bool) -> bool:
    """Whether the head is the table of tokens: by the word of the whole, or where it says nothing, by that the language part has none.

    A language part that says no has a head of its own in its checkpoint, which transformers separates when it loads it; one that says
    yes inside a whole that ties nothing by default has one all the same.
    """
    return outer.flag("tie_word_embeddings", default and part.flag("tie_word_embeddings", default))


def nested_part(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys that lead to a language part whose own type has an op table, in a configuration whose type has none; empty for none."""
    inside = config.get(SPEAKING)
    places: list[tuple[tuple[str, ...], object]] = [((key,), config.get(key)) for key in TEXT_PARTS]
    if isinstance(inside, dict):
        places += [((SPEAKING, key), inside.get(key)) for key in TEXT_PARTS]
    for keys, part in places:
        if isinstance(part, dict) and isinstance(part.get("model_type"), str) and family_of(part) not in (None, *LANGUAGE_PARTS):
            return keys
    return ()


def nested_language_part(f: Fields, name: str, source: Source, keys: tuple[str, ...]) -> Decoder:
    """The decoder that stands under `keys`, see `nested_part`, with a note of what was left out.

    Raises:
        NoOpTableError: it is no decoder.
    """
    outer, left_out = f, list[str]()
    for key in keys[:-1]:
        left_out += _beside(outer.config, key)
        outer = outer.part(key, outer.config[key])
    left_out += _beside(outer.config, keys[-1])
    text = outer.config[keys[-1]]
    if f.config["model_type"] in HEAD_OUTSIDE:
        text = {**text, "tie_word_embeddings": _is_tied(outer, outer.part(keys[-1], text), HEAD_OUTSIDE[f.config["model_type"]])}
    part = outer.part(keys[-1], text)
    family = family_of(text)
    assert family is not None  # as nested_part found it
    model = builder(family)(part, name, source)
    if not isinstance(model, Decoder):
        raise NoOpTableError(f"{part.name}: model_type {text['model_type']!r} is no decoder's; the op table of a part is of a decoder")
    only_images = left_out == [NAMED["vision_config"]]
    beside = LEFT_OUT if only_images else f"{', '.join([*left_out, 'what joins them'])}: {ONLY}"
    return replace(model, left_out=_joined(beside, model.left_out))


def _beside(config: Mapping[str, Any], key: str) -> list[str]:
    """What a configuration describes beside the part under `key`."""
    others = [other for other, value in config.items() if other.endswith("_config") and other != key and isinstance(value, dict)]
    return [NAMED.get(other, other) for other in others if other not in NOT_PARTS]
