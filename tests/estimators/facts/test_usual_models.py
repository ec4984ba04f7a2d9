"""Bare names of families, and sizes beside them: the usual model is taken and said; where none is usual, none is taken."""

from __future__ import annotations

import pytest

from estimators.errors import UnknownNameError
from estimators.facts import data
from estimators.facts.model_names import USUAL_COLUMNS, entry_named, is_registered, model_named, usual_models
from estimators.facts.registry import model_entry

# Ollama, README, model library (https://github.com/ollama/ollama): parameters of the model that `ollama run NAME` fetches.
BILLIONS_BY_OLLAMA = {
    "llama2": 7,
    "llama3.1": 8,
    "llama3.2": 3,
    "llama3.3": 70,
    "mistral": 7,
    "codellama": 7,
    "gemma": 7,
    "gemma2": 9,
    "gemma3": 4,
    "phi": 2.7,
    "phi3": 3.8,
    "phi4": 14,
    "vicuna": 7,
    "solar": 10.7,
    "granite3.3": 8,
}


@pytest.mark.parametrize(("name", "billions"), BILLIONS_BY_OLLAMA.items())
def test_a_familys_name_means_the_size_that_ollama_fetches(name: str, billions: float) -> None:
    assert model_entry(model_named(name).model_id).published_params == pytest.approx(billions * 1e9, rel=0.22)  # names round down


def test_what_was_taken_is_said_with_the_others() -> None:
    assert model_named("Llama 3").said == "taking 'Llama 3' as llama-3-8b, the usual one; others: llama-3-70b"
    assert model_named("qwen2.5").said.startswith(
        "taking 'qwen2.5' as qwen2.5-7b (the shape of qwen2-7b), the usual one; others: qwen2.5-0.5b, "
    )


@pytest.mark.parametrize("name", ["llama3", "LLAMA-3", "meta-llama/Meta-Llama-3", "llama_3", "Llama 3", "llama3:latest", "llama3-instruct"])
def test_spelling_owner_and_tuning_do_not_matter(name: str) -> None:
    assert model_named(name).model_id == "llama-3-8b"


def test_a_format_beside_the_family_is_taken_over() -> None:
    assert entry_named("mistral-awq").config["quantization_config"]["quant_method"] == "awq"
    assert "the usual one, weights as its AWQ files usually hold them" in model_named("mistral-awq").said


@pytest.mark.parametrize(
    "name",
    [
        *("llama", "qwen", "granite", "opt", "pythia", "t5", "bge", "electra", "mamba"),
        *("llama3-vision", "mistral-moe", "qwen3-vl", "gemma3n", "phi-3-small", "deepseek-vl", "whisper-v9", "vit-huge-tiny"),
        *("llama3-9b", "llama-3-300m", "gemma-3-300m", "qwen3-5m", "mistral-1k-900m", "falcon-11b", "qwen3-500b"),
    ],
)
def test_another_word_or_size_means_another_model(name: str) -> None:
    with pytest.raises(UnknownNameError, match="unknown model"):
        model_named(name)


@pytest.mark.parametrize(
    ("name", "model_id"),
    [
        ("command-r 35b", "command-r"),
        ("qwen3 coder 480b", "qwen3-coder-480b-a35b"),
        ("qwen3:30b", "qwen3-30b-a3b"),
        ("phi-4 14b", "phi-4"),
        ("phi3:14b", "phi-3-medium"),
        ("deepseek 671b", "deepseek-v3"),
        ("mistral-12b", "mistral-nemo-12b"),
        ("gpt-j 6b", "gpt-j-6b"),
    ],
)
def test_a_size_beside_a_name_means_the_one_model_that_has_it(name: str, model_id: str) -> None:
    named = model_named(name)
    assert named.model_id == model_id
    assert f"taking {name!r} as {model_id}, of " in named.said or model_id == "gpt-j-6b"


def test_a_size_that_several_of_a_family_have_means_none() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'mistral-7b-v0\.3' or 'mistral-7b-v0\.2' or 'mistral-7b'"):
        model_named("mistral-7.2b")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("teknium/OpenHermes-2.5-Mistral-7B", "'mistral-7b'"),
        ("allenai/Llama-3.1-Tulu-3-8B", "'llama-3.1-8b' or 'llama-3.1-70b'"),
        ("falcon-11b", "'falcon-7b' or 'falcon-40b'"),
        ("pythia", "'pythia-1.4b'"),
        ("opt", "'opt-1.3b'"),
        ("lama-3-8b", "'llama-3-8b'"),
    ],
)
def test_a_name_that_holds_a_models_or_a_familys_suggests_it(name: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match=f"did you mean .*{near}"):
        model_named(name)


@pytest.mark.parametrize(
    ("name", "maker"),
    [("gpt-4o", "OpenAI"), ("openai/gpt-4.1-mini", "OpenAI"), ("Claude 3 Opus", "Anthropic"), ("gemini-2.5-pro", "Google")],
)
def test_of_a_model_whose_shape_nobody_published_this_is_said(name: str, maker: str) -> None:
    with pytest.raises(UnknownNameError, match=f"{maker} has published no shape of it: a size such as 70b") as caught:
        model_named(name)
    assert "did you mean" not in str(caught.value)
    assert "hf download" not in str(caught.value)


@pytest.mark.parametrize("name", ["gpt4all-j", "someone/gpt-4-alpaca", "claude2-alpaca-7b", "someone/o1-mini", "geminis"])
def test_a_name_that_only_begins_alike_is_not_one_of_those(name: str) -> None:
    with pytest.raises(UnknownNameError, match="hf download"):
        model_named(name)


def test_every_row_names_models_of_the_registry_and_no_family_is_a_models_own_name() -> None:
    rows = data.read_rows(data.file("usual_models.csv"), USUAL_COLUMNS)
    assert len(usual_models()) == sum(len({name.replace("-", "") for name in row.texts("names")}) for row in rows)
    for row in rows:
        assert all(is_registered(model) for model in row.texts("ids")), row.text("names")
        assert len(row.texts("ids")) == len(set(row.texts("ids")))
        assert not any(is_registered(name) for name in row.texts("names"))
        assert "https://" in row.text("source")


def test_an_address_of_the_hub_is_its_model() -> None:
    named = model_named("https://huggingface.co/meta-llama/Llama-3.1-8B/blob/main/config.json")
    assert (named.model_id, named.said) == ("llama-3.1-8b", "")
    with pytest.raises(UnknownNameError, match=r"hf download somebody/thing config\.json"):
        model_named("https://hf.co/somebody/thing")
