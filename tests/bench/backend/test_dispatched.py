"""Operators seen without memory and repeated on real tensors: counts by hand, and shapes as they were."""

import itertools
import time
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional

from bench.backend import sustained
from bench.backend.device import choose
from bench.backend.operators import calibration_operators, optimizers
from bench.backend.operators import replay as replaying
from bench.backend.operators.operator import Spec
from bench.backend.operators.profiler import seconds_by_group
from bench.backend.operators.replay import _arguments, replay
from bench.backend.operators.trace import Call, calls_of, fake
from bench.calibration import step_operators
from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import estimate
from estimators.profile.operator_times import OperatorCall
from estimators.spec import Case, Workload
from tests.support.scripted_clock import ScriptedClock
from tests.support.tiny_models import decided

CPU = choose("cpu")


def traced(cache_bytes: int = 2**40) -> dict[str, Call]:
    with fake():
        x, weight = torch.empty(4, 8), torch.empty(16, 8)

        def step() -> None:
            with torch.inference_mode():
                h = functional.linear(x, weight)
                for _ in range(3):
                    h = h + 1.0
                h.view(-1)

        return {call.piece.kind: call for call in calls_of(step, cache_bytes)}


def test_a_product_of_known_size_has_its_flop_bytes_and_shape() -> None:
    piece = traced()["linear"].piece
    assert (piece.mnk, piece.flop, piece.count, piece.group) == ((4, 16, 8), 2 * 4 * 16 * 8, 1, "matmul")
    assert piece.num_bytes == 4 * (4 * 8 + 16 * 8 + 4 * 16)


@pytest.mark.parametrize(
    ("product", "flop"),
    [
        (lambda x, y: x @ y, 2 * 3 * 5 * 7 * 2),
        (lambda x, y: torch.einsum("bij,bjk->bik", x, y), 2 * 3 * 5 * 7 * 2),
        (lambda x, y: torch.tensordot(x, y, dims=([2], [1])), 2 * (3 * 5) * 7 * (3 * 2)),
    ],
    ids=["matmul", "einsum", "tensordot"],
)
def test_a_product_that_inference_does_not_take_apart_has_its_flop(product: Callable[..., torch.Tensor], flop: int) -> None:
    """Two FLOP a multiply-add: of 3 pairs of a 5 x 7 and a 7 x 2 matrix, or of each of 3 with each of 3."""
    with fake(), torch.inference_mode():
        x, y = torch.empty(3, 5, 7), torch.empty(3, 7, 2)
        assert sum(call.piece.count * call.piece.flop for call in calls_of(lambda: product(x, y), cache_bytes=0)) == flop


def test_equal_operators_are_counted_together_and_views_cost_the_host_alone() -> None:
    calls = traced()
    assert (calls["add"].piece.count, calls["add"].piece.group) == (3, "memory")
    assert calls["view"].piece.group == "view"


def test_what_was_touched_longer_ago_than_the_caches_reach_is_cold() -> None:
    assert traced(2**40)["linear"].piece.cold_bytes == 0
    assert traced(0)["linear"].piece.cold_bytes == 4 * (4 * 8 + 16 * 8)
    # the product's output is 256 bytes and in use again at once
    assert traced(300)["add"].piece.cold_bytes == 0


def test_what_an_operator_reads_pushes_others_out_of_the_caches() -> None:
    with fake():
        small, large = torch.empty(16), torch.empty(4000)

        def step() -> None:
            small * 2
            small + 1  # at once: still there
            large.sum()  # reads 16,000 bytes and writes 4
            small - 1

        calls = {call.piece.kind: call.piece for call in calls_of(step, cache_bytes=8000)}
    assert (calls["add"].cold_bytes, calls["sub"].cold_bytes) == (0, 64)


