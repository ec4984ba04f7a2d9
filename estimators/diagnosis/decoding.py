"""Tokens of a generation: the bound of bytes over bandwidth, and the interval of `serve`'s decode step."""

from __future__ import annotations

import math
import re

from estimators.architectures.decoder import Decoder
from estimators.diagnosis.question import DiagnosisQuestion
from estimators.errors import RequestError
from estimators.frozen import frozen
from estimators.serving.cuts import cut_over
from estimators.serving.deployment import Deployment
from estimators.serving.device_work import sixteen_of
from estimators.serving.engines import DEFAULT_ENGINE, engine
from estimators.serving.one_request import one_request
from estimators.spec import Workload
from estimators.weight_formats import PLAIN, served_format

PROMPT_TOKENS, NEW_TOKENS = 512, 128
"""Of a request whose lengths nobody said: at one request the cache is a few per cent of the bytes."""

HOST_BYTES_PER_S = 100e9
"""What a host's memory reads at most in practice: eight channels of DDR4-3200 are 205 GB/s, and a desktop's two of DDR5-5600 90."""

KEEPS_ON_HOST = ("llama.cpp", "gguf", "ollama", "lm studio", "koboldcpp", "llama-cpp")
"""Engines that leave layers on the CPU unless told otherwise. Source: llama.cpp, README of llama-cli, --n-gpu-layers."""

_BLOCKS = re.compile(r"\b(?:i?q|int)(\d)(?:_[01k]|_k_[sml]|f16|f32)?", re.IGNORECASE)
_BITS = re.compile(r"(\d+(?:\.\d+)?)(?:\s*(?:-|to)\s*(\d+))?[\s-]*bits?\b", re.IGNORECASE)
SCALE_BITS = {"_0": 0.5, "_1": 1.0, "f16": 0.5, "_k": 0.6}
"""Bits a weight beside its own: a 16-bit scale for 32 weights, the same with a minimum, and k-quants' scales of scales.
Source: llama.cpp, ggml/src/ggml-common.h, block_q4_0 (18 bytes for 32 weights), block_q4_1 (20), block_q4_K (144 for 256);
MLC LLM, quantization: group_size 32 with a 16-bit scale."""


def bits_of(precision: str) -> float | None:
    """Bits of a stored weight, scales included, by the words of a format; None for words that say nothing of it.

    >>> bits_of("q4_1 (5 bits)"), bits_of("q4f16_1"), bits_of("bf16"), bits_of("gguf")
    (5.0, 4.5, 16.0, None)
    """
    text = precision.strip().casefold()
    if not text:
        return None
    if found := _BLOCKS.search(text):
        own = float(found[1])
        more = next((bits for mark, bits in SCALE_BITS.items() if mark in found[0]), 0.25 if "int" in found[0] else 0.5)
        others = [float(each[1]) for each in _BLOCKS.finditer(text.partition(",")[0])]
        return sum(others) / len(others) + more if len(others) > 1 else own + more
    if found := _BITS.search(text):
        return (float(found[1]) + float(found[2] or found[1])) / 2
    whole = {"bf16": 16.0, "fp16": 16.0, "f16": 16.0, "16-bit": 16.0, "fp8": 8.0, "int8": 8.0, "fp32": 32.0, "nvfp4": 4.5, "mxfp4": 4.25}
    return next((bits for name, bits in whole.items() if re.search(rf"\b{name}\b", text)), _bits_of_format(text))


def _bits_of_format(text: str) -> float | None:
    named = {"awq": 4.2, "gptq": 4.2, "nf4": 4.5}
    return next((bits for name, bits in named.items() if name in text), None)


@frozen
class DecodeExpected:
    """What one request, or a batch, decodes at: tokens per second of all its sequences.

    Attributes:
        bound: bytes of weights and cache that every step must read, over the bandwidth of all devices; or its FLOP
            over their peak, where that is less.
        low, middle, high: the interval of the predicted step, no faster than the bound, and the step; None where no engine's step is
            known of the model.
        weight_bytes: that every step reads.
        flop_per_token: of one sequence's next token.
        bits: of a weight; `is_stated` where the format was said, else 16 are meant.
        engine: whose step it is.
    """

    bound: float
    low: float | None
    middle: float | None
    high: float | None
    weight_bytes: float
    flop_per_token: float
    bits: float
    is_stated: bool
    engine: str
    bandwidth_bytes_per_s: float


