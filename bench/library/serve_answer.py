"""What `serve` answers as a function."""

from __future__ import annotations

from bench.library.answers import Answer


class ServeAnswer(Answer):
    """Of `serve`; `good` is False where it does not fit, or not one user is within the limits. With `search` the front comes first, with
    `simulate` or `requests` the latencies of one load, whose means are `ttft_s` and `itl_s`."""

    model: str
    hardware: str
    engine: str
    num_gpus_per_replica: int | None
    tp: int | None
    pp: int | None
    dp: int | None
    ep: int | None
    weights: str | None
    kv: str | None
    fits: bool | None
    input_tokens: int | None
    output_tokens: int | None
    users_within_limits: int | None
    users_in_flight_per_replica: float | None
    users_low: int | None
    users_high: int | None
    ttft_low_s: float | None
    ttft_high_s: float | None
    itl_low_s: float | None
    itl_high_s: float | None
    num_replicas: int | None
    num_gpus: int | None
    ttft_s: float | None
    itl_s: float | None
    output_tokens_per_s_per_replica: float | None
    output_tokens_per_s_per_gpu: float | None
    output_tokens_per_s_per_user: float | None
    prompt_tokens_per_s_per_replica: float | None
    requests_per_s_per_replica: float | None
    binds: str | None
    usd_per_million_output: float | None
    usd_per_million_blended: float | None
    break_even_fraction: float | None
    joules_per_output_token: float | None
    weights_bytes: int | None
    kv_bytes: int | None
    kv_bytes_per_token: float | None
    kv_blocks: int | None
    kv_tokens: int | None
    kv_tokens_low: int | None
    kv_tokens_high: int | None
    max_model_len: int | None
    concurrency_at_max_model_len: float | None
    utilization_fraction: float | None
    usd_per_gpu_hour: float | None
    ttft_limit_s: float | None
    itl_limit_s: float | None
    num_candidates: int | None
    num_on_front: int | None
    best: dict[str, object] | None
    load: str | None
    num_answered: int | None
    num_refused: int | None
    wall_s: float | None
    running: float | None
    most_running: int | None
    num_pushed_out: int | None
