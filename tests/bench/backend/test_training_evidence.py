"""`proof.params_changed`: every tensor that is trained changed, seen in a strided sample of each."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from bench.backend.training_evidence import MAX_SAMPLED_ELEMENTS, SampledParameters, _sample


class TwoLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 2)
        self.second = nn.Linear(2, 1)


def moved(model: nn.Module, *but: str) -> None:
    """Every parameter one larger, but those named."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name not in but:
                parameter += 1.0


def test_it_holds_where_every_trained_tensor_changed() -> None:
    model = TwoLayers()
    parameters = SampledParameters(model)
    assert not parameters.changed()
    moved(model)
    assert parameters.changed()


@pytest.mark.parametrize("left", ["first.weight", "first.bias", "second.bias"])
def test_one_tensor_that_stayed_is_found_and_named(left: str) -> None:
    model = TwoLayers()
    parameters = SampledParameters(model)
    moved(model, left)
    assert (parameters.changed(), parameters.unchanged()) == (False, (left,))


def test_a_frozen_tensor_need_not_change_also_where_it_is_frozen_later() -> None:
    model = TwoLayers()
    model.first.requires_grad_(False)
    parameters = SampledParameters(model)
    moved(model, "first.weight", "first.bias")
    model.second.requires_grad_(False)
    assert parameters.changed()


def test_a_model_that_trains_nothing_did_not_change() -> None:
    model = TwoLayers().requires_grad_(False)
    parameters = SampledParameters(model)
    moved(model)
    assert not parameters.changed()


def test_an_empty_shard_has_nothing_to_change() -> None:
    model = nn.ParameterDict({"here": torch.ones(3), "elsewhere": torch.ones(0)})
    parameters = SampledParameters(model)
    moved(model)
    assert parameters.changed()
    empty = SampledParameters(nn.ParameterDict({"elsewhere": torch.ones(0)}))
    assert not empty.changed()


@pytest.mark.parametrize("size", [1, MAX_SAMPLED_ELEMENTS, MAX_SAMPLED_ELEMENTS + 1, 2 * MAX_SAMPLED_ELEMENTS - 1, 10**6 + 7])
def test_a_sample_is_spread_over_the_tensor_and_has_no_more_than_4096_elements(size: int) -> None:
    sampled = _sample(torch.arange(size))
    stride = math.ceil(size / 4096)
    assert sampled.tolist() == list(range(0, size, stride))
    assert len(sampled) <= 4096


def test_a_parameter_that_is_no_number_is_found() -> None:
    model = TwoLayers()
    parameters = SampledParameters(model)
    assert parameters.finite()
    with torch.no_grad():
        model.second.weight[0, 1] = math.nan
    assert not parameters.finite()
