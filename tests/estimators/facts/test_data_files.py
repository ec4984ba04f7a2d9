"""Model files against what was published and what transformers knows; what a broken file says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import CONFIG_MAPPING, PretrainedConfig

from estimators.architectures.builders.prediction import PREDICTION_KEYS
from estimators.errors import BadValueError
from estimators.facts import data, registry
from estimators.facts.entries import entry_from
from estimators.facts.registry import model_entry, model_ids
from estimators.parsing import parse_count

TRAINING_KEYS = {"tokens", "gpus", "hardware", "days", "gpu_hours", "flop", "flop_convention", "source", "note"}
ROPE_KEYS = {"rope_theta", "rope_scaling", "partial_rotary_factor"}
"""transformers 5 gathers them in rope_parameters."""
BEYOND_THE_CLASS = {
    "detr": {"backbone", "image_size", "use_timm_backbone"},
    "rt_detr": {"backbone_config", "image_size"},
    "segformer": {"image_size"},
    **{model_type: {"head_dim"} for model_type in ("exaone_moe", "falcon_h1", "glm4_moe", "qwen3_moe")},
    "deepseek_v4": {"compress_ratios", "num_hash_layers"},
    "deberta-v2": {"norm_rel_ebd", "pos_att_type", "position_buckets", "share_att_key"},
    "gemma3n_text": {"intermediate_size"},
    "gemma4_text": {"global_head_dim", "head_dim", "num_global_key_value_heads", "num_key_value_heads"},
    "modernbert": {"global_attn_every_n_layers"},
    "mt5": {"tie_word_embeddings"},
    "qwen3_5_moe_text": {"full_attention_interval"},
    "qwen3_5_text": {"full_attention_interval"},
    "t5": {"tie_word_embeddings"},
}
"""Fields that a class has no attribute for, or another value: DETR makes a part of the name of its backbone, DeBERTa's model reads them or
a list of them, ModernBERT, Qwen3.5 and DeepSeek V4 make layer_types of them, Gemma 3n and 4 fields of each layer, and T5's head is tied as
the checkpoint says."""


@pytest.mark.parametrize("model_id", model_ids())
def test_a_model_file_is_named_after_its_model_and_complete(model_id: str) -> None:
    entry = model_entry(model_id)
    assert entry.id == model_id == model_id.casefold()
    assert entry.name
    assert entry.source.title
    assert set(entry.training or {}) <= TRAINING_KEYS
    if entry.training:
        assert entry.training["source"]
        assert entry.training["tokens"] > 0
        assert "hardware" not in entry.training or entry.training["hardware"] in registry.hardware_ids()
    body = data.read_json(data.file("models", f"{model_id}.json"))
    assert set(body.get("alias_notes", {})) <= {alias.casefold() for alias in body["aliases"]}


@pytest.mark.parametrize("model_id", model_ids())
def test_a_published_count_is_what_its_text_says(model_id: str) -> None:
    entry = model_entry(model_id)
    assert parse_count(entry.published_params_text, "published_params_text") == entry.published_params


@pytest.mark.parametrize("model_id", [m for m in model_ids() if model_entry(m).config["model_type"] != "dense_network"])
def test_every_field_of_a_config_is_one_that_transformers_knows(model_id: str) -> None:
    config = dict(model_entry(model_id).config)
    config_class = CONFIG_MAPPING[config["model_type"]]
    known, accepted = config_class(), config_class(**config)
    beyond = BEYOND_THE_CLASS.get(config["model_type"], set())
    parts = {key for key in config if key not in beyond and isinstance(getattr(known, key, None), PretrainedConfig)}
    for part in parts:
        read = getattr(accepted, part)
        assert {key: getattr(read, key) for key in config[part]} == config[part]
    plain = config.keys() - ROPE_KEYS - parts - {"torch_dtype"} - beyond
    assert [key for key in plain if not hasattr(known, key) and key not in PREDICTION_KEYS] == []  # which no class of transformers runs
    assert {key: getattr(accepted, key) for key in plain} == {key: config[key] for key in plain}
    rope = {key: config[key] for key in ("rope_theta", "partial_rotary_factor") if key in config} | config.get("rope_scaling", {})
    assert rope.items() <= getattr(accepted, "rope_parameters", {}).items()
    assert str(accepted.dtype) == f"torch.{config['torch_dtype']}" if "torch_dtype" in config else accepted.dtype is None


SHAPE = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act")


@pytest.mark.parametrize(
    ("model_id", "fields"),
    [
        ("gpt2", ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "activation_function", "layer_norm_epsilon", "resid_pdrop")),
        (
            "phi-1",
            ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act", "layer_norm_eps"),
        ),
        ("mistral-7b", (*SHAPE, "num_key_value_heads", "sliding_window")),
        ("llama-2-7b", SHAPE),
    ],
)
def test_a_config_agrees_with_the_class_whose_defaults_describe_that_model(model_id: str, fields: tuple[str, ...]) -> None:
    config = model_entry(model_id).config
    defaults = CONFIG_MAPPING[config["model_type"]]()
    assert {key: config[key] for key in fields} == {key: getattr(defaults, key) for key in fields}


# huggingface.co/api/models/meta-llama/Llama-2-*-hf, safetensors.total: parameters and one rotary buffer of 64 per layer.
@pytest.mark.parametrize(
    ("model_id", "in_the_files"), [("llama-2-7b", 6_738_417_664), ("llama-2-13b", 13_015_866_880), ("llama-2-70b", 68_976_653_312)]
)
def test_a_llama_2_count_is_the_hubs_without_its_rotary_buffers(model_id: str, in_the_files: int) -> None:
    entry = model_entry(model_id)
    assert entry.published_params == in_the_files - 64 * entry.config["num_hidden_layers"]


# Brown et al. 2020, table D.1: parameters in millions and training FLOP at 300B tokens, as printed.
@pytest.mark.parametrize(
    ("size", "million_params", "flop"),
    [
        ("small", 125, "2.25e+20"),
        ("medium", 356, "6.41e+20"),
        ("large", 760, "1.37e+21"),
        ("xl", 1320, "2.38e+21"),
        ("2.7b", 2650, "4.77e+21"),
        ("6.7b", 6660, "1.20e+22"),
        ("13b", 12850, "2.31e+22"),
        ("175b", 174600, "3.14e+23"),
    ],
)
def test_gpt_3_carries_table_d1(size: str, million_params: int, flop: str) -> None:
    entry = model_entry(f"gpt-3-{size}")
    assert entry.published_params == million_params * 10**6
    assert entry.training is not None
    assert entry.training["tokens"] == 300 * 10**9
    assert f"{entry.training['flop']:.2e}" == flop
    assert f"{6 * entry.published_params * entry.training['tokens']:.2e}" == flop


def test_phi_2_was_trained_on_96_devices_for_14_days() -> None:
    training = model_entry("phi-2").training
    assert training is not None
    assert (training["tokens"], training["gpus"], training["days"], training["hardware"]) == (1_400_000_000_000, 96, 14, "a100-sxm4-80gb")


MODEL: dict[str, Any] = {
    "id": "toy",
    "name": "Toy",
    "aliases": [],
    "config": {"model_type": "gpt2"},
    "published_params": 2,
    "published_params_text": "2",
    "source": {"title": "a toy"},
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"published_params": "2.7B"}, "published_params is '2.7B'; expected a positive whole number"),
        ({"published_params": True}, "published_params is True; expected a positive whole number"),
        ({"config": {}}, "config has no model_type"),
        ({"config": None}, "config has no model_type"),
        ({"source": {"titel": "x"}}, "source is .*; expected title, url and note"),
        ({"colour": "red"}, "missing or unknown colour"),
    ],
)
def test_a_broken_model_file_is_refused_in_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BadValueError, match=f"models/toy.json: {message}"):
        entry_from(MODEL | change, "models/toy.json")


def test_a_model_file_without_a_count_is_refused() -> None:
    with pytest.raises(BadValueError, match="missing or unknown published_params;"):
        entry_from({key: value for key, value in MODEL.items() if key != "published_params"}, "models/toy.json")


def test_a_sound_model_file_is_accepted() -> None:
    assert entry_from(MODEL, "models/toy.json").published_params == 2


def test_a_file_that_is_not_json_says_so(tmp_path: Path) -> None:
    for text, message in (("{", "is not JSON"), ("[1]", "holds a list; expected a JSON object")):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(BadValueError, match=message):
            data.read_json(str(tmp_path / "x.json"))
    with pytest.raises(BadValueError, match=r"cannot read .*No such file"):
        data.read_json(str(tmp_path / "y.json"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,c\n1,2\n", "the header differs in b, c; expected: a,b"),
        ("b,a\n1,2\n", "the header differs in the order; expected: a,b"),
        ("", "the header differs in a, b"),
        ("a,b\n1,2,3\n", r"line 2: 3 cells; expected 2 \(a comma inside needs quotes\)"),
    ],
)
def test_a_broken_table_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(BadValueError, match=message):
        data.read_rows(str(tmp_path / "t.csv"), ("a", "b"))


def test_a_count_in_a_table_is_exact_and_a_bad_one_is_refused() -> None:
    assert data.Row("runs.csv", 2, {"tokens": "1.4T"}).optional_count("tokens") == 1_400_000_000_000
    assert data.Row("runs.csv", 2, {"tokens": ""}).optional_count("tokens") is None
    with pytest.raises(BadValueError, match="line 2: tokens is 'many'; expected a positive count"):
        data.Row("runs.csv", 2, {"tokens": "many"}).optional_count("tokens")
