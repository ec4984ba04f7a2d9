"""What a layer keeps in each way of fine-tuning is what torch's saved-tensor hook counts, to the byte."""

from __future__ import annotations

from typing import Any

import pytest

from estimators.architectures.from_config import model_from_config
from estimators.frozen import replace
from estimators.method import FULL, TrainingMethod
from estimators.tuning.activations import Activations, activations_of
from estimators.tuning.job import TuningJob
from estimators.tuning.recipes import recipe
from estimators.tuning.state import held_of
from estimators.tuning.weights import weights_of

TOKENS = 256
"""Of the one sequence that the hook was asked about."""

WIDTHS = {
    "vocab_size": 512,
    "hidden_size": 256,
    "intermediate_size": 704,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 1024,
    "tie_word_embeddings": False,
    "pad_token_id": 0,
}
LORA = TrainingMethod(rank=8, targets=("all-linear",))
QUERIES_AND_VALUES = {"llama": ("q_proj", "v_proj"), "qwen3": ("q_proj", "v_proj"), "phi3": ("qkv_proj",)}
COMPUTE = "torchtune"
"""A recipe whose adapters are of the dtype of compute."""


def job(model_type: str, layers: int, **changes: Any) -> TuningJob:
    config = WIDTHS | {"model_type": model_type, "num_hidden_layers": layers}
    model = model_from_config(config, "m")
    return TuningJob(**({"model": model, "recipe": recipe("transformers"), "seq_len": TOKENS, "method": LORA} | changes))


def per_token_and_layer(model_type: str, **changes: Any) -> float:
    """Bytes that one more layer keeps, per token; 16-bit copies of its fp32 weights among them."""
    kept = []
    for layers in (2, 3):
        one = job(model_type, layers, **changes)
        kept.append(activations_of(one, TOKENS).whole_bytes(rows=1) + held_of(one, weights_of(one)).copies_bytes)
    return (kept[1] - kept[0]) / TOKENS


@pytest.mark.parametrize(
    ("changes", "measured"),
    [
        ({"method": FULL}, {"llama": 11_288, "qwen3": 13_616, "phi3": 12_568}),
        ({"method": FULL, "weights_dtype": "fp32", "autocast": "bf16"}, {"llama": 19_608, "qwen3": 21_936, "phi3": 19_352}),
        ({}, {"llama": 17_016, "qwen3": 18_576, "phi3": 14_616}),
        ({"autocast": "bf16"}, {"llama": 12_716, "qwen3": 14_276, "phi3": 11_852}),
        ({"recipe": recipe(COMPUTE)}, {"llama": 10_376, "qwen3": 11_936, "phi3": 11_608}),
    ],
    ids=["full in bf16", "full in fp32 under autocast", "fp32 adapters", "fp32 adapters under autocast", "bf16 adapters"],
)
@pytest.mark.parametrize("model_type", ["llama", "qwen3", "phi3"])
def test_a_layer_keeps_what_torch_keeps(model_type: str, changes: dict[str, Any], measured: dict[str, int]) -> None:
    """torch.autograd.graph.saved_tensors_hooks on transformers 5.24 and peft 0.21, D = Q = 256, F = 704, K = 128, H = 4, r = 8."""
    assert per_token_and_layer(model_type, **changes) == measured[model_type]


@pytest.mark.parametrize(("model_type", "measured"), [("llama", 9_944), ("qwen3", 11_504), ("phi3", 9_656)])
def test_adapters_on_queries_and_values_keep_their_inputs_alone(model_type: str, measured: int) -> None:
    method = replace(LORA, targets=QUERIES_AND_VALUES[model_type])
    assert per_token_and_layer(model_type, method=method) == measured


@pytest.mark.parametrize(("model_type", "on_a_cpu"), [("llama", 25_976), ("qwen3", 27_536), ("phi3", 20_504)])
def test_dropout_keeps_a_mask_of_every_adapters_input(model_type: str, on_a_cpu: int) -> None:
    """A CPU's mask is of the input's dtype, 4 bytes here; a GPU's is of one byte."""
    without, dropped = (per_token_and_layer(model_type, lora_dropout=share) for share in (0.0, 0.1))
    assert (dropped - without) * 4 == on_a_cpu - without


@pytest.mark.parametrize(("recipe_id", "dtype", "stream"), [("trl", "bf16", 512), ("transformers", "bf16", 1024)])
def test_checkpointing_keeps_the_input_of_a_layer(recipe_id: str, dtype: str, stream: int) -> None:
    """2 bytes of D = 256, or 4 where fp32 norms beside a quantised base make the residual stream fp32."""
    method = replace(LORA, base_format="nf4")
    kept = [
        activations_of(job("llama", layers, method=method, recipe=recipe(recipe_id), checkpointing="full"), TOKENS) for layers in (2, 3)
    ]
    assert (kept[1].inputs_bytes(1) - kept[0].inputs_bytes(1)) / TOKENS == stream


def test_adapters_without_checkpointing_keep_more_than_training_all_of_it() -> None:
    assert per_token_and_layer("llama") > per_token_and_layer("llama", method=FULL)


def test_rows_of_a_pass_keep_as_much_each() -> None:
    kept: Activations = activations_of(job("llama", 2), TOKENS)
    assert kept.whole_bytes(6) - kept.whole_bytes(4) == 2 * (kept.whole_bytes(5) - kept.whole_bytes(4))


def test_layers_below_the_lowest_trained_one_keep_nothing() -> None:
    frozen = [activations_of(job("llama", 4, method=TrainingMethod(frozen_layers=n)), TOKENS).whole_bytes(1) for n in (1, 2, 3)]
    assert frozen[0] - frozen[1] == frozen[1] - frozen[2] > 0
