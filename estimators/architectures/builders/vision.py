"""Vision-language models: the language part is counted, the rest is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures import FAMILIES, builder
from estimators.architectures.decoder import Decoder
from estimators.errors import NoOpTableError
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

LEFT_OUT = "the vision encoder (vision_config) and the projection of its features: only the language part is counted"

LANGUAGE_PARTS: dict[str, tuple[str, bool]] = {
    "aya_vision": ("cohere2", True),
    "gemma3": ("gemma3_text", True),
    "idefics3": ("llama", False),
    "internvl": ("qwen2", True),
    "llava": ("llama", False),
    "llava_next": ("llama", False),
    "llava_onevision": ("qwen2", False),
    "mistral3": ("mistral", True),
    "qwen2_5_vl": ("qwen2_vl_text", False),
    "qwen2_vl": ("qwen2_vl_text", False),
    "qwen3_vl": ("qwen3_vl_text", False),
    "smolvlm": ("llama", False),
}
"""model_type -> that of the language part where text_config has none; whether the head is tied where nothing is said."""

TIED_BY_TEXT_CONFIG = ("llava", "qwen2_5_vl", "qwen2_vl")
"""Families whose configuration class takes the language part's word on a tied head; the others ask the outer config alone."""

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
    text_type = text.get("model_type", default_type)
    if text_type == family:
        text_type = default_type
    if not isinstance(text_type, str) or text_type not in FAMILIES or text_type in LANGUAGE_PARTS:
        error = f.fail("text_config.model_type", text_type, "a language model's: one of the families that have an op table")
        raise NoOpTableError(str(error)) if isinstance(text_type, str) and text_type not in FAMILIES else error
    tied = f.flag("tie_word_embeddings", tied)
    if family in TIED_BY_TEXT_CONFIG:
        tied = tied or text.get("tie_word_embeddings") is True
    model = builder(text_type)(f.part("text_config", {**text, "tie_word_embeddings": tied}), name, source)
    if not isinstance(model, Decoder):
        raise f.fail("text_config.model_type", text_type, "a decoder's")
    return replace(model, left_out=LEFT_OUT)
