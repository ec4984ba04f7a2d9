"""A measured row of inference: a prefill, a decode step or a whole generation of a batch; or why it cannot be compared."""

from __future__ import annotations

import re

from estimators.errors import RequestError
from estimators.facts.device_names import device_named
from estimators.facts.registry import hardware
from estimators.serving.deployment import Deployment
from estimators.serving.device_work import sixteen_of
from estimators.serving.figures import CLOSED, STATIC, Asked
from estimators.spec import Hardware, Model
from estimators.validation.model import gpt, llama, shipped_model
from estimators.validation.serving_case import ServingCase
from estimators.validation.serving_names import engine_of, format_of, model_id_of
from estimators.validation.table import LeftOutError, Record

IN_BRACKETS = re.compile(r"\s*\(.*\)")

PEOPLE = {"A100": "a100-sxm4-80gb", "A100-40GB": "a100-sxm4-40gb", "A100-80GB": "a100-sxm4-80gb", "A100-SXM-80GB": "a100-sxm4-80gb"}
"""What tables call an A100 that stands in a server with links."""

UNDATED = "2023"
"""Year of engines without a release: the tables that have them are of then."""

WHOLE = ("output tokens / end-to-end time", "end-to-end time for one batch")
"""How definitions begin under which a rate is that of a whole batch, from its first prompt token to its last answer."""

FP8_CACHE = ("fp8",)
"""Formats whose rows TensorRT-LLM made with a cache in the same: with 16 bits they would beat physics by 45 %."""


SOURCES = {
    "FasterTransformer GPT": "FasterTransformer",
    "Qwen2": "Qwen",
    "gpt-fast": "gpt-fast",
    "MLC": "MLC",
    "TensorRT-LLM": "TensorRT-LLM 2023",
    "NVIDIA NIM": "NVIDIA NIM",
}
"""How groups of one author begin -> the source that they are."""

OTHERS = "small tables"
"""The source of what are a few rows each."""


def source_of(group: str) -> str:
    """The source that a group's errors are pooled under.

    >>> source_of("Qwen2.5 speed benchmark"), source_of("holohub issue 170")
    ('Qwen', 'small tables')
    """
    return next((source for begins, source in SOURCES.items() if group.startswith(begins)), OTHERS)


def inference_case(record: Record) -> ServingCase:
    """The case of a row of published_inference.csv's columns.

    Raises:
        LeftOutError: an inconsistent or second-hand row, an encoder, a model, device or engine that is not covered, nothing timed.
    """
    if record.broken:
        raise LeftOutError(record.broken)
    if "inconsistent" in record.text("confidence"):
        raise LeftOutError("its source contradicts itself")
    if "encoder forward" in record.text("metric_definition"):
        raise LeftOutError("an encoder, which writes nothing")
    try:
        return _case(record)
    except RequestError as error:
        raise LeftOutError(str(error)) from None


def _case(record: Record) -> ServingCase:
    assumed: list[str] = []
    users = record.number("concurrency")
    measured = _measured(record, is_load=bool(users))
    if not measured:
        raise LeftOutError("no latency in the row")
    if not users and record.number("batch") is None:
        raise LeftOutError("neither a batch nor a concurrency")
    input_tokens, output_tokens = record.number("input_len"), record.number("output_len")
    if input_tokens is None:
        input_tokens = 1.0
        assumed.append("prompts, 1 token")
    return ServingCase(
        id=record.id,
        source=source_of(record.text("group")),
        deployment=_deployment(record, assumed),
        asked=Asked(
            load=CLOSED if users else STATIC,
            sequences=users or record.number("batch") or 1.0,
            input_tokens=max(1.0, input_tokens),
            output_tokens=max(1.0, output_tokens or 1.0),
        ),
        random_tokens=False,
        plain=True,
        measured=measured,
        assumed=tuple(assumed),
    )


def _measured(record: Record, *, is_load: bool) -> dict[str, float]:
    milliseconds = {name: record.number(name) for name in ("prefill_ms", "ttft_ms", "decode_ms_per_token", "total_latency_ms")}
    first = milliseconds["ttft_ms"] if is_load else milliseconds["prefill_ms"] or milliseconds["ttft_ms"]
    names = ("ttft_s", "itl_s", "e2e_s") if is_load else ("prefill_s", "decode_s", "generation_s")
    found = dict(zip(names, (first, milliseconds["decode_ms_per_token"], milliseconds["total_latency_ms"]), strict=True))
    seconds = {name: value / 1e3 for name, value in found.items() if value}
    if (record.number("output_len") or 0) <= 1:
        seconds.pop("generation_s", None)
    rate, batch, written = (record.number(name) for name in ("output_tokens_per_s", "batch", "output_len"))
    if not seconds and rate and batch and written and record.text("metric_definition").startswith(WHOLE):
        seconds["generation_s"] = batch * written / rate
    return seconds


def _deployment(record: Record, assumed: list[str]) -> Deployment:
    engine = engine_of(record.text("framework"), "", "" if re.search(r"\d", record.text("framework")) else UNDATED)
    device, model = _device(record.text("gpu")), _model(record)
    weights = format_of(record.text("precision"), record.text("model"))
    devices = record.whole("n_gpus", 1) or 1
    pp = record.whole("pp", 1) or 1
    tp = record.whole("tp") or devices // pp
    if tp * pp != devices:
        raise LeftOutError(f"tp {tp} and pp {pp} do not add up to {devices} devices")
    if record.whole("tp") is None and devices > 1:
        assumed.append(f"layout, tp {tp}")
        if engine.engine in ("transformers", "llama.cpp"):
            tp, pp = 1, devices
    kv = "bf16"
    if engine.engine == "tensorrt-llm" and weights in FP8_CACHE:
        kv = "fp8"
        assumed.append("cache, fp8")
    return Deployment(model=model, hardware=device, engine=engine, tp=tp, pp=pp, weights=weights, compute=sixteen_of(device, "fp16"), kv=kv)


def _device(text: str) -> Hardware:
    plain = IN_BRACKETS.sub("", text).strip()
    is_card = "PCIe" in text and "PCIe" not in plain
    return hardware(device_named(f"{plain} PCIe" if is_card else PEOPLE.get(plain, plain)).hardware_id)


def _model(record: Record) -> Model:
    name = IN_BRACKETS.sub("", record.text("model")).strip()
    try:
        return shipped_model(model_id_of("", name.replace(" ", "-")))
    except LeftOutError:
        if not record.text("layers") or not record.text("heads"):
            raise
    layers, width, heads = (record.needed(column) for column in ("layers", "hidden", "heads"))
    ffn, vocab = record.whole("ffn") or 4 * width, record.whole("vocab") or 51200
    if width % heads:
        raise LeftOutError(f"{heads} heads do not divide a width of {width}")
    if ffn == 4 * width:
        return gpt(layers, width, heads, ffn, vocab, 2048)
    return llama(layers, width, heads, record.whole("kv_heads") or heads, ffn, vocab, 2048)
