"""count(module, example_inputs) on networks of all kinds: right by hand, or it names what it could not see."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from bench.backend.counting.module import count
from estimators.errors import BadValueError
from tests.support.functions_as_networks import Applies


def test_a_plain_convolution_net_by_hand() -> None:
    """Conv 3->8, 3x3, on 10x10 without padding: 64 positions; linear 512->10. Two images."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10))
    said = count(net, torch.randn(2, 3, 10, 10))
    convolution, linear = 2 * 2 * 64 * 8 * 3 * 9, 2 * 2 * 512 * 10
    assert said.forward_flop == convolution + linear
    assert said.backward_flop == convolution + 2 * linear
    assert said.params == 8 * 27 + 8 + 5120 + 10
    assert said.fvcore_forward_flop == said.forward_flop
    assert said.by_module["0"] == (8 * 27 + 8, convolution, convolution)
    assert said.by_module["3"] == (5130, linear, 2 * linear)
    assert said.by_module[""] == (said.params, said.forward_flop, said.backward_flop)
    assert said.counted_on == "meta"
    assert said.unseen == ()


def test_a_grouped_convolution_has_a_backward_of_twice_its_forward() -> None:
    """Depthwise, 4 channels, 3x3, 4x4 positions: 2·16·4·9 forward; torch 2.13's own formula gives another figure."""
    net = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, padding=1, groups=4))
    said = count(net, torch.randn(1, 4, 4, 4))
    pointwise, depthwise = 2 * 16 * 4 * 4, 2 * 16 * 4 * 9
    assert said.forward_flop == pointwise + depthwise
    assert said.backward_flop == pointwise + 2 * depthwise


def test_an_lstm_by_hand() -> None:
    """One layer, 5 steps, batch 2, 3 -> 4: per step 2·2·(3 + 4)·16."""

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(3, 4, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.lstm(x)[0]

    said = count(Last(), torch.randn(2, 5, 3))
    assert said.forward_flop == 5 * 2 * 2 * (3 + 4) * 16
    assert said.unseen == ()


@pytest.mark.parametrize("training", [True, False])
def test_a_transformer_with_fused_attention_by_hand(training: bool) -> None:
    """Encoder layer, T 6, D 8, F 16, batch 2: projections 4·D², attention 2·T·D a token, feed-forward 2·D·F; times 2."""
    net = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0).train(training)
    said = count(net, torch.randn(2, 6, 8))
    tokens = 12
    assert said.forward_flop == 2 * tokens * (4 * 64 + 2 * 6 * 8 + 2 * 8 * 16)
    assert said.unseen == ()


def test_fused_attention_on_real_cpu_tensors_is_counted_though_torch_counts_nothing() -> None:
    class Attend(nn.Module):
        def forward(self, q: torch.Tensor) -> torch.Tensor:
            assert not q.is_meta, "this network refuses meta"
            return nn.functional.scaled_dot_product_attention(q, q, q)

    q = torch.randn(1, 2, 6, 4, requires_grad=True)
    said = count(_RefusesMeta(Attend()), q)
    assert said.counted_on == "cpu"
    assert said.forward_flop == 2 * 2 * 6 * 6 * 8
    assert said.backward_flop == 2 * said.forward_flop


class _RefusesMeta(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, q: torch.Tensor) -> torch.Tensor:
        if q.is_meta:
            raise NotImplementedError
        out: torch.Tensor = self.inner(q)
        return out


