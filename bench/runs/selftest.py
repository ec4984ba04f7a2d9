"""Measure what is known, on this machine: the same work twice, work and its double, a sleep, a training that trains and one that does not.

Nothing is judged here: the record holds the samples, and reports.checks.selftest holds them against what is known.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import end_signals
from bench.machine import environment
from bench.records.asked import Asked
from bench.records.draft import Draft
from bench.records.environment import DeviceFacts, Environment
from bench.records.learning import Learning
from bench.records.proof import Proof
from bench.records.record import Measurement, Phase
from bench.sampling.clock import Clock, HostClock
from bench.statistics.noise_floor import ROUND_A, ROUND_B, TASK

SINGLE, DOUBLE, SLEEP = "single", "double", "sleep"
"""Phases beside the rounds: the kernel once and twice per sample, interleaved; a sleep of `sleep_s`."""

SLEEP_S, KERNEL_S, WARMUP_S = 0.02, 0.004, 0.5
PYTHON_TURNS = 20_000

Step = Callable[[], object]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """How much is measured.

    Attributes:
        rounds: of A and of B each.
        samples_per_round: of each round.
        pairs: of the kernel once and twice.
        sleeps: how many.
    """

    rounds: int
    samples_per_round: int
    pairs: int
    sleeps: int


FULL = Amount(rounds=12, samples_per_round=100, pairs=60, sleeps=25)
QUICK = Amount(rounds=8, samples_per_round=25, pairs=30, sleeps=11)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """Work of known size.

    Attributes:
        step: one call.
        clock: that times it.
        flop: of one call; None where it is no arithmetic that counts.
        what: in words.
        device: as a record describes it.
    """

    step: Step
    clock: Clock
    flop: int | None
    what: str
    device: DeviceFacts


def kernel(device_name: str | None) -> Kernel:
    """A matrix product on the device, or a loop of Python where torch is not installed and no device was named.

    Raises:
        BadValueError, UnavailableError: no such device.
    """
    try:
        from bench.backend import device as devices
        from bench.backend.kernel import matmul_kernel
    except ImportError:
        if device_name is not None:
            raise
        return Kernel(
            step=python_work, clock=HostClock(), flop=None, what=f"{PYTHON_TURNS:,} turns of a loop in Python", device=DeviceFacts()
        )
    device = devices.choose(device_name)
    step, flop, shape = matmul_kernel(device, KERNEL_S)
    return Kernel(step=step, clock=device.clock(), flop=flop, what=shape, device=device.describe())


def python_work() -> int:
    """A fixed amount of work for the interpreter alone."""
    total = 0
    for turn in range(PYTHON_TURNS):
        total += turn & 7
    return total


def measure(*, amount: Amount, device_name: str | None, out: Path, say: Say) -> Measurement:
    """Run everything and keep it as a record of task `selftest`.

    Raises:
        RequestError: the device or the folder cannot be had; nothing is left behind.
        KeyboardInterrupt: after a partial record was saved.
    """
    chosen = kernel(device_name)
    request = Asked(
        model=TASK,
        task=TASK,
        device=device_name,
        kernel=chosen.what,
        kernel_flop=chosen.flop,
        sleep_s=SLEEP_S,
        rounds=amount.rounds,
        samples_per_round=amount.samples_per_round,
    )
    draft = Draft(model=TASK, task=TASK, request=request, out=out)
    try:
        draft.environment = environment.collect() | Environment(device=chosen.device)
        _fill(draft, chosen, amount, say)
    except KeyboardInterrupt:
        draft.save("partial", end_signals.ended_by())
        raise
    return draft.save("complete")


def _fill(draft: Draft, chosen: Kernel, amount: Amount, say: Say) -> None:
    clock = chosen.clock

    def keep(names: Sequence[str], samples: Sequence[Sequence[float]]) -> None:
        for name, samples_s in zip(names, samples, strict=True):
            draft.add_phase(Phase(name=name, samples_s=tuple(samples_s), item="call", clock=clock.name))

    say(f"warming up: {chosen.what}")
    warm_until_s = clock.now() + WARMUP_S
    while clock.now() < warm_until_s:
        clock.time(chosen.step)
    say(f"the same work twice: {amount.rounds} interleaved rounds of A and of B")
    keep((ROUND_A, ROUND_B), in_turns([chosen.step] * 2, clock, turns=amount.rounds, samples=amount.samples_per_round))
    say("the work and its double, interleaved")
    keep((SINGLE, DOUBLE), in_turns([chosen.step, lambda: (chosen.step(), chosen.step())], clock, turns=amount.pairs, samples=1))
    say(f"a sleep of {1000 * SLEEP_S:g} ms")
    host = HostClock()
    slept = tuple(host.time(lambda: time.sleep(SLEEP_S)) for _ in range(amount.sleeps))
    draft.add_phase(Phase(name=SLEEP, samples_s=slept, item="sleep", clock=host.name))
    say("a training that trains, and one that does not")
    draft.learning = Learning(
        clock_resolution_s=clock.resolution_s, training_loop=regression(learning_rate=0.1), idle_loop=regression(learning_rate=0.0)
    )


def in_turns(steps: Sequence[Step], clock: Clock, *, turns: int, samples: int) -> list[list[float]]:
    """Rounds of `samples` of each step, in an order that is reversed every other turn, so that none is always first."""
    samples_s: list[list[float]] = [[] for _ in steps]
    for turn in range(turns):
        order = range(len(steps)) if turn % 2 == 0 else range(len(steps) - 1, -1, -1)
        for which in order:
            samples_s[which] += [clock.time(steps[which]) for _ in range(samples)]
    return samples_s


def regression(learning_rate: float, num_steps: int = 20) -> Proof:
    """Gradient descent on y = 2x in plain Python, and the evidence a record keeps of it; at a rate of 0 it trains nothing.

    >>> regression(0.1).params_changed, regression(0.0).params_changed
    (True, False)
    """
    points = [(x / 4, x / 2) for x in range(-4, 5)]
    weight, losses = 0.0, []
    for _ in range(num_steps):
        losses.append(sum((weight * x - y) ** 2 for x, y in points) / len(points))
        weight -= learning_rate * sum(2 * (weight * x - y) * x for x, y in points) / len(points)
    return Proof(loss_first=losses[0], loss_last=losses[-1], params_changed=weight != 0.0, num_steps=num_steps)
