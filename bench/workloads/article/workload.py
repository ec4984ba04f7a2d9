"""One training from a decided run to its draft: set up, train, score, and write down what was seen."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType, TracebackType

from accelerate import Accelerator
from accelerate.utils import set_seed

from bench.backend.device import Device
from bench.backend.training_evidence import SampledParameters, gradient_norm
from bench.records.draft import Draft
from bench.records.learning import CurvePoint, Learning
from bench.records.proof import Proof
from bench.records.record import Phase
from bench.sampling.live_line import line
from bench.workloads.article import findings
from bench.workloads.article.batches import loader
from bench.workloads.article.engine import engine, slowest, summed, threads
from bench.workloads.article.networks import build
from bench.workloads.article.run import ArticleRun
from bench.workloads.article.sample import write_sample
from bench.workloads.article.training import Trainer, TrainingLimits, optimizer_of, schedule_of, score, train
from bench.workloads.preparation import add_peak_memory, watched

DENSE_THREADS = 1
"""A dense step of the article takes under a millisecond, less than threads need to meet: a second one only adds waiting."""
CURVE_POINTS = 20
SCORING_BATCH = {"sample": 4096, "token": 32}
"""Samples scored at once, without gradients: it only bounds the memory."""


def train_and_report(run: ArticleRun, draft: Draft) -> None:
    """Train what was decided and add what was seen to the draft.

    Phases: load, epoch, train_step, and generate for the language model. Also proof, learning, memory_bytes, and the reasons
    for what is unavailable. In a run of several ranks every rank must call this; only the main rank's draft is filled.

    Raises:
        KeyboardInterrupt: interrupted; what was measured so far is in the draft.
    """
    began = time.perf_counter()
    with one_interrupt(), engine(run.device, run.dtype) as (accelerator, device), threads(None if run.is_text else DENSE_THREADS):
        _train_and_report(run, draft, accelerator, device, began)


def _train_and_report(run: ArticleRun, draft: Draft, accelerator: Accelerator, device: Device, began: float) -> None:
    main, num_ranks = accelerator.is_main_process, accelerator.num_processes
    batch, subject = run.batch, run.subject
    device.reset_peak()
    set_seed(run.seed)
    network = build(run.config)
    shuffled_by = None if batch == len(subject.train) else run.seed
    train_loader = loader(subject.train, batch, num_ranks=num_ranks, seed=shuffled_by)
    optimizer = optimizer_of(run, network)
    schedule = schedule_of(run, optimizer, run.epochs * len(train_loader))
    scoring = SCORING_BATCH[subject.item]
    model, optimizer, schedule, train_loader, seen, unseen = accelerator.prepare(
        network,
        optimizer,
        schedule,
        train_loader,
        loader(subject.train.first(subject.num_scored), scoring, num_ranks=num_ranks, seed=None),
        loader(subject.heldout, scoring, num_ranks=num_ranks, seed=None),
    )
    parameters = SampledParameters(network)
    if main:
        findings.note_ranks(draft, accelerator)
        draft.add_phase(Phase(name="load", samples_s=(time.perf_counter() - began,), item="model"))
        draft.learning |= subject.facts | Learning(num_train=len(subject.train), num_heldout=len(subject.heldout))

    scores = {"loss": subject.losses, **subject.scores}
    loss_first = score(accelerator, model, seen, scores)["loss"]
    curve: list[CurvePoint] = []
    drawn = {math.ceil(i * run.epochs / CURVE_POINTS) for i in range(1, CURVE_POINTS + 1)}
    trainer = Trainer(accelerator=accelerator, model=model, optimizer=optimizer, schedule=schedule, losses=subject.losses, batch=batch)
    clock = device.clock()
    with watched(draft, device, run.preset.idle_s), Progress(run.model, run.epochs, shown=main) as progress:

        def after_epoch(epoch: int) -> None:
            if epoch in drawn:
                losses = {
                    f"{name}_loss": score(accelerator, model, rows, scores)["loss"] for name, rows in (("train", seen), ("heldout", unseen))
                }
                curve.append(CurvePoint(epoch=epoch, **losses))
            progress.show(epoch, curve)

        limits = TrainingLimits(epochs=run.epochs, steps=run.steps, max_time_s=run.max_time_s)
        log = train(trainer, train_loader, limits, clock, after_epoch=after_epoch)

    proof = Proof(
        num_steps=len(log.steps),
        num_ranks=num_ranks,
        num_params=sum(p.numel() for p in network.parameters()),
        grad_norm=gradient_norm(network),
        params_changed=parameters.changed(),
    )
    step_s, epoch_s = tuple(log.step_s), tuple(log.epoch_s)
    reached: dict[str, float] = {}
    if log.stopped_by != "interrupt":
        step_s, epoch_s = slowest(accelerator, step_s), slowest(accelerator, epoch_s)
        proof |= Proof(num_samples=summed(accelerator, log.num_samples))
        for name, rows in (("train", seen), ("heldout", unseen)):
            reached |= {f"{name}_{key}": value for key, value in score(accelerator, model, rows, scores).items()}
    if not main:
        if log.stopped_by == "interrupt":
            raise KeyboardInterrupt
        return
    draft.proof |= proof | Proof(**findings.finite(draft, {"loss_first": loss_first}))
    findings.keep_curve(draft, curve)
    add_peak_memory(draft, device)
    if log.stopped_by == "interrupt":
        findings.keep_interrupted(draft, len(log.steps), batch, num_ranks)
    else:
        draft.proof |= Proof(**findings.finite(draft, {"loss_last": reached["train_loss"]}))
        draft.learning |= Learning(**findings.finite(draft, reached))
        if all(map(math.isfinite, reached.values())):
            draft.learning |= subject.derived(reached)
            if run.is_text:
                write_sample(run, draft, accelerator.unwrap_model(model))
    findings.add_times(draft, subject, batch, step_s=step_s, epoch_s=epoch_s, clock=clock.name, stopped_by=log.stopped_by)


@contextmanager
def one_interrupt() -> Iterator[None]:
    """Inside, the first SIGINT raises KeyboardInterrupt and the following ones do nothing.

    A launcher passes its own SIGINT on to ranks that the terminal has already told, and the second one would
    destroy what is kept after the first. Outside the main thread, and where SIGINT is ignored, nothing changes.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is signal.SIG_IGN:
        yield
        return

    def once(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, once)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)


class Progress:
    """One line with the epochs done and the latest losses. Drawn between epochs only, never by a thread beside the steps."""

    def __init__(self, name: str, epochs: int, *, shown: bool) -> None:
        self._name, self._epochs = name, epochs
        self._stack = ExitStack()
        self._draw = self._stack.enter_context(line(shown=shown))

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def show(self, epoch: int, curve: Sequence[CurvePoint]) -> None:
        """Show that `epoch` epochs are done, and the latest losses; a few times per second at most."""
        if self._draw is not None:
            self._draw(lambda: self._text(epoch, curve))

    def _text(self, epoch: int, curve: Sequence[CurvePoint]) -> str:
        losses = f", train {curve[-1].train_loss:.4f}, held out {curve[-1].heldout_loss:.4f}" if curve else ""
        return f"training {self._name}: {epoch} of {self._epochs} epochs{losses}"
