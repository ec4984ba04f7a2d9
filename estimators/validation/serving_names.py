"""What tables of serving call engines, formats and models."""

from __future__ import annotations

import functools
import re

from estimators.errors import RequestError
from estimators.facts.model_names import entry_named
from estimators.serving.engines import Engine, engine
from estimators.validation.table import LeftOutError
from estimators.weight_formats import PLAIN, WeightFormat, served_format

VLLM_EAGER, VLLM_NEXT = (0, 2, 6), (0, 7, 0)
"""Releases of vLLM with recorded graphs, and with its second scheduler: the generations of serving_engines.csv begin with them."""

SGLANG_NEXT, TENSORRT_LLM_NEXT = (0, 4, 0), (1, 0, 0)

YEAR = re.compile(r"\b(20\d\d)\b")
RELEASE = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")


def engine_of(name: str, version: str, date: str) -> Engine:
    """The generation of an engine that a row names: by its release, else by its year.

    >>> engine_of("vLLM", "0.6.3", "").id, engine_of("TensorRT-LLM", "1.0.0rc3", "").id, engine_of("vLLM", "2024", "2024").id
    ('vllm-2024', 'tensorrt-llm', 'vllm-2024')

    Raises:
        LeftOutError: an engine that has no constants.
    """
    said = f"{name} {version}".casefold()
    found = next((known for word, known in ENGINES.items() if word in said), "")
    if not found:
        raise LeftOutError(f"engine {name[:40]!r} has no constants; expected one of: {', '.join(sorted(set(ENGINES.values())))}")
    release, year = _release(version) or _release(name), _year(f"{version} {name}") or _year(date)
    if found == "vllm" and "rocm" not in said:
        if release:
            return engine("vllm-2023" if release < VLLM_EAGER else "vllm-2024" if release < VLLM_NEXT else "vllm")
        return engine(f"vllm-{year}" if year in (2023, 2024) else "vllm")
    if found == "sglang" and ((release and release < SGLANG_NEXT) or year == 2024):
        return engine("sglang-2024")
    if found == "tensorrt-llm" and ((year and year <= 2024) or (release and release < TENSORRT_LLM_NEXT)):
        return engine("tensorrt-llm-2024")
    return engine(found)


ENGINES = {
    "deepspeed": "deepspeed",
    "vllm": "vllm",
    "sglang": "sglang",
    "tensorrt-llm": "tensorrt-llm",
    "tgi": "tgi",
    "text-generation-inference": "tgi",
    "llama.cpp": "llama-cpp",
    "fastertransformer": "fastertransformer",
    "gpt-fast": "gpt-fast",
    "transformers": "transformers",
}
"""Words in an engine's name -> its newest generation."""


def _release(text: str) -> tuple[int, ...] | None:
    if YEAR.fullmatch(text.strip()) or not (found := RELEASE.search(text)):
        return None
    return tuple(int(part or 0) for part in found.groups())


def _year(text: str) -> int | None:
    found = YEAR.search(text)
    return int(found[1]) if found else None


FORMATS = {
    "16-bit": PLAIN,
    "bfloat16": PLAIN,
    "bf16": PLAIN,
    "fp16": PLAIN,
    "float16": PLAIN,
    "f16": PLAIN,
    "as the checkpoint": PLAIN,
    "fp8": "fp8",
    "nvfp4": "nvfp4",
    "fp4": "nvfp4",
    "mxfp4": "mxfp4",
    "gptq-int8": "gptq-8-128",
    "gptq-int4": "gptq",
    "int4": "awq",
    "4-bit": "awq",
    "int8": "int8",
    "fp8 weights": "fp8",
    "awq": "awq",
    "q4_k_m": "q4_k_m",
    "q8_0": "q8_0",
    "bnb.nf4": "nf4",
}
"""How a row's format begins -> ours; the longest that matches."""

TILED = ("deepseek", "qwen", "kimi", "minimax", "glm")
"""Families whose checkpoints in fp8 have a scale for each tile."""

PUBLISHED = {"gpt-oss": "mxfp4", "deepseek-r1": "fp8-tiles", "deepseek-v3": "fp8-tiles"}
"""Models that are published in a format, which rows without one mean; gpt-oss has no other."""


def format_of(text: str, model: str) -> WeightFormat:
    """The format that a row means for a model.

    >>> format_of("fp8", "deepseek-ai/DeepSeek-V3"), format_of("fp8", "Llama-3.1-70B"), format_of("nvfp4", "openai/gpt-oss-120b")
    ('fp8-tiles', 'fp8', 'mxfp4')

    Raises:
        LeftOutError: a format that is not known.
    """
    said, name = text.casefold().strip(), model.casefold()
    if "gpt-oss" in name:
        return "mxfp4"
    if not said:
        published = next((known for begins, known in PUBLISHED.items() if begins in name), "")
        return published or ("fp8-tiles" if "fp8" in name else PLAIN)
    begins = max((known for known in FORMATS if said.startswith(known)), key=len, default="")
    if not begins:
        raise LeftOutError(f"weights in {text[:40]!r} are not covered")
    found = FORMATS[begins]
    return "fp8-tiles" if found == "fp8" and ("block" in said or any(family in name for family in TILED)) else served_format(found)


TEXT_PARTS = {"qwen3-vl-235b": "qwen3-235b-a22b", "qwen3-vl-30b": "qwen3-30b-a3b", "qwen3-vl-32b": "qwen3-32b", "qwen3-vl-8b": "qwen3-8b"}
"""Vision models -> the shipped model that their text part is."""


def model_id_of(shipped: str, name: str) -> str:
    """The shipped model that a row names, by an id of ours or by the publisher's name. Raises LeftOutError."""
    tried = [shipped, name, name.split("/")[-1]]
    tried += [known for begins, known in TEXT_PARTS.items() if begins in name.casefold()]
    found = next(filter(None, map(_known, filter(None, tried))), "")
    if not found:
        raise LeftOutError(f"model {name[:60]!r} does not ship")
    return found


@functools.lru_cache(maxsize=1024)
def _known(text: str) -> str:
    """The shipped model of a name; empty where there is none."""
    try:
        return entry_named(text).id
    except RequestError:
        return ""
