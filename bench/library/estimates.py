"""What is estimated and needs no torch: estimate, plan, fit, serve, compare_hardware, show.

Each takes its verb's options as keywords, in words ('2T', '30d') or numbers; it raises RequestError, or PhysicsError (estimators.errors).
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from bench.library.answers import EstimateAnswer, FitAnswer, HardwareAnswer, ModelAnswer, PlanAnswer
from bench.library.keywords import ask
from bench.library.serve_answer import ServeAnswer

Number = int | float | str
"""A count such as 2_000_000, 2e12 or '2T'; a share such as 0.45 or '45%'; an amount such as '500k'."""

Time = int | float | str
"""'30d' or '36h'; a bare number is days."""

Path = str | os.PathLike[str]
Names = str | Sequence[str]
"""One name, several with commas between them, or a list."""


def estimate(
    *,
    model: str | None = None,
    config: Path | None = None,
    fetch: bool = False,
    tokens: Number | None = None,
    hardware: str | None = None,
    gpus: Number | None = None,
    utilization: Number | None = None,
    convention: str | None = None,
    price: Number | None = None,
    layout: str | None = None,
    from_file: Path | None = None,
    global_batch: Number | None = None,
    software: str | None = None,
    optimizer: str | None = None,
    network: str | None = None,
    calibration: Path | None = None,
    memory_margin: Number | None = None,
    carbon: Number | None = None,
    days: Time | None = None,
    deadline: Time | None = None,
    budget_usd: Number | None = None,
    budget_gpu_days: Number | None = None,
    batch: Number | None = None,
    prompt_tokens: Number | None = None,
    new_tokens: Number | None = None,
    num_beams: Number | None = None,
    engine: str | None = None,
    weights: str | None = None,
    seq_len: Number | None = None,
    source_len: Number | None = None,
    image_size: Number | None = None,
    dtype: str | None = None,
    explain: bool = False,
    lora_rank: Number | None = None,
    lora_targets: Names | None = None,
    frozen_layers: Number | None = None,
    base_format: str | None = None,
    method: Names | None = None,
    framework: str | None = None,
    data: Path | None = None,
    tokenizer: Path | None = None,
    lengths: Path | None = None,
    examples: Number | None = None,
    mean_tokens: Number | None = None,
    p95_tokens: Number | None = None,
    epochs: Number | None = None,
    max_length: Number | None = None,
    packing: str | bool | None = None,
    long_samples: str | None = None,
    group_by_length: bool = False,
    accumulation: Number | None = None,
    checkpointing: str | None = None,
    outlook: bool = False,
    measured_step: Time | None = None,
    completion_tokens: Number | None = None,
    generations: Number | None = None,
    reuse: Number | None = None,
    images: Number | None = None,
    video: str | None = None,
    audio: Time | None = None,
    text_tokens: Number | None = None,
    freeze: Names | None = None,
    images_total: Number | None = None,
    audio_hours: Number | None = None,
) -> EstimateAnswer:
    """What a training costs, on tokens, images, audio or a data set; else single steps. `python -m bench estimate --help` has all."""
    return EstimateAnswer(*ask("estimate", locals()))


def plan(
    *,
    hardware: Names,
    model: str | None = None,
    config: Path | None = None,
    fetch: bool = False,
    gpus: Number | None = None,
    tokens: Number | None = None,
    global_batch: Number | None = None,
    seq_len: Number | None = None,
    source_len: Number | None = None,
    image_size: Number | None = None,
    dtype: str | None = None,
    software: str | None = None,
    optimizer: str | None = None,
    network: str | None = None,
    calibration: Path | None = None,
    memory_margin: Number | None = None,
    price: Number | None = None,
    max_gpus: Number | None = None,
    deadline: Time | None = None,
    budget: Number | None = None,
    max_global_batch: Number | None = None,
    max_tp: Number | None = None,
    schedule: str | None = None,
    layout: str | None = None,
    from_file: Path | None = None,
    top: Number | None = None,
    what_if: str | None = None,
    scaling: bool = False,
    compute_optimal: bool = False,
    budget_gpu_days: Number | None = None,
    lora_rank: Number | None = None,
    lora_targets: Names | None = None,
    frozen_layers: Number | None = None,
    base_format: str | None = None,
    framework: str | None = None,
    checkpointing: str | None = None,
    outlook: bool = False,
) -> PlanAnswer:
    """The layouts that train a model fastest on given devices: `python -m bench plan --help` has every option."""
    return PlanAnswer(*ask("plan", locals()))


def fit(
    *,
    hardware: str,
    model: str | None = None,
    config: Path | None = None,
    fetch: bool = False,
    method: Names | None = None,
    from_files: Path | Sequence[Path] | None = None,
    gpus: Number | None = None,
    framework: str | None = None,
    batch: Number | None = None,
    seq_len: Number | None = None,
    source_len: Number | None = None,
    image_size: Number | None = None,
    accumulation: Number | None = None,
    packing: str | None = None,
    precision: str | None = None,
    optimizer: str | None = None,
    checkpointing: str | None = None,
    loss: str | None = None,
    attention: str | None = None,
    sharding: str | None = None,
    offload: Names | None = None,
    lora_rank: Number | None = None,
    lora_targets: Names | None = None,
    frozen_layers: Number | None = None,
    base_format: str | None = None,
    lora_dropout: Number | None = None,
    largest: str | None = None,
    menu: bool = False,
    strict: bool = False,
) -> FitAnswer:
    """Whether a fine-tuning fits on a device, and what would make it fit: `python -m bench fit --help` has every option."""
    return FitAnswer(*ask("fit", locals()))


def serve(
    *,
    hardware: str,
    model: str | None = None,
    config: Path | None = None,
    fetch: bool = False,
    gpus_per_replica: Number | None = None,
    tp: Number | None = None,
    pp: Number | None = None,
    dp: Number | None = None,
    ep: Number | None = None,
    engine: str | None = None,
    weights: str | None = None,
    kv: str | None = None,
    input_tokens: Number | None = None,
    output_tokens: Number | None = None,
    concurrency: Number | tuple[int, int] | None = None,
    users: Number | None = None,
    rate: Number | None = None,
    ttft: Time | None = None,
    itl: Time | None = None,
    price: Number | None = None,
    utilization: Number | None = None,
    api_price: str | tuple[float, float] | None = None,
    speculate: str | tuple[float, float] | None = None,
    prefix_share: Number | None = None,
    memory_fraction: Number | None = None,
    kv_blocks: Number | None = None,
    max_model_len: Number | None = None,
    max_num_seqs: Number | None = None,
    max_num_batched_tokens: Number | None = None,
    simulate: Number | None = None,
    requests: Path | None = None,
    seed: int | None = None,
    prefill_gpus: Number | None = None,
    measured: Path | list[Path] | None = None,
    search: bool = False,
    explain: bool = False,
) -> ServeAnswer:
    """Users within limits, latency, money and memory of a served model: `python -m bench serve --help` has every option.

    `ttft` and `itl` are times such as '1s' and '50ms'; a bare number is seconds.
    """
    return ServeAnswer(*ask("serve", locals()))


def compare_hardware(
    *,
    hardware: Names,
    tokens: Number | None = None,
    images_total: Number | None = None,
    model: str | None = None,
    config: Path | None = None,
    fetch: bool = False,
    gpus: Number | None = None,
    utilization: Number | None = None,
    convention: str | None = None,
    price: Number | None = None,
    seq_len: Number | None = None,
    source_len: Number | None = None,
    image_size: Number | None = None,
    dtype: str | None = None,
    layout: str | None = None,
    from_file: Path | None = None,
    global_batch: Number | None = None,
    software: str | None = None,
    optimizer: str | None = None,
    network: str | None = None,
    calibration: Path | None = None,
    memory_margin: Number | None = None,
    carbon: Number | None = None,
    explain: bool = False,
    lora_rank: Number | None = None,
    lora_targets: Names | None = None,
    frozen_layers: Number | None = None,
    base_format: str | None = None,
    framework: str | None = None,
    checkpointing: str | None = None,
    outlook: bool = False,
) -> HardwareAnswer:
    """One training run on several kinds of device: `python -m bench compare-hardware --help` has every option."""
    return HardwareAnswer(*ask("compare-hardware", locals()))


def show(
    *,
    model: str | None = None,
    config: Path | None = None,
    fetch: bool = False,
    phase: str | None = None,
    batch: Number | None = None,
    seq_len: Number | None = None,
    source_len: Number | None = None,
    image_size: Number | None = None,
    context_len: Number | None = None,
    dtype: str | None = None,
    convention: str | None = None,
    lora_rank: Number | None = None,
    lora_targets: Names | None = None,
    frozen_layers: Number | None = None,
    base_format: str | None = None,
    images: Number | None = None,
    video: str | None = None,
    audio: Time | None = None,
    text_tokens: Number | None = None,
    freeze: Names | None = None,
    denoising_steps: Number | None = None,
    guidance: bool = False,
) -> ModelAnswer:
    """A model's operations, parameters and FLOP, row by row: `python -m bench show --help` has every option."""
    return ModelAnswer(*ask("show", locals()))
