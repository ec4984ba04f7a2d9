"""One training from request to draft: set up, train, score, and write down what was seen."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn

from bench.record import Draft, Finding, Phase
from bench.request import Request
from bench.workloads.article import subjects
from bench.workloads.article.batches import loader
from bench.workloads.article.engine import PRECISIONS, engine, slowest, summed, threads
from bench.workloads.article.hyperparameters import Plan, plan
from bench.workloads.article.memory import peak_memory
from bench.workloads.article.networks import build
from bench.workloads.article.progress import Progress
from bench.workloads.article.sample import write_sample
from bench.workloads.article.training import Limits, Log, optimizer_of, score, train

WARMUP_STEPS, WARMUP_SHARE = 10, 10
"""The first steps allocate and choose kernels: 10 of them are kept apart, but never more than a tenth of all."""
DENSE_THREADS = 1
"""A dense step of the article takes under a millisecond, less than threads need to meet: a second one only adds waiting."""
CURVE_POINTS = 20
SCORING_BATCH = {"views": 4096, "mails": 4096, "text": 32}
"""Samples scored at once; no gradients, so this only bounds memory."""


def measure(request: Request, draft: Draft) -> None:
    """Train what the request describes and add what was seen to the draft. Only the main rank's draft is filled.

    Raises:
        BadValueError, UnavailableError: see hyperparameters.plan, subjects.load, engine.engine.
        KeyboardInterrupt: interrupted; what was measured so far is in the draft.
    """
    decided = plan(request)
    began = time.perf_counter()
    subject = subjects.load(request, decided)
    with engine(request) as accelerator, threads(DENSE_THREADS if decided.subject != "text" else None):
        _measure(request, draft, decided, subject, accelerator, began)


def _measure(request: Request, draft: Draft, decided: Plan, subject: subjects.Subject, accelerator: Accelerator, began: float) -> None:
    num_ranks = accelerator.num_processes
    batch = decided.batch or len(subject.train)
    set_seed(request.seed)
    network = build(decided.config)
    before = [p.detach().clone() for p in network.parameters()]
    scoring = SCORING_BATCH[decided.subject]
    model, optimizer, train_loader, seen_loader, heldout_loader = accelerator.prepare(
        network,
        optimizer_of(decided, network),
        loader(subject.train, batch, num_ranks=num_ranks, seed=request.seed),
        loader(subject.train.first(subject.num_scored), scoring, num_ranks=num_ranks, seed=None),
        loader(subject.heldout, scoring, num_ranks=num_ranks, seed=None),
    )
    load_s = time.perf_counter() - began
    if accelerator.is_main_process:
        _note_decisions(draft, decided, accelerator, batch)
        draft.add_phase(Phase(name="load", samples_s=(load_s,), item="model"))
        draft.learning |= subject.facts | {"num_train": len(subject.train), "num_heldout": len(subject.heldout)}

    everything = {"loss": subject.losses, **subject.scores}
    loss_first = score(accelerator, model, seen_loader, everything)["loss"]
    curve: list[dict[str, float]] = []
    ticks = {math.ceil(i * decided.epochs / CURVE_POINTS) for i in range(1, CURVE_POINTS + 1)}

    with Progress(request.model, decided.epochs, shown=accelerator.is_main_process) as progress:

        def after_epoch(epoch: int) -> None:
            if epoch in ticks:
                seen = score(accelerator, model, seen_loader, {"loss": subject.losses})["loss"]
                unseen = score(accelerator, model, heldout_loader, {"loss": subject.losses})["loss"]
                curve.append({"epoch": epoch, "train_loss": seen, "heldout_loss": unseen})
            progress.show(epoch, curve[-1] if curve else None)

        log = train(
            accelerator,
            model,
            optimizer,
            train_loader,
            subject.losses,
            batch=batch,
            epochs=decided.epochs,
            limits=Limits(steps=request.steps, seconds=request.max_time_s),
            after_epoch=after_epoch,
        )

    after = list(accelerator.unwrap_model(model).parameters())
    proof = {"num_steps": len(log.steps), "num_ranks": num_ranks, "params_changed": _all_changed(before, after)}
    if log.stopped_by == "interrupt":
        if accelerator.is_main_process:
            _keep_interrupted(draft, subject, log, proof, batch, loss_first, curve)
        raise KeyboardInterrupt
    scores = {f"train_{k}": v for k, v in score(accelerator, model, seen_loader, everything).items()}
    scores |= {f"heldout_{k}": v for k, v in score(accelerator, model, heldout_loader, everything).items()}
    step_s, epoch_s = slowest(accelerator, log.step_s), slowest(accelerator, log.epoch_s)
    proof["num_samples"] = summed(accelerator, log.num_samples)
    memory_bytes, unavailable = peak_memory(accelerator)
    if not accelerator.is_main_process:
        return
    draft.memory_bytes |= memory_bytes
    draft.unavailable |= unavailable
    draft.proof |= proof
    _keep_finite(draft, draft.proof, {"loss_first": loss_first, "loss_last": scores["train_loss"]})
    _keep_finite(draft, draft.learning, scores)
    if all(math.isfinite(value) for value in scores.values()):
        draft.learning |= subject.derived(scores)
        draft.learning["curve"] = [point for point in curve if all(map(math.isfinite, point.values()))]
        if decided.subject == "text":
            write_sample(request, draft, decided, accelerator.unwrap_model(model))
    _add_times(draft, subject, batch, len(train_loader), step_s, epoch_s, log.stopped_by)


def _note_decisions(draft: Draft, decided: Plan, accelerator: Accelerator, batch: int) -> None:
    """Write into the record what the request left open."""
    dtypes = {precision: dtype for dtype, precision in PRECISIONS.items()}
    draft.request |= {
        "config": decided.config,
        "batch": batch,
        "seq_len": decided.seq_len,
        "epochs": decided.epochs,
        "learning_rate": decided.learning_rate,
        "optimizer": decided.optimizer,
        "dtype": dtypes[accelerator.mixed_precision],
        "device": str(accelerator.device),
        "num_ranks": accelerator.num_processes,
        "num_threads": torch.get_num_threads(),
    }


def _all_changed(before: list[Tensor], after: list[nn.Parameter]) -> bool:
    """Whether training moved every parameter tensor."""
    return all(not torch.equal(b, a.detach().to(b.device)) for b, a in zip(before, after, strict=True))


def _keep_finite(draft: Draft, part: dict[str, Any], values: dict[str, float]) -> None:
    """Keep the values that are numbers; the others become None, with the reason and the way out."""
    for name, value in values.items():
        if math.isfinite(value):
            part[name] = value
            continue
        part[name] = None
        draft.unavailable[name] = f"the training diverged: {name} is {value}"
        finding = Finding(code="Diverged", text="the training diverged, its loss is no number any more", advice="lower --learning-rate")
        if finding not in draft.warnings:
            draft.warnings.append(finding)


def _keep_interrupted(
    draft: Draft, subject: subjects.Subject, log: Log, proof: dict[str, Any], batch: int, loss_first: float, curve: list[dict[str, float]]
) -> None:
    """Keep what an interrupted training has, without asking the other ranks, which may be gone."""
    draft.proof |= proof | {"num_samples": len(log.steps) * batch}
    _keep_finite(draft, draft.proof, {"loss_first": loss_first})
    draft.learning["curve"] = [point for point in curve if all(map(math.isfinite, point.values()))]
    for name in ("loss_last", "train_loss", "heldout_loss"):
        draft.unavailable[name] = "the training was interrupted"
    if proof["num_ranks"] > 1:
        draft.unavailable["slowest_rank"] = "the training was interrupted; step times are those of rank 0"
    steps_per_epoch = max(1, len(subject.train) // batch)
    _add_times(draft, subject, batch, steps_per_epoch, tuple(log.step_s), tuple(log.epoch_s), log.stopped_by)


def _add_times(
    draft: Draft, subject: subjects.Subject, batch: int, steps_per_epoch: int, step_s: tuple[float, ...], epoch_s: tuple[float, ...], stopped_by: str
) -> None:
    """Add the epochs and then the steps, since an interrupted phase ends the run."""
    if epoch_s:
        items = steps_per_epoch * batch * subject.items_per_row
        draft.add_phase(Phase(name="epoch", samples_s=epoch_s, items_per_sample=items, item=subject.item))
    warmup = min(WARMUP_STEPS, len(step_s) // WARMUP_SHARE)
    draft.add_phase(
        Phase(
            name="train_step",
            samples_s=step_s[warmup:],
            warmup_s=step_s[:warmup],
            items_per_sample=batch * subject.items_per_row,
            item=subject.item,
            stopped_by=stopped_by,
        )
    )
