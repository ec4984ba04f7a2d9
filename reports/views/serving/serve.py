"""A served model: users and what they get, the memory of a device, what tokens cost, the deployment."""

from __future__ import annotations

from collections.abc import Mapping

from estimators.serving.answer import ServeAnswer
from estimators.serving.curve import Point
from estimators.serving.held_weights import PARTS
from estimators.units import format_bytes, format_duration, format_fraction, format_int, format_money, format_rate
from reports.table import Column, Table, Value
from reports.views.serving.words import assumptions, deployment_facts, dollars, joules, lengths_text, subject_text

RATES = "output tokens/s by user (1 / ITL), by GPU and by replica, and prompt tokens/s are four rates"


def serve_tables(answer: ServeAnswer) -> list[Table]:
    """Every table: the curve, or what would fit; the memory of a device; prices; the deployment."""
    first = curve_table(answer) if answer.fits else nearest_table(answer)
    money = [price_table(answer)] if answer.fits and answer.question.rent is not None else []
    return [first, memory_table(answer), *money, deployment_table(answer)]


FACTS_OF_BEST = (
    "ttft_s",
    "ttft_low_s",
    "ttft_high_s",
    "itl_s",
    "itl_low_s",
    "itl_high_s",
    "output_tokens_per_s_per_replica",
    "output_tokens_per_s_per_gpu",
    "output_tokens_per_s_per_user",
    "prompt_tokens_per_s_per_replica",
    "binds",
    "usd_per_million_output",
    "usd_per_million_blended",
    "joules_per_output_token",
)
"""What the answer says of the load that it is about: cells of that load's row in the curve."""


def _facts(answer: ServeAnswer) -> dict[str, object]:
    asked, found, best = answer.question, answer.budget, answer.at_rate or answer.best
    d = asked.deployment
    row = _point(best, has_gaps=True) if best else {}
    return deployment_facts(d) | {
        "tp": d.tp,
        "pp": d.pp,
        "dp": d.dp,
        "ep": d.ep,
        "fits": answer.fits,
        "input_tokens": asked.input_tokens,
        "output_tokens": asked.output_tokens,
        "users_within_limits": answer.best.load.users if answer.best else None,
        "users_in_flight_per_replica": best.load.users if best else None,
        "num_replicas": answer.num_replicas,
        "num_gpus": answer.num_gpus_in_all,
        "users_low": answer.users_interval[0] if answer.best else None,
        "users_high": answer.users_interval[1] if answer.best else None,
        **{name: row.get(name) for name in FACTS_OF_BEST},
        "requests_per_s_per_replica": best.load.requests_per_s if best else None,
        "break_even_fraction": best.price.break_even_fraction if best and best.price else None,
        "weights_bytes": round(found.weights_bytes),
        "kv_bytes": round(found.kv_bytes),
        "kv_bytes_per_token": found.cache.token_bytes,
        "kv_blocks": found.kv_blocks,
        "kv_tokens": found.kv_tokens,
        "kv_tokens_low": found.low_tokens,
        "kv_tokens_high": found.high_tokens,
        "max_model_len": found.max_model_len,
        "concurrency_at_max_model_len": found.concurrency(),
        "utilization_fraction": asked.utilization,
        "usd_per_gpu_hour": asked.rent.median if asked.rent else None,
        "measured_loads": asked.own.rows if asked.own else 0,
        "step_factor": asked.own.practice if asked.own else None,
    }


