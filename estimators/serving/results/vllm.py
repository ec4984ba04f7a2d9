"""`vllm bench serve --save-result`: one JSON, with `--save-detailed` request by request; InferenceX's fork has seconds and no `_ms`.

Source: vLLM 0.32, vllm/benchmarks/serve.py; InferenceX, utils/bench_serving/benchmark_serving.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from estimators.serving.results.format import MILLI, Format, one, only, statistic_named
from estimators.serving.results.place import Place
from estimators.serving.results.result import Figure, Load, Served, ServedRequest, ServingResult, demand_lists_agree

LATENCY_WORDS = {"ttft": "ttft_s", "tpot": "tpot_s", "itl": "itl_s", "e2el": "e2e_s", "e2e_latency": "e2e_s"}
"""What a key's name holds -> the quantity. vLLM's TPOT leaves the first token out; its ITL is over stream events."""

PROTOCOLS = ("openai",)
"""What a backend is called that says how requests are written, and not what answers them."""

RATES = {
    "request_throughput": "requests_per_s",
    "input_throughput": "prompt_tokens_per_s",
    "output_throughput": "output_tokens_per_s",
    "total_token_throughput": "total_tokens_per_s",
}


def figures(place: Place) -> list[Figure]:
    """Latencies and rates by their keys: `p99_ttft_ms`, or `p99_ttft` in seconds."""
    found = [figure for key, quantity in RATES.items() for figure in one(quantity, place.number(key))]
    for key in place.values:
        statistic, _, rest = key.partition("_")
        named, word = statistic_named(statistic), rest.removesuffix("_ms")
        if named is not None and word in LATENCY_WORDS:
            found += one(LATENCY_WORDS[word], place.number(key, MILLI if rest.endswith("_ms") else 1.0), named)
    return list(dict.fromkeys(found))


def requests(place: Place) -> tuple[ServedRequest, ...]:
    """Those that were answered, where the file has them one by one; the last event of a request is its end.

    Raises:
        BadValueError: lists of different lengths.
    """
    ttfts_s, gaps_s = place.numbers("ttfts"), place.lists("itls")
    if not ttfts_s:
        return ()
    lengths = {name: place.numbers(name) for name in ("input_lens", "output_lens", "start_times", "latencies") if name in place}
    errors = place.values.get("errors") or [""] * len(ttfts_s)
    demand_lists_agree(
        {"ttfts": len(ttfts_s), "itls": len(gaps_s), "errors": len(errors), **{name: len(listed) for name, listed in lengths.items()}},
        place.at,
    )
    starts = lengths.get("start_times", ())
    begun = min(starts, default=0.0)
    return tuple(
        ServedRequest(
            arrival_s=starts[i] - begun if starts else None,
            prompt_tokens=int(lengths["input_lens"][i]) if "input_lens" in lengths else None,
            output_tokens=int(lengths["output_lens"][i]) if "output_lens" in lengths else None,
            ttft_s=ttft_s,
            e2e_s=lengths["latencies"][i] if "latencies" in lengths else ttft_s + sum(gaps_s[i]),
            gaps_s=gaps_s[i],
        )
        for i, ttft_s in enumerate(ttfts_s)
        if not errors[i]
    )


def arrivals(place: Place) -> str:
    """How requests arrived, by the rate and the limit."""
    if place.rate("request_rate") is not None:
        return "open"
    return "closed" if place.count("max_concurrency") else "all at once" if "request_rate" in place else "unknown"


def _read(places: Sequence[Place]) -> list[ServingResult]:
    place = only(places, "the result of one run")
    found, completed, sent = requests(place), place.count("completed"), place.count("num_prompts")
    failed = place.count("failed")
    return [
        ServingResult(
            file_format=FORMAT.name,
            client="vllm bench serve",
            created=place.text("date"),
            served=Served(
                model=place.text("model_id"),
                engine="" if place.text("backend").startswith(PROTOCOLS) else place.text("backend"),
                accepted_len=place.number("spec_decode_acceptance_length"),
            ),
            load=Load(
                kind=arrivals(place),
                concurrency=place.count("max_concurrency"),
                request_rate=place.rate("request_rate"),
                num_requests=sent,
            ),
            completed=completed,
            failed=failed if failed is not None or sent is None or completed is None else max(0, sent - completed),
            duration_s=place.number("duration"),
            prompt_tokens=place.count("total_input_tokens"),
            output_tokens=place.count("total_output_tokens"),
            figures=tuple(figures(place)),
            requests=found,
            samples=() if found or "latencies" not in place else (("e2e_s", place.numbers("latencies")),),
        )
    ]


def _is_of(rows: Sequence[dict[str, Any]]) -> bool:
    return len(rows) == 1 and {"model_id", "num_prompts", "output_throughput"} <= rows[0].keys()


FORMAT = Format(name="vllm", about="vllm bench serve --save-result, with or without --save-detailed", is_of=_is_of, read=_read)
