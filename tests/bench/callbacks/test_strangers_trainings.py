"""What strangers' trainings do beside the usual: the training is as without us, and FLOP are those of torch's counter, or have a reason."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench.callbacks import SixndCallback, Watch, lightning_callback, watch
from bench.records.record import Measurement
from tests.support.loops_of_ones_own import small, tiny_llama
from tests.support.trainings_by_trainer import trainer
from tests.support.watched_trainings import only_record

pytestmark = pytest.mark.usefixtures("one_thread")

X = [torch.randn(4, 8, generator=torch.Generator().manual_seed(seed)) for seed in range(4)]

SMALL_FLOP = 4 * 2_816
"""Of four steps by hand; see small()."""

LossOf = Callable[[Any, Any], torch.Tensor]


def losses_of(network: Any, data: Any, loss_of: LossOf) -> list[float | str]:
    """Of a training, which goes on with the next batch where the loss cannot be computed."""
    optimizer, losses = torch.optim.SGD(network.parameters(), lr=0.01), []
    for batch in data:
        try:
            loss = loss_of(network, batch)
        except BrokenOffError as error:
            losses.append(str(error))
            continue
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def trained(folder: Path, make: Callable[[], Any], loss_of: LossOf, data: Any = X) -> tuple[Measurement, int]:
    """The record of a training that ends as its twin, and the FLOP of the twin by torch's counter."""
    torch.manual_seed(0)
    with FlopCounterMode(display=False) as counter:
        alone = losses_of(make(), data, loss_of)
    torch.manual_seed(0)
    network = make()
    assert losses_of(network, watch(data, network, out=folder, every=0, ceilings=False), loss_of) == alone
    return only_record(folder), counter.get_total_flops()


class BrokenOffError(BaseException):
    """Of the user's, and no Exception, as a timeout may be."""


@dataclasses.dataclass(slots=True)
class Slots:
    logits: torch.Tensor


@dataclasses.dataclass
class Fields:
    logits: torch.Tensor


