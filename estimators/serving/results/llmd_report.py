"""llm-d's benchmark report 0.2: YAML or JSON, every quantity with its unit.

Source: llm-d-benchmark, benchmark-report/llmd_benchmark_report/br_v0_2_json_schema.json and its example.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from estimators.errors import BadValueError
from estimators.serving.results.format import MILLI, Format, one, only, spread
from estimators.serving.results.inference_perf import LATENCIES
from estimators.serving.results.place import Place
from estimators.serving.results.result import Figure, Load, Served, ServingResult

_SECONDS = {"s": 1.0, "s/token": 1.0, "ms": MILLI, "ms/token": MILLI}
_RATES = {
    "input_token_rate": "prompt_tokens_per_s",
    "output_token_rate": "output_tokens_per_s",
    "total_token_rate": "total_tokens_per_s",
    "request_rate": "requests_per_s",
}
_DURATION = re.compile(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?")
VERSION = re.compile(r"0\.2(\.\d+)?")


def _read(places: Sequence[Place]) -> list[ServingResult]:
    report = only(places, "one report")
    if not VERSION.fullmatch(report.text("version")):
        raise BadValueError(f"{report.at}: a benchmark report of version {report.text('version')[:20]}; expected 0.2")
    asked = report.table("scenario").table("load").table("standardized")
    done = report.table("results").table("request_performance").table("aggregate")
    made, figures = done.table("requests"), list[Figure]()
    for name, quantity in LATENCIES.items():
        of_it = done.table("latency").table(name)
        figures += spread(of_it, quantity, _unit(of_it)) if of_it.values else []
    for name, quantity in _RATES.items():
        figures += one(quantity, done.table("throughput").table(name).number("mean"))
    rate, total, failed = asked.rate("rate_qps"), made.count("total"), made.count("failures")
    concurrency = asked.rate("concurrency")
    completed = None if total is None else total - (failed or 0)
    prompt, output = made.table("input_length").number("mean"), made.table("output_length").number("mean")
    return [
        ServingResult(
            file_format=FORMAT.name,
            client=" ".join(filter(None, [asked.text("tool"), asked.text("tool_version")])) or "unknown",
            created=report.table("run").table("time").text("start"),
            served=_served(report.table("scenario")),
            load=Load(
                kind="open" if rate else "closed" if concurrency else "unknown",
                concurrency=None if concurrency is None else int(concurrency),
                request_rate=rate,
                num_requests=total,
                prompt_tokens=asked.table("input_seq_len").number("value"),
                output_tokens=asked.table("output_seq_len").number("value"),
            ),
            completed=completed,
            failed=failed,
            duration_s=_duration_s(report.table("run").table("time").text("duration")),
            prompt_tokens=None if prompt is None or completed is None else round(prompt * completed),
            output_tokens=None if output is None or completed is None else round(output * completed),
            figures=tuple(figures),
        )
    ]


def _unit(of_it: Place) -> float:
    unit = of_it.text("units")
    if unit not in _SECONDS:
        raise BadValueError(f"{of_it.at}.units: found {unit[:20]!r}, expected one of: {', '.join(_SECONDS)}")
    return _SECONDS[unit]


def _served(scenario: Place) -> Served:
    """The engines of the stack, all replicas together; where prompts are read apart, those that decode have the say."""
    stack = scenario.tables("stack")
    engines = [place.table("standardized") for place in stack if place.table("standardized").text("kind") == "inference_engine"]
    if not engines:
        return Served()
    roles = {engine.text("role") for engine in engines}
    engine = next((engine for engine in engines if engine.text("role") == "decode"), engines[0])
    device = engine.table("accelerator")
    degrees = device.table("parallelism")
    counts = [(each.table("accelerator").count("count") or 0) * (each.count("replicas") or 1) for each in engines]
    return Served(
        model=engine.table("model").text("name"),
        hardware=device.text("model"),
        engine=" ".join(filter(None, [engine.text("tool"), engine.text("tool_version")])),
        num_gpus=sum(counts) or None,
        tp=degrees.count("tp"),
        pp=degrees.count("pp"),
        dp=degrees.count("dp"),
        ep=degrees.count("ep"),
        is_disaggregated={"prefill", "decode"} <= roles,
    )


def _duration_s(text: str) -> float | None:
    """Seconds of an ISO 8601 duration.

    >>> _duration_s("PT1M2.5S"), _duration_s("")
    (62.5, None)
    """
    found = _DURATION.fullmatch(text)
    if not found or not any(found.groups()):
        return None
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return 3600 * hours + 60 * minutes + seconds


def _is_of(rows: Sequence[dict[str, Any]]) -> bool:
    return len(rows) == 1 and {"version", "scenario", "results"} <= rows[0].keys()


FORMAT = Format(name="llm-d", about="llm-d's benchmark report 0.2, YAML or JSON", is_of=_is_of, read=_read)
