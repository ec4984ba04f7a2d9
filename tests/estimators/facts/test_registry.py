"""Names to facts: what is found, what is refused, and what a lookup costs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from estimators.errors import BadValueError, UnknownNameError
from estimators.facts import data, registry
from estimators.units import GIBI

ARTICLE = ("linreg-1d", "linreg-7d", "linreg-28d", "linreg-56d", "sigmoid-10", "sigmoid-100", "mlp", "spam", "tiny-gpt")
GPT3 = tuple(f"gpt-3-{size}" for size in ("small", "medium", "large", "xl", "2.7b", "6.7b", "13b", "175b"))
LLAMA = ("llama-2-7b", "llama-2-13b", "llama-2-70b", "llama-3-8b", "llama-3-70b", "llama-3.1-405b")
OTHERS = ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "phi-1", "phi-1.5", "phi-2", "mistral-7b")


@pytest.mark.parametrize("model_id", [*ARTICLE, *GPT3, *LLAMA, *OTHERS])
def test_every_promised_model_is_there_with_its_published_count(model_id: str) -> None:
    entry = registry.model_entry(model_id)
    assert entry.id == model_id
    assert entry.published_params > 0
    assert entry.source.title


@pytest.mark.parametrize(
    ("name", "model_id"),
    [
        ("gpt-3", "gpt-3-175b"),
        ("microsoft/phi-2", "phi-2"),
        ("Microsoft/PHI-2", "phi-2"),
        ("PHI-2", "phi-2"),
        ("meta-llama/Llama-2-7b-hf", "llama-2-7b"),
        ("openai-community/gpt2", "gpt2"),
        ("mistralai/Mistral-7B-v0.1", "mistral-7b"),
    ],
)
def test_an_alias_leads_to_its_model_in_upper_and_lower_case(name: str, model_id: str) -> None:
    assert registry.model_entry(name).id == model_id


def test_the_articles_checkpoint_name_leads_to_phi_2_and_says_why() -> None:
    entry = registry.model_entry("microsoft/philosopher-2.0-large")
    assert entry.id == "phi-2"
    assert "no checkpoint of that name exists" in entry.alias_note
    assert "\n" not in entry.alias_note


def test_a_model_asked_for_by_its_own_name_carries_no_note() -> None:
    assert registry.model_entry("phi-2").alias_note == ""
    assert registry.model_entry("microsoft/phi-2").alias_note == ""


def test_an_unknown_model_is_refused_with_near_misses() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown model 'ph-2'; did you mean .*'phi-2'.*python -m bench list models"):
        registry.model_entry("ph-2")


@pytest.mark.parametrize("name", ["../aliases", "models/phi-2", "phi-2.json", "", "/etc/passwd"])
def test_a_model_name_is_never_a_path(name: str) -> None:
    with pytest.raises(UnknownNameError, match="unknown model"):
        registry.model_entry(name)


def test_the_alias_index_holds_exactly_what_the_model_files_say() -> None:
    expected = {}
    for model_id in registry.model_ids():
        for alias in data.read_json(data.file("models", f"{model_id}.json"))["aliases"]:
            assert alias.casefold() not in expected, f"{alias} is an alias of two models"
            assert alias.casefold() not in registry.model_ids(), f"{alias} is a model of its own"
            expected[alias.casefold()] = model_id
    actual = data.read_json(data.file("aliases.json"))
    assert actual == expected, f"aliases.json is out of step; it should be:\n{json.dumps(dict(sorted(expected.items())), indent=1)}"


def test_reading_one_model_reads_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    read_json = data.read_json
    monkeypatch.setattr(data, "read_json", lambda path: opened.append(path) or read_json(path))
    registry.model_entry("phi-2")
    assert opened == [data.file("models", "phi-2.json")]


def test_what_a_caller_does_to_a_config_stays_with_that_caller() -> None:
    registry.model_entry("phi-2").config["hidden_size"] = 1  # type: ignore[index]
    assert registry.model_entry("phi-2").config["hidden_size"] == 2560


def test_a_lookup_imports_nothing_heavy() -> None:
    program = (
        "import sys; from estimators.facts import registry as r; r.model_entry('gpt-3'); r.hardware('a100-sxm4-80gb'); "
        "print(*(m for m in ('torch', 'transformers', 'pandas', 'numpy', 'statistics', 'fractions', 'difflib', 'importlib.resources', "
        "'estimators.facts.published_runs') if m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == ""


def test_hardware_is_found_by_id_and_by_driver_name_in_upper_and_lower_case() -> None:
    h100 = registry.hardware("h100-sxm5-80gb")
    assert registry.hardware("H100-SXM5-80GB") == h100
    assert registry.hardware("NVIDIA H100 80GB HBM3") == h100
    assert registry.hardware("nvidia h100 80gb hbm3") == h100


def test_unknown_hardware_is_refused_with_near_misses() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown GPU 'h2O0-sxm'; did you mean 'h200-sxm-141gb'\? .*python -m bench list hardware"):
        registry.hardware("h2O0-sxm")


def test_the_beginning_of_a_name_is_refused_and_its_continuations_are_suggested() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'h100-pcie-80gb' or 'h100-sxm5-80gb' or 'h100-nvl-94gb'\?"):
        registry.hardware("h100")


def test_a_driver_name_of_several_products_must_be_made_precise() -> None:
    with pytest.raises(BadValueError, match="several products print the name 'Orin'; give one of their ids: jetson-agx-orin-64gb, "):
        registry.hardware("Orin")


@pytest.mark.parametrize("memory_gib", [61.4, 64])
def test_memory_tells_products_of_one_driver_name_apart(memory_gib: float) -> None:
    found = registry.hardware_for_device("Orin", int(memory_gib * GIBI))
    assert found is not None
    assert found.id == "jetson-agx-orin-64gb"
    assert registry.hardware_for_device("Orin") is None


def test_an_unknown_driver_name_has_no_hardware() -> None:
    assert registry.hardware_for_device("NVIDIA H900") is None


def test_a_dtype_without_a_published_peak_has_none() -> None:
    with pytest.raises(BadValueError, match="v100-sxm2-32gb has no published dense peak for bf16; it has one for: fp64, fp32, fp16"):
        registry.hardware("v100-sxm2-32gb").peak("bf16")


def test_prices_of_unknown_hardware_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown GPU 'h101'"):
        registry.prices("h101")


def test_hardware_that_nobody_rents_out_has_no_prices() -> None:
    assert registry.prices("jetson-agx-orin-64gb") == ()


def test_a_utilization_range_of_unknown_hardware_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown GPU 'h101'"):
        registry.utilization_range("h101")