def decode_expected(q: DiagnosisQuestion) -> DecodeExpected | None:
    """The bound and the interval; None where the model or the device is not known, or the model is no decoder."""
    if q.model is None or q.hardware is None or not isinstance(q.model, Decoder):
        return None
    bits = bits_of(q.setting.precision or q.setting.dtype)
    is_stated = bits is not None
    bits = bits or 16.0
    batch, number = q.setting.global_batch or q.setting.micro_batch or 1, q.num_devices or 1
    ops = q.model.ops(Workload(phase="decode", batch=1, context_len=PROMPT_TOKENS + NEW_TOKENS // 2))
    read = sum(op.count * (op.weights_per_token if op.active_params is None else op.active_params) for op in ops if op.kind == "matmul")
    weight_bytes = read * bits / 8
    bandwidth = q.hardware.memory_bytes_per_s * number
    predicted = _predicted(q, bits, batch)
    flop = sum(op.count * op.flop for op in ops)
    bound = min(batch * bandwidth / weight_bytes, (q.peak_flop_per_s or math.inf) * number / flop)
    return DecodeExpected(
        bound=bound,
        low=predicted and predicted[0],
        middle=predicted and predicted[1],
        high=predicted and min(predicted[2], bound),
        weight_bytes=weight_bytes,
        flop_per_token=flop,
        bits=bits,
        is_stated=is_stated,
        engine=_engine_name(q),
        bandwidth_bytes_per_s=bandwidth,
    )


def decoded_tokens_per_s(q: DiagnosisQuestion, flop_per_token: float) -> float | None:
    """Tokens per second of all requests and devices together, by the main figure; None where it makes no rate of tokens.

    A request's rate counts once for each that runs beside it, a device's once for each device; a step makes one token of every request.
    """
    main, number = q.main, q.num_devices or 1
    if main is None:
        return None
    of = {"device": number, "request": q.setting.global_batch or q.setting.micro_batch or 1, "job": 1}[main.scope]
    if main.quantity in ("decode_tokens_per_s", "tokens_per_s"):
        return main.value * of
    if main.quantity == "flop_per_s":
        return main.value * of / flop_per_token
    if main.quantity == "mfu_fraction" and q.peak_flop_per_s:
        return main.value * q.peak_flop_per_s * number / flop_per_token
    if main.quantity in ("step_time_s", "steps_per_s") and q.sequences_per_step:
        return q.sequences_per_step * (main.value if main.quantity == "steps_per_s" else 1 / main.value)
    tokens = next((figure.value for figure in q.observed.figures if figure.quantity == "tokens"), None)
    return tokens / main.value if main.quantity == "wall_time_s" and tokens else None


def _engine_name(q: DiagnosisQuestion) -> str:
    try:
        return engine(q.setting.software).id
    except RequestError:
        return DEFAULT_ENGINE


def _predicted(q: DiagnosisQuestion, bits: float, batch: int) -> tuple[float, float, float] | None:
    """Tokens per second at the slow end, in the middle and at the fast end."""
    assert q.model is not None
    assert q.hardware is not None
    try:
        sixteen = sixteen_of(q.hardware, "bf16")
        deployment = Deployment(
            model=q.model,
            hardware=q.hardware,
            engine=engine(_engine_name(q)),
            weights=_format(q, bits),
            compute=sixteen,
            kv=sixteen,
        )
        one = one_request(cut_over(deployment, q.num_devices or 1), prompt_tokens=PROMPT_TOKENS, new_tokens=NEW_TOKENS, prompts=batch)
    except RequestError:
        return None
    rate = batch / one.decode_step_s
    return rate / one.off.high, rate, rate / one.off.low


def _format(q: DiagnosisQuestion, bits: float) -> str:
    """The format that an engine's step is known for: the one that was named, else the nearest in bits."""
    try:
        return served_format(q.setting.precision)
    except RequestError:
        gguf = _engine_name(q) == "llama-cpp"
        return PLAIN if bits > 12 else ("q8_0" if gguf else "int8") if bits > 6 else ("q4_k_m" if gguf else "awq")


def is_hosts_rate(expected: DecodeExpected, tokens_per_s: float) -> bool:
    """Whether a rate reads no more bytes a second than a host's memory can, far below the device's."""
    return tokens_per_s * expected.weight_bytes <= HOST_BYTES_PER_S < expected.bandwidth_bytes_per_s / 2
