"""sixnd.count on networks of torch.nn, torchvision, timm and diffusers: as many FLOP as a dispatcher sees that knows shapes alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import sixnd
from tests.support.products_seen import seen

Made = tuple[nn.Module, tuple[Any, ...], dict[str, Any]]


def _sequence(width: int = 8, length: int = 5) -> torch.Tensor:
    return torch.ones(2, length, width)


def _image(side: int = 12, channels: int = 3) -> torch.Tensor:
    return torch.ones(1, channels, side, side)


def _of_torch() -> dict[str, Callable[[], Made]]:
    layer = {"d_model": 8, "nhead": 2, "dim_feedforward": 12, "dropout": 0.0, "batch_first": True}
    return {
        "Linear": lambda: (nn.Linear(8, 5), (_sequence(),), {}),
        "without a bias": lambda: (nn.Linear(8, 5, bias=False), (torch.ones(8),), {}),
        "Conv1d": lambda: (nn.Conv1d(4, 6, 3, padding=1), (torch.ones(2, 4, 9),), {}),
        "Conv2d": lambda: (nn.Conv2d(3, 6, 3, stride=2), (_image(),), {}),
        "Conv2d, groups": lambda: (nn.Conv2d(6, 6, 3, groups=6, dilation=2), (_image(channels=6),), {}),
        "Conv3d": lambda: (nn.Conv3d(2, 3, 2), (torch.ones(1, 2, 4, 5, 6),), {}),
        "ConvTranspose1d": lambda: (nn.ConvTranspose1d(4, 6, 3, stride=2), (torch.ones(2, 4, 9),), {}),
        "ConvTranspose2d, groups": lambda: (nn.ConvTranspose2d(4, 6, 3, groups=2), (_image(channels=4),), {}),
        "LSTM": lambda: (nn.LSTM(8, 6, num_layers=2, bidirectional=True, batch_first=True), (_sequence(),), {}),
        "LSTM, projected": lambda: (nn.LSTM(8, 6, proj_size=3, batch_first=True), (_sequence(),), {}),
        "LSTMCell": lambda: (nn.LSTMCell(8, 6), (torch.ones(2, 8),), {}),
        "GRU": lambda: (nn.GRU(8, 6, batch_first=True), (_sequence(),), {}),
        "RNN": lambda: (nn.RNN(8, 6, batch_first=True), (_sequence(),), {}),
        "MultiheadAttention": lambda: (nn.MultiheadAttention(8, 2, batch_first=True), (_sequence(),) * 3, {}),
        "TransformerEncoderLayer": lambda: (nn.TransformerEncoderLayer(**layer).eval(), (_sequence(),), {}),
        "TransformerDecoderLayer": lambda: (nn.TransformerDecoderLayer(**layer), (_sequence(), _sequence(length=7)), {}),
        "Transformer": lambda: (
            nn.Transformer(8, 2, 1, 1, 12, dropout=0.0, batch_first=True),
            (_sequence(length=7), _sequence()),
            {},
        ),
        "Embedding and Linear": lambda: (nn.Sequential(nn.Embedding(9, 8), nn.Linear(8, 9)), (torch.ones(2, 5, dtype=torch.long),), {}),
        "norms": lambda: (nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.ReLU()), (_image(),), {}),
        "pools": lambda: (
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)),
            (_image(),),
            {},
        ),
    }


def _of_torchvision() -> dict[str, Callable[[], Made]]:
    names = (
        "resnet18",
        "efficientnet_b0",
        "vit_b_32",
        "swin_t",
        "convnext_tiny",
        "mobilenet_v3_small",
        "densenet121",
        "shufflenet_v2_x0_5",
    )
    return {
        name: lambda name=name: (_library("torchvision.models").get_model(name).eval(), (_image(224 if "v" in name else 96),), {})
        for name in names
    }


def _of_timm() -> dict[str, Callable[[], Made]]:
    names = (
        "mobilevitv2_050",
        "eva02_tiny_patch14_224",
        "mobilenetv4_conv_small",
        "maxvit_rmlp_pico_rw_256",
        "levit_128s",
        "mixer_s32_224",
    )
    return {name: lambda name=name: _timm(name) for name in names}


def _timm(name: str) -> Made:
    model = _library("timm").create_model(name, pretrained=False).eval()
    return model, (_image(model.default_cfg["input_size"][-1]),), {}


def _of_diffusers() -> dict[str, Callable[[], Made]]:
    time, text = torch.ones(1, dtype=torch.long), torch.ones(1, 7, 16)
    unet = {"sample_size": 8, "block_out_channels": (16, 32), "cross_attention_dim": 16, "attention_head_dim": 8, "norm_num_groups": 8}
    unet |= {"down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D")}
    heads = {"num_layers": 1, "attention_head_dim": 8, "num_attention_heads": 2}
    vae = {"block_out_channels": (16, 32), "norm_num_groups": 8, "layers_per_block": 1}
    vae |= {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    dit = dict(sample_size=8, in_channels=4, patch_size=2, norm_type="ada_norm_zero", num_embeds_ada_norm=10, out_channels=8, **heads)
    sd3 = dict(sample_size=8, in_channels=4, joint_attention_dim=16, caption_projection_dim=16, pooled_projection_dim=16, **heads)

    def made(name: str, fields: dict[str, Any], *args: Any, **kwargs: Any) -> Callable[[], Made]:
        return lambda: (getattr(_library("diffusers"), name)(**fields).eval(), args, kwargs)

    return {
        "UNet2DCondition": made("UNet2DConditionModel", unet, _image(8, 4), time, text),
        "AutoencoderKL": made("AutoencoderKL", vae, _image(16)),
        "DiT": made("DiTTransformer2DModel", dit, hidden_states=_image(8, 4), timestep=time, class_labels=time),
        "SD3": made(
            "SD3Transformer2DModel",
            sd3,
            hidden_states=_image(8, 4),
            encoder_hidden_states=text,
            pooled_projections=torch.ones(1, 16),
            timestep=time,
        ),
        "AutoencoderTiny": made("AutoencoderTiny", {}, _image(16)),
        "UNet2D": made(
            "UNet2DModel",
            {
                "sample_size": 8,
                "block_out_channels": (16, 32),
                "norm_num_groups": 8,
                "attention_head_dim": 8,
                "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
                "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
            },
            _image(8),
            time,
        ),
    }


def _library(name: str) -> Any:
    return pytest.importorskip(name, exc_type=(ImportError, RuntimeError))


SMALL = _of_torch()
LARGE = {**_of_torchvision(), **_of_timm(), **_of_diffusers()}


def holds(make: Callable[[], Made]) -> None:
    module, args, kwargs = make()
    said = sixnd.count(module, kwargs or args)
    assert said.unseen_operators == []
    assert (said.forward_flop, said.backward_flop) == seen(module, args, kwargs)
    assert {t.device.type for t in (*module.parameters(), *module.buffers())} <= {"cpu"}


@pytest.mark.parametrize("name", SMALL)
def test_modules_of_torch_are_counted_as_their_shapes_say(name: str) -> None:
    holds(SMALL[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_networks_of_libraries_are_counted_as_their_shapes_say(name: str) -> None:
    holds(LARGE[name])


def test_there_are_forty() -> None:
    assert len(SMALL) + len(LARGE) == 40


def test_what_cannot_be_seen_is_named() -> None:
    """A bilinear form, a solved system, distances and a transform multiply in operators that no formula covers."""

    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.form = nn.Bilinear(8, 8, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            solved = torch.linalg.solve(torch.eye(2), self.form(x, x))
            return torch.cdist(solved, solved) + torch.fft.fft(solved).real.sum()

    named = {name.removeprefix("aten::") for name in sixnd.count(Hidden(), torch.ones(2, 8)).unseen_operators}
    assert named >= {"_trilinear", "_linalg_solve_ex", "_cdist_forward"}
    assert any(name.startswith("_fft") for name in named)


def test_a_count_that_misses_a_product_would_be_found() -> None:
    assert seen(nn.Linear(8, 5), (_sequence(),), {}) == (2 * 10 * 8 * 5, 2 * 10 * 8 * 5)
