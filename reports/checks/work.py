"""Rules about the work: that it was counted right, that the rules of thumb add up, and that it was really done."""

from __future__ import annotations

from collections.abc import Iterator

from bench.records.record import Measurement
from bench.statistics.rates import main_phase
from estimators import units
from reports.checks.check import Check

EXACT_ROUTES = ("torch meta", "fvcore x2")
"""Routes that must equal the op table to the integer."""


def complete(record: Measurement) -> Iterator[Check]:
    """A run that measured nothing, or was stopped, has not passed."""
    if record.request.task == "estimate":
        return
    if record.proof.served is not None and record.proof.served.file:  # what was imported was timed elsewhere, and may be figures alone
        served = record.proof.served
        num = len(served.requests) + len(served.samples) + len(served.figures)
        yield Check(metric="requests or figures", estimated=1, observed=num, rule=">=", ok=num >= 1)
        return
    samples = [phase.samples_s for phase in record.phases if phase.name != "load" and phase.samples_s]
    num = sum(map(len, samples))
    yield Check(metric="timed samples", estimated=1, observed=num, rule=">=", ok=num >= 1)
    if samples and min(map(min, samples)) <= 0:
        positive = sum(seconds > 0 for each in samples for seconds in each)
        yield Check(metric="timed samples above 0 s", estimated=num, observed=positive, rule="==", ok=False)
    if record.status != "complete":
        yield Check(metric="run ended", estimated="complete", observed=record.status, rule="==", ok=False, explanation=record.status_reason)


def counts(record: Measurement) -> Iterator[Check]:
    """Every quantity by every exact route equals the op table, and the model that ran has the parameters that were estimated."""
    expected = {c.quantity: c.value for c in record.counts if c.route == "op table"}
    for count in record.counts:
        if count.route in EXACT_ROUTES:
            yield Check(
                metric=f"{count.quantity}, {count.route}",
                estimated=expected.get(count.quantity),
                observed=count.value,
                rule="==",
                ok=None if count.value is None else count.value == expected.get(count.quantity),
                explanation=count.reason,
                format=units.format_int,
            )
    ran, is_derived = record.proof.num_params, not record.counts or bool(expected)
    if ran is not None and is_derived:  # else the estimate's parameters are those of the very model that ran
        params = record.estimate.params
        yield Check(
            metric="params, the model that ran", estimated=params, observed=ran, rule="==", ok=params == ran, format=units.format_int
        )


def rules_of_thumb(record: Measurement) -> Iterator[Check]:
    """Each rule of thumb departs from the exact count by parts that are named and add up."""
    rules = record.estimate.rules
    for rule in rules:
        unexplained = rule.flop - rule.exact_flop - sum(flop for _, flop in rule.difference)
        yield Check(
            metric=f"{rule.phase}: {rule.name}",
            estimated=rule.flop,
            observed=rule.exact_flop,
            rule="parts add up",
            ok=unexplained == 0,
            explanation=f"ratio {units.format_ratio(rule.flop / rule.exact_flop)}, {len(rule.difference)} named parts"
            + ("" if unexplained == 0 else f"; unexplained {unexplained:,} FLOP"),
            format=units.format_flop,
        )
    trainer = next((c for c in record.counts if c.route == "Trainer rule"), None)
    ours = next((r for r in rules if r.name == "transformers' Trainer"), None)
    if trainer and ours:
        yield Check(
            metric="training_flop, Trainer rule",
            estimated=ours.flop,
            observed=trainer.value,
            rule="==",
            ok=trainer.value == ours.flop,
            explanation="N by transformers' own num_parameters",
            format=units.format_int,
        )


def proof(record: Measurement) -> Iterator[Check]:
    """The work was real: exact tokens, planned shapes, finite logits, finite and falling loss, changed parameters."""
    seen = record.proof
    if seen.num_new_tokens is not None:
        expected, observed = seen.num_expected_new_tokens, seen.num_new_tokens
        yield Check(metric="tokens generated", estimated=expected, observed=observed, rule="==", ok=expected == observed)
    as_planned = seen.forward_shapes_as_planned
    if as_planned is not None:
        yield Check(
            metric="forward passes as estimated",
            estimated=seen.num_expected_forward_passes,
            observed=seen.num_forward_passes,
            rule="==",
            ok=as_planned and seen.num_forward_passes == seen.num_expected_forward_passes,
            explanation="one prefill of all rows, then one token per row" if as_planned else "transformers ran other shapes than estimated",
        )
    if seen.logits_finite is not None:
        yield _yes("logits are finite", seen.logits_finite)
    if "loss_first" in seen and "loss_last" in seen:
        first, last = seen.loss_first, seen.loss_last
        falls = None if first is None or last is None else last < first
        yield Check(
            metric="loss is finite and falls",
            estimated=first,
            observed=last,
            rule="<",
            ok=bool(falls),
            explanation="a loss was not finite" if falls is None else "",
            format=lambda loss: f"{loss:.4g}",
        )
    if "grad_norm" in seen:
        norm = seen.grad_norm
        yield Check(
            metric="norm of the last gradient",
            estimated=0.0,
            observed=norm,
            rule=">",
            ok=norm is not None and norm > 0,
            explanation="there is none, or it is not finite" if norm is None else "" if norm > 0 else "nothing is being trained",
            format=lambda value: f"{value:.4g}",
        )
    if seen.params_changed is not None:
        yield _yes("parameters changed", seen.params_changed)


def tokens(record: Measurement) -> Iterator[Check]:
    """A sample of the main phase processes exactly the tokens that were asked for: batch x sequence, or batch x new tokens."""
    asked, phase = record.request, main_phase(record)
    if phase is None or not phase.samples_s or phase.item != "token" or not asked.batch or is_article(record) or is_watched(record):
        return
    each = asked.new_tokens if asked.task == "generate" else 1 if asked.task == "decode" else asked.seq_len
    expected = asked.batch * (each or 0) * (record.proof.num_ranks or 1)
    yield Check(
        metric=f"tokens of a {phase.name} sample",
        estimated=expected,
        observed=phase.items_per_sample,
        rule="==",
        ok=phase.items_per_sample == expected,
        format=units.format_int,
    )


def is_article(record: Measurement) -> bool:
    """Whether a whole training was run, whose batches end in a shorter one and whose items are its samples."""
    return record.proof.num_samples is not None


def is_watched(record: Measurement) -> bool:
    """Whether the training was a user's own loop, whose batches differ in length; their tokens were counted one by one."""
    return record.proof.watched is not None


def _yes(metric: str, value: bool) -> Check:
    return Check(metric=metric, estimated="yes", observed="yes" if value else "no", rule="==", ok=value)
