"""aiperf: profile_export_aiperf.json (statistics), and profile_export.jsonl (a request a line).

Its inter-token latency is (end to end − first) / (tokens − 1) of a request, which is TPOT elsewhere; its inter-chunk latency is
between stream events. Its tokens are counted by its own tokenizer: where the server's usage is there, that one counts.
Source: AIPerf 0.13, a run against guidellm's mock server; its page on profile_export_aiperf.json, schema 1.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from estimators.errors import BadValueError
from estimators.serving.results.format import MILLI, Format, one, only, spread
from estimators.serving.results.place import Place
from estimators.serving.results.result import Figure, Load, Served, ServedRequest, ServingResult

_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": MILLI, "sec": 1.0, "s": 1.0}
_LATENCIES = {"time_to_first_token": "ttft_s", "inter_token_latency": "tpot_s", "inter_chunk_latency": "itl_s", "request_latency": "e2e_s"}
_OF_TOKENS = {
    "output_token_throughput": "output_tokens_per_s",
    "total_token_throughput": "total_tokens_per_s",
    "input_token_throughput": "prompt_tokens_per_s",
    "output_token_throughput_per_user": "output_tokens_per_s_per_user",
}
_OF_REQUESTS = {"request_throughput": "requests_per_s", "effective_concurrency": "running"}


def _scale(metric: Place) -> float:
    unit = metric.text("unit")
    if unit not in _UNITS:
        raise BadValueError(f"{metric.at}.unit: found {unit[:20]!r}, expected one of: {', '.join(_UNITS)}")
    return _UNITS[unit]


def _read_summary(places: Sequence[Place]) -> list[ServingResult]:
    place = only(places, "the summary of one run")
    config = place.table("input_config")
    own, told = _avg(place, "total_osl", "total_output_tokens"), _avg(place, "total_usage_completion_tokens")
    is_retokenised = None not in (own, told) and own != told
    duration = place.table("benchmark_duration")
    return [
        ServingResult(
            file_format=FORMAT.name,
            client=" ".join(filter(None, ["aiperf", place.text("aiperf_version")])),
            created=place.text("start_time"),
            served=Served(model=_model(config)),
            load=_load(config),
            completed=_avg(place, "request_count", "completed_request_count"),
            failed=_avg(place, "error_request_count") or 0,
            duration_s=duration.number("avg", _scale(duration)) if duration.values else None,
            prompt_tokens=_first(_avg(place, "total_usage_prompt_tokens"), _avg(place, "total_isl", "total_input_tokens")),
            output_tokens=_first(told, own),
            counted_by_client=own if is_retokenised else None,
            figures=tuple(_figures(place, without_tokens=is_retokenised)),
        )
    ]


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def _avg(place: Place, *names: str) -> int | None:
    return _first(*(place.table(name).count("avg") for name in names))


def _figures(place: Place, *, without_tokens: bool) -> list[Figure]:
    """What is divided by tokens of the client's own count is left out where the server counted others."""
    found = []
    for name, quantity in _LATENCIES.items():
        metric = place.table(name)
        if metric.values and not (without_tokens and quantity == "tpot_s"):
            found += spread(metric, quantity, _scale(metric))
    rates = _OF_REQUESTS if without_tokens else _OF_REQUESTS | _OF_TOKENS
    for name, quantity in rates.items():
        found += one(quantity, place.table(name).number("avg"))
    return found


def _model(config: Place) -> str:
    models = config.table("models").values.get("items")
    if isinstance(models, list) and models and isinstance(models[0], dict):
        return str(models[0].get("name") or "")
    names = config.table("endpoint").values.get("model_names")
    return str(names[0]) if isinstance(names, list) and names else ""


def _load(config: Place) -> Load:
    timed = [phase for phase in _tables(config, "phases") if phase.text("kind") == "profiling"]
    phase = timed[-1] if timed else config.table("loadgen")
    prompts = [data.table("prompts") for data in _tables(config, "datasets")]
    rate, concurrency = phase.rate("request_rate") or phase.rate("rate"), phase.count("concurrency")
    return Load(
        kind="open" if rate else "closed" if concurrency else "unknown",
        concurrency=concurrency,
        request_rate=rate,
        num_requests=phase.count("requests") or phase.count("request_count"),
        prompt_tokens=prompts[0].table("isl").number("mean") if prompts else None,
        output_tokens=prompts[0].table("osl").number("mean") if prompts else None,
    )


def _tables(config: Place, name: str) -> tuple[Place, ...]:
    """A list of tables in a configuration of any version; older ones have something else under the name."""
    return config.tables(name) if isinstance(config.values.get(name), list) else ()


def _read_lines(places: Sequence[Place]) -> list[ServingResult]:
    timed = [place for place in places if place.table("metadata").text("benchmark_phase") in ("", "profiling")]
    answered = [place for place in timed if "error" not in place and not place.table("metadata").values.get("was_cancelled")]
    starts_s = [place.table("metadata").number("request_start_ns", 1e-9) or 0.0 for place in answered]
    ends_s = [place.table("metadata").number("request_end_ns", 1e-9) or 0.0 for place in answered]
    begun_s = min(starts_s, default=0.0)
    found = tuple(_request(place, start - begun_s) for place, start in zip(answered, starts_s, strict=True))
    own = sum(_value(place, "output_sequence_length") or 0 for place in answered)
    told = sum(request.output_tokens or 0 for request in found)
    return [
        ServingResult(
            file_format=LINES.name,
            client="aiperf",
            served=Served(),
            load=Load(num_requests=len(timed)),
            completed=len(answered),
            failed=len(timed) - len(answered),
            duration_s=max(ends_s) - begun_s if ends_s else None,
            prompt_tokens=sum(request.prompt_tokens or 0 for request in found),
            output_tokens=told,
            counted_by_client=int(own) if own != told else None,
            requests=found,
        )
    ]


def _value(place: Place, name: str) -> float | None:
    return place.table("metrics").table(name).number("value")


def _seconds(place: Place, name: str) -> float | None:
    metric = place.table("metrics").table(name)
    return metric.number("value", _scale(metric)) if "value" in metric else None


def _request(place: Place, arrival_s: float) -> ServedRequest:
    chunks = place.table("metrics").table("inter_chunk_latency")
    lengths = [
        next((int(count) for name in names if (count := _value(place, name)) is not None), None)
        for names in (("usage_prompt_tokens", "input_sequence_length"), ("usage_completion_tokens", "output_sequence_length"))
    ]
    return ServedRequest(
        arrival_s=arrival_s,
        prompt_tokens=lengths[0],
        output_tokens=lengths[1],
        ttft_s=_seconds(place, "time_to_first_token"),
        e2e_s=_seconds(place, "request_latency"),
        gaps_s=chunks.numbers("value", _scale(chunks)) if "value" in chunks else (),
    )


def _is_summary(rows: Sequence[dict[str, Any]]) -> bool:
    return len(rows) == 1 and {"request_latency", "request_throughput"} <= rows[0].keys() and "input_config" in rows[0]


def _is_lines(rows: Sequence[dict[str, Any]]) -> bool:
    return bool(rows) and all({"metadata", "metrics"} <= row.keys() for row in rows) and "request_start_ns" in (rows[0]["metadata"] or {})


FORMAT = Format(name="aiperf", about="aiperf's profile_export_aiperf.json", is_of=_is_summary, read=_read_summary)
LINES = Format(name="aiperf-requests", about="aiperf's profile_export.jsonl, a request a line", is_of=_is_lines, read=_read_lines)