def test_a_lookup_reads_what_it_returns_and_not_its_table() -> None:
    with fake():
        table, ids = torch.empty(1000, 8), torch.empty(4, dtype=torch.int64)
        (call,) = calls_of(lambda: functional.embedding(ids, table), cache_bytes=0)
    assert call.piece.num_bytes == 2 * 4 * 8 * 4  # four rows of eight fp32 read, and written
    assert call.piece.cold_bytes == 0


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("task", ["prefill", "decode", "train"])
def test_the_products_of_a_step_are_those_of_the_op_table(family: str, task: str) -> None:
    run = decided(family, task, batch=2, seq_len=8, **({"new_tokens": 3} if task == "decode" else {}))
    calls, updates = step_operators.work(run, 2**40)
    model = model_from_config(run.config, "tiny")
    context = 8 + run.new_tokens // 2 if task == "decode" else 0
    workload = Workload(phase=task, batch=2, seq_len=1 if task == "decode" else 8, context_len=context, dtype="fp32")  # type: ignore[arg-type]
    said = estimate(Case(model=model, workload=workload))
    products = sum(call.piece.count * call.piece.flop for call in calls if call.piece.group in ("matmul", "attention"))
    assert products == said.flop["full"]
    tensors = sum(update.count for update in updates)
    params = sum(update.count * update.num_bytes // optimizers.BYTES_PER_PARAM[update.kind] for update in updates)
    assert (params, tensors > 0) == ((said.params, True) if task == "train" else (0, False))


def test_every_operator_of_a_training_step_can_be_repeated() -> None:
    calls, _ = step_operators.work(decided("gpt2", "train", batch=1, seq_len=8), 2**40)
    found = replay([c for c in calls if c.piece.group != "view"], CPU, cache_bytes=0, rounds=1, time_s=0)
    assert {one.call.piece.key: one.reason for one in found if one.reason} == {}
    assert all(len(one.samples_s) >= 1 and min(one.samples_s) > 0 for one in found)


class Counted:
    """An operator that takes 20 us a call, by a clock that counts the calls; it notes which tensors it was given."""

    def __init__(self, available_bytes: int) -> None:
        self.given: list[int] = []
        clock = SimpleNamespace(time=self.time, now=lambda: 0.0 if not self.given else 1.0)
        self.device: Any = SimpleNamespace(
            kind="cpu", torch_device=torch.device("cpu"), clock=lambda: clock, memory_available_bytes=lambda: available_bytes
        )

    def __call__(self, x: torch.Tensor) -> None:
        self.given.append(x.data_ptr())

    def time(self, step: Callable[[], object]) -> float:
        before = len(self.given)
        step()
        return 20e-6 * (len(self.given) - before)


@pytest.mark.parametrize(
    ("available_bytes", "copies"),
    [
        (2**30, 8),  # twice caches of 256 bytes, in tensors of 64
        (4 * 64 * 3, 3),  # no more than a quarter of what there is
    ],
)
def test_a_cold_operator_goes_round_more_copies_than_the_caches_hold_and_a_sample_is_one_call(available_bytes: int, copies: int) -> None:
    operator = Counted(available_bytes)
    cold = Spec((16,), (1,), torch.float32, cold=True)
    piece = OperatorCall(key="k", kind="k", group="memory", dtype="fp32", cold_bytes=64)
    call = Call(operator=operator, args=(cold,), kwargs={}, piece=piece)
    (one,) = replay([call], operator.device, cache_bytes=256, rounds=1, time_s=0)
    assert one.samples_s == pytest.approx([20e-6] * 3)  # ten calls a sample, so that a clock's own cost does not show
    assert len(set(operator.given)) == copies


def test_fused_attention_is_two_products_of_their_own_widths() -> None:
    with fake():
        query, key, value = torch.empty(1, 2, 8, 16), torch.empty(1, 2, 12, 16), torch.empty(1, 2, 12, 4)

        def step() -> None:
            with torch.inference_mode():
                functional.scaled_dot_product_attention(query, key, value)

        calls = calls_of(step, 2**40)
    # scores: 8 x 12 by 16; values: 8 x 4 by 12; for two heads, two FLOP a multiply-add
    assert sum(call.piece.flop for call in calls) == 2 * 2 * (8 * 12 * 16 + 8 * 4 * 12)


def test_operators_on_expanded_overlapping_and_empty_tensors_are_timed() -> None:
    """The gradient of a mean is expanded before it is divided: torch writes into such a tensor only as a whole."""
    with fake():
        column, empty = torch.empty(4, 1), torch.empty(0, 8)

        def step() -> None:
            with torch.inference_mode():
                _ = column.expand(4, 8) / 8.0
                _ = column.expand(4, 8).transpose(0, 1) + 1.0
                _ = torch.empty(16).unfold(0, 4, 2) * 2.0
                _ = empty * 2.0

        calls = [call for call in calls_of(step, 2**40) if call.piece.group == "memory"]
    replayed = replay(calls, CPU, cache_bytes=0, rounds=1, time_s=0)
    assert len(replayed) == 4
    for one in replayed:
        assert (one.reason, min(one.samples_s) > 0) == ("", True), one.call.piece.key


def test_an_operator_that_refuses_its_arguments_is_left_out_with_the_reason() -> None:
    call = traced()["linear"]
    broken = Call(operator=call.operator, args=call.args[:1], kwargs={}, piece=call.piece)
    (one,) = replay([broken], CPU, cache_bytes=0, rounds=1, time_s=0)
    assert one.samples_s == []
    assert "missing" in one.reason


def test_the_general_grid_is_complete_and_has_fused_attention_both_ways() -> None:
    grid = calibration_operators.products("quick", "fp32")
    assert {call.piece.mnk for call in grid} == set(itertools.product(*calibration_operators.GRID["quick"]))
    kinds = {call.piece.kind for call in calibration_operators.attention("whole", "fp32")}
    assert any("backward" in kind for kind in kinds)
    assert "scaled_dot_product_attention" in kinds
    element_wise = {call.piece.kind for call in calibration_operators.element_wise("quick", "bf16")}
    assert {"native_layer_norm", "native_layer_norm_backward", "gelu_backward", "_log_softmax", "embedding_dense_backward"} <= element_wise


def test_an_optimizer_is_timed_per_tensor() -> None:
    taken = optimizers.sample(16, "adamw", CPU, cache_bytes=0, num_steps=3)
    assert len(taken) == 3
    assert min(taken) > 0


class Throttling(ScriptedClock):
    """A device that multiplies in 10 ms at first and in 20 ms after half a second of work."""

    def __init__(self) -> None:
        super().__init__(itertools.repeat(0.0))

    def time(self, step) -> float:  # type: ignore[no-untyped-def]
        taken = 0.01 if self._at_s < 0.5 else 0.02
        self._at_s += taken
        return taken


def test_a_device_that_throttles_has_a_burst_above_what_it_sustains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sustained.SIDE, "cpu", 8)
    monkeypatch.setattr(sustained, "REST_S", 0.0)
    device = SimpleNamespace(kind="cpu", torch_device=torch.device("cpu"), clock=Throttling, synchronize=lambda: None)
    burst, lasting = sustained.matmul_rates(device, "fp32", 3.0)  # type: ignore[arg-type]
    assert (burst.value, lasting.value) == (2 * 8**3 / 0.01, 2 * 8**3 / 0.02)
    assert (burst.kind, lasting.kind) == ("matmul burst", "matmul sustained")