def curve_table(answer: ServeAnswer) -> Table:
    """By users in flight on one replica: latencies, the four rates, what binds, what tokens cost."""
    asked = answer.question
    points = {point.load.users: point for point in (*answer.points, *([answer.best] if answer.best else []))}
    return Table(
        title=f"{subject_text(answer)}: users in flight on one replica, {lengths_text(answer.question)}",
        conditions=["a closed loop: each answer is followed by the next request at once", "means, in load state", RATES],
        columns=[
            Column(key="users", header="users", format=format_int, align="right"),
            Column(key="ttft_s", header="TTFT", format=format_duration, align="right"),
            Column(key="itl_s", header="ITL", format=format_duration, align="right"),
            Column(key="output_tokens_per_s_per_user", header="tok/s user", format=format_rate, align="right"),
            Column(key="output_tokens_per_s_per_gpu", header="per GPU", format=format_rate, align="right"),
            Column(key="output_tokens_per_s_per_replica", header="per replica", format=format_rate, align="right"),
            Column(key="prompt_tokens_per_s_per_replica", header="prompt tok/s", format=format_rate, align="right"),
            Column(key="e2e_s", header="end to end", format=format_duration, align="right"),
            Column(key="usd_per_million_output", header="$/M out", format=dollars, align="right"),
            Column(key="usd_per_million_blended", header="$/M blended", format=dollars, align="right"),
            Column(key="joules_per_output_token", header="J/token", format=joules, align="right"),
            Column(key="binds", header="what binds"),
            Column(key="ttft_low_s", header="TTFT, 80 %: from", format=format_duration, align="right"),
            Column(key="ttft_high_s", header="to", format=format_duration, align="right"),
            Column(key="itl_low_s", header="ITL, 80 %: from", format=format_duration, align="right"),
            Column(key="itl_high_s", header="to", format=format_duration, align="right"),
            Column(key="output_tokens_per_s_per_replica_low", header="per replica, 80 %: from", format=format_rate, align="right"),
            Column(key="output_tokens_per_s_per_replica_high", header="to", format=format_rate, align="right"),
            Column(key="usd_per_million_output_low", header="$/M out, 80 %: from", format=dollars, align="right"),
            Column(key="usd_per_million_output_high", header="to", format=dollars, align="right"),
            Column(key="within", header="within limits"),
            Column(key="running", header="decoding", format=lambda value: f"{value:.3g}", align="right"),
            Column(key="waiting", header="waiting", format=lambda value: f"{value:.3g}", align="right"),
            Column(key="requests_per_s", header="requests/s", format=format_rate, align="right"),
        ],
        rows=[_point(points[users], has_gaps=asked.output_tokens > 1) for users in sorted(points)],
        notes=assumptions(answer),
        facts=_facts(answer) | {"ttft_limit_s": asked.ttft_limit_s, "itl_limit_s": asked.itl_limit_s},
        key="curve",
        kind="estimated",
    )


def _point(point: Point, *, has_gaps: bool) -> Mapping[str, Value]:
    """One load.

    Args:
        has_gaps: whether an answer has a second token, so that there is a time between tokens.
    """
    load, price = point.load, point.price
    gaps: dict[str, Value] = {
        "itl_s": load.itl_s,
        "itl_low_s": load.itl_s * point.itl_interval.low,
        "itl_high_s": load.itl_s * point.itl_interval.high,
        "output_tokens_per_s_per_user": load.output_tokens_per_s_per_user,
    }
    return (gaps if has_gaps else {}) | {
        "users": load.users,
        "ttft_s": point.ttft_s,
        "ttft_low_s": point.ttft_s * point.ttft_interval.low,
        "ttft_high_s": point.ttft_s * point.ttft_interval.high,
        "output_tokens_per_s_per_replica_low": load.output_tokens_per_s / point.itl_interval.high,
        "output_tokens_per_s_per_replica_high": load.output_tokens_per_s / point.itl_interval.low,
        "usd_per_million_output_low": price.output_usd * point.itl_interval.low if price else None,
        "usd_per_million_output_high": price.output_usd * point.itl_interval.high if price else None,
        "output_tokens_per_s_per_gpu": point.output_tokens_per_s_per_gpu,
        "output_tokens_per_s_per_replica": load.output_tokens_per_s,
        "prompt_tokens_per_s_per_replica": load.prompt_tokens_per_s,
        "e2e_s": point.e2e_s,
        "usd_per_million_output": price.output_usd if price else None,
        "usd_per_million_blended": price.blended_usd if price else None,
        "joules_per_output_token": point.joules,
        "binds": point.binds,
        "within": point.within,
        "running": load.running,
        "waiting": load.waiting,
        "requests_per_s": load.requests_per_s,
    }


def nearest_table(answer: ServeAnswer) -> Table:
    """What has room where the deployment has none, each change by itself."""
    rows: list[dict[str, Value]] = [
        {"change": each.change, "kv_tokens": each.tokens, "num_gpus": each.num_devices} for each in answer.nearest
    ]
    return Table(
        title=f"{subject_text(answer)}: what does fit",
        conditions=["each change by itself"],
        columns=[
            Column(key="change", header="change"),
            Column(key="kv_tokens", header="then room for tokens", format=format_int, align="right"),
            Column(key="num_gpus", header="GPUs", format=format_int, align="right"),
        ],
        rows=rows,
        notes=assumptions(answer),
        facts=_facts(answer),
        key="nearest",
        kind="estimated",
    )


