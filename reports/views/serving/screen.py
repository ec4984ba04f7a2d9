"""A served model on one screen: users, the curve, what it rests on."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.serving.answer import ServeAnswer
from estimators.units import format_bytes, format_duration, format_fraction, format_int, format_rate
from reports.screen import Screen, columns_kept
from reports.table import Table
from reports.views.serving.words import assumptions, dollars, joules, lengths_text, limits_text, subject_text


def serve_screen(answer: ServeAnswer, tables: Sequence[Table], *, more: Sequence[str], asked: Sequence[Table]) -> Screen:
    """The answer in one line, the curve, the assumptions."""
    if not answer.fits:
        return Screen(
            answer=f"NO: {subject_text(answer)} has no room: {_lacks(answer)}",
            lead=["Each of these by itself has:" if answer.nearest else "Nothing that was tried has."],
            table=columns_kept(tables[0], "change", "kv_tokens", "num_gpus", always=2),
            notes=assumptions(answer),
            more=more,
            asked=asked,
            failed=True,
        )
    keys = ("users", "ttft_s", "itl_s", "output_tokens_per_s_per_user", "output_tokens_per_s_per_gpu", "output_tokens_per_s_per_replica")
    return Screen(
        answer=_sentence(answer),
        lead=_lead(answer),
        table=columns_kept(tables[0], *keys, "usd_per_million_output", "binds", "joules_per_output_token", always=4),
        notes=assumptions(answer),
        more=more,
        asked=asked,
        failed=answer.best is None,
    )


def _lacks(answer: ServeAnswer) -> str:
    found, d = answer.budget, answer.question.deployment
    if found.kv_bytes <= 0:
        return f"{format_bytes(found.weights_bytes)} of weights on each {format_bytes(d.hardware.memory_bytes)} device"
    return f"{format_int(found.kv_tokens)} tokens of cache, less than one sequence of {format_int(found.max_model_len)}"


def _sentence(answer: ServeAnswer) -> str:
    asked, best = answer.question, answer.best
    if best is None:
        point = answer.points[0]
        return (
            f"not one user within {limits_text(answer.question)}: alone, {format_duration(point.ttft_s)} to the first token, "
            f"then {format_duration(point.load.itl_s)} each ({subject_text(answer)})"
        )
    users = f"{format_int(best.load.users)} user{'s' * (best.load.users > 1)}"
    limits = f" within {limits_text(answer.question)}" if limits_text(answer.question) else ""
    price = f", {dollars(best.price.output_usd)} per million output tokens" if best.price else ""
    rate = best.load.output_tokens_per_s_per_user
    each = f"{format_rate(rate)} tokens/s each" if asked.output_tokens > 1 else f"{format_rate(best.load.requests_per_s)} requests/s"
    one = f"{users}{limits} on {subject_text(answer)}: {each}{price}"
    if asked.num_users is None and asked.rate_per_s is None:
        return one
    want = f"{format_int(asked.num_users)} users" if asked.num_users is not None else f"{asked.rate_per_s:g} requests/s"
    if answer.num_gpus_in_all is None or answer.num_replicas is None:
        return f"{want}: no number of replicas keeps {limits_text(asked)} under arrivals by chance; {one}"
    replicas = answer.num_replicas
    several = f" in {format_int(replicas)} replicas" if replicas > 1 else ""
    gpus = f"{want}: {format_int(answer.num_gpus_in_all)} x {asked.deployment.hardware.name}{several}"
    if answer.at_rate is not None:
        load = answer.at_rate.load
        return (
            f"{gpus}, {load.users:.3g} in flight on each: TTFT {format_duration(answer.at_rate.ttft_s)}, "
            f"ITL {format_duration(load.itl_s)}, "
            f"{subject_text(answer)}"
        )
    return f"{gpus}; {one}"


def _lead(answer: ServeAnswer) -> list[str]:
    point, asked = answer.shown, answer.question
    assert point is not None
    load = point.load
    rate = load.output_tokens_per_s_per_user
    begun = f"then each reads {format_rate(rate)} tokens/s" if asked.output_tokens > 1 else "each has its answer"
    lines = [
        f"{begun} after {format_duration(point.ttft_s)}; "
        f"the replica "
        f"writes {format_rate(load.output_tokens_per_s)} tokens/s and reads {format_rate(load.prompt_tokens_per_s)}; "
        f"{lengths_text(answer.question)}."
    ]
    if point.price is not None:
        assert asked.rent is not None
        price = point.price
        split = (
            f"{dollars(price.input_part_usd)} input, {dollars(price.output_part_usd)} output, " if price.input_part_usd is not None else ""
        )
        money = (
            f"per million tokens: {split}{dollars(price.blended_usd)} blended; {dollars(price.output_usd)} all on output, at "
            f"{format_fraction(asked.utilization)} utilization"
        )
        if price.break_even_fraction is not None:
            even = price.break_even_fraction
            money += "; the API is cheaper at any load" if even > 1 else f"; cheaper than the API above {format_fraction(even)} utilization"
        lines.append(f"{money}.")
    if point.joules is not None:
        lines[-1] = f"{lines[-1][:-1]}; {joules(point.joules)} J per output token."
    first, between = point.ttft_interval, point.itl_interval
    far = f" ({between.said})" if between.said else ""
    lines.append(
        f"80 %{far}: TTFT {format_duration(point.ttft_s * first.low)} to {format_duration(point.ttft_s * first.high)}, ITL "
        f"{format_duration(load.itl_s * between.low)} to {format_duration(load.itl_s * between.high)}, and with it rates and prices"
        + (f"; {format_int(answer.users_interval[0])} to {format_int(answer.users_interval[1])} users" if limits_text(asked) else "")
        + "."
    )
    return lines
