"""What people type for a model, and whose shape it has; a word that changes the shape is never dropped."""

from __future__ import annotations

import pytest

from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.errors import UnknownNameError
from estimators.facts.model_names import entry_named, model_named
from estimators.facts.registry import model_aliases, model_entry, model_ids

# Names of the hub as its pages of models and of quantised and tuned copies have them, and local spellings of them.
NAMES = {
    "meta-llama/Llama-2-7b-chat-hf": "llama-2-7b",
    "meta-llama/Llama-2-13b-hf": "llama-2-13b",
    "NousResearch/Llama-2-7b-hf": "llama-2-7b",
    "TheBloke/Llama-2-7B-GGUF": "llama-2-7b",
    "llama-2-7b.Q4_K_M.gguf": "llama-2-7b",
    "TheBloke/Llama-2-13B-chat-GPTQ": "llama-2-13b",
    "TheBloke/Llama-2-70B-Chat-AWQ": "llama-2-70b",
    "meta-llama/Meta-Llama-3-8B": "llama-3-8b",
    "meta-llama/Meta-Llama-3-8B-Instruct": "llama-3-8b",
    "NousResearch/Meta-Llama-3-70B-Instruct": "llama-3-70b",
    "unsloth/llama-3-8b-bnb-4bit": "llama-3-8b",
    "unsloth/llama-3-8b-Instruct-bnb-4bit": "llama-3-8b",
    "meta-llama/Llama-3.1-405B-Instruct": "llama-3.1-405b",
    "RedHatAI/Meta-Llama-3.1-405B-Instruct-FP8": "llama-3.1-405b",
    "meta-llama/Llama-3.2-1B-Instruct": "llama-3.2-1b",
    "unsloth/Llama-3.2-1B-Instruct-unsloth-bnb-4bit": "llama-3.2-1b",
    "mlx-community/Llama-3.2-3B-Instruct-4bit": "llama-3.2-3b",
    "bartowski/Llama-3.2-3B-Instruct-GGUF": "llama-3.2-3b",
    "llama3.2:1b": "llama-3.2-1b",
    "meta-llama/Llama-4-Scout-17B-16E-Instruct": "llama-4-scout",
    "codellama/CodeLlama-34b-Instruct-hf": "codellama-34b",
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": "tinyllama-1.1b",
    "mistralai/Mistral-7B-v0.1": "mistral-7b",
    "mistralai/Mistral-7B-Instruct-v0.1": "mistral-7b",
    "TheBloke/Mistral-7B-v0.1-AWQ": "mistral-7b",
    "mistralai/Mixtral-8x7B-Instruct-v0.1": "mixtral-8x7b",
    "TheBloke/Mixtral-8x7B-Instruct-v0.1-GPTQ": "mixtral-8x7b",
    "mistralai/Mixtral-8x22B-Instruct-v0.1": "mixtral-8x22b",
    "mistralai/Mistral-Nemo-Instruct-2407": "mistral-nemo-12b",
    "google/gemma-2-9b-it": "gemma-2-9b",
    "unsloth/gemma-2-9b-it-bnb-4bit": "gemma-2-9b",
    "google/gemma-2-27b-it": "gemma-2-27b",
    "google/gemma-7b-it": "gemma-7b",
    "google/gemma-3-27b-it": "gemma-3-27b",
    "google/gemma-3-27b-it-qat-q4_0-gguf": "gemma-3-27b",
    "Qwen/Qwen2.5-72B-Instruct": "qwen2.5-72b",
    "Qwen/Qwen2.5-72B-Instruct-AWQ": "qwen2.5-72b",
    "Qwen/Qwen3-8B-Base": "qwen3-8b",
    "Qwen/Qwen3-8B-FP8": "qwen3-8b",
    "unsloth/Qwen3-8B-unsloth-bnb-4bit": "qwen3-8b",
    "Qwen/Qwen3-30B-A3B-Instruct-2507": "qwen3-30b-a3b-2507",
    "Qwen/Qwen3-235B-A22B-Thinking-2507": "qwen3-235b-a22b-2507",
    "Qwen/Qwen3-32B-AWQ": "qwen3-32b",
    "microsoft/Phi-3-mini-4k-instruct": "phi-3-mini",
    "microsoft/Phi-3-mini-128k-instruct": "phi-3-mini-128k",
    "unsloth/phi-4-bnb-4bit": "phi-4",
    "microsoft/phi-2": "phi-2",
    "deepseek-ai/DeepSeek-R1": "deepseek-v3",
    "deepseek-ai/DeepSeek-V3-Base": "deepseek-v3",
    "tiiuae/falcon-7b-instruct": "falcon-7b",
    "tiiuae/falcon-40b-instruct": "falcon-40b",
    "openai-community/gpt2-xl": "gpt2-xl",
    "GPT-2 XL": "gpt2-xl",
    "openai/gpt-oss-20b": "gpt-oss-20b",
    "unsloth/gpt-oss-20b-unsloth-bnb-4bit": "gpt-oss-20b",
    "EleutherAI/pythia-6.9b": "pythia-6.9b",
    "bigscience/bloom-7b1": "bloom-7b1",
    "facebook/opt-6.7b": "opt-6.7b",
    "ibm-granite/granite-3.3-8b-base": "granite-3.3-8b",
    "allenai/OLMo-2-1124-7B-Instruct": "olmo-2-7b",
    "HuggingFaceTB/SmolLM2-135M-Instruct": "smollm2-135m",
    "mosaicml/mpt-7b-chat": "mpt-7b",
    "THUDM/glm-4-9b-chat-hf": "glm-4-9b",
    "google-bert/bert-base-uncased": "bert-base-uncased",
    "openai/whisper-large-v3": "whisper-large-v3",
    "google/vit-base-patch16-224": "vit-base-patch16-224",
}

