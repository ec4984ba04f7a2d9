"""What several views say of a served model in the same words."""

from __future__ import annotations

from estimators.serving.answer import ServeAnswer
from estimators.serving.deployment import Deployment
from estimators.serving.question import ServeQuestion
from estimators.units import format_bytes, format_duration, format_int, format_money
from reports.views.training.conditions import held_lines


def subject_text(answer: ServeAnswer) -> str:
    """Model, format, devices and cut."""
    d = answer.question.deployment
    cut = ", ".join(f"{word} {getattr(d, word)}" for word in ("tp", "pp", "dp", "ep") if getattr(d, word) > 1)
    devices = d.hardware.name if d.num_devices == 1 else f"{d.num_devices} x {d.hardware.name}"
    return f"{d.model.name} ({d.weights}) on {devices}{f' ({cut})' if cut else ''}"


def deployment_facts(d: Deployment) -> dict[str, object]:
    """What is served, on what and how, for programs."""
    return {
        "model": d.model.name,
        "hardware": d.hardware.id,
        "engine": d.engine.id,
        "num_gpus_per_replica": d.num_devices,
        "weights": d.weights,
        "kv": d.kv,
    }


def lengths_text(asked: ServeQuestion) -> str:
    """Such as ``1,000 tokens in, 300 out``."""
    return f"{format_int(asked.input_tokens)} tokens in, {format_int(asked.output_tokens)} out"


def dollars(usd: float | None) -> str:
    """Of a million tokens.

    >>> dollars(1.1145), dollars(0.0823)
    ('$1.11', '$0.082')
    """
    if usd is None:
        return "–"
    return f"${usd:,.2f}" if usd >= 0.995 else f"${usd:.3f}"


def limits_text(asked: ServeQuestion) -> str:
    """Such as ``TTFT 1.00 s and ITL 50.0 ms``; empty where there are none."""
    parts = [
        f"{name} {format_duration(limit)}"
        for name, limit in (("TTFT", asked.ttft_limit_s), ("ITL", asked.itl_limit_s))
        if limit is not None
    ]
    return " and ".join(parts)


def joules(value: float) -> str:
    """Of a token, without its unit."""
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def assumptions(answer: ServeAnswer) -> list[str]:
    """Memory, engine, rent: what the figures rest on."""
    asked, found = answer.question, answer.budget
    d = asked.deployment
    notes = [*held_lines(d.model), *answer.notes]
    if found.kv_bytes > 0:
        room = f"{format_bytes(found.kv_bytes)} of cache on each device, {format_int(found.kv_tokens)} tokens"
        interval = "" if found.is_measured else f" (80 %: {format_int(max(0, found.low_tokens))} to {format_int(found.high_tokens)})"
        own = f"{found.concurrency(asked.tokens):,.0f} sequences of this length, {found.concurrency():,.1f} of "
        own += format_int(found.max_model_len)
        notes.append(f"weights {format_bytes(found.weights_bytes)}, {room}{interval}: {own}")
    notes.append(
        f"{d.engine.id} of {d.engine.since} on: {format_int(d.tokens_a_step)} tokens a step, {format_int(d.sequences_at_most)} sequences; "
        f"weights {d.weights}, cache {d.kv}; prefix share {d.prefix_share:g}"
    )
    if asked.own is not None:
        refitted = asked.own
        said = f"; a time to first token {refitted.first:.3g} times" if refitted.first_rows else ""
        notes.append(
            f"constants refitted to {format_int(refitted.rows)} measured {'load' if refitted.rows == 1 else 'loads'} of yours: "
            f"a step takes {refitted.practice:.3g} times what they say{said}"
        )
    if d.speculation:
        drafted = d.speculation
        notes.append(f"speculation: {drafted.draft_tokens} draft tokens, {drafted.accepted_len:g} tokens a step ({drafted.basis})")
    if asked.rent is not None:
        notes.append(f"rent: {format_money(asked.rent.median)} per GPU-hour; --price sets yours")
    return notes