def test_the_profiler_finds_the_classes_of_a_step() -> None:
    x, weight = torch.randn(64, 64), torch.randn(64, 64)

    def step() -> None:
        torch.tanh(torch.mm(x, weight)).view(-1)

    found = seconds_by_group(step, CPU)
    assert found["matmul"] > 0
    assert found["memory"] > 0
    assert "attention" not in found


def test_classes_of_a_loss_over_positions_stay_below_their_number() -> None:
    """torch's loss over images does not check its classes: one of 127 where there are 64 is written behind the gradient's end."""
    with fake():
        logits, classes = torch.empty(2, 5, 1, 99, requires_grad=True), torch.empty(2, 1, 99, dtype=torch.int64)

        def step() -> None:
            functional.cross_entropy(logits, classes).backward()

        losses = [call for call in calls_of(step, 2**40) if "nll_loss2d" in str(call.operator)]
    assert losses
    for call in losses:
        ((arguments, _),) = _arguments(call, 1, CPU)
        drawn = next(a for a in arguments if isinstance(a, torch.Tensor) and a.dtype == torch.int64)
        assert 0 <= int(drawn.min()) <= int(drawn.max()) < 5


def weight_step(cache_bytes: int = 2**40) -> list[Call]:
    """Backward of x · Wᵀ: of its products, one makes the gradient of W, which stays, and one that of x, which does not."""
    with fake():
        x, weight = torch.empty(4, 8, requires_grad=True), torch.nn.Parameter(torch.empty(16, 8))

        def step() -> list[torch.Tensor]:
            functional.linear(x * 2, weight).sum().backward()
            return [weight.grad] if weight.grad is not None else []

        return calls_of(step, cache_bytes)


