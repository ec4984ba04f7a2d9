"""SGLang's bench_serving: a line of JSON for each run, with `--output-details` request by request.

Its figures are by the tokens that were asked for; a count by tokenizing the texts anew stands beside them, and is not taken.

Source: SGLang 0.5, python/sglang/bench_serving.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from estimators.serving.results import vllm
from estimators.serving.results.format import Format, one
from estimators.serving.results.place import Place
from estimators.serving.results.result import Load, Served, ServingResult


def _read_line(place: Place) -> ServingResult:
    accepted = place.number("accept_length")
    info = place.table("server_info")
    tp, dp = info.count("tp_size"), info.count("dp_size")
    return ServingResult(
        file_format=FORMAT.name,
        client="sglang bench_serving",
        served=Served(
            model=place.text("model_id") or info.text("model_path"),
            engine=" ".join(filter(None, [place.text("backend"), info.text("version")])),
            tp=tp,
            dp=dp,
            accepted_len=accepted if accepted and accepted > 1 else None,
        ),
        load=Load(
            kind=vllm.arrivals(place),
            concurrency=place.count("max_concurrency"),
            request_rate=place.rate("request_rate"),
            num_requests=place.count("num_prompts"),
            prompt_tokens=place.number("random_input_len"),
            output_tokens=place.number("random_output_len"),
        ),
        completed=place.count("completed"),
        duration_s=place.number("duration"),
        prompt_tokens=place.count("total_input_tokens"),
        output_tokens=place.count("total_output_tokens"),
        figures=(*vllm.figures(place), *one("running", place.number("concurrency"))),
        requests=vllm.requests(place),
    )


def _is_of(rows: Sequence[dict[str, Any]]) -> bool:
    return bool(rows) and all({"mean_e2e_latency_ms", "output_throughput", "duration"} <= row.keys() for row in rows)


FORMAT = Format(
    name="sglang",
    about="sglang.bench_serving's .jsonl, a run a line",
    is_of=_is_of,
    read=lambda places: [_read_line(place) for place in places],
)
