"""The menu of a device: which shipped language models it trains, by method, and up to what length."""

from __future__ import annotations

from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.facts.registry import model_entry
from estimators.frozen import frozen, replace
from estimators.spec import Hardware
from estimators.tuning.fit import demand_dtype, fit
from estimators.tuning.job import TuningJob
from estimators.tuning.recipes import Recipe
from estimators.tuning.settings import Value, job_of

MODELS = (
    *("smollm2-360m", "qwen3-0.6b", "llama-3.2-1b", "qwen2.5-1.5b", "gemma-2-2b", "llama-3.2-3b", "phi-4-mini", "qwen3-4b"),
    *("mistral-7b-v0.3", "qwen2.5-7b", "llama-3.1-8b", "qwen3-8b", "gemma-2-9b", "mistral-nemo-12b", "qwen3-14b"),
    *("mistral-small-24b", "qwen3-32b", "llama-3.1-70b", "qwen2.5-72b"),
)
"""Models that people tune, by size."""

METHODS: dict[str, dict[str, Value]] = {
    "full": {"method": "full", "weights_dtype": "bf16", "optimizer": "adamw_torch_fused"},
    "lora": {"method": "lora", "lora_rank": 16, "lora_targets": ("all-linear",)},
    "qlora": {"method": "lora", "lora_rank": 16, "lora_targets": ("all-linear",), "base_format": "nf4-double"},
    "inference": {"method": "full", "objective": "inference"},
}
"""What a line of the menu asks of each model: one sample a pass, layers recomputed."""

LEAST_TOKENS = 256
"""A model that cannot take a sample of so many is not on the menu."""

TOLERANCE = 0.05
"""By how much a length on the menu may be too short."""


@frozen
class Choice:
    """One model on a device.

    Attributes:
        tokens: method -> the longest sample that fits; 0 where not even LEAST_TOKENS do.
    """

    model: str
    params: int
    tokens: tuple[tuple[str, int], ...]


def menu(hardware: Hardware, recipe: Recipe) -> tuple[Choice, ...]:
    """What the device can do with models that people tune, one sample a pass.

    Raises:
        BadValueError: a device that multiplies in no 16-bit format.
    """
    choices = []
    for name in MODELS:
        entry = model_entry(name)
        model = model_from_config(entry.config, entry.id, entry.source)
        assert isinstance(model, Decoder)
        tokens = tuple((method, _longest(_job(model, recipe, method, hardware), hardware)) for method in METHODS)
        choices.append(Choice(model=name, params=entry.published_params, tokens=tokens))
    return tuple(choices)


def _job(model: Decoder, recipe: Recipe, method: str, hardware: Hardware) -> TuningJob:
    low = "bf16" if "bf16" in hardware.peak_flop_per_s else "fp16"
    given: dict[str, Value] = {"checkpointing": "full", "loss": "chunked", "micro_batch": 1, "seq_len": LEAST_TOKENS, **METHODS[method]}
    if method == "full" and low == "fp16":
        given |= {"weights_dtype": "fp32", "autocast": "fp16"}
    elif low == "fp16":
        given |= {"weights_dtype": "fp16", "autocast": "fp16"}
    job = job_of(model, recipe, given)
    demand_dtype(job, hardware)
    return job


def _longest(job: TuningJob, hardware: Hardware) -> int:
    """The longest sample that fits, to TOLERANCE; 0 below LEAST_TOKENS.

    Memory is a convex function of the length, a largest of several moments: between two lengths a chord says too much, so that where it
    meets the device's memory a sample fits.
    """
    low, high = LEAST_TOKENS, max(LEAST_TOKENS, job.model.max_positions)
    device = hardware.memory_bytes
    needs = [fit(replace(job, seq_len=tokens), hardware).needed_bytes for tokens in (low, high)]
    if needs[0] > device or needs[1] <= device:
        return 0 if needs[0] > device else high
    while True:
        guess = low + int((high - low) * (device - needs[0]) / (needs[1] - needs[0]))
        if guess <= low * (1 + TOLERANCE):
            return guess
        low, needs[0] = guess, fit(replace(job, seq_len=guess), hardware).needed_bytes
