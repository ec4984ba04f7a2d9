"""Networks, batches and ranks: parameters by formula, every sample once however many ranks share it, one gradient."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard

from bench.runs.decide import decide
from bench.workloads.article.batches import Batch, Batches, Rows, loader
from bench.workloads.article.networks import build, run
from bench.workloads.article.run import ArticleRun
from bench.workloads.article.subjects import _squared_error
from bench.workloads.article.training import schedule_of
from estimators.errors import BadConfigError
from estimators.facts.registry import model_entry


@pytest.mark.parametrize("widths", [[1, 1], [56, 1], [7, 100, 1], [7, 100, 100, 1], [57, 32, 16, 2], [3, 4, 5, 6, 7]])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_dense_network_has_a_weight_per_pair_and_a_bias_per_output(widths: list[int], device: str) -> None:
    with torch.device(device):
        network = build({"model_type": "dense_network", "widths": widths, "activation": "relu"})
        outputs = run(network, torch.zeros(2, widths[0]))
    assert sum(p.numel() for p in network.parameters()) == sum(a * b + b for a, b in pairwise(widths))
    assert outputs.shape == (2, widths[-1])


def test_an_activation_stands_between_two_layers_and_none_after_the_last() -> None:
    kinds = [type(layer).__name__ for layer in build({"model_type": "dense_network", "widths": [7, 5, 5, 1], "activation": "sigmoid"})]
    assert kinds == ["Linear", "Sigmoid", "Linear", "Sigmoid", "Linear"]


def test_a_sum_of_sigmoids_is_the_articles_formula() -> None:
    # y = b + sum_i c_i · sigmoid(b_i + sum_j w_ij · x_j), with sigmoid(z) = 1 / (1 + e^-z)
    torch.manual_seed(0)
    network = build({"model_type": "dense_network", "widths": [3, 2, 1], "activation": "sigmoid"})
    inner, outer = network[0], network[2]
    x = torch.tensor([0.5, -1.0, 2.0])
    y = outer.bias[0]
    for i in range(2):
        z = inner.bias[i] + sum(inner.weight[i, j] * x[j] for j in range(3))
        y = y + outer.weight[0, i] / (1 + torch.exp(-z))
    assert run(network, x[None])[0, 0].item() == pytest.approx(y.item(), rel=1e-5)


def test_a_linear_regression_starts_from_zero_and_a_deep_network_does_not() -> None:
    assert all(not p.any() for p in build(model_entry("linreg-7d").config).parameters())
    assert all(p.any() for p in build(model_entry("mlp").config).parameters())


def test_the_small_gpt_is_transformers_own_and_predicts_over_its_vocabulary() -> None:
    network = build(model_entry("tiny-gpt").config)
    assert type(network).__name__ == "GPT2LMHeadModel"
    assert run(network, torch.zeros(2, 5, dtype=torch.long)).shape == (2, 5, 64)


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"model_type": "llama"}, "model_type 'llama' is not a network of the article"),
        (
            {"model_type": "dense_network", "widths": [2, 2, 1], "activation": "step"},
            "activation 'step' is unknown; expected one of: sigmoid",
        ),
    ],
)
def test_an_unknown_network_is_refused(config: dict[str, Any], match: str) -> None:
    with pytest.raises(BadConfigError, match=match):
        build(config)


def rows(count: int) -> Rows:
    return Rows(torch.arange(count, dtype=torch.float32)[:, None], torch.arange(count, dtype=torch.float32)[:, None] % 3)


def shards(batches: Batches, num_ranks: int) -> list[list[torch.Tensor]]:
    """What accelerate hands to each rank."""
    return [list(BatchSamplerShard(batches, num_ranks, rank, split_batches=True)) for rank in range(num_ranks)]


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 4])
@pytest.mark.parametrize(("count", "size"), [(10, 4), (12, 4), (7, 7), (9, 5), (5, 8), (1, 1)])
def test_in_order_every_sample_comes_exactly_once_over_all_ranks(count: int, size: int, num_ranks: int) -> None:
    seen: Counter[int] = Counter()
    for rank in shards(Batches(count, size, num_ranks, None), num_ranks):
        seen.update(int(i) for batch in rank for i in batch)
    seen.pop(count, None)  # the filler
    assert seen == Counter(range(count))


@pytest.mark.parametrize("num_ranks", [1, 2, 3])
@pytest.mark.parametrize(("count", "size"), [(10, 4), (12, 4), (9, 5)])
def test_shuffled_every_step_has_the_whole_batch_once_and_leftovers_wait_for_another_epoch(count: int, size: int, num_ranks: int) -> None:
    batches = Batches(count, size, num_ranks, torch.Generator().manual_seed(0))
    drawn: set[int] = set()
    for _ in range(20):
        orders = torch.Generator().manual_seed(7)
        parts = []
        for rank in range(num_ranks):
            orders.manual_seed(7)
            batches.shuffle = orders
            parts.append(list(BatchSamplerShard(batches, num_ranks, rank, split_batches=True)))
        assert len({len(part) for part in parts}) == 1, "a rank with fewer steps would let the others wait forever"
        for step in zip(*parts, strict=True):
            real = [int(i) for part in step for i in part if int(i) != count]
            assert len(real) == len(set(real)) == size
            assert len({len(part) for part in step}) == 1
            drawn |= set(real)
    assert len(parts[0]) == count // size == len(batches)


def test_another_epoch_has_another_order_and_another_seed_too() -> None:
    def orders(seed: int) -> list[list[int]]:
        batches = Batches(50, 50, 1, torch.Generator().manual_seed(seed))
        return [next(iter(batches)).tolist() for _ in range(2)]

    first, second = orders(0)
    assert first != second
    assert sorted(first) == sorted(second) == list(range(50))
    assert orders(0) == [first, second]
    assert orders(1)[0] != first


def test_a_loader_yields_samples_with_weight_one_and_fillers_with_weight_zero() -> None:
    (inputs, _, weights), (last, _, last_weights) = loader(rows(5), 3, num_ranks=2, seed=None)
    assert inputs[:, 0].tolist() == [0, 1, 2, 0]
    assert weights.tolist() == [1, 1, 1, 0]
    assert last[:, 0].tolist() == [3, 4, 0, 0]
    assert last_weights.tolist() == [1, 1, 0, 0]


def test_the_first_samples_are_samples_and_no_filler() -> None:
    assert [len(rows(5).first(n)) for n in (3, 5, 9)] == [3, 5, 5]
    assert rows(5).first(9).weights.tolist() == [1, 1, 1, 1, 1, 0]


def gradients(network: torch.nn.Module, batches: list[Batch], num_ranks: int, batch: int) -> list[torch.Tensor]:
    """Gradients as data-parallel training makes them: each rank's scaled sum, averaged over the ranks."""
    total = [torch.zeros_like(p) for p in network.parameters()]
    for inputs, targets, weights in batches:
        network.zero_grad()
        ((_squared_error(run(network, inputs), targets) * weights).sum() * (num_ranks / batch)).backward()
        total = [t + p.grad / num_ranks for t, p in zip(total, network.parameters(), strict=True) if p.grad is not None]
    return total


