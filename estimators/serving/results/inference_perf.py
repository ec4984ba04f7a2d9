"""inference-perf: stage_N_ and summary_lifecycle_metrics.json, in seconds.

Its TPOT leaves the first token out, its normalised one is end to end over tokens. Source: inference-perf, reportgen/base.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from estimators.serving.results.format import Format, one, only, spread
from estimators.serving.results.place import Place
from estimators.serving.results.result import Figure, Load, Served, ServingResult

LATENCIES = {
    "request_latency": "e2e_s",
    "time_to_first_token": "ttft_s",
    "time_per_output_token": "tpot_s",
    "inter_token_latency": "itl_s",
    "normalized_time_per_output_token": "per_output_token_s",
}
"""Its names, which llm-d's report has too -> the quantity."""

_RATES = {
    "input_tokens_per_sec": "prompt_tokens_per_s",
    "output_tokens_per_sec": "output_tokens_per_s",
    "total_tokens_per_sec": "total_tokens_per_s",
    "requests_per_sec": "requests_per_s",
}


def _read(places: Sequence[Place]) -> list[ServingResult]:
    place = only(places, "one stage or summary")
    load, answered = place.table("load_summary"), place.table("successes")
    figures: list[Figure] = []
    for name, quantity in LATENCIES.items():
        figures += spread(answered.table("latency").table(name), quantity)
    for name, quantity in _RATES.items():
        figures += one(quantity, answered.table("throughput").number(name))
    completed = answered.count("count")
    rate = load.rate("requested_rate")
    concurrency = load.count("concurrency")
    return [
        ServingResult(
            file_format=FORMAT.name,
            client="inference-perf",
            served=Served(),
            load=Load(
                kind="open" if rate else "closed" if concurrency else "unknown",
                concurrency=concurrency,
                request_rate=rate,
                num_requests=load.count("count"),
            ),
            completed=completed,
            failed=place.table("failures").count("count"),
            duration_s=place.number("benchmark_time_seconds"),
            prompt_tokens=_total(answered, completed, "prompt_tokens", "prompt_len"),
            output_tokens=_total(answered, completed, "output_tokens", "output_len"),
            figures=tuple(figures),
        )
    ]


def _total(answered: Place, completed: int | None, *names: str) -> int | None:
    """Tokens of all requests: as stated, else the mean times the requests."""
    for name in names:
        of_it = answered.table(name)
        mean = of_it.number("mean")
        if "total" in of_it:
            return of_it.count("total")
        if mean is not None and completed is not None:
            return round(mean * completed)
    return None


def _is_of(rows: Sequence[dict[str, Any]]) -> bool:
    return len(rows) == 1 and {"load_summary", "successes", "failures"} <= rows[0].keys()


FORMAT = Format(name="inference-perf", about="inference-perf's stage_N_ or summary_lifecycle_metrics.json", is_of=_is_of, read=_read)
