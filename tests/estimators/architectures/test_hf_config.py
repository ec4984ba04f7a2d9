"""Hostile and broken configurations: each is one line that names the field, and never a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from estimators.architectures.from_config import MAX_CONFIG_BYTES, model_from_config, read_config
from estimators.errors import BadConfigError

LLAMA: dict[str, Any] = {"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 100}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"hidden_size": -1}, "hidden_size is '-1'; expected a whole number from 1"),
        ({"hidden_size": 0}, "hidden_size is '0'"),
        ({"num_hidden_layers": 10**12}, "num_hidden_layers is '1000000000000'"),
        ({"vocab_size": float("nan")}, "vocab_size is 'nan'"),
        ({"vocab_size": float("inf")}, "vocab_size is 'inf'"),
        ({"vocab_size": 100.5}, r"vocab_size is '100\.5'"),
        ({"vocab_size": "many"}, "vocab_size is 'many'"),
        ({"vocab_size": True}, "vocab_size is 'True'"),
        ({"vocab_size": [1]}, r"vocab_size is '\[1\]'"),
        ({"hidden_size": 66}, "hidden_size 66 is not a multiple of num_attention_heads 4"),
        ({"num_key_value_heads": 3}, "num_attention_heads 4 is not a multiple of num_key_value_heads 3"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings is 'yes'; expected true or false"),
        ({"model_type": None}, "it has no model_type, and architectures names no class of a family"),
        ({"model_type": "perceiver"}, "model_type 'perceiver' has no op table. List them with"),
        ({"model_type": "lama"}, "model_type 'lama' has no op table; did you mean .*'llama'"),
        ({"model_type": ["llama"]}, "model_type is"),
    ],
)
def test_a_field_that_makes_no_sense_is_named(change: dict[str, Any], match: str) -> None:
    with pytest.raises(BadConfigError, match=match) as caught:
        model_from_config(LLAMA | change, "hostile")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("widths", [None, [], [3], "7,1", [7, 0], [7, -1], [7, 1.5], [True, 1], [7] * 20_000])
def test_widths_of_a_dense_network_are_checked(widths: Any) -> None:
    with pytest.raises(BadConfigError, match="widths is"):
        model_from_config({"model_type": "dense_network", "widths": widths}, "hostile")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "is not valid JSON"),
        ('{"model_type": "llama", ', "is not valid JSON"),
        ("[1, 2]", "holds a list, not an object"),
        ('"llama"', "holds a str, not an object"),
        ("[" * 200_000, "nested too deeply|not valid JSON"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested too deeply|not valid JSON"),
        ('{"vocab_size": 1' + "0" * 5000 + "}", "is not valid JSON"),
    ],
)
def test_a_file_that_is_no_configuration_is_one_line(tmp_path: Path, text: str, match: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(text)
    with pytest.raises(BadConfigError, match=match) as caught:
        read_config(file)
    assert "\n" not in str(caught.value)


def test_files_that_are_too_large_binary_or_not_there_are_one_line(tmp_path: Path) -> None:
    large = tmp_path / "large.json"
    with open(large, "wb") as file:
        file.truncate(MAX_CONFIG_BYTES + 1)
    binary = tmp_path / "binary.json"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    for path, match in (
        (large, "at most 8,388,608 bytes"),
        (binary, "is not valid JSON"),
        (tmp_path / "none.json", "no config file"),
        (tmp_path, "no config file"),
    ):
        with pytest.raises(BadConfigError, match=match):
            read_config(path)


def test_a_folder_is_read_through_its_config_json(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    assert read_config(tmp_path) == LLAMA


def test_huge_but_legal_sizes_stay_exact_integers() -> None:
    from estimators.counting.estimate import count_params
    from estimators.spec import Workload

    huge = model_from_config(
        LLAMA | {"hidden_size": 10**8, "vocab_size": 10**9, "intermediate_size": 10**9, "num_hidden_layers": 10**6}, "huge"
    )
    params = count_params(huge.ops(Workload()))
    layer = 10**8 * (2 * 10**8 + 2 * 10**8) + 3 * 10**8 * 10**9 + 2 * 10**8
    assert params == 2 * 10**9 * 10**8 + 10**6 * layer + 10**8
