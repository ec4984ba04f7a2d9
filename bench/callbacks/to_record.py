"""From what was watched to the record that `run` writes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median_low
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.callbacks import energy, proof, ranks
from bench.callbacks.guard import SIZE
from bench.callbacks.optimizer_steps import FIGURE as UPDATES
from bench.machine.meters.readings import Readings
from bench.records.draft import Draft
from bench.records.proof import Proof, WatchedTraining
from bench.records.record import Finding, Phase
from bench.sampling.timing_loop import UNSTABLE_FRACTION, has_settled
from bench.statistics import robust
from bench.statistics.step_sizes import of_usual_size

SETTLE_WINDOW, SETTLE_FRACTION, WARMUP_MAX = 3, 0.02, 20
"""Of the warm-up, as bench.sampling.timing_loop.sample judges it, here after the fact."""

MUCH_WAIT, MUCH_OTHERS, MUCH_PADDING, MUCH_WATCHING, MUCH_KEPT = 0.05, 0.05, 0.10, 0.005, 0.2
"""Shares of the time, of the whole time, of the positions, of the time, of the time, from which a reader is told."""


def num_warmup(periods_s: Sequence[float], is_usual: Sequence[bool] | None = None) -> tuple[int, bool | None]:
    """Steps before the steady state, and whether it was reached; None where there are too few to judge.

    The first step compiles and allocates, so it is warm-up wherever there is another. Where steps differ in size, those of
    the usual one tell whether the times have settled.

    >>> num_warmup([9.0, 5.0, 3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]), num_warmup([3.0, 1.0]), num_warmup([3.0])
    ((8, True), (1, None), (0, None))
    >>> num_warmup([9.0, 2.0, 7.0, 2.0, 7.0, 2.0, 2.0, 7.0, 2.0, 2.0, 2.0, 2.0], [number not in (2, 4, 7) for number in range(12)])
    (9, True)
    """
    if is_usual is not None:
        places = [place for place, usual in enumerate(is_usual) if usual]
        size, settled = num_warmup([periods_s[place] for place in places])
        return (1 if settled is None else places[size - 1] + 1) if len(periods_s) > 1 else 0, settled
    for size in range(2 * SETTLE_WINDOW, min(WARMUP_MAX, len(periods_s) - 1) + 1):
        if has_settled(periods_s[:size], SETTLE_WINDOW, SETTLE_FRACTION):
            return size, True
    if len(periods_s) > WARMUP_MAX:
        return WARMUP_MAX, False
    return min(1, max(0, len(periods_s) - 1)), None


def fill(
    draft: Draft,
    reports: Sequence[ranks.RankReport],
    own_power: Readings,
    *,
    item: str,
    clock: str,
    stopped_by: str,
) -> None:
    """Put times, tokens, power, memory and proof of all ranks into the draft, in place of those of an earlier call.

    What a rank could not read is left out. Where the size of a batch is not known, a step is the item that is timed.
    """
    whole = ranks.joined_steps(reports)
    if not all(step.is_sized for report in reports for step in report.steps):
        item, draft.request = "step", draft.request.replaced(batch=None, seq_len=None)
    sizes = [num for num in whole.items if num is not None]
    is_usual = of_usual_size(sizes, whole.positions) if len(sizes) == len(whole.items) else None
    skip, settled = num_warmup(whole.periods_s, None if is_usual is None else is_usual.tolist())
    draft.phases = _phases(whole, skip, settled, item, clock, stopped_by)
    ranked = ranks.rows(reports, skip)
    observer_s = max(report.observer_s for report in reports)
    by_rank = [[step.work.model_and_hardware_flop if step.work else None for step in report.steps] for report in ranks.distinct(reports)]
    flop = [pair for steps in by_rank for pair in steps]
    steady = [pair for steps in by_rank for pair in steps[skip:]] if None not in flop else []
    losses = [loss for loss in whole.losses if loss is not None]
    proven, findings = proof.loss_proof(losses, all(report.params_finite for report in reports))
    of_item: dict[str, Any] = {} if item == "step" else {f"{item}s_per_step": whole.items}
    if any(num is not None for num in whole.loss_tokens):
        of_item["loss_tokens_per_step"] = whole.loss_tokens
    watched = WatchedTraining(
        data_wait_s=whole.waits_s,
        others_s=whole.others_s,
        **of_item,
        padding_per_step=whole.paddings,
        losses=tuple(loss if loss is not None and math.isfinite(loss) else None for loss in whole.losses),
        training_flop=sum(pair[0] for pair in flop if pair) if None not in flop else None,
        steady_training_flop=sum(pair[0] for pair in steady if pair) if steady else None,
        hardware_flop=sum(pair[1] for pair in flop if pair) if None not in flop else None,
        ranks=ranked,
        skew_fraction=ranks.skew_fraction(ranked),
        observer_s=observer_s,
        counting_s=max(report.counting_s for report in reports),
        processor_s=min((taken for report in reports if (taken := report.processor_s) is not None), default=None),
    )
    known = Proof(num_params=draft.proof.num_params) if "num_params" in draft.proof else Proof()
    evidence = [report.params_changed for report in reports]
    changed = Proof() if None in evidence else Proof(params_changed=all(evidence))
    if whole.unsized:
        draft.unavailable.setdefault(SIZE, whole.unsized)
    draft.proof = (
        known
        | proven
        | changed
        | _optimizer_steps(draft, whole, reports)
        | _counts(whole, item)
        | Proof(num_ranks=len(reports), watched=watched)
    )
    merged, missing = energy.over_ranks([(report.uuid, report.power) for report in reports])
    draft.power = merged
    draft.unavailable |= {
        name: own_power.unavailable.get(name, missing.get(name, "not read")) for name, value in merged.items() if value is None
    }
    for name in reports[0].peak_bytes:
        draft.memory_bytes[name] = max((peak for r in reports if (peak := r.peak_bytes.get(name)) is not None), default=None)
    for report in reports:
        draft.unavailable |= {figure: f"rank {report.rank}: {reason}" for figure, reason in report.failed.items() if len(reports) > 1}
    draft.warnings = [*own_power.findings, *findings, *_findings(whole, skip, settled, observer_s, is_usual, watched.processor_s)]


def _optimizer_steps(draft: Draft, whole: ranks.JoinedSteps, reports: Sequence[ranks.RankReport]) -> Proof:
    """Steps, as far as optimizers were seen to take them; else all that were timed."""
    batches = Proof(num_batches=whole.num_batches) if whole.num_batches else Proof()
    if not any((*whole.updates, *whole.skipped)) or any(UPDATES in report.failed for report in reports):
        draft.unavailable.setdefault(UPDATES, "no optimizer of torch that holds a parameter of the model was seen to step")
        return batches | Proof(num_steps=len(whole.periods_s))
    num_steps = sum(num > 0 for num in whole.updates)
    return batches | Proof(num_steps=num_steps, num_optimizer_steps=sum(whole.updates), num_skipped_steps=sum(whole.skipped))


def _counts(whole: ranks.JoinedSteps, item: str) -> Proof:
    """Totals of all steps; what is not known of each is not stated."""
    items, padding, losses = map(ranks.total, ((*whole.items, whole.num_unsent_items), whole.paddings, whole.loss_tokens))
    if items is None:
        return Proof()
    if item == "sample":
        return Proof(num_samples=items)
    count = Proof(num_tokens=items)
    if whole.num_unsent_items:
        return count
    if whole.periods_s and padding is not None:
        count |= Proof(num_padding=padding)
    return count | Proof(num_loss_tokens=losses) if whole.periods_s and losses is not None else count


def _phases(whole: ranks.JoinedSteps, skip: int, settled: bool | None, item: str, clock: str, stopped_by: str) -> list[Phase]:
    if not whole.periods_s:
        return []
    items = 1 if item == "step" else median_low(num or 0 for num in whole.items[skip:])

    def phase(name: str, samples_s: Sequence[float], by: str) -> Phase:
        return Phase(
            name=name,
            samples_s=tuple(samples_s[skip:]),
            warmup_s=tuple(samples_s[:skip]),
            items_per_sample=items,
            item=item,
            clock=by,
            stopped_by=stopped_by,
            settled=settled,
        )

    phases = [phase("train_step", whole.periods_s, clock), phase("host_step", whole.host_s, "host")]
    return [*phases, phase("device_step", whole.device_s, "device-event")] if whole.device_s else phases


def _findings(
    whole: ranks.JoinedSteps,
    skip: int,
    settled: bool | None,
    observer_s: float,
    is_usual: npt.NDArray[np.bool_] | None,
    processor_s: float | None,
) -> list[Finding]:
    findings = []

    def add(code: str, text: str, advice: str) -> None:
        findings.append(Finding(code=code, text=text, advice=advice))

    steady, whole_s = whole.periods_s[skip:], sum(whole.periods_s)
    alike = [taken_s for taken_s, usual in zip(steady, is_usual[skip:], strict=True) if usual] if is_usual is not None else steady
    spread = robust.relative_spread(alike) if alike else None
    if settled is False:
        add("NeverSettled", "train_step: the warm-up reached its cap before the times settled", "look for what still changes")
    if spread is not None and spread > UNSTABLE_FRACTION:
        add(
            "Unstable",
            f"train_step: the samples spread by {100 * spread:.0f} % of their median",
            "close other programs, or watch more steps",
        )
    wait = sum(whole.waits_s[skip:]) / sum(steady) if steady else 0.0
    if wait > MUCH_WAIT:
        add(
            "DataWait",
            f"{100 * wait:.0f} % of the time went into waiting for data",
            "give the loader more workers, or prepare the data before",
        )
    kept_s = sum(whole.host_s) - processor_s if processor_s is not None else 0.0
    if kept_s > MUCH_KEPT * whole_s:
        text = f"the training's thread was without its processor for {100 * kept_s / whole_s:.0f} % of the time"
        add("HeldBack", text, "look for a quota (nr_throttled in /sys/fs/cgroup/cpu.stat), a stopped process, or other programs (top)")
    others_s = sum(whole.others_s)
    if others_s > MUCH_OTHERS * (whole_s + others_s):
        add(
            "TimeOfOthers",
            f"{100 * others_s / (whole_s + others_s):.0f} % of the whole time went into saving, evaluation, logging and other callbacks",
            "save and evaluate less often, or beside the training; the rates are those of the steps alone",
        )
    padding, positions = sum(p or 0 for p in whole.paddings), sum(whole.positions)
    if whole.unsized:
        add("Unsized", f"tokens and samples are not known: {whole.unsized}", "give a function from a batch to its size: size=")
    if positions and padding / positions > MUCH_PADDING:
        add("Padding", f"{100 * padding / positions:.0f} % of the positions hold no token", "pack the sequences, or sort them by length")
    idle, skipped = sum(not num for num in whole.updates), sum(whole.skipped)
    if skipped:
        text = f"a gradient scaler skipped {skipped:,} of {skipped + sum(whole.updates):,} steps: a gradient was no finite number"
        add("SkippedSteps", text, "a few at the beginning are the scaler's search; later ones are a sign of a loss that overflows")
    elif any(whole.updates) and idle:
        text = f"no optimizer stepped in {idle:,} of the {len(whole.updates):,} steps that were timed"
        add("StepsWithoutUpdate", text, "leave accumulate= out, or give the batches that are really accumulated")
    if is_usual is not None:
        text = "the steps differ in size: rates are sums over all of them, and the estimate is of the usual size"
        add("ShapesVary", text, "compare totals, not single steps")
    if whole_s and observer_s / whole_s > MUCH_WATCHING:
        add(
            "Watching",
            f"watching took {100 * observer_s / whole_s:.1f} % of the time",
            "steps this short are better watched several at a time",
        )
    return findings