class Returns(nn.Module):
    def __init__(self, wrap: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.net, self.wrap = small(), wrap

    def forward(self, x: torch.Tensor) -> Any:
        return self.wrap(self.net(x))


class Keeps(nn.Module):
    """Its output is an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.kept = small(), []

    def forward(self, x: torch.Tensor) -> None:
        self.kept = [self.net(x)]


class Yields(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = small()

    def forward(self, x: torch.Tensor) -> Iterator[torch.Tensor]:
        yield self.net(x)


OUTPUTS: dict[str, tuple[Callable[[Any], Any], LossOf]] = {
    "tuple": (lambda o: (None, [o]), lambda net, x: net(x)[1][0].square().mean()),
    "set": (lambda o: {o}, lambda net, x: next(iter(net(x))).square().mean()),
    "dataclass": (Fields, lambda net, x: net(x).logits.square().mean()),
    "slots": (Slots, lambda net, x: net(x).logits.square().mean()),
}


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_backward_pass_is_seen_whatever_forward_returns(output: str, tmp_path: Path) -> None:
    wrap, loss_of = OUTPUTS[output]
    record, counted = trained(tmp_path, lambda: Returns(wrap), loss_of)
    assert record.proof.watched.training_flop == counted == SMALL_FLOP


@pytest.mark.parametrize(
    ("make", "loss_of"),
    [
        (lambda: Returns(lambda o: lambda: o.square().mean()), lambda net, x: net(x)()),
        (Keeps, lambda net, x: (net(x), net.kept[0].square().mean())[1]),
        (Yields, lambda net, x: next(net(x)).square().mean()),
    ],
)
def test_where_forward_returns_no_tensor_its_backward_pass_is_not_taken_for_none(make: Any, loss_of: LossOf, tmp_path: Path) -> None:
    record, counted = trained(tmp_path, make, loss_of)
    assert counted == SMALL_FLOP
    assert record.proof.watched.training_flop is None
    assert record.unavailable["training_flop"] == "forward returned no tensor by which its backward pass could be seen"


@pytest.mark.parametrize("error", [ValueError, BrokenOffError])
def test_a_forward_pass_that_broke_off_is_no_whole_one(error: type[BaseException], tmp_path: Path) -> None:
    class Breaks(Returns):
        def forward(self, x: torch.Tensor) -> Any:
            if x is X[1]:
                raise error("too long")
            return self.net(x)

    def loss_of(net: Any, x: torch.Tensor) -> torch.Tensor:
        try:
            return net(x).square().mean()  # type: ignore[no-any-return]
        except ValueError as told:
            raise BrokenOffError(*told.args) from None

    record, counted = trained(tmp_path, lambda: Breaks(small), loss_of)
    assert counted == SMALL_FLOP // 4 * 3
    assert record.proof.watched.training_flop is None
    assert record.unavailable["training_flop"] == "a forward pass broke off, and how much of it was computed is not known"


def test_an_error_that_is_handled_around_a_pass_is_none_of_the_pass(tmp_path: Path) -> None:
    def loss_of(net: Any, x: torch.Tensor) -> torch.Tensor:
        try:
            raise ValueError("use the network instead")
        except ValueError:
            return net(x).square().mean()  # type: ignore[no-any-return]

    assert trained(tmp_path, small, loss_of)[0].proof.watched.training_flop == SMALL_FLOP


def test_parts_that_are_compiled_by_themselves_are_counted(tmp_path: Path) -> None:
    def regional() -> nn.Module:
        network = small()
        network[0] = torch.compile(network[0], backend="eager")  # type: ignore[assignment]
        return network

    torch._dynamo.reset()
    record, _ = trained(tmp_path, regional, lambda net, x: net(x).square().mean())
    assert record.proof.watched.training_flop == SMALL_FLOP


def test_generating_in_training_mode_is_counted_and_its_cache_is_left_alone(tmp_path: Path) -> None:
    """As reinforcement learning does: the count of a pass once wrote tensors on meta into the cache of the real one."""
    ids = torch.randint(0, 64, (2, 8), generator=torch.Generator().manual_seed(0))
    seen: list[list[Any]] = []

    def loss_of(net: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        seen.append(net.generate(batch["input_ids"], max_new_tokens=3, do_sample=True, pad_token_id=0).tolist())
        loss: torch.Tensor = net(**batch, labels=batch["input_ids"]).loss
        return loss

    data = [{"input_ids": ids}] * 2
    record, counted = trained(tmp_path, lambda: tiny_llama(attn_implementation="eager").train(), loss_of, data)
    assert seen[:2] == seen[2:]
    assert (record.proof.watched.training_flop, record.proof.num_tokens) == (counted, 2 * 16)


def test_passes_of_two_threads_at_once_are_two(tmp_path: Path) -> None:
    def loss_of(net: Any, x: torch.Tensor) -> torch.Tensor:
        both = threading.Barrier(2)

        def meet(*_: Any) -> None:
            both.wait(60)

        handle = net[2].register_forward_pre_hook(meet)
        with ThreadPoolExecutor(2) as threads:
            outputs = list(threads.map(net, [x[:2], x[2:]]))
        handle.remove()
        return sum((output.square().mean() for output in outputs), torch.zeros(()))

    assert trained(tmp_path, small, loss_of)[0].proof.watched.training_flop == SMALL_FLOP


def test_an_output_is_saved_without_a_warning(tmp_path: Path) -> None:
    network = small()
    for x in watch(X, network, out=tmp_path, every=0, ceilings=False):
        output = network(x)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pickle.dumps(output)
        output.square().mean().backward()
    assert only_record(tmp_path).proof.watched.training_flop == SMALL_FLOP


class TestCopies:
    @pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
    def test_a_copy_of_a_watch_does_nothing(self, copied: Callable[[Any], Any], tmp_path: Path) -> None:
        network = small()
        watched = Watch(network, out=tmp_path, every=0, ceilings=False)
        with watched.step(X[0]):
            network(X[0]).square().mean().backward()
        copied_watch = copied(watched)
        with copied_watch.step(X[0]):
            copied_watch.loss(1.0)
        assert copied_watch.finish() is None
        with watched.step(X[0]):
            network(X[0]).square().mean().backward()
        assert watched.finish() is not None
        assert only_record(tmp_path).proof.num_samples == 8

    @pytest.mark.parametrize("make", [SixndCallback, lightning_callback])
    def test_a_callback_goes_to_a_process_that_a_trainer_spawns(self, make: Callable[..., Any], tmp_path: Path) -> None:
        if make is lightning_callback:
            pytest.importorskip("lightning", reason="Lightning is an optional dependency")
        there = pickle.loads(pickle.dumps(make(out=tmp_path, every=7, ceilings=False)))
        assert type(there) is type(make(out=tmp_path))
        assert there._options["every"] == 7

    def test_a_copy_of_a_callback_in_the_middle_watches_its_own_training(self, tmp_path: Path) -> None:
        from transformers import TrainerCallback

        own = SixndCallback(out=tmp_path / "runs", ceilings=False)
        copies: list[SixndCallback] = []

        class Copies(TrainerCallback):
            def on_step_end(self, *_: Any, **__: Any) -> None:
                copies.append(pickle.loads(pickle.dumps(own)))

        trainer(tmp_path, own, Copies(), num_rows=6).train()
        assert only_record(tmp_path / "runs").proof.num_steps == 3
        copies[0]._options["out"] = tmp_path / "again"
        trainer(tmp_path, copies[0], num_rows=4).train()
        assert only_record(tmp_path / "again").proof.num_steps == 2
