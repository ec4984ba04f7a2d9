"""What a config.json does not say is taken from the model type's own class in transformers, and `show` states it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from bench.cli.main import main
from estimators.architectures import FAMILIES
from estimators.architectures.from_config import defaults_taken

NEEDS: dict[str, dict[str, Any]] = {
    "deepseek_v2": {"num_experts_per_tok": 6},
    "dots1": {"n_routed_experts": 128, "num_experts_per_tok": 6, "n_shared_experts": 2},
    "glm4_moe": {"num_attention_heads": 32},
    "glm4v_moe_text": {"num_attention_heads": 32},
    "lfm2_moe": {"layer_types": ["conv"] * 32},
    "qwen3_omni_moe_text": {"num_attention_heads": 32},
}
"""Fields without which a type's own defaults contradict each other, or are null where a number is needed."""

WITHOUT_DEFAULTS = {"dense_network"} | {name for name, where in FAMILIES.items() if where == "vision.language_part"}
"""No type of transformers, or one whose language part is a type of its own."""

FAMILIES_WITH_DEFAULTS = sorted(set(FAMILIES) - WITHOUT_DEFAULTS)

LAST_LAYER = ("ernie4_5_moe", "moe_layer_end_index", -1)
"""transformers turns it into the number of the last layer."""


def unlike(model_type: str, taken: dict[str, object]) -> dict[str, tuple[object, object]]:
    """Field -> our default and that of transformers, where that has the field, set, and it is another."""
    found = {}
    for field, ours in taken.items():
        theirs = CONFIG_MAPPING[model_type]()
        for name in field.split("."):
            theirs = theirs.get(name) if isinstance(theirs, dict) else getattr(theirs, name, None)
        theirs = tuple(theirs) if isinstance(theirs, list) else theirs
        if theirs is not None and theirs != ours and (model_type, field, ours) != LAST_LAYER:
            found[field] = (ours, theirs)
    return found


@pytest.mark.parametrize("model_type", FAMILIES_WITH_DEFAULTS)
def test_defaults_are_those_of_transformers(model_type: str) -> None:
    taken = defaults_taken({"model_type": model_type, **NEEDS.get(model_type, {})}, model_type)
    assert len(taken) >= 3
    assert unlike(model_type, taken) == {}


def test_another_default_would_be_found() -> None:
    # transformers' LlamaConfig: hidden_size 4096
    assert unlike("llama", {"hidden_size": 4095, "num_hidden_layers": 32}) == {"hidden_size": (4095, 4096)}


def test_fields_of_a_part_stand_under_its_name() -> None:
    # transformers' CLIPVisionConfig: 12 layers
    assert defaults_taken({"model_type": "clip"}, "clip")["vision_config.num_hidden_layers"] == 12


def test_what_the_file_says_wins_and_is_no_default() -> None:
    taken = defaults_taken({"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4}, "llama")
    assert "hidden_size" not in taken
    # as many key-value heads as heads, as in LlamaConfig
    assert taken["num_key_value_heads"] == 4


def test_show_states_the_defaults_that_it_took(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": "llama", "num_hidden_layers": 2, "vocab_size": 100}), encoding="utf-8")
    assert main(["show", "--config", str(path), "--seq-len", "16", "--format", "json"]) == 0
    (line,) = [line for line in json.loads(capsys.readouterr().out)["conditions"] if line.startswith("not in the file")]
    assert "hidden_size 4096, num_attention_heads 32" in line
    assert "tie_word_embeddings false" in line
    assert "num_hidden_layers" not in line
