"""Convolutions: what their loops multiply, and what torch's own counter has wrong of their backward."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench.backend.counting import meta
from estimators.architectures.convolution import after
from estimators.architectures.from_config import model_from_config
from estimators.architectures.rows import convolution
from estimators.counting.estimate import estimate
from estimators.facts.registry import model_entry
from estimators.spec import Case, Op, Workload


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "groups"),
    [(1, 1, 0, 1), (3, 1, 1, 1), (3, 2, 1, 3), (7, 2, 3, 1), (5, 3, 0, 6), (4, 4, 0, 2)],
)
def test_a_convolution_costs_what_its_loops_multiply(kernel: int, stride: int, padding: int, groups: int) -> None:
    """Written out: every output, every input channel of its group, every position under the filter."""
    size, c_in, c_out = (13, 10), 6, 12
    out = after(size, kernel=kernel, stride=stride, padding=padding)
    multiplied = sum(c_out * (c_in // groups) for _ in itertools.product(range(out[0]), range(out[1]), range(kernel), range(kernel)))
    op = convolution(
        Workload(batch=2),
        "",
        "c",
        "convolution",
        channels_in=c_in,
        channels_out=c_out,
        taps=kernel * kernel,
        in_positions=size[0] * size[1],
        out_positions=out[0] * out[1],
        groups=groups,
        bias=True,
    )
    assert op.flop == 2 * 2 * multiplied
    layer = torch.nn.Conv2d(c_in, c_out, kernel, stride=stride, padding=padding, groups=groups, device="meta")
    assert op.params == sum(p.numel() for p in layer.parameters())
    counter = meta.flop_counter()
    with counter:
        made = layer(torch.zeros(2, c_in, *size, device="meta", requires_grad=True))
        made.sum().backward()
    assert tuple(made.shape[2:]) == out
    assert op.flop + op.backward_flop == counter.get_total_flops()


def test_torchs_own_counter_has_the_backward_of_grouped_convolutions_wrong() -> None:
    """Why bench mends it: the weight's gradient of a depthwise filter over 8 channels is counted 8 times."""
    layer = torch.nn.Conv2d(8, 8, 3, padding=1, groups=8, device="meta")
    totals = []
    for counter in (FlopCounterMode(display=False), meta.flop_counter()):
        with counter:
            layer(torch.zeros(1, 8, 5, 5, device="meta", requires_grad=True)).sum().backward()
        totals.append(counter.get_total_flops())
    one = 2 * 25 * 8 * 9
    assert totals == [one + one + 8 * one, 3 * one]


def test_overlapping_filters_are_not_held_to_the_multiplications_of_the_plain_loop() -> None:
    """Lavin and Gray 2016: Winograd's 3 x 3 kernels multiply up to 4 times less; 1 x 1 filters and patches have nothing to save."""

    def made(taps: int, before: int, behind: int) -> Op:
        return convolution(
            Workload(), "", "c", "convolution", channels_in=4, channels_out=8, taps=taps, in_positions=before, out_positions=behind
        )

    three = made(9, 100, 100)
    assert three.flop - three.masked_flop == 2 * 100 * 4 * 8 < three.flop // 4
    assert made(1, 100, 100).masked_flop == made(1, 100, 25).masked_flop == made(16, 160, 10).masked_flop == 0


def counted_backward(counter: FlopCounterMode, net: nn.Module, x: torch.Tensor) -> tuple[int, int]:
    with counter:
        out = net(x)
    forward = counter.get_total_flops()
    with counter:
        out.sum().backward()
    return forward, counter.get_total_flops()


def test_a_grouped_convolutions_backward_is_mended() -> None:
    """6 channels, depthwise, filter 4, padded by 3 on both sides: 9 tokens give 12 positions, each 4 multiply-adds a channel.

    Forward 2·12·6·4 FLOP. The input's gradient puts every output position back through 4 taps, the weight's gradient
    multiplies every tap with 12 positions: each as many again. torch 2.13 by itself counts another figure.
    """
    net = nn.Conv1d(6, 6, 4, groups=6, padding=3, device="meta")
    x = torch.zeros(1, 6, 9, device="meta", requires_grad=True)
    by_hand = 2 * 12 * 6 * 4
    assert counted_backward(meta.flop_counter(), net, x) == (by_hand, 2 * by_hand)
    forward, unmended = counted_backward(FlopCounterMode(display=False), net, x)
    assert forward == by_hand
    assert unmended != 2 * by_hand


def test_without_the_mended_formula_mamba_would_not_agree() -> None:
    """The twin: torch's own counter is far above the op table's backward of Mamba."""
    config = dict(model_entry("mamba-130m").config) | {"num_hidden_layers": 4}
    module, ids = meta.meta_language_model(config), torch.zeros(1, 64, dtype=torch.long, device="meta")
    step = estimate(Case(model=model_from_config(config, "mamba"), workload=Workload(phase="train", seq_len=64)))
    counter = FlopCounterMode(display=False)
    with counter:
        logits = module(input_ids=ids).logits
    assert counter.get_total_flops() == step.forward_flop
    with counter:
        logits.sum().backward()
    assert counter.get_total_flops() > 1.2 * step.backward_flop
