"""guidellm's report, version 2: JSON or YAML, several benchmarks in a file.

Its time per output token is end to end over tokens, its inter-token latency (last − first) / (tokens − 1) of a request, which is
TPOT elsewhere. Source: guidellm 0.8.1, schemas/base/request_stats.py; a report of its own mock server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from estimators.errors import BadValueError
from estimators.serving.results.format import MILLI, Format, one, only, spread
from estimators.serving.results.place import Place
from estimators.serving.results.result import Figure, Load, Served, ServedRequest, ServingResult

VERSION = "2"

_LATENCIES = {
    "time_to_first_token_ms": ("ttft_s", MILLI),
    "inter_token_latency_ms": ("tpot_s", MILLI),
    "time_per_output_token_ms": ("per_output_token_s", MILLI),
    "request_latency": ("e2e_s", 1.0),
    "request_concurrency": ("running", 1.0),
}
_RATES = {
    "requests_per_second": "requests_per_s",
    "prompt_tokens_per_second": "prompt_tokens_per_s",
    "output_tokens_per_second": "output_tokens_per_s",
    "tokens_per_second": "total_tokens_per_s",
}
_LOADS = {
    "concurrent": "closed",
    "synchronous": "closed",
    "throughput": "all at once",
    "constant": "open",
    "poisson": "open",
    "async": "open",
}


def _read(places: Sequence[Place]) -> list[ServingResult]:
    report = only(places, "one report")
    about = report.table("metadata")
    version = about.text("version")
    if version != VERSION:
        raise BadValueError(f"{report.at}: a guidellm report of version {version[:20] or 'unknown'}; expected version {VERSION}")
    client = " ".join(filter(None, ["guidellm", about.text("guidellm_version")]))
    return [_read_benchmark(place, report.table("config").table("spec"), client) for place in report.tables("benchmarks")]


def _read_benchmark(place: Place, spec: Place, client: str) -> ServingResult:
    strategy = place.table("config").table("strategy")
    made = place.table("scheduler_metrics").table("requests_made")
    metrics = place.table("metrics")
    answered = place.table("requests").tables("successful")
    data = spec.tables("data") if isinstance(spec.values.get("data"), list) else ()
    kind = _LOADS.get(strategy.text("type_"), "unknown")
    streams = strategy.count("streams") or strategy.count("max_concurrency")
    return ServingResult(
        file_format=FORMAT.name,
        client=client,
        created=place.text("start_time"),
        served=Served(model=spec.table("backend").text("model")),
        load=Load(
            kind=kind,
            concurrency=1 if strategy.text("type_") == "synchronous" else streams if kind == "closed" else None,
            request_rate=strategy.rate("rate"),
            num_requests=made.count("total"),
            prompt_tokens=data[0].number("prompt_tokens") if data else None,
            output_tokens=data[0].number("output_tokens") if data else None,
        ),
        completed=made.count("successful"),
        failed=made.count("errored"),
        duration_s=place.number("duration"),
        prompt_tokens=_total(metrics, "prompt_token_count"),
        output_tokens=_total(metrics, "output_token_count"),
        figures=tuple(_figures(metrics)),
        requests=_requests(answered),
    )


def _total(metrics: Place, name: str) -> int | None:
    total = metrics.table(name).table("successful").number("total_sum")
    return None if total is None else round(total)  # a sum of floats: 84.99999999999999


def _figures(metrics: Place) -> list[Figure]:
    found = []
    for name, (quantity, scale) in _LATENCIES.items():
        of_it = metrics.table(name).table("successful")
        found += spread(of_it, quantity, scale)
        percentiles = of_it.table("percentiles")
        for key in ("p90", "p95", "p99"):
            found += one(quantity, percentiles.number(key, scale), key)
    for name, quantity in _RATES.items():
        found += one(quantity, metrics.table(name).table("successful").number("mean"))
    return found


def _requests(answered: Sequence[Place]) -> tuple[ServedRequest, ...]:
    """A request ends behind its last token, by what is still on the wire."""
    begun = min((start for place in answered if (start := place.number("request_start_time")) is not None), default=0.0)
    found = []
    for place in answered:
        timings = place.table("info").table("timings")
        start, last = place.number("request_start_time"), timings.number("last_token_iteration")
        found.append(
            ServedRequest(
                arrival_s=None if start is None else start - begun,
                prompt_tokens=place.count("prompt_tokens"),
                output_tokens=place.count("output_tokens"),
                ttft_s=place.number("time_to_first_token_ms", MILLI),
                e2e_s=place.number("request_latency"),
                last_token_s=None if start is None or last is None else last - start,
            )
        )
    return tuple(found)


def _is_of(rows: Sequence[dict[str, Any]]) -> bool:
    return len(rows) == 1 and "benchmarks" in rows[0] and "guidellm_version" in (rows[0].get("metadata") or {})


FORMAT = Format(name="guidellm", about="guidellm's report of version 2, JSON or YAML", is_of=_is_of, read=_read)