def memory_table(answer: ServeAnswer) -> Table:
    """Memory of the fullest device by part."""
    found, d = answer.budget, answer.question.deployment
    memory = d.hardware.memory_bytes
    beside = {
        "activations": (found.activations_bytes, "activations of the largest step, or the sampler's copies of logits"),
        "outside": (found.outside_bytes, "outside of the allocator: context, buffers of collectives"),
        "kv_cache": (max(0.0, found.kv_bytes), f"{format_int(found.kv_blocks)} blocks of {found.block_tokens} tokens"),
    }
    parts = {**{name: (found.weights.get(name, 0.0), what) for name, what in PARTS.items()}, **beside}
    left = memory - sum(size for size, _ in parts.values())
    parts["left"] = left, "left to the driver, graphs and fragments" if left >= 0 else "lacks"
    low, high = (None if found.is_measured else max(0.0, end) for end in (found.low_kv_bytes, found.high_kv_bytes))
    return Table(
        title=f"Memory of one {d.hardware.name}, the fullest of a replica's {d.num_devices}",
        conditions=[f"the engine takes {format_fraction(d.fraction)} of {FRACTIONS[d.engine.fraction_of]}"]
        if not found.is_measured
        else [],
        columns=[
            Column(key="part", header="part"),
            Column(key="bytes", header="bytes", format=format_bytes, align="right"),
            Column(key="share", header="share", format=format_fraction, align="right"),
            Column(key="what", header="what it is"),
        ],
        rows=[
            {"part": name, "bytes": round(size), "share": size / memory, "what": what}
            for name, (size, what) in parts.items()
            if round(size)
        ],
        notes=[] if low is None or high is None else [f"80 % interval of the cache: {format_bytes(low)} to {format_bytes(high)}"],
        facts={"device_memory_bytes": memory, "kv_low_bytes": low, "kv_high_bytes": high},
        key="memory",
        kind="estimated",
    )


FRACTIONS = {
    "all": "the memory for weights, activations and cache",
    "weights and cache": "the memory for weights and cache",
    "rest": "what weights and activations leave for the cache",
}


def price_table(answer: ServeAnswer) -> Table:
    """Dollars per million tokens by load."""
    asked = answer.question
    assert asked.rent is not None
    rows: list[dict[str, Value]] = []
    for point in answer.points:
        price = point.price
        assert price is not None
        ratio_low, ratio_high = asked.rent.low / asked.rent.median, asked.rent.high / asked.rent.median
        rows.append(
            {
                "users": point.load.users,
                "itl_s": point.load.itl_s if asked.output_tokens > 1 else None,
                "waiting": point.load.waiting,
                "usd_per_million_output": price.output_usd,
                "usd_per_million_output_low": price.output_usd * ratio_low,
                "usd_per_million_output_high": price.output_usd * ratio_high,
                "usd_per_million_blended": price.blended_usd,
                "input_part_usd_per_million": price.input_part_usd,
                "output_part_usd_per_million": price.output_part_usd,
                "break_even_fraction": price.break_even_fraction,
            }
        )
    return Table(
        title=f"Dollars per million tokens at {format_fraction(asked.utilization)} utilization",
        conditions=[f"rent: {format_money(asked.rent.median)} per GPU-hour, {asked.rent.source}"],
        columns=[
            Column(key="users", header="users", format=format_int, align="right"),
            Column(key="itl_s", header="ITL", format=format_duration, align="right"),
            Column(key="waiting", header="waiting", align="right", raw=True),
            Column(key="usd_per_million_output", header="all on output", format=dollars, align="right"),
            Column(key="usd_per_million_output_low", header="cheapest quote", format=dollars, align="right"),
            Column(key="usd_per_million_output_high", header="dearest", format=dollars, align="right"),
            Column(key="usd_per_million_blended", header="blended", format=dollars, align="right"),
            Column(key="input_part_usd_per_million", header="input's part", format=dollars, align="right"),
            Column(key="output_part_usd_per_million", header="output's part", format=dollars, align="right"),
            Column(key="break_even_fraction", header="break-even", format=_break_even, align="right"),
        ],
        rows=rows,
        notes=["input's part: the rent of the time that reading prompts adds; output's part: all other time"],
        facts={"usd_per_gpu_hour": asked.rent.median, "api_usd_per_million_output": asked.api_usd_per_million_output},
        key="prices",
        kind="estimated",
    )


def deployment_table(answer: ServeAnswer) -> Table:
    """The deployment as it was decided."""
    d, found = answer.question.deployment, answer.budget
    said: dict[str, Value] = {
        "engine": f"{d.engine.id} ({d.engine.since} on)" if not d.engine.until else f"{d.engine.id} ({d.engine.since} to {d.engine.until})",
        "tensor parallel": d.tp,
        "pipeline stages": d.pp,
        "groups of attention": d.dp,
        "devices of experts": d.ep,
        "weights": d.weights,
        "compute": d.compute,
        "cache": d.kv,
        "max_model_len": found.max_model_len,
        "max_num_seqs": d.sequences_at_most,
        "tokens of a step": d.tokens_a_step,
        "memory fraction": d.fraction,
        "prefix share": d.prefix_share,
        "speculation": f"{d.speculation.draft_tokens} draft tokens, {d.speculation.accepted_len:g} of a step" if d.speculation else "none",
        "source": d.engine.source,
    }
    rows = [{"setting": name, "value": value} for name, value in said.items()]
    columns = [Column(key="setting", header="setting"), Column(key="value", header="value")]
    return Table(title="The deployment", columns=columns, rows=rows, key="deployment")


def _break_even(fraction: float) -> str:
    return "never" if fraction > 1 else format_fraction(fraction)
