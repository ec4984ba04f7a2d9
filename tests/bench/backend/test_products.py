"""Operators that multiply many numbers with many are counted or named, and no others are named."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from bench.backend.counting import products
from bench.backend.counting.module import count
from bench.backend.counting.products import NO_PRODUCTS, hides_products
from bench.backend.counting.training_pass import count_pass
from tests.support.functions_as_networks import Applies

M, K, N = 32, 64, 16
INT8 = torch.ones(K, N, dtype=torch.int8)


def int4(x: torch.Tensor) -> Any:
    packed = torch._convert_weight_to_int4pack_for_cpu(torch.zeros(N, K, dtype=torch.int32), 1)
    return torch._weight_int4pack_mm_for_cpu(x.bfloat16(), packed, 32, torch.ones(K // 32, N, 2, dtype=torch.bfloat16))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch._int_mm(x.to(torch.int8), INT8),
        lambda x: torch._weight_int8pack_mm(x.bfloat16(), INT8.t().contiguous(), torch.ones(N, dtype=torch.bfloat16)),
        int4,
        lambda x: torch.zeros(M, N).addmm_(x, torch.ones(K, N)),
        lambda x: torch.zeros(1, M, N).baddbmm_(x[None], torch.ones(1, K, N)),
    ],
    ids=["int8", "weights of int8", "weights of int4", "added in place", "batch added in place"],
)
def test_a_product_of_packed_numbers_or_in_place_is_counted(function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """32 x 64 times 64 x 16 by hand: 65,536."""
    said = count(Applies(function), torch.randn(M, K), backward=False, fvcore=False)
    assert (said.forward_flop, said.unseen) == (2 * M * K * N, ()) == (65_536, ())


def test_groups_of_a_product_are_counted_forward_and_backward() -> None:
    """Rows in groups times a matrix a group: 2·m·k·n forward, as much for the rows' and for the matrices' gradient."""

    class Grouped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(2, K, N, dtype=torch.bfloat16))

        def forward(self, x: torch.Tensor, ends: torch.Tensor) -> Any:
            return torch._grouped_mm(x, self.w, offs=ends)

    said = count_pass(Grouped(), (torch.zeros(M, K, dtype=torch.bfloat16), torch.tensor([8, M], dtype=torch.int32)), {})
    assert (said.forward_flop, said.backward_flop, said.unseen) == (65_536, 65_536, ())


@pytest.mark.parametrize(
    ("function", "operator"),
    [
        (lambda x: torch.sparse.mm(x.to_sparse(), x), "aten::_sparse_addmm"),
        (
            lambda x: nn.functional.affine_grid(x[:1, :4].reshape(1, 2, 2).repeat(1, 1, 2)[:, :, :3], [1, 1, 4, 4]),
            "aten::affine_grid_generator",
        ),
        (lambda x: torch.ops.aten._scaled_mm_v2(*_scaled(x)), "aten::_scaled_mm_v2"),
    ],
)
def test_what_no_formula_is_sure_of_is_named(function: Any, operator: str) -> None:
    said = count(Applies(function), torch.eye(16), backward=False, fvcore=False)
    assert operator in [unseen.name for unseen in said.unseen]


def _scaled(x: torch.Tensor) -> tuple[Any, ...]:
    a, one = x.to(torch.float8_e4m3fn), torch.ones(1, device=x.device)
    return (a, a.t(), [one], [0], [0], [one], [0], [0], None, torch.bfloat16)


MULTIPLIES = re.compile(
    r"(^|_|add|baddb|b|h|sspadd)mm(_|$)|matmul|linear(?!ly)|(^|_|n)conv(?!ert)|attention|rnn_|lstm|gru_|cdist|fft_[cr]2|solve|(^|_)dot"
    r"|cholesky|householder|linalg_(inv|qr|svd|eig|det|lu|ldl|matrix|pinv)|trilinear$"
)
"""What a name says by itself of an operator that multiplies matrices."""

NOT_BY_THEIR_NAME = {"upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d", "_upsample_bilinear2d_aa"}


def test_nothing_that_is_taken_for_harmless_is_a_product_by_its_name() -> None:
    assert {name for name in NO_PRODUCTS if MULTIPLIES.search(name)} - NOT_BY_THEIR_NAME == set()


def aten() -> list[Any]:
    names = {schema.name.removeprefix("aten::") for schema in torch._C._jit_get_all_schemas() if schema.name.startswith("aten::")}
    packets = [getattr(torch.ops.aten, name) for name in sorted(names)]
    found = []
    for packet in packets:
        for overload in packet.overloads():
            try:
                found.append(getattr(packet, overload))
            except (AttributeError, RuntimeError):  # of TorchScript alone
                continue
    return [op for op in found if isinstance(op, torch._ops.OpOverload)]


def test_every_name_in_the_list_is_an_operator_of_this_torch_or_of_a_later_one() -> None:
    known = {op._schema.name.removeprefix("aten::").removesuffix("_") for op in aten()}
    known |= {name.removesuffix("_data").removesuffix("_backward") for name in known}
    assert len(NO_PRODUCTS - known) <= 0.1 * len(NO_PRODUCTS), NO_PRODUCTS - known


def test_every_operator_whose_name_says_that_it_multiplies_is_counted_or_named() -> None:
    def is_quiet(op: Any) -> bool:
        return not products.has_formula(op) and not hides_products(op)

    quiet = {op._schema.name.removeprefix("aten::") for op in aten() if is_quiet(op)}
    by_name = {name for name in quiet if MULTIPLIES.search(name.removesuffix("_backward"))}
    moved = {name for name in by_name if re.search(r"upsample|resolve_|_use_cudnn", name)}
    assert by_name - moved - NOT_BY_THEIR_NAME == set()


def test_a_table_that_holds_everything_harmless_names_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: what the two tests above would see."""
    monkeypatch.setattr(products, "_is_without_products", lambda name: True)
    assert not hides_products(torch.ops.aten._cdist_forward.default)


