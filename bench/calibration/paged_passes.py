"""Forward passes over a paged cache, operator by operator: which they are, and what each takes alone on this machine."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from bench.backend import device as devices
from bench.backend.models import language_model
from bench.backend.operators.trace import Call, calls_of, fake
from bench.backend.paged_cache import cache_of, pass_arguments, settings
from bench.calibration import step_operators
from bench.records.calibration import Calibration, machine_profile
from bench.sampling.clock import ProcessorClock
from bench.workloads.serving.run import ServingRun
from estimators.frozen import replace
from estimators.profile.operator_times import Host, OperatorPrediction, predict

ROUNDS, EACH_S = 2, 0.01
"""For each operator."""

Size = tuple[int, int]
"""Tokens of a pass, and the keys that they see."""


def is_alone(run: ServingRun) -> bool:
    """Whether all work is on one thread of a processor, whose own time does not hang on who else runs."""
    return run.device.kind == "cpu" and torch.get_num_threads() == 1


def timed(run: ServingRun, sizes: Sequence[Size], calibration: Calibration, issue: Host) -> dict[Size, OperatorPrediction]:
    """What passes take: each of their operators timed alone, and what issuing them costs."""
    cached = run.device.cache_bytes()
    traced = _calls(run, sizes, cached)
    unique = {call.piece.key: call for calls in traced.values() for call in calls}
    clock = ProcessorClock() if is_alone(run) else None
    entries = step_operators.entries(list(unique.values()), (), run.device, cache_bytes=cached, rounds=ROUNDS, time_s=EACH_S, clock=clock)
    profile = replace(machine_profile(calibration.with_entries(entries)), hosts={"forward": issue})
    return {size: predict([call.piece for call in calls], profile, "forward") for size, calls in traced.items()}


def _calls(run: ServingRun, sizes: Sequence[Size], cache_bytes: int) -> dict[Size, list[Call]]:
    """Operators of the passes, seen on tensors without memory."""
    with fake(run.device.torch_device):
        model = language_model(run.config, attn=run.attn, dtype=devices.dtype(run.dtype)).eval()
        engine_settings = settings(
            num_blocks=run.num_blocks, page_size=run.page_size, max_batch_tokens=run.max_batch_tokens, sequences=run.sequences
        )
        cache = cache_of(model, engine_settings)

        def seen(tokens: int, keys: int) -> list[Call]:
            def step() -> tuple[()]:
                with torch.inference_mode():
                    model(**pass_arguments(model, cache, tokens=tokens, keys=keys, sequences=min(tokens, run.sequences)))
                return ()

            return calls_of(step, cache_bytes)

        return {size: seen(*size) for size in sizes}
