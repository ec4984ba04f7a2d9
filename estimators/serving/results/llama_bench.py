"""llama-bench: rows of prompts read (pp), tokens generated (tg) or both, as JSON, JSON lines, CSV or a Markdown table.

Source: llama.cpp, tools/llama-bench/README.md.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from estimators.errors import BadValueError
from estimators.serving.results.format import Format, one
from estimators.serving.results.place import Place
from estimators.serving.results.result import Load, Served, ServingResult

NANO = 1e-9
_TEST = re.compile(r"(pp|tg|pg) ?(\d+)(?:\+tg(\d+))?(?: @ d(\d+))?")
_RATE = re.compile(r"(\d+(?:\.\d+)?)(?: ± (\d+(?:\.\d+)?))?")


def _read_row(place: Place) -> ServingResult:
    prompt, generated = place.count("n_prompt") or 0, place.count("n_gen") or 0
    if bool(prompt) == bool(generated):
        raise BadValueError(f"{place.at}: reads {prompt} and generates {generated} tokens in one; expected a row of pp or of tg")
    tokens, quantity = (prompt, "prefill_s") if prompt else (generated, "decode_s")
    each = 1 if prompt else generated
    samples_s = tuple(sample / each for sample in place.numbers("samples_ns", NANO))
    mean_s, spread_s = place.number("avg_ns", NANO), place.number("stddev_ns", NANO)
    if mean_s is None:
        rate = place.number("avg_ts")
        mean_s = tokens / rate if rate else None
    figures = [
        *one(quantity, None if mean_s is None else mean_s / each),
        *one(quantity, None if spread_s is None else spread_s / each, "std"),
    ]
    rate_of = "prompt_tokens_per_s" if prompt else "output_tokens_per_s"
    figures += one(rate_of, place.number("avg_ts"))
    return ServingResult(
        file_format=FORMAT.name,
        client=" ".join(filter(None, ["llama-bench", place.text("build_commit")])),
        created=place.text("test_time"),
        served=Served(
            model=place.text("model_type"),
            hardware=place.text("gpu_info") or place.text("cpu_info"),
            engine=" ".join(filter(None, ["llama.cpp", place.text("backends")])),
            kv=place.text("type_k") if place.text("type_k") == place.text("type_v") else "",
            accepted_len=1.0,
        ),
        load=Load(
            kind="static batch",
            concurrency=1,
            prompt_tokens=float(prompt or place.count("n_depth") or 0),
            output_tokens=float(generated),
        ),
        figures=tuple(figures),
        samples=((quantity, samples_s),) if samples_s else (),
    )


def markdown_rows(text: str) -> list[dict[str, Any]]:
    """The rows of llama-bench's table as the other formats name them; none where a text has no such table."""
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    if len(cells) < 3 or not {"model", "test", "t/s"} <= set(cells[0]):
        return []
    return [_of_markdown(dict(zip(cells[0], row, strict=False))) for row in cells[2:]]


def _of_markdown(row: dict[str, str]) -> dict[str, Any]:
    test, rate = _TEST.fullmatch(row.get("test", "")), _RATE.fullmatch(row.get("t/s", ""))
    if test is None or rate is None:
        raise BadValueError(f"found the row {' | '.join(row.values())[:60]!r}; expected a test such as pp512 or tg128 and its rate")
    kind, tokens, more, depth = test.groups()
    found: dict[str, Any] = {"model_type": row["model"], "backends": row.get("backend", ""), "avg_ts": float(rate[1])}
    found |= {"n_prompt": int(tokens) if kind != "tg" else 0, "n_gen": int(tokens) if kind == "tg" else int(more or 0)}
    if depth:
        found["n_depth"] = int(depth)
    return found | ({"stddev_ts": float(rate[2])} if rate[2] else {})


def _is_of(rows: Sequence[dict[str, Any]]) -> bool:
    return bool(rows) and all({"n_prompt", "n_gen", "avg_ts"} <= row.keys() for row in rows)


FORMAT = Format(
    name="llama-bench",
    about="llama-bench -o json, jsonl, csv or md",
    is_of=_is_of,
    read=lambda places: [_read_row(place) for place in places],
)
