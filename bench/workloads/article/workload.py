"""One training from request to draft: set up, train, score, and write down what was seen."""

from __future__ import annotations

import math
import time

from accelerate import Accelerator
from accelerate.utils import set_seed

from bench.backend.device import Device
from bench.backend.training_evidence import SampledParameters, gradient_norm
from bench.records.draft import Draft
from bench.records.learning import CurvePoint, Learning
from bench.records.proof import Proof
from bench.records.record import Phase
from bench.records.request import Request
from bench.sampling.presets import preset
from bench.workloads.article import findings, subjects
from bench.workloads.article.batches import loader
from bench.workloads.article.engine import device_of, engine, slowest, summed, threads
from bench.workloads.article.hyperparameters import Plan, plan
from bench.workloads.article.interrupts import one_interrupt
from bench.workloads.article.networks import build
from bench.workloads.article.progress import Progress
from bench.workloads.article.sample import sample_sizes, write_sample
from bench.workloads.article.training import Limits, Trainer, optimizer_of, schedule_of, score, train
from bench.workloads.preparation import add_peak_memory, watched

DENSE_THREADS = 1
"""A dense step of the article takes under a millisecond, less than threads need to meet: a second one only adds waiting."""
CURVE_POINTS = 20
SCORING_BATCH = {"views": 4096, "mails": 4096, "text": 32}
"""Samples scored at once, without gradients: it only bounds the memory."""


def prepare(request: Request) -> tuple[Plan, subjects.Subject]:
    """The training decided and its data drawn or read: whatever can be refused is refused here.

    Raises:
        BadValueError, UnavailableError: see hyperparameters.plan, engine.device_of, sample.sample_sizes, subjects.load.
    """
    decided = plan(request)
    device_of(request)
    if decided.subject == "text":
        sample_sizes(request, decided)
    return decided, subjects.load(request, decided)


def train_and_report(request: Request, draft: Draft) -> None:
    """Train what the request describes and add what was seen to the draft. Only the main rank's draft is filled.

    Raises:
        BadValueError, UnavailableError: see prepare.
        KeyboardInterrupt: interrupted; what was measured so far is in the draft.
    """
    began = time.perf_counter()
    decided, subject = prepare(request)
    num_threads = None if decided.subject == "text" else DENSE_THREADS
    with one_interrupt(), engine(request) as (accelerator, device), threads(num_threads):
        _train_and_report(request, draft, decided, subject, accelerator, device, began)


def _train_and_report(
    request: Request, draft: Draft, decided: Plan, subject: subjects.Subject, accelerator: Accelerator, device: Device, began: float
) -> None:
    main, num_ranks = accelerator.is_main_process, accelerator.num_processes
    batch = decided.batch or len(subject.train)
    device.reset_peak()
    set_seed(request.seed)
    network = build(decided.config)
    shuffled_by = None if batch == len(subject.train) else request.seed
    train_loader = loader(subject.train, batch, num_ranks=num_ranks, seed=shuffled_by)
    optimizer = optimizer_of(decided, network)
    schedule = schedule_of(decided, optimizer, decided.epochs * len(train_loader))
    scoring = SCORING_BATCH[decided.subject]
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
        findings.note_decisions(draft, decided, accelerator, batch)
        draft.add_phase(Phase(name="load", samples_s=(time.perf_counter() - began,), item="model"))
        draft.learning |= subject.facts | Learning(num_train=len(subject.train), num_heldout=len(subject.heldout))

    scores = {"loss": subject.losses, **subject.scores}
    loss_first = score(accelerator, model, seen, scores)["loss"]
    curve: list[CurvePoint] = []
    drawn = {math.ceil(i * decided.epochs / CURVE_POINTS) for i in range(1, CURVE_POINTS + 1)}
    trainer = Trainer(accelerator=accelerator, model=model, optimizer=optimizer, schedule=schedule, losses=subject.losses, batch=batch)
    clock = device.clock()
    with watched(draft, device, preset(request.preset).idle_s), Progress(request.model, decided.epochs, shown=main) as progress:

        def after_epoch(epoch: int) -> None:
            if epoch in drawn:
                losses = {
                    f"{name}_loss": score(accelerator, model, rows, scores)["loss"] for name, rows in (("train", seen), ("heldout", unseen))
                }
                curve.append(CurvePoint(epoch=epoch, **losses))
            progress.show(epoch, curve)

        limits = Limits(epochs=decided.epochs, steps=request.steps, max_time_s=request.max_time_s)
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
            if decided.subject == "text":
                write_sample(request, draft, decided, accelerator.unwrap_model(model))
    findings.add_times(draft, subject, batch, step_s=step_s, epoch_s=epoch_s, clock=clock.name, stopped_by=log.stopped_by)