@torch.library.custom_op("sixnd_test::secret_product", mutates_args=())
def secret_product(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return x @ w


@secret_product.register_fake
def _(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return x.new_empty(x.shape[0], w.shape[1])


def test_a_custom_operator_is_named_with_its_share_and_never_silently_zero() -> None:
    class Custom(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(4, 4))
            self.fc = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return secret_product(self.fc(x), self.w)

    said = count(Custom(), torch.randn(3, 4))
    assert [unseen.name for unseen in said.unseen] == ["sixnd_test::secret_product"]
    assert said.unseen[0].num_calls == 1
    assert 0 < said.unseen[0].output_share_fraction < 1
    assert said.forward_flop == 2 * 3 * 4 * 4
    # it has no gradient, so there is no backward pass to count
    assert said.backward_flop is None
    assert said.by_module["fc"] == (4 * 4 + 4, 2 * 3 * 4 * 4, None)
    assert "no autograd formula was registered" in said.backward_reason
    assert said.counted_on == "meta"


def test_matrix_vector_products_count() -> None:
    class Raw(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(7))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.w

    assert count(Raw(), torch.randn(5, 7)).forward_flop == 2 * 5 * 7


def test_tied_weights_count_once_and_frozen_ones_are_told_apart() -> None:
    net = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    net[1].weight = net[0].weight
    assert count(net, torch.randn(1, 4)).params == 16
    net[0].weight.requires_grad_(False)
    said = count(net, torch.randn(1, 4))
    assert said.trainable_params == 0
    assert said.backward_flop is None
    assert said.backward_reason == "nothing needs a gradient"
    net[0].weight.requires_grad_(True)
    assert count(net, torch.randn(1, 4), backward=False).backward_reason == "not asked for"
    assert count(net, torch.randn(1, 4)).backward_reason == ""


def test_the_network_keeps_its_weights_mode_and_gradients() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).train()
    before = net[0].weight.detach().clone()
    count(net, torch.randn(2, 4))
    assert torch.equal(before, net[0].weight)
    assert net.training
    assert net[0].weight.grad is None


def test_keyword_inputs_are_passed_by_name() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 2)

        def forward(self, *, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc(x)
            return out

    said = count(Named(), {"x": torch.randn(3, 4)})
    assert said.forward_flop == 2 * 3 * 4 * 2
    assert said.fvcore_reason == "fvcore takes positional tensors only"


def test_inputs_of_the_wrong_shape_are_one_line() -> None:
    with pytest.raises(BadValueError, match="Linear does not run on these inputs") as caught:
        count(nn.Linear(4, 2), torch.randn(3, 5))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("function", "operator"),
    [
        (lambda x: torch.cdist(x, x), "aten::_cdist_forward"),
        (lambda x: torch.cdist(x.repeat(9, 1), x.repeat(9, 1)), "aten::_euclidean_dist"),  # from 26 rows on another operator
        (nn.functional.pdist, "aten::_pdist_forward"),
        (lambda x: torch.fft.rfft(x).real, "aten::_fft_r2c"),
        (torch.linalg.inv, "aten::linalg_inv_ex"),
        (lambda x: torch.linalg.solve(x, x), "aten::_linalg_solve_ex"),
        (lambda x: torch.linalg.svd(x)[1], "aten::_linalg_svd"),
        (lambda x: torch.linalg.cholesky(x), "aten::linalg_cholesky_ex"),
        (lambda x: torch.linalg.matrix_exp(x), "aten::linalg_matrix_exp"),
        (lambda x: nn.functional.bilinear(x, x, torch.zeros(3, 5, 5, device=x.device)), "aten::_trilinear"),
    ],
)
def test_an_operator_that_multiplies_and_is_not_counted_is_named(function: Callable[[torch.Tensor], torch.Tensor], operator: str) -> None:
    said = count(Applies(function), torch.eye(5), backward=False, fvcore=False)
    assert [unseen.name for unseen in said.unseen] == [operator]


@pytest.mark.parametrize(
    "function", [torch.relu, lambda x: torch.cumsum(x, 0), lambda x: torch.linalg.vector_norm(x, dim=1), lambda x: x @ x]
)
def test_an_operator_that_is_counted_or_multiplies_nothing_is_not_named(function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    assert count(Applies(function), torch.eye(5), backward=False, fvcore=False).unseen == ()
