"""Vision-language models: the language part counts like torch, and what was left out is said."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForImageTextToText

from bench.backend.counting import meta
from bench.backend.models import hf_config
from estimators.architectures import FAMILIES
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.spec import Workload
from tests.support.drawn_decoders import agree
from tests.support.vision_language_models import VISION_LANGUAGE


def test_no_vision_language_family_is_without_a_test() -> None:
    assert {model_type for model_type, where in FAMILIES.items() if where == "vision.language_part"} == VISION_LANGUAGE.keys()


@pytest.mark.parametrize("model_type", VISION_LANGUAGE)
def test_the_language_part_of_a_vision_language_model_counts_like_torch(model_type: str) -> None:
    config = VISION_LANGUAGE[model_type] | {"model_type": model_type}
    with torch.device("meta"):
        module = AutoModelForImageTextToText.from_config(hf_config(config), attn_implementation="eager").eval()
    parts = [part for name, part in module.named_modules() if name in ("model.language_model", "model.text_model", "lm_head")]
    params = sum({id(p): p.numel() for part in parts for p in part.parameters()}.values())
    model = model_from_config(config, model_type)
    for workload in (Workload(phase="train", batch=2, seq_len=12), Workload(phase="decode", batch=3, context_len=14)):
        agree(model, module, workload, params)
    assert isinstance(model, Decoder)
    assert model.left_out.startswith("the vision encoder")
    assert params < meta.params_of(module)


def test_nothing_is_left_out_of_a_model_of_text() -> None:
    model = model_from_config({"model_type": "gemma3_text"}, "text")
    assert isinstance(model, Decoder)
    assert model.left_out == ""
