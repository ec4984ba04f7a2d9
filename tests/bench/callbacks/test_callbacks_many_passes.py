"""A step holds as many forward and backward passes as were run; where they cannot be seen there is no figure, and a reason."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench.callbacks import Watch
from bench.records.record import Measurement
from tests.support.loops_of_ones_own import closure_step, flop, named, small, squares, tiny_llama, train, usual_step
from tests.support.watched_trainings import only_record

pytestmark = pytest.mark.usefixtures("one_thread")

X = [torch.randn(4, 8, generator=torch.Generator().manual_seed(i)) for i in range(4)]
ONE = 2 * 4 * 8 * 2
"""FLOP of 4 rows through Linear(8, 2) forward; as many for the gradient of its weights, as many for that of its input."""


def train_linear(folder: Path, step: Callable[..., Any], **options: Any) -> Measurement:
    torch.manual_seed(0)
    return train(folder, nn.Linear(8, 2), X, step, **options)


class TestPassesOfAStep:
    def test_every_closure_of_lbfgs_is_a_pass(self, tmp_path: Path) -> None:
        torch.manual_seed(0)
        network = nn.Linear(8, 2)
        step, num_passes = closure_step(torch.optim.LBFGS(network.parameters()))
        made = train(tmp_path, network, X, step)
        assert num_passes[0] > 4
        assert flop(made)[0] == num_passes[0] * 2 * ONE

    def test_two_passes_of_one_batch_are_two_passes_and_one_batch(self, tmp_path: Path) -> None:
        def sharpness_aware(network: nn.Module, x: torch.Tensor, optimizer: Any) -> torch.Tensor:
            squares(network, x).backward()  # type: ignore[no-untyped-call]
            with torch.no_grad():
                for p in network.parameters():
                    p += 0.01 * (p.grad if p.grad is not None else 0)
            optimizer.zero_grad()
            return usual_step(squares)(network, x, optimizer)  # type: ignore[no-any-return]

        made = train_linear(tmp_path, sharpness_aware)
        assert flop(made)[0] == 4 * 2 * 2 * ONE
        assert made.estimate.phases["train_step"].flop.full == 2 * 2 * ONE
        assert (made.proof.num_samples, made.proof.num_steps) == (16, 4)

    def test_a_pass_without_gradients_is_forward_alone_and_an_evaluation_is_none(self, tmp_path: Path) -> None:
        def step(network: nn.Module, x: torch.Tensor, optimizer: Any) -> torch.Tensor:
            with torch.no_grad():
                network(x)  # as a reference of its own
            network.eval()
            with torch.inference_mode():
                network(x)
            network.train()
            return usual_step(squares)(network, x, optimizer)  # type: ignore[no-any-return]

        assert flop(train_linear(tmp_path, step))[0] == 4 * 3 * ONE

    def test_training_in_evaluation_mode_is_training(self, tmp_path: Path) -> None:
        network = nn.Sequential(nn.Linear(8, 2), nn.BatchNorm1d(2)).eval()
        assert flop(train(tmp_path, network, X))[0] == 4 * 2 * ONE

    def test_two_backward_passes_of_one_graph_are_two(self, tmp_path: Path) -> None:
        def step(network: nn.Module, x: torch.Tensor, optimizer: Any) -> None:
            output = network(x)
            output.sum().backward(retain_graph=True)
            output.square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()

        assert flop(train_linear(tmp_path, step))[0] == 4 * 3 * ONE

    def test_passes_whose_gradient_nobody_takes_are_forward_alone(self, tmp_path: Path) -> None:
        def step(network: nn.Module, x: torch.Tensor, optimizer: Any) -> torch.Tensor:
            network(x).detach().sum()
            return usual_step(squares)(network, x, optimizer)  # type: ignore[no-any-return]

        assert flop(train_linear(tmp_path, step))[0] == 4 * 3 * ONE

    def test_accumulated_batches_and_a_pause_are_as_they_happened(self, tmp_path: Path) -> None:
        network = nn.Linear(8, 2)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        with Watch(network, out=tmp_path, every=0, ceilings=False, accumulate=2) as watched:
            for i, x in enumerate(X):
                with watched.step(x):
                    loss = squares(network, x)
                    loss.backward()  # type: ignore[no-untyped-call]
                    if i % 2:
                        optimizer.step()
                        optimizer.zero_grad()
                    watched.loss(loss)
                with watched.pause():
                    squares(network, x).backward()  # type: ignore[no-untyped-call]
                squares(network, x).backward()  # type: ignore[no-untyped-call]  # between two batches of a step, or two steps
        made = only_record(tmp_path)
        # Of the two passes between the batches of one step each is a part of it; what comes after its end is of no step.
        assert flop(made)[0] == (4 + 2) * 2 * ONE

    def test_a_generator_and_a_discriminator_are_each_what_they_ran(self, tmp_path: Path) -> None:
        networks = nn.ModuleDict({"g": small(), "d": nn.Linear(2, 1)})
        discriminate = torch.optim.SGD(networks["d"].parameters(), lr=0.01)
        generate = torch.optim.SGD(networks["g"].parameters(), lr=0.01)

        def step(network: nn.ModuleDict, x: torch.Tensor, _: Any) -> None:
            g, d = network["g"], network["d"]
            (d(g(x).detach()).mean() - d(x[:, :2]).mean()).backward()
            discriminate.step()
            discriminate.zero_grad()
            d.requires_grad_(False)
            (-d(g(x)).mean()).backward()
            generate.step()
            generate.zero_grad()
            d.requires_grad_(True)

        made = train(tmp_path, networks, X, step)  # type: ignore[arg-type]
        d = 2 * 4 * 2 * 1
        # By hand: the generator forward alone, the discriminator twice forward and back to its weights; then the generator whole, the
        # discriminator forward and back to its input.
        assert flop(made)[0] == 4 * ((1_280 + 2 * 2 * d) + (2_816 + 2 * d))

    def test_a_frozen_teacher_inside_is_forward_alone(self, tmp_path: Path) -> None:
        class Distilled(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.teacher, self.student = small().requires_grad_(False), small()

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                with torch.no_grad():
                    target = self.teacher(x)
                return self.student(x) - target  # type: ignore[no-any-return]

        assert flop(train(tmp_path, Distilled(), X))[0] == 4 * (1_280 + 2_816)

    def test_layers_that_are_unfrozen_on_the_way_are_counted_from_then_on(self, tmp_path: Path) -> None:
        network, num_steps = small(), [0]
        network[0].requires_grad_(False)

        def step(network: nn.Module, x: torch.Tensor, _: Any) -> torch.Tensor:
            if num_steps[0] == 2:
                network[0].requires_grad_(True)  # type: ignore[index]
            num_steps[0] += 1
            loss = squares(network, x)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        # By hand: 1,280 forward, 256 for the last weights; whole 2,816.
        assert flop(train(tmp_path, network, X, step))[0] == 2 * (1_280 + 256) + 2 * 2_816

    def test_the_parts_of_a_model_with_an_op_table_go_by_its_table_or_are_counted(self, tmp_path: Path) -> None:
        model = tiny_llama()
        ids = torch.zeros(4, 16, dtype=torch.long)
        batch = {"input_ids": ids, "labels": ids}

        def step(network: nn.Module, batch: Any, optimizer: Any) -> torch.Tensor:
            with torch.no_grad():
                named(network, batch)
            return usual_step(named)(network, batch, optimizer)  # type: ignore[no-any-return]

        # By hand, a pass of 4 x 16 tokens forward: 2·64·(2(4·32² + 3·32·64) + 32·64) and attention 2·4·4·16²·32.
        forward = 2 * 64 * (2 * (4 * 32**2 + 3 * 32 * 64) + 32 * 64) + 2 * 4 * 4 * 16**2 * 32
        made = train(tmp_path, model, [batch] * 2, step)
        assert flop(made)[0] == 2 * 4 * forward
        assert (made.estimate.phases["train_step"].forward_flop, made.estimate.phases["train_step"].flop.full) == (2 * forward, 4 * forward)
        assert "not one forward and one backward pass" in made.unavailable["predicted_step_s"]


class TestWhatCannotBeSeen:
    def reason(self, folder: Path, step: Callable[..., Any], network: nn.Module | None = None) -> str:
        made = train(folder, network or nn.Linear(8, 2), X, step)
        assert flop(made) == (None, None)
        assert made.status == "complete"
        return made.unavailable["training_flop"]

    def test_gradients_of_gradients(self, tmp_path: Path) -> None:
        def penalty(network: nn.Module, x: torch.Tensor, _: Any) -> None:
            x = x.clone().requires_grad_()
            (slope,) = torch.autograd.grad(network(x).square().sum(), x, create_graph=True)
            slope.square().sum().backward()  # type: ignore[no-untyped-call]

        assert "gradients of gradients" in self.reason(tmp_path, penalty)

    def test_a_part_of_the_gradients(self, tmp_path: Path) -> None:
        def attack(network: nn.Module, x: torch.Tensor, optimizer: Any) -> torch.Tensor:
            x = x.clone().requires_grad_()
            (slope,) = torch.autograd.grad(network(x).square().sum(), x)
            return usual_step(squares)(network, (x + slope).detach(), optimizer)  # type: ignore[no-any-return]

        assert "a part of the gradients" in self.reason(tmp_path, attack)

    def test_passes_that_go_round_the_model(self, tmp_path: Path) -> None:
        def step(network: Any, x: torch.Tensor, _: Any) -> None:
            network[2](torch.relu(network[0](x))).mean().backward()

        assert "no forward pass of Sequential was seen" in self.reason(tmp_path, step, small())

    def test_what_forward_is_given_in_a_form_whose_shapes_are_not_known(self, tmp_path: Path) -> None:
        class Takes(nn.Linear):
            def forward(self, x: Any) -> torch.Tensor:
                return super().forward(x.to_dense())

        def step(network: nn.Module, x: torch.Tensor, _: Any) -> None:
            network(x.to_sparse()).mean().backward()

        assert "layout torch.sparse_coo" in self.reason(tmp_path, step, Takes(8, 2))

    def test_a_transform_of_torch_func(self, tmp_path: Path) -> None:
        def step(network: nn.Module, x: torch.Tensor, _: Any) -> None:
            parameters = dict(network.named_parameters())
            torch.func.grad(lambda p: torch.func.functional_call(network, p, (x,)).mean())(parameters)

        assert "torch.func" in self.reason(tmp_path, step)


class TestHooksLeaveNothing:
    def test_they_are_gone_after_the_loop_and_copies_and_files_of_the_model_do_not_have_them(self, tmp_path: Path) -> None:
        network, saved = small(), io.BytesIO()

        def step(network: nn.Module, x: torch.Tensor, optimizer: Any) -> Any:
            averaged = copy.deepcopy(network)
            averaged(x).sum().backward()
            saved.seek(0)
            torch.save(network, saved)
            saved.seek(0)
            torch.load(saved, weights_only=False)(x)
            return usual_step(squares)(network, x, optimizer)

        assert flop(train(tmp_path, network, X, step))[0] == 4 * 2_816
        assert not any(vars(network)[hooks] for hooks in vars(network) if hooks.endswith("hooks"))

    def test_no_graph_outlives_its_pass(self, tmp_path: Path) -> None:
        import weakref

        network, graphs = nn.Linear(8, 2), []

        class Kept(torch.autograd.Function):
            @staticmethod
            def forward(context: Any, y: torch.Tensor) -> torch.Tensor:
                return y.clone()

            @staticmethod
            def backward(context: Any, gradient: Any) -> Any:
                return gradient

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.l = network

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                y = Kept.apply(self.l(x))  # type: ignore[no-untyped-call]
                if not y.is_meta:
                    graphs.append(weakref.ref(y.grad_fn))
                return y  # type: ignore[no-any-return]

        alive: list[int] = []

        def step(network: nn.Module, x: torch.Tensor, _: Any) -> None:
            network(x)  # a pass whose gradient nobody takes
            alive.append(sum(graph() is not None for graph in graphs))

        train(tmp_path, Net(), X, step)
        assert max(alive) == 0


class TestCompiled:
    @pytest.mark.parametrize("how", ["around", "in place", "its forward", "after the watch began"])
    def test_a_compiled_model_keeps_one_graph_and_its_passes_are_seen(self, tmp_path: Path, how: str) -> None:
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.l = nn.Linear(8, 2)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.l(x)  # type: ignore[no-any-return]

        network: Any = Net()
        compiling: dict[str, Any] = {"backend": "aot_eager", "fullgraph": True}
        if how == "around":
            network = torch.compile(network, **compiling)
        elif how == "in place":
            network.compile(**compiling)
        elif how == "its forward":
            network.forward = torch.compile(network.forward, **compiling)

        def step(network: Any, x: torch.Tensor, optimizer: Any) -> Any:
            if how == "after the watch began" and network._compiled_call_impl is None:
                network.compile(**compiling)
            return usual_step(squares)(network, x, optimizer)

        made = train(tmp_path, network, X, step)
        unseen = 1 if how == "after the watch began" else 0  # its first step
        assert flop(made)[0] in (4 * 2 * ONE, None if unseen else 4 * 2 * ONE)
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
        network(X[0]).sum().backward()