@pytest.mark.parametrize("num_ranks", [2, 3, 4])
@pytest.mark.parametrize("size", [5, 8, 11])
def test_ranks_that_share_a_batch_unevenly_make_the_gradient_of_one(size: int, num_ranks: int) -> None:
    torch.manual_seed(0)
    network = build({"model_type": "dense_network", "widths": [1, 6, 1], "activation": "tanh"})
    data = rows(size)
    alone = gradients(network, [data.__getitems__(torch.arange(size))], 1, size)
    shared = gradients(
        network, [data.__getitems__(part[0]) for part in shards(Batches(size, size, num_ranks, None), num_ranks)], num_ranks, size
    )
    for one, other in zip(alone, shared, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-6)


def test_repeating_samples_to_even_out_ranks_would_change_the_gradient() -> None:
    # What accelerate does by itself with 5 samples on 2 ranks: the first sample comes twice.
    network = build({"model_type": "dense_network", "widths": [1, 1]})
    data = rows(5)
    alone = gradients(network, [data.__getitems__(torch.arange(5))], 1, 5)
    repeated = gradients(network, [data.__getitems__(torch.tensor([0, 1, 2, 3, 4, 0]))], 1, 6)
    assert not torch.allclose(alone[0], repeated[0], rtol=1e-3)


def test_the_learning_rate_of_the_small_gpt_rises_from_near_zero_and_falls_to_near_zero() -> None:
    from bench.records.request import Request

    decided = decide(Request(model="tiny-gpt", config=dict(model_entry("tiny-gpt").config), task="train", device="cpu"))
    assert isinstance(decided, ArticleRun)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=decided.learning_rate)
    schedule = schedule_of(decided, optimizer, 100)
    assert schedule is not None
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    # 5 steps up by fifths, then 95 steps down by ninety-fifths.
    assert rates[:5] == pytest.approx([decided.learning_rate * k / 5 for k in (1, 2, 3, 4, 5)])
    assert rates[5:] == pytest.approx([decided.learning_rate * k / 95 for k in range(95, 0, -1)])
