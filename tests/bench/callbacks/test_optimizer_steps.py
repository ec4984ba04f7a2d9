"""A step is one that an optimizer of the model took: by hand, by Lightning, accelerate or a gradient scaler; what was skipped is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import optimizer as torch_optimizer

from bench.callbacks import Watch, watch
from bench.callbacks.guard import Guard
from bench.callbacks.optimizer_steps import FIGURE, NO_UPDATES, OptimizerSteps
from bench.records.record import Measurement
from tests.support.loops_of_ones_own import closure_step, squares, train, usual_step
from tests.support.tiny_models import CEILINGS
from tests.support.watched_trainings import only_record

pytestmark = pytest.mark.usefixtures("one_thread")

X = [torch.randn(4, 8, generator=torch.Generator().manual_seed(i)) for i in range(12)]
PASS_FLOP = 2 * 2 * 4 * 8 * 2
"""4 rows through Linear(8, 2), forward and the gradient of its weights."""


def counts(made: Measurement) -> tuple[int | None, int | None, int | None, int | None]:
    """Steps, those of all optimizers, those that were skipped, batches."""
    proof = made.proof
    return proof.num_steps, proof.num_optimizer_steps, proof.num_skipped_steps, proof.num_batches


def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(8, 2)


def codes(made: Measurement) -> set[str]:
    return {finding.code for finding in made.warnings}


@pytest.fixture(autouse=True)
def nothing_of_ours_stays() -> Iterator[None]:
    def held() -> tuple[object, ...]:
        hooks = torch_optimizer._global_optimizer_pre_hooks, torch_optimizer._global_optimizer_post_hooks
        return torch.amp.GradScaler.step, *map(dict, hooks)

    before = held()
    yield
    assert held() == before


def every(number: int) -> Callable[..., Any]:
    """The optimizer steps with every so many batches alone."""
    seen = [0]

    def step(network: nn.Module, x: torch.Tensor, optimizer: Any) -> torch.Tensor:
        loss = squares(network, x)
        loss.backward()  # type: ignore[no-untyped-call]
        seen[0] += 1
        if seen[0] % number == 0:
            optimizer.step()
            optimizer.zero_grad()
        return loss

    return step


class TestByHand:
    def test_a_usual_loop_takes_a_step_a_batch(self, tmp_path: Path) -> None:
        made = train(tmp_path, linear(), X)
        assert counts(made) == (12, 12, 0, 12)
        assert FIGURE not in made.unavailable

    def test_batches_that_are_accumulated_without_a_word_are_one_step(self, tmp_path: Path) -> None:
        made = train(tmp_path, linear(), X[:10], every(4))
        assert counts(made) == (2, 2, 0, 10)
        assert made.proof.watched is not None
        assert made.proof.watched.samples_per_step == (16, 16, 8)  # no optimizer has stepped after the last two batches
        assert made.proof.watched.training_flop == 10 * PASS_FLOP
        assert made.estimate.phases["train_step"].flop.full == 4 * PASS_FLOP
        assert "StepsWithoutUpdate" in codes(made)

    def test_losses_of_accumulated_batches_are_their_mean(self, tmp_path: Path) -> None:
        losses: list[float] = []

        each = every(2)

        def step(network: nn.Module, x: torch.Tensor, optimizer: Any) -> torch.Tensor:
            loss: torch.Tensor = each(network, x, optimizer)
            losses.append(float(loss.detach()))
            return loss

        made = train(tmp_path, linear(), X[:4], step)
        assert made.proof.watched is not None
        assert made.proof.watched.losses == pytest.approx([sum(losses[:2]) / 2, sum(losses[2:]) / 2], rel=1e-6)

    def test_an_optimizer_that_steps_after_the_block_has_ended_its_step(self, tmp_path: Path) -> None:
        network = linear()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        with Watch(network, out=tmp_path, every=0, ceilings=CEILINGS) as w:
            for number, x in enumerate(X):
                with w.step(x):
                    squares(network, x).backward()  # type: ignore[no-untyped-call]
                if number % 3 == 2:
                    optimizer.step()
                    optimizer.zero_grad()
        made = only_record(tmp_path)
        assert counts(made) == (4, 4, 0, 12)
        assert made.proof.watched is not None
        assert made.proof.watched.samples_per_step == (12,) * 4

    def test_accumulation_that_was_told_stays_as_told_and_says_where_no_optimizer_stepped(self, tmp_path: Path) -> None:
        assert counts(train(tmp_path / "right", linear(), X, every(4), accumulate=4)) == (3, 3, 0, 12)
        wrong = train(tmp_path / "wrong", linear(), X, every(4), accumulate=2)
        assert counts(wrong) == (3, 3, 0, 12)
        assert len(wrong.phases[0].samples_s) + len(wrong.phases[0].warmup_s) == 6
        assert "StepsWithoutUpdate" in codes(wrong)

    def test_several_optimizers_and_several_steps_a_batch_are_one_step_of_it(self, tmp_path: Path) -> None:
        network = nn.Sequential(linear(), linear().requires_grad_())
        network[1] = nn.Linear(2, 2)
        optimizers = [torch.optim.SGD(part.parameters(), lr=0.01) for part in network]

        def step(network: nn.Module, x: torch.Tensor, _: Any) -> None:
            for _ in range(3):
                squares(network, x).backward()  # type: ignore[no-untyped-call]
                for optimizer in optimizers:
                    optimizer.step()

        assert counts(train(tmp_path, network, X[:4], step)) == (4, 4 * 3 * 2, 0, 4)

    def test_lbfgs_takes_one_step_however_often_it_calls_its_closure(self, tmp_path: Path) -> None:
        network = linear()
        step, num_passes = closure_step(torch.optim.LBFGS(network.parameters()))
        made = train(tmp_path, network, X[:4], step)
        assert num_passes[0] > 8
        assert counts(made) == (4, 4, 0, 4)
        assert made.proof.watched is not None
        assert made.proof.watched.training_flop == num_passes[0] * PASS_FLOP

    def test_an_optimizer_of_another_model_takes_no_step_of_this_one(self, tmp_path: Path) -> None:
        other = linear()
        others = torch.optim.SGD(other.parameters(), lr=0.1)

        def step(network: nn.Module, x: torch.Tensor, optimizer: Any) -> torch.Tensor:
            squares(other, x).backward()  # type: ignore[no-untyped-call]
            others.step()
            return usual_step(squares)(network, x, optimizer)  # type: ignore[no-any-return]

        assert counts(train(tmp_path, linear(), X, step)) == (12, 12, 0, 12)

    def test_a_group_of_the_models_that_is_added_later_makes_an_optimizer_its_own(self) -> None:
        network, guard = linear(), Guard()
        optimizer = torch.optim.SGD(linear().parameters(), lr=0.1)
        steps = OptimizerSteps(network, guard)
        steps.watch()
        optimizer.step()
        assert steps.take() == NO_UPDATES
        optimizer.add_param_group({"params": list(network.parameters())})
        optimizer.step()
        steps.leave()
        optimizer.step()
        assert (steps.take().taken, guard.failed) == (1, {})

    def test_a_loop_without_an_optimizer_of_torch_has_a_step_a_batch_and_says_so(self, tmp_path: Path) -> None:
        def step(network: nn.Module, x: torch.Tensor, _: Any) -> None:
            squares(network, x).backward()  # type: ignore[no-untyped-call]
            with torch.no_grad():
                for p in network.parameters():
                    p -= 0.1 * (p.grad if p.grad is not None else 0)

        made = train(tmp_path, linear(), X, step)
        assert counts(made) == (12, None, None, 12)
        assert "was seen to step" in made.unavailable[FIGURE]

    def test_where_none_steps_for_long_each_batch_was_a_step(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bench.callbacks.step_ends.MAX_HELD", 2)
        made = train(tmp_path, linear(), X, every(4))
        assert made.proof.watched is not None
        assert made.proof.watched.samples_per_step == (4, 4, 4, 4, 16, 16)
        assert counts(made) == (3, 3, 0, 12)


class TestWrapped:
    def test_an_optimizer_around_another_one_takes_one_step(self, tmp_path: Path) -> None:
        class Lookahead(torch.optim.Optimizer):
            """Steps of another optimizer, with weights of its own beside them."""

            def __init__(self, inner: torch.optim.Optimizer) -> None:
                super().__init__([p for group in inner.param_groups for p in group["params"]], {})
                self.inner = inner

            def step(self, closure: Any = None) -> Any:
                return self.inner.step(closure)

        network = linear()
        optimizer = Lookahead(torch.optim.SGD(network.parameters(), lr=0.1))

        def step(network: nn.Module, x: torch.Tensor, _: Any) -> torch.Tensor:
            return usual_step(squares)(network, x, optimizer)  # type: ignore[no-any-return]

        assert counts(train(tmp_path, network, X, step)) == (12, 12, 0, 12)

    def test_a_step_that_raises_is_none_and_the_next_one_is(self, tmp_path: Path) -> None:
        class Once(torch.optim.SGD):
            raised = False

            def step(self, closure: Any = None) -> Any:
                if not Once.raised:
                    Once.raised = True
                    raise RuntimeError("out of memory")
                return super().step(closure)

        network = linear()
        optimizer = Once(network.parameters(), lr=0.1)

        def step(network: nn.Module, x: torch.Tensor, _: Any) -> torch.Tensor:
            try:
                return usual_step(squares)(network, x, optimizer)  # type: ignore[no-any-return]
            except RuntimeError:
                return usual_step(squares)(network, x, optimizer)  # type: ignore[no-any-return]

        assert counts(train(tmp_path, network, X[:3], step)) == (3, 3, 0, 3)

    @pytest.mark.parametrize("accumulate", [1, 2])
    def test_accelerates_optimizer_steps_where_it_does_something(self, accumulate: int, tmp_path: Path) -> None:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState, GradientState

        accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulate)
        try:
            network = linear()
            prepared, optimizer = accelerator.prepare(network, torch.optim.SGD(network.parameters(), lr=0.1))
            with Watch(prepared, accelerator, out=tmp_path, every=0, ceilings=CEILINGS) as w:
                for x in X:
                    with w.step(x), accelerator.accumulate(prepared):
                        accelerator.backward(squares(prepared, x))
                        optimizer.step()
                        optimizer.zero_grad()
        finally:
            GradientState._reset_state()
            AcceleratorState._reset_state(reset_partial_state=True)
        assert counts(only_record(tmp_path)) == (12 // accumulate, 12 // accumulate, 0, 12)

    def test_a_compiled_step_is_not_seen_and_stays_as_it_is(self, tmp_path: Path) -> None:
        torch._dynamo.reset()
        network = linear()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        compiled = torch.compile(lambda: optimizer.step(), backend="eager")

        def step(network: nn.Module, x: torch.Tensor, _: Any) -> torch.Tensor:
            loss = squares(network, x)
            loss.backward()  # type: ignore[no-untyped-call]
            compiled()
            optimizer.zero_grad()
            return loss

        made = train(tmp_path, network, X[:4], step)
        assert (made.proof.num_steps, made.proof.params_changed) == (4, True)


class TestScaler:
    """Of 12 steps the loss overflows in three, or in all."""

    def record(self, folder: Path, bad: Any, *, fused: bool = False, **options: Any) -> Measurement:
        network = linear()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        for number, x in enumerate(watched := watch(X, network, out=folder, every=0, ceilings=False, **options)):
            loss = squares(network, x)
            scaler.scale(loss * (float("inf") if number in bad else 1)).backward()  # type: ignore[no-untyped-call]
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            watched.loss(loss)
        return only_record(folder)

    @pytest.mark.parametrize("fused", [False, True])
    @pytest.mark.parametrize("options", [{}, {"accumulate": 1}])
    def test_a_step_that_it_skips_is_none(self, fused: bool, options: dict[str, Any], tmp_path: Path) -> None:
        made = self.record(tmp_path, (3, 4, 5), fused=fused, **options)
        assert counts(made) == (9, 9, 3, 12)
        assert "SkippedSteps" in codes(made)
        assert made.proof.watched is not None
        assert len(made.proof.watched.samples_per_step) == 12  # each took its time

    def test_where_it_skips_the_first_ones_they_are_known_all_the_same(self, tmp_path: Path) -> None:
        assert counts(self.record(tmp_path, (0, 1, 2))) == (9, 9, 3, 12)

    def test_where_it_skips_all_there_is_no_step(self, tmp_path: Path) -> None:
        made = self.record(tmp_path, range(12))
        assert counts(made) == (0, 0, 12, 12)
        assert made.proof.params_changed is False

    def test_where_it_skips_none_nothing_is_said(self, tmp_path: Path) -> None:
        made = self.record(tmp_path, ())
        assert counts(made) == (12, 12, 0, 12)
        assert "SkippedSteps" not in codes(made)

    def test_a_scaler_that_is_off_steps(self) -> None:
        network, guard = linear(), Guard()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        steps = OptimizerSteps(network, guard)
        steps.watch()
        torch.amp.GradScaler("cpu", enabled=False).step(optimizer)
        steps.leave()
        assert steps.take()[:2] == (1, 0)


class TestGuarded:
    @pytest.mark.parametrize("method", ["_ended", "_skipped", "watch"])
    def test_a_hook_that_raises_costs_the_count(self, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: Any) -> None:
            raise ZeroDivisionError("ours")

        monkeypatch.setattr(OptimizerSteps, method, broken)
        made = TestScaler().record(tmp_path, (3,))
        assert made.status == "complete"
        assert made.proof.num_steps == 12
        assert "ours" in made.unavailable[FIGURE]
        assert made.proof.num_optimizer_steps is None

    def test_two_watches_at_once_leave_in_any_order(self) -> None:
        network, guard = linear(), Guard()
        scaled = torch.amp.GradScaler.step
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        first, second = OptimizerSteps(network, guard), OptimizerSteps(network, guard)
        first.watch()
        second.watch()
        first.leave()
        optimizer.step()
        second.leave()
        assert (first.take().taken, second.take().taken) == (0, 1)
        assert torch.amp.GradScaler.step is scaled


LIGHTNING: dict[str, Any] = {"max_epochs": 1, "accelerator": "cpu", "logger": False, "enable_progress_bar": False}
LIGHTNING |= {"enable_model_summary": False, "enable_checkpointing": False}


class TestLightning:
    def fit(self, folder: Path, step: Any, make: Any, *, automatic: bool = False) -> tuple[Measurement, Any]:
        lightning = pytest.importorskip("lightning.pytorch", reason="Lightning is an optional dependency")
        from bench.callbacks import lightning_callback

        class Module(lightning.LightningModule):  # type: ignore[misc,name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.net = linear()
                self.automatic_optimization = automatic

            def training_step(self, batch: Any, number: int) -> Any:
                return step(self, batch, number)

            def configure_optimizers(self) -> Any:
                return make(self)

        trainer = lightning.Trainer(
            callbacks=[lightning_callback(out=folder, every=0, ceilings=CEILINGS)], default_root_dir=folder / "own", **LIGHTNING
        )
        trainer.fit(Module(), torch.utils.data.DataLoader(torch.cat(X[:8]), batch_size=4))
        return only_record(folder), trainer

    def test_a_step_every_fourth_batch_by_hand(self, tmp_path: Path) -> None:
        def step(module: Any, batch: Any, number: int) -> Any:
            loss = squares(module.net, batch) / 4
            module.manual_backward(loss)
            if number % 4 == 3:
                module.optimizers().step()
                module.optimizers().zero_grad()
            return loss

        made, trainer = self.fit(tmp_path, step, lambda module: torch.optim.SGD(module.parameters(), lr=0.1))
        assert counts(made) == (2, 2, 0, 8)
        assert trainer.global_step == 2
        assert made.proof.watched is not None
        assert made.proof.watched.samples_per_step == (16, 16)

    def test_several_optimizers_by_hand(self, tmp_path: Path) -> None:
        def step(module: Any, batch: Any, number: int) -> Any:
            loss = squares(module.net, batch)
            module.manual_backward(loss)
            for optimizer in module.optimizers():
                optimizer.step()
                optimizer.zero_grad()
            return loss

        made, trainer = self.fit(tmp_path, step, lambda module: [torch.optim.SGD([p], lr=0.1) for p in module.parameters()])
        assert counts(made) == (8, 16, 0, 8)
        assert trainer.global_step == 16  # Lightning adds the optimizers up

    def test_none_by_hand(self, tmp_path: Path) -> None:
        made, trainer = self.fit(tmp_path, lambda module, batch, _: squares(module.net, batch), lambda module: None)
        assert (made.proof.num_steps, made.proof.num_batches, trainer.global_step) == (8, 8, 0)
        assert "was seen to step" in made.unavailable[FIGURE]

    def test_lbfgs(self, tmp_path: Path) -> None:
        num_passes = [0]

        def step(module: Any, batch: Any, number: int) -> Any:
            num_passes[0] += 1
            return squares(module.net, batch)

        made, _ = self.fit(tmp_path, step, lambda module: torch.optim.LBFGS(module.parameters()), automatic=True)
        assert num_passes[0] > 16
        assert counts(made) == (8, 8, 0, 8)
        assert made.proof.watched is not None
        assert made.proof.watched.training_flop == num_passes[0] * PASS_FLOP
