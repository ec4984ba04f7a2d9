"""Hold a record's measurement against its estimate: RULES is a table; each yields checks that can fail.

Nothing here measures or counts: every figure comes from the record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bench import stats
from bench.record import Measurement, Phase
from estimators import units

CEILING_TOLERANCE = 0.10
"""A measured ceiling is the best rate seen in a few seconds; a step may beat it by so much before the ceiling counts as too low."""

EXACT_ROUTES = ("torch meta", "fvcore x2")
"""Routes that must equal the op table to the integer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One figure held against another.

    Attributes:
        metric: what is compared.
        estimated, observed: raw values in base units; None where there is none.
        rule: ==, <=, >=, parts add up.
        ok: whether it holds; None where it could not be judged, and then `explanation` says why.
        explanation: where the two differ and by which named parts, or why it could not be judged.
        format: how people read the two values.
    """

    metric: str
    estimated: float | int | str | None
    observed: float | int | str | None
    rule: str
    ok: bool | None
    explanation: str = ""
    tolerance: float = 0.0
    format: Callable[[Any], str] = str


def _counts(record: Measurement) -> Iterator[Check]:
    """Every quantity by every exact route equals the op table."""
    expected = {c.quantity: c.value for c in record.counts if c.route == "op table"}
    for count in record.counts:
        if count.route not in EXACT_ROUTES:
            continue
        if count.value is None:
            yield Check(
                metric=f"{count.quantity}, {count.route}",
                estimated=expected.get(count.quantity),
                observed=None,
                rule="==",
                ok=None,
                explanation=count.reason,
                format=units.format_int,
            )
            continue
        yield Check(
            metric=f"{count.quantity}, {count.route}",
            estimated=expected.get(count.quantity),
            observed=count.value,
            rule="==",
            ok=count.value == expected.get(count.quantity),
            format=units.format_int,
        )


def _rules_of_thumb(record: Measurement) -> Iterator[Check]:
    """Each rule of thumb departs from the exact count by parts that are named and add up."""
    for rule in record.estimate.get("rules", ()):
        parts = [(str(what), int(flop)) for what, flop in rule["difference"]]
        unexplained = rule["flop"] - rule["exact_flop"] - sum(flop for _, flop in parts)
        shares = "; ".join(f"{100 * flop / rule['exact_flop']:+.2g} % {what}" for what, flop in parts) or "no difference"
        yield Check(
            metric=f"{rule['name']} against {rule['convention']}",
            estimated=rule["flop"],
            observed=rule["exact_flop"],
            rule="parts add up",
            ok=unexplained == 0,
            explanation=f"ratio {rule['flop'] / rule['exact_flop']:.4f}: {shares}"
            + ("" if unexplained == 0 else f"; unexplained {unexplained:,} FLOP"),
            format=units.format_flop,
        )
    trainer = next((c for c in record.counts if c.route == "Trainer rule"), None)
    ours = next((r for r in record.estimate.get("rules", ()) if r["name"] == "transformers' Trainer"), None)
    if trainer and ours:
        yield Check(
            metric="transformers' Trainer rule, by its own module",
            estimated=ours["flop"],
            observed=trainer.value,
            rule="==",
            ok=trainer.value == ours["flop"],
            explanation="6·N·D with transformers' count of parameters outside embedding modules",
            format=units.format_int,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What a phase reached.

    Attributes:
        median_s: of the samples.
        flop_per_s: `full` FLOP over time: the numerator of an MFU.
        bytes_per_s: the bytes that must move, over time.
        mfu, ceiling_fraction: share of the dense peak, of the matmul rate measured on this machine.
        bandwidth_fraction, bandwidth_ceiling_fraction: likewise for bytes.
        floor_s: the time that the measured ceilings allow; None without ceilings.
    """

    phase: str
    median_s: float
    flop: int
    flop_per_s: float
    bytes_per_s: float
    bound_s: float | None
    floor_s: float | None
    mfu: float | None
    ceiling_fraction: float | None
    bandwidth_fraction: float | None
    bandwidth_ceiling_fraction: float | None


def ceiling(record: Measurement, kind: str) -> float | None:
    """The best rate of that kind measured just before the run, in FLOP/s or bytes/s."""
    values = [c.value for c in record.ceilings if c.kind == kind]
    return max(values) if values else None


def rates(record: Measurement, phase: Phase) -> Rates | None:
    """Rates of a phase that the estimate knows; None for phases without an estimate or without samples."""
    said = record.estimate.get("phases", {}).get(phase.name)
    if said is None or not phase.samples_s:
        return None
    median_s = stats.median(phase.samples_s)
    flop, min_bytes, min_flop = said["flop"]["full"], said["min_bytes"], said["min_flop"]
    peak, peak_bytes = record.estimate.get("peak_flop_per_s"), record.estimate.get("peak_bytes_per_s")
    matmul, bandwidth = ceiling(record, "matmul"), ceiling(record, "bandwidth")
    floor_s = max(min_flop / matmul, min_bytes / bandwidth) if matmul and bandwidth else None
    return Rates(
        phase=phase.name,
        median_s=median_s,
        flop=flop,
        flop_per_s=flop / median_s,
        bytes_per_s=min_bytes / median_s,
        bound_s=said["bound_s"],
        floor_s=floor_s,
        mfu=flop / median_s / peak if peak else None,
        ceiling_fraction=flop / median_s / matmul if matmul else None,
        bandwidth_fraction=min_bytes / median_s / peak_bytes if peak_bytes else None,
        bandwidth_ceiling_fraction=min_bytes / median_s / bandwidth if bandwidth else None,
    )


