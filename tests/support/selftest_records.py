"""Records of a self-test, and of runs to compare, made by hand."""

from __future__ import annotations

import dataclasses
import math
import random
from pathlib import Path
from typing import Any

from bench.records.asked import Asked
from bench.records.draft import write
from bench.records.environment import Cpu, DeviceFacts, Environment
from bench.records.learning import Learning
from bench.records.proof import Proof
from bench.records.record import Measurement, Phase

TRAINED = Proof(loss_first=2.0, loss_last=0.5, params_changed=True, num_steps=20)
IDLE = Proof(loss_first=2.0, loss_last=2.0, params_changed=False, num_steps=20)
MACHINE = Environment(device=DeviceFacts(name="a scripted device"), cpu=Cpu(model="a scripted processor"))


def jitter(index: int) -> float:
    """A hundredth up or down, in an order without autocorrelation to speak of."""
    return 1 + (37 * index % 101 - 50) / 5000


def steady(seconds_s: float, num: int = 60) -> tuple[float, ...]:
    """Times a hundredth about a median."""
    return tuple(seconds_s * jitter(at) for at in range(num))


def saved(folder: Path, *records: Measurement) -> str:
    """The path of a folder that then holds the records, each under a name of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for at, made in enumerate(records):
        name = f"{at}-{made.run_id}"
        write(dataclasses.replace(made, run_id=name), folder / f"{name}.json")
    return str(folder)


def selftest_record(
    *,
    rounds: int = 4,
    b: float = 1.0,
    double: float = 2.0,
    sleep_s: float = 0.0201,
    drift: float = 0.01,
    clock_resolution_s: float = 1e-7,
    training_loop: Proof = TRAINED,
    idle_loop: Proof = IDLE,
) -> Measurement:
    """A kernel of 5 ms in rounds of 10, each pair slower by `drift` than the last; B takes `b` times, the double `double` times as long."""
    ones = [0.005 * (1 + drift * (at // 10)) * jitter(at) for at in range(10 * rounds)]
    singles = [0.005 * jitter(at) for at in range(30)]
    phases = {"a": ones, "b": [b * s for s in ones], "single": singles, "double": [double * s for s in singles], "sleep": [sleep_s] * 11}
    return Measurement(
        run_id="20260101T000000.000Z-selftest-selftest-1-00000000",
        created_utc="2026-01-01T00:00:00+00:00",
        status="complete",
        request=Asked(
            model="selftest",
            task="selftest",
            kernel="a scripted kernel",
            kernel_flop=10**9,
            sleep_s=0.02,
            rounds=rounds,
            samples_per_round=10,
        ),
        environment=MACHINE,
        phases=tuple(Phase(name=name, samples_s=tuple(samples)) for name, samples in phases.items()),
        learning=Learning(clock_resolution_s=clock_resolution_s, training_loop=training_loop, idle_loop=idle_loop),
    )


def autocorrelated(draw: random.Random, num: int, correlation: float, *, heavy: bool, median_s: float = 1.0) -> tuple[float, ...]:
    """Times whose logs are an AR(1) process about the log of their median, 2 % wide per step; heavy: steps of Student's t(3)."""
    value = draw.gauss(0, 1) / math.sqrt(1 - correlation**2)
    times = []
    for _ in range(num):
        step = draw.gauss(0, 1)
        if heavy:
            step /= math.sqrt(sum(draw.gauss(0, 1) ** 2 for _ in range(3)) / 3)
        value = correlation * value + step
        times.append(median_s * math.exp(0.02 * value))
    return tuple(times)


def run_of(samples_s: tuple[float, ...], run_id: str = "run", *, phase: str = "train_step", **fields: Any) -> Measurement:
    """A training of one phase."""
    asked = Asked(model="gpt2", task="train", batch=1, seq_len=8, dtype="fp32", weights_label="random weights")
    made: dict[str, Any] = {
        "run_id": run_id,
        "created_utc": "2026-01-01T00:00:00+00:00",
        "status": "complete",
        "request": asked.replaced(**fields.pop("request", {})),
        "environment": MACHINE,
        "phases": (Phase(name=phase, samples_s=samples_s),),
        "proof": TRAINED,
    }
    return Measurement(**(made | fields))
