"""Frozen first layers against torch on the meta device, `==`."""

from __future__ import annotations

import dataclasses

import pytest

from bench.backend.counting import meta
from estimators.architectures.adapters import with_frozen_layers
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.errors import BadValueError
from estimators.facts.registry import model_entry
from estimators.spec import Workload
from tests.support.fine_tuned import (
    DEEPSEEK,
    DEEPSEEK_V4,
    FALCON_H1,
    FAMILY_MODELS,
    GPT2,
    GPT_OSS,
    JAMBA,
    LLAMA,
    MAMBA,
    MAMBA2,
    NEXT,
    OLMO2,
    PHI,
    QWEN_MOE,
    TRAIN,
    Config,
    Encoder,
    agree,
    freeze,
    shallow,
)

FROZEN = [
    LLAMA,
    LLAMA | {"tie_word_embeddings": True},
    GPT2,
    PHI,
    OLMO2,
    QWEN_MOE,
    GPT_OSS,
    DEEPSEEK,
    DEEPSEEK_V4,
    MAMBA,
    MAMBA2,
    JAMBA,
    FALCON_H1,
    NEXT,
]


@pytest.mark.parametrize("config", FROZEN, ids=lambda config: config["model_type"])
def test_frozen_first_layers_count_like_torch(config: Config) -> None:
    base = model_from_config(config, "base")
    assert isinstance(base, Decoder)
    for frozen in range(base.layers + 1 - base.tied):
        agree(with_frozen_layers(base, frozen), freeze(meta.meta_language_model(config), base, frozen), TRAIN)


@pytest.mark.parametrize("name", FAMILY_MODELS.values())
def test_a_published_model_of_every_family_with_its_first_layer_frozen_counts_like_torch(name: str) -> None:
    """Whether norms stand before or behind, and what runs in parallel, decides which gradients the second layer needs."""
    config = shallow(model_entry(name).config)
    base = model_from_config(config, name)
    assert isinstance(base, Decoder)
    agree(with_frozen_layers(base, 1), freeze(meta.meta_language_model(config), base, 1), TRAIN)


def test_a_layer_of_the_wrong_order_is_noticed() -> None:
    """GPT-OSS alternates windows and full attention: a stack of the same layers in another order has another first layer."""
    base = model_from_config(GPT_OSS, "base")
    assert isinstance(base, Decoder)
    module = freeze(meta.meta_language_model(GPT_OSS), base, 2)
    long = Workload(phase="train", batch=1, seq_len=30)
    agree(with_frozen_layers(base, 2), module, long)
    assert base.order == (0, 1, 0, 1)
    in_runs = dataclasses.replace(base, order=())
    assert with_frozen_layers(in_runs, 2).ops(long) != with_frozen_layers(base, 2).ops(long)


@pytest.mark.parametrize("layers", [-1, 4])
def test_more_frozen_layers_than_there_are_is_refused(layers: int) -> None:
    with pytest.raises(BadValueError, match="base has 3; expected from 0 to that"):
        with_frozen_layers(model_from_config(LLAMA, "base"), layers)
    with pytest.raises(BadValueError, match="frozen layers of an encoder"):
        with_frozen_layers(Encoder(), 0)


def test_layers_whose_weights_later_ones_share_are_not_frozen() -> None:
    # of Zamba2 2.7B the 7th layer is the first with a transformer, which the 19th runs again
    model = model_from_config(model_entry("zamba2-2.7b").config, "zamba2-2.7b")
    assert with_frozen_layers(model, 6).frozen_layers == 6
    with pytest.raises(BadValueError, match=r"later layers of zamba2-2.7b run with the weights of layer 7, .* expected at most 6"):
        with_frozen_layers(model, 7)