REFUSED = (
    *("someone/Llama-3.2-1B-Vision", "someone/Llama-3-8B-Distill", "gemma-2-9b-vision", "mistralai/Mistral-7B-v0.9", "llama-3-9b"),
    *(
        "cohere/command-r-08-2031",
        "glm-4-9b-moe",
        "llama",
        "instruct",
        "4bit",
        "7b-moe",
        "gpt2-xxl",
        "google/pegasus-base",
        "whisper-large-v9",
    ),
    *("", "-", "/", "a/b/c", "../../secrets", "llama-3-8b/", "/llama-3-8b", "x" * 10**4, "-instruct", "it/it"),
)


@pytest.mark.parametrize(("name", "model_id"), NAMES.items())
def test_a_name_of_the_hub_means_its_shape(name: str, model_id: str) -> None:
    named = model_named(name)
    assert named.model_id.startswith(model_id)  # a release or a length of its own may be shipped beside it
    assert model_entry(named.model_id).published_params == model_entry(model_id).published_params


@pytest.mark.parametrize("name", NAMES)
def test_case_and_separators_do_not_matter(name: str) -> None:
    wanted = model_named(name).model_id
    owner, _, base = name.rpartition("/")
    spelt = (base.upper(), base.lower(), base.replace("-", "_"), f"  {name} ", f"someone/{base}")
    if name not in model_aliases():
        for other in spelt[1:2] if "_" in base else spelt:
            assert model_named(other).model_id == wanted, (owner, other)


@pytest.mark.parametrize("name", REFUSED, ids=lambda name: name[:20] or "nothing")
def test_a_word_that_changes_the_shape_is_never_dropped(name: str) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown model .*list models --match TEXT; another's: --fetch .* --config FILE") as caught:
        model_named(name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_what_to_download_is_named_in_full() -> None:
    with pytest.raises(UnknownNameError, match=r"`hf download somebody/new-thing config\.json` and --config FILE"):
        model_named("somebody/new-thing")


@pytest.mark.parametrize("model_id", model_ids())
def test_an_id_is_itself_and_needs_no_remark(model_id: str) -> None:
    for text in (model_id, model_id.upper()):
        named = model_named(text)
        assert (named.model_id, named.said, dict(named.changes)) == (model_id, "", {})


def test_every_alias_leads_where_the_registry_says() -> None:
    for alias, model_id in model_aliases().items():
        assert model_named(alias).model_id == model_id


def test_another_name_of_a_shape_is_said_and_another_spelling_is_not() -> None:
    assert model_named("deepseek-r1").said == "deepseek-r1, the shape of deepseek-v3"
    assert model_named("meta-llama/Llama-2-7b-hf").said == ""
    assert ", the shape of llama-2-13b, weights as its GPTQ files usually hold them" in model_named("a/Llama-2-13B-chat-GPTQ").said


# The fields as AutoGPTQ, AutoAWQ, bitsandbytes and transformers write them into a checkpoint's config.json.
@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("x/llama-2-7b-GPTQ", {"quant_method": "gptq", "bits": 4, "group_size": 128}),
        ("x/llama-2-7b-GPTQ-Int8", {"quant_method": "gptq", "bits": 8, "group_size": 128}),
        ("x/llama-2-7b-AWQ", {"quant_method": "awq", "bits": 4, "group_size": 128}),
        ("x/llama-2-7b-FP8", {"quant_method": "fp8"}),
        ("x/llama-2-7b-bnb-8bit", {"quant_method": "bitsandbytes", "load_in_8bit": True}),
        ("nvidia/llama-2-7b-FP4", {"quant_method": "modelopt", "quant_algo": "NVFP4"}),
        ("nvidia/llama-2-7b-NVFP4", {"quant_method": "modelopt", "quant_algo": "NVFP4"}),
    ],
)
def test_the_format_of_the_weights_is_taken_over(name: str, written: dict[str, object]) -> None:
    assert entry_named(name).config["quantization_config"] == written


# llm-compressor's schemes W4A16 and W8A8: int4 in groups of 128 with a 16-bit scale, int8 with one for each output.
@pytest.mark.parametrize(("name", "bits"), [("x/llama-2-7b-quantized.w4a16", 4 + 16 / 128), ("x/llama-2-7b-quantized.w8a8", 8 + 16 / 4096)])
def test_integers_of_llm_compressor_take_their_bits_and_their_scales(name: str, bits: float) -> None:
    entry = entry_named(name)
    model = model_from_config(entry.config, entry.id)
    assert isinstance(model, Decoder)
    held = model.stored
    assert held is not None
    assert held.matrix is not None
    assert held.matrix.num_bytes(4096, 4096) == 4096 * 4096 * bits / 8


def test_nf4_is_half_a_byte_a_weight_and_gguf_is_not_counted() -> None:
    assert entry_named("unsloth/llama-3-8b-bnb-4bit").config["quantization_config"]["load_in_4bit"] is True
    assert "quantization_config" not in entry_named("x/llama-3-8b-GGUF").config
    assert "not counted" in model_named("x/llama-3-8b-GGUF").said


def test_a_length_in_the_name_is_the_longest_sequence() -> None:
    assert entry_named("microsoft/Phi-3-mini-128k-instruct").config["max_position_embeddings"] == 131_072
    assert entry_named("togethercomputer/LLaMA-2-7B-32K").config["max_position_embeddings"] == 32_768
    assert entry_named("phi-3-mini").config["max_position_embeddings"] == 4_096
