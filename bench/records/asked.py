"""Asked: what a record says was asked for and decided: a run's whole request, a self-test's, or a training's that is only estimated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from bench.records.part import Part
from bench.records.request import TASKS
from bench.records.typed_json import Above, AtLeast, OneOf

ESTIMATE, SELFTEST, SERVE = "estimate", "selftest", "serve"
"""Tasks of records that no single step of a model made: a training that is only estimated, a self-test, a server under load."""


class Preset(Part):
    """Caps and targets. Counts by kind of device, because a step on a GPU is a hundred times shorter.

    Attributes:
        about: what it is for, in a line.
        max_samples, warmup_max: steady and warm-up samples at most.
        min_samples: steady samples before the target may stop the loop.
        target_fraction: half width of the median's 95 % interval, as a share of the median, that is narrow enough.
        max_time_s: for warm-up and sampling of one phase.
        spread_fraction: robust relative spread of the main phase's samples above which the run fails its check of stability.
        strict: whether a warm-up that never settled, a thermal slowdown or a busy processor fail the run, too.
        idle_s: how long the idle power is read before the run.
        overhead_rounds: rounds with the instruments on and off, to measure what they cost; 0 leaves it unmeasured.
        repeats: runs in fresh processes.
    """

    about: str
    max_samples: Mapping[str, int]
    warmup_max: Mapping[str, int]
    min_samples: int
    target_fraction: float
    max_time_s: float
    spread_fraction: float
    strict: bool
    idle_s: float
    overhead_rounds: int
    repeats: int


class Asked(Part):
    """A record's `request`.

    Attributes:
        model .. repeat_group: as of bench.records.request.Request, with what was decided; of a watched training, its usual step.
        preset_values: what `preset` meant.
        weights_label, dtype_reason, input_label: where weights, dtype and input are from.
        warmup_fraction, num_ranks, num_threads: of the article's trainings.
        page_size, num_blocks, max_batch_tokens: of a server's cache, and of its steps.
        tokens: of a training that is only estimated.
        kernel, kernel_flop, sleep_s, rounds, samples_per_round: of a self-test; the FLOP are None where the kernel has none.
    """

    model: str
    task: Annotated[str, OneOf((*TASKS, ESTIMATE, SELFTEST, SERVE))]
    config: dict[str, Any] | None = None
    batch: int | None = None
    seq_len: int | None = None
    new_tokens: int | None = None
    num_beams: int | None = None
    dtype: str | None = None
    device: str | None = None
    attn: str | None = None
    compile: bool = False
    cache: str | None = None
    layers: int | None = None
    weights: str | None = None
    trust_remote_code: bool = False
    steps: int | None = None
    max_time_s: float | None = None
    recompute: str = "none"
    method: str | None = None
    lora_rank: int | None = None
    lora_targets: tuple[str, ...] | None = None
    lora_dropout: float | None = None
    base_format: str | None = None
    precision: str | None = None
    epochs: int | None = None
    learning_rate: float | None = None
    optimizer: str | None = None
    hidden_layers: int | None = None
    neurons: int | None = None
    days: int | None = None
    train_days: int | None = None
    data: str | None = None
    seed: int = 0
    prompt: str | None = None
    preset: str = "standard"
    repeat: int = 1
    num_repeats: int = 1
    repeat_group: str | None = None
    images: Annotated[int, AtLeast(1)] | None = None
    image_size: tuple[int, int] | None = None
    text_tokens: Annotated[int, AtLeast(0)] | None = None
    num_requests: Annotated[int, AtLeast(1)] | None = None
    concurrency: Annotated[int, AtLeast(1)] | None = None
    request_rate: Annotated[float, Above(0)] | None = None
    preset_values: Preset | None = None
    weights_label: str | None = None
    dtype_reason: str | None = None
    input_label: str | None = None
    warmup_fraction: float | None = None
    num_ranks: int | None = None
    num_threads: int | None = None
    page_size: int | None = None
    num_blocks: int | None = None
    max_batch_tokens: int | None = None
    tokens: int | None = None
    kernel: str | None = None
    kernel_flop: int | None = None
    sleep_s: float | None = None
    rounds: int | None = None
    samples_per_round: Annotated[int, AtLeast(1)] | None = None