def test_a_result_that_outlives_the_step_is_kept_and_an_equal_one_that_does_not_is_another_piece() -> None:
    products = {call.piece.mnk: call for call in weight_step() if call.piece.kind == "mm"}
    assert {mnk: call.kept for mnk, call in products.items()} == {(16, 8, 4): True, (4, 8, 16): False, (4, 16, 8): False}
    assert products[16, 8, 4].piece.key.endswith(" kept")
    assert not products[4, 8, 16].piece.key.endswith(" kept")


class Second(ScriptedClock):
    """Every sample takes a second, so that it is one call."""

    def __init__(self) -> None:
        super().__init__(())

    def time(self, step: Callable[[], object]) -> float:
        step()
        self._at_s += 1.0
        return 1.0


@pytest.mark.parametrize(("room_bytes", "held_at_most"), [(10 * 512, 11), (0, 1)])
def test_kept_results_lie_in_memory_of_their_own_until_they_are_let_go_together(
    monkeypatch: pytest.MonkeyPatch, room_bytes: int, held_at_most: int
) -> None:
    alive, most = [0], [0]

    def gone() -> None:
        alive[0] -= 1

    def operator() -> torch.Tensor:
        made = torch.empty(128, dtype=torch.float32)  # 512 bytes
        weakref.finalize(made, gone)
        alive[0] += 1
        most[0] = max(most[0], alive[0])
        return made

    monkeypatch.setattr(replaying, "KEPT_BYTES", room_bytes)
    device: Any = SimpleNamespace(kind="cpu", torch_device=torch.device("cpu"), clock=Second, memory_available_bytes=lambda: 2**30)
    piece = OperatorCall(key="k", kind="k", group="memory", dtype="fp32")
    for kept, held in ((True, held_at_most), (False, 1)):
        most[0] = 0
        (one,) = replay([Call(operator=operator, args=(), kwargs={}, piece=piece, kept=kept)], device, cache_bytes=0, rounds=1, time_s=30)
        assert (len(one.samples_s), most[0]) == (30, held)


def test_tensors_of_one_optimizer_share_its_update_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    updates = optimizers.pieces([100, 300, 300], "sgd")
    monkeypatch.setattr(optimizers, "sample_together", lambda sizes, *_, **__: (7.0,) if sorted(sizes) == [100, 300, 300] else None)
    timed = step_operators.entries([], updates, CPU, cache_bytes=0, rounds=1, time_s=0)
    assert [entry.seconds_s for entry in timed] == [1.0, 3.0]
    assert step_operators.total_s([], updates, timed) == 7.0


def test_forward_and_backward_lie_between_two_updates_as_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    call = Call(operator=None, args=(), kwargs={}, piece=OperatorCall(key="k", kind="k", group="memory", dtype="fp32", count=3))
    for each_s, pause_s in ((0.25, 0.75), (5.0, optimizers.MOST_PAUSE_S)):
        monkeypatch.setattr(step_operators.replay, "replay", lambda calls, *_, s=each_s, **__: [replaying.Replay(calls[0], [s])])
        step_operators.entries([call], optimizers.pieces([10], "sgd"), CPU, cache_bytes=0, rounds=1, time_s=0)
        assert pauses == [pause_s] * step_operators.OPTIMIZER_STEPS
        pauses.clear()


def test_an_optimizer_that_does_not_fit_is_timed_a_few_tensors_at_a_time() -> None:
    small = SimpleNamespace(kind="cpu", torch_device=torch.device("cpu"), clock=CPU.clock, memory_available_bytes=lambda: 4000)
    assert optimizers.sample_together([1000], "adamw", small, num_steps=1) is None  # type: ignore[arg-type]
    (one,) = step_operators.entries([], optimizers.pieces([1000], "adamw"), small, cache_bytes=0, rounds=1, time_s=0)  # type: ignore[arg-type]
    assert len(one.samples_s) == step_operators.OPTIMIZER_STEPS
    assert optimizers.sample_together([1000], "adamw", CPU, num_steps=2) is not None
