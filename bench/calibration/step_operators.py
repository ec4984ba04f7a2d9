"""A workload's own operators: which they are, what each takes on its own, and what they sum to."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

from bench.backend.device import Device
from bench.backend.operators import optimizers, replay
from bench.backend.operators.calibration_operators import renamed
from bench.backend.operators.trace import Call
from bench.calibration.traced_step import article_work, language_work, sample_work
from bench.records.calibration import Entry
from bench.sampling.clock import Clock
from bench.workloads.article.engine import threads
from bench.workloads.article.run import ArticleRun
from bench.workloads.article.workload import DENSE_THREADS
from bench.workloads.language.run import LanguageRun
from bench.workloads.samples.run import SampleRun
from bench.workloads.step_run import StepRun
from estimators.profile.operator_times import OperatorCall

OPTIMIZER_STEPS = 5


def mode(run: ArticleRun | StepRun) -> str:
    """How the run's step is driven: one of estimators.profile.operator_times.HOST_MODES."""
    if run.task != "train":
        return "forward"
    return "dense-train" if is_dense(run) else "language-train"


def is_dense(run: ArticleRun | StepRun) -> bool:
    """Whether it is one of the article's dense networks, which run on one thread."""
    return isinstance(run, ArticleRun) and not run.is_text


def work(run: ArticleRun | StepRun, cache_bytes: int) -> tuple[list[Call], list[OperatorCall]]:
    """Operators of one step, and of a training the optimizer's pieces beside them, one for each size of what is updated."""
    if isinstance(run, ArticleRun):
        calls, updated = article_work(run, cache_bytes)
    elif isinstance(run, SampleRun):
        calls, updated = sample_work(run, cache_bytes)
    else:
        assert isinstance(run, LanguageRun)
        calls, updated = language_work(run, cache_bytes)
    if is_dense(run):
        calls = [renamed(call, "on 1 thread") for call in calls]
    return calls, optimizers.pieces(updated, run.optimizer)


def pieces(calls: Sequence[Call], updates: Sequence[OperatorCall]) -> list[OperatorCall]:
    """All of a step, as the estimators take it."""
    return [*(call.piece for call in calls), *updates]


def num_ops(calls: Sequence[Call], updates: Sequence[OperatorCall]) -> int:
    """Operators that a step dispatches, an optimizer's update of one tensor being one."""
    return sum(piece.count for piece in pieces(calls, updates))


def entries(
    calls: Sequence[Call],
    updates: Sequence[OperatorCall],
    device: Device,
    *,
    cache_bytes: int,
    rounds: int,
    time_s: float,
    role: str = "own",
    clock: Clock | None = None,
) -> list[Entry]:
    """Each operator timed on its own; those that cannot be repeated are left out, and a prediction falls back to a curve."""
    one_thread = any(call.piece.key.endswith("on 1 thread") for call in calls)
    timed = []
    with threads(DENSE_THREADS) if one_thread else nullcontext():
        for replayed in replay.replay(
            [c for c in calls if c.piece.group != "view"], device, cache_bytes=cache_bytes, rounds=rounds, time_s=time_s, clock=clock
        ):
            if replayed.samples_s:
                timed.append(entry(replayed.call.piece, tuple(replayed.samples_s), role))
        timed += _update_entries(updates, device, cache_bytes, role, pause_s=total_s(calls, (), timed))
    return timed


def _update_entries(updates: Sequence[OperatorCall], device: Device, cache_bytes: int, role: str, *, pause_s: float) -> list[Entry]:
    """What each tensor's update takes: its share, by bytes, of all of them at once; where they do not fit, of a few of its size.

    Args:
        pause_s: between two updates, for forward and backward.
    """
    if not updates:
        return []
    kind, each = updates[0].kind, {update.key: update.num_bytes // optimizers.BYTES_PER_PARAM[update.kind] for update in updates}
    sizes = [each[update.key] for update in updates for _ in range(update.count)]
    together = optimizers.sample_together(sizes, kind, device, num_steps=OPTIMIZER_STEPS, pause_s=pause_s)
    if together is not None:
        return [entry(update, tuple(seconds * each[update.key] / sum(sizes) for seconds in together), role) for update in updates]
    return [
        entry(update, optimizers.sample(each[update.key], kind, device, cache_bytes=cache_bytes, num_steps=OPTIMIZER_STEPS), role)
        for update in updates
    ]


def entry(piece: OperatorCall, samples_s: tuple[float, ...], role: str) -> Entry:
    """What a calibration keeps of it."""
    return Entry(
        key=piece.key,
        kind=piece.kind,
        group=piece.group,
        dtype=piece.dtype,
        role=role,
        num_bytes=piece.num_bytes,
        flop=piece.flop,
        mnk=piece.mnk,
        samples_s=samples_s,
    )


def total_s(calls: Sequence[Call], updates: Sequence[OperatorCall], known: Sequence[Entry]) -> float:
    """Sum of count · median over what was timed."""
    by_key = {each.key: each.seconds_s for each in known}
    return sum(piece.count * by_key.get(piece.key, 0.0) for piece in pieces(calls, updates))