HARMLESS: list[nn.Module] = [
    *(nn.ReLU(), nn.GELU(), nn.SiLU(), nn.Hardswish(), nn.Mish(), nn.ELU(), nn.CELU(), nn.PReLU(), nn.RReLU(), nn.Softplus(), nn.GLU()),
    *(nn.Softmax(-1), nn.LogSoftmax(-1), nn.Dropout(0.5), nn.Dropout2d(0.5), nn.AlphaDropout(0.5), nn.Hardtanh(), nn.Softshrink()),
    *(nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.LayerNorm(8), nn.RMSNorm(8), nn.LocalResponseNorm(2)),
    *(nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(2), nn.AdaptiveMaxPool2d(2), nn.LPPool2d(2, 2), nn.FractionalMaxPool2d(2, 4)),
    *(nn.Upsample(scale_factor=2), nn.Upsample(scale_factor=2, mode="bilinear"), nn.Upsample(scale_factor=2, mode="bicubic")),
    *(nn.ReflectionPad2d(1), nn.ReplicationPad2d(1), nn.CircularPad2d(1), nn.ZeroPad2d(1), nn.PixelShuffle(2), nn.PixelUnshuffle(2)),
    *(nn.ChannelShuffle(2), nn.Unfold(2), nn.Flatten(), nn.Conv2d(4, 4, 3), nn.ConvTranspose2d(4, 4, 3), nn.Conv2d(4, 4, 3, groups=4)),
]


@pytest.mark.parametrize("layer", HARMLESS, ids=lambda layer: repr(layer)[:40])
def test_a_layer_without_products_of_its_own_is_never_named(layer: nn.Module) -> None:
    assert count_pass(nn.Sequential(nn.Conv2d(4, 4, 1), layer), (torch.randn(2, 4, 8, 8),), {}).unseen == ()


FUNCTIONS: dict[str, Callable[[torch.Tensor], Any]] = {
    "sorts": lambda x: x.sort()[0] + x.cumsum(0) + x.cummax(0)[0] + x.logcumsumexp(0) + x.flip(0).roll(1) + x.topk(4)[0].repeat(1, 2),
    "reduces": lambda x: (
        x.std() + x.var(0).sum() + x.norm() + x.amax() + x.median() + x.logsumexp(0).mean() + torch.dist(x, x.detach() + 1)
    ),
    "indexes": lambda x: x[[1, 0]].index_add(0, torch.tensor([0]), x[:1]) + x.gather(0, torch.zeros(2, 8, dtype=torch.long)),
    "scatters": lambda x: torch.zeros(4, 8).scatter_add(0, torch.zeros(4, 8, dtype=torch.long), x).masked_fill(torch.eye(4, 8) > 0, 1.0),
    "cuts": lambda x: torch.cat([*x.tril().chunk(2), x.triu()]).unfold(0, 2, 1).sum() + torch.stack([x, x]).unbind()[0].diagonal().sum(),
    "losses": lambda x: (
        nn.functional.cross_entropy(x, torch.tensor([0, 1, 2, 3]))
        + nn.functional.mse_loss(x, torch.zeros(4, 8))
        + nn.functional.huber_loss(x, torch.zeros(4, 8))
        + nn.functional.kl_div(x, torch.ones(4, 8))
        + nn.functional.binary_cross_entropy_with_logits(x, torch.ones(4, 8))
        + nn.functional.multi_margin_loss(x, torch.tensor([0, 1, 2, 3]))
    ),
    "looks up": lambda x: x.sum() + nn.functional.embedding_bag(torch.zeros(2, 3, dtype=torch.long), x).sum(),
    "samples": lambda x: nn.functional.grid_sample(x.reshape(1, 1, 4, 8), torch.zeros(1, 2, 2, 2), align_corners=False),
    "draws": lambda x: x * torch.rand_like(x) + torch.bernoulli(torch.ones(4, 8)) + nn.functional.gumbel_softmax(x),
    "casts": lambda x: x.half().float() + x.double().float() + torch.complex(x, x).real + x.clamp(0, 1).lerp(x, 0.5),
    "ctc": lambda x: nn.functional.ctc_loss(
        x.reshape(4, 1, 8).log_softmax(-1), torch.tensor([[1, 2]]), torch.tensor([4]), torch.tensor([2])
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_without_products_are_never_named_forward_or_backward(name: str) -> None:
    said = count_pass(nn.Sequential(nn.Linear(8, 8), Applies(FUNCTIONS[name])), (torch.randn(4, 8),), {})
    assert said.unseen == ()
    assert said.forward_flop == 2 * 4 * 8 * 8
