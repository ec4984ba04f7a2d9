"""What a class makes while it is built on meta: its constants are known in every pass, nothing of it lies elsewhere."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from bench.backend.config_fields import first_integer, integer
from bench.backend.counting.made_inputs import MadeInputs
from bench.backend.counting.module import count
from bench.backend.models import hf_config
from bench.backend.on_meta import on_meta


class Switched(nn.Module):
    """Multiplies as often as its own constants say: three times by the first, and by the second where a share is above 0."""

    def __init__(self) -> None:
        super().__init__()
        self.times = nn.Buffer(torch.tensor(5) - 2, persistent=False)
        self.shares = nn.Buffer(torch.ones(2))
        self.first, self.second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(int(self.times)):
            x = self.first(x)
        return self.second(x) if self.shares[1] > 0 else x


def test_constants_of_a_module_are_known_where_it_counts() -> None:
    """Four products of 2 x 4 by 4 x 4, at two FLOP each."""
    module = on_meta(Switched)
    assert module.times.is_meta
    for _ in range(2):
        assert count(module, torch.ones(2, 4), fvcore=False).forward_flop == 4 * 2 * 2 * 16


def test_weights_are_no_constants() -> None:
    class Asks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ x.T if self.weight.sum() > 0 else x

    with pytest.raises(Exception, match="meta"):
        count(on_meta(Asks), torch.ones(2, 4, device="meta"), fvcore=False)


def test_what_asks_for_no_device_is_on_meta_too_and_tied_as_before() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.Tensor(4).fill_(1.0))
            self.again = self.scale

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.scale + self.again

    module = on_meta(Scaled)
    assert module.scale.is_meta
    assert module.scale is module.again
    assert count(module, torch.ones(2, 4), fvcore=False).backward_flop == 0


class OfLayers:
    """A configuration that refuses to say what each layer has its own value of, as transformers' do."""

    per_layer_config = (SimpleNamespace(num_key_value_heads=2), SimpleNamespace(num_key_value_heads=8), SimpleNamespace())

    @property
    def num_key_value_heads(self) -> int:
        raise RuntimeError("'num_key_value_heads' is a per-layer attribute and may vary across layers")


def test_of_what_layers_differ_in_the_largest_is_read() -> None:
    assert integer(OfLayers(), "num_key_value_heads", "num_attention_heads") == 8
    assert first_integer(SimpleNamespace(a=0, text_config=SimpleNamespace(a=[3, 4])), "a") == 3
    assert integer(SimpleNamespace(a=True, b="4"), "a", "b", "c") == 0


ENCODEC = {"model_type": "encodec", "num_filters": 2, "hidden_size": 4, "upsampling_ratios": [8, 8, 8], "codebook_size": 8}
BLENDERBOT = {"model_type": "blenderbot", "d_model": 16, "encoder_layers": 1, "decoder_layers": 3, "vocab_size": 40}
BLENDERBOT |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}


@pytest.mark.parametrize(
    ("config", "auto", "shapes"),
    [
        (ENCODEC, "AutoModel", {"input_values": (1, 1, 24000)}),
        (BLENDERBOT, "AutoModelForCausalLM", {"input_ids": (1, 7)}),
        (
            {
                "model_type": "blip_2_qformer",
                "hidden_size": 16,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "encoder_hidden_size": 24,
            },
            "AutoModel",
            {"query_embeds": (1, 32, 16), "encoder_hidden_states": (1, 32, 24)},
        ),
    ],
    ids=["one channel", "a cache of another depth", "two widths"],
)
def test_inputs_have_the_shapes_that_the_configuration_says(config: dict[str, Any], auto: str, shapes: dict[str, Any]) -> None:
    given = MadeInputs(on_meta(lambda: getattr(transformers, auto).from_config(hf_config(config)))).of(1, 7)
    assert {name: tuple(given[name].shape) for name in shapes} == shapes


def test_a_part_that_has_itself_for_a_part_is_read_once_in_a_while() -> None:
    around = SimpleNamespace(hidden_size=0)
    around.decoder_config = around
    assert first_integer(around, "hidden_size") == 0