def _physics(record: Measurement) -> Iterator[Check]:
    """No step beats the bound, no MFU or bandwidth passes 1; measured ceilings may be passed by their tolerance."""
    for phase in record.phases:
        rate = rates(record, phase)
        if rate is None:
            continue
        if rate.bound_s is not None:
            fastest_s = min(phase.samples_s)
            yield Check(
                metric=f"{phase.name}: fastest sample against the physics bound",
                estimated=rate.bound_s,
                observed=fastest_s,
                rule=">=",
                ok=fastest_s >= rate.bound_s,
                explanation=f"{fastest_s / rate.bound_s:.2f} times the bound",
                format=units.format_duration,
            )
        for name, share in (("MFU", rate.mfu), ("bandwidth over peak", rate.bandwidth_fraction)):
            if share is not None:
                yield Check(
                    metric=f"{phase.name}: {name}", estimated=1.0, observed=share, rule="<=", ok=share <= 1, format=units.format_fraction
                )
        for name, share in (("matmul ceiling", rate.ceiling_fraction), ("bandwidth ceiling", rate.bandwidth_ceiling_fraction)):
            if share is not None:
                yield Check(
                    metric=f"{phase.name}: share of the measured {name}",
                    estimated=1.0,
                    observed=share,
                    rule="<=",
                    tolerance=CEILING_TOLERANCE,
                    ok=share <= 1 + CEILING_TOLERANCE,
                    explanation=""
                    if share <= 1 + CEILING_TOLERANCE
                    else "the ceiling was measured too low: measure again on a quiet machine",
                    format=units.format_fraction,
                )


def _proof(record: Measurement) -> Iterator[Check]:
    """The work was real: exact tokens, planned shapes, finite and falling loss, changed parameters."""
    proof = record.proof
    if "num_new_tokens" in proof:
        expected, observed = proof["num_expected_new_tokens"], proof["num_new_tokens"]
        yield Check(metric="tokens generated", estimated=expected, observed=observed, rule="==", ok=expected == observed)
    if "forward_shapes_as_planned" in proof:
        as_planned = proof["forward_shapes_as_planned"]
        yield Check(
            metric="forward passes: rows and tokens as estimated",
            estimated=record.request.get("new_tokens"),
            observed=proof["num_forward_passes"],
            rule="==",
            ok=bool(as_planned),
            explanation="one prefill of all rows, then one token per row" if as_planned else "transformers ran other shapes than estimated",
        )
    if "loss_first" in proof:
        first, last = proof["loss_first"], proof["loss_last"]
        known = first is not None and last is not None
        yield Check(
            metric="loss is finite and falls",
            estimated=first,
            observed=last,
            rule="<",
            ok=known and last < first,
            explanation="" if known else "a loss was not finite",
            format=lambda v: f"{v:.4g}",
        )
        yield Check(
            metric="parameters changed",
            estimated="yes",
            observed="yes" if proof["params_changed"] else "no",
            rule="==",
            ok=bool(proof["params_changed"]),
        )


def _memory(record: Measurement) -> Iterator[Check]:
    """What was held is at least what the weights alone need."""
    weights = record.estimate.get("memory_bytes", {}).get("weights")
    if weights is None or record.extrapolation:
        return
    for instrument in ("peak_rss", "torch_allocated"):
        held = record.memory_bytes.get(instrument)
        if held is not None:
            total = sum(record.estimate["memory_bytes"].values())
            yield Check(
                metric=f"{instrument} against the estimated weights",
                estimated=weights,
                observed=held,
                rule=">=",
                ok=held >= weights,
                explanation=f"estimated in total {units.format_bytes(total)}",
                format=units.format_bytes,
            )


def _complete(record: Measurement) -> Iterator[Check]:
    """A run that measured nothing, or was stopped, has not passed."""
    if record.request.get("task") == "estimate":
        return
    samples = sum(len(p.samples_s) for p in record.phases)
    yield Check(metric="timed samples", estimated=1, observed=samples, rule=">=", ok=samples >= 1)
    if record.status != "complete":
        yield Check(metric="run ended", estimated="complete", observed=record.status, rule="==", ok=False, explanation=record.status_reason)


RULES: tuple[Callable[[Measurement], Iterator[Check]], ...] = (_complete, _counts, _rules_of_thumb, _physics, _proof, _memory)


def crosscheck(record: Measurement) -> tuple[Check, ...]:
    """Every check that applies to a record, in the order of RULES."""
    return tuple(check for rule in RULES for check in rule(record))


def failed(checks: tuple[Check, ...]) -> tuple[Check, ...]:
    """The checks that do not hold; one that could not be judged has not failed."""
    return tuple(check for check in checks if check.ok is False)
