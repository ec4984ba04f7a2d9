"""What lies around an answer: fewer and more devices, what fills the memory, and what one change alone would make of it."""

from __future__ import annotations

from collections.abc import Mapping

from estimators.cost.layout import PLAN_RECOMPUTES, Layout
from estimators.errors import RequestError
from estimators.facts.goodput import run_factor
from estimators.facts.prices import PriceRange
from estimators.frozen import field, frozen
from estimators.spec import Hardware
from estimators.training.layouts.job import Job
from estimators.training.layouts.restriction import ANYTHING, Restriction
from estimators.training.layouts.scaling import Point, scaling_curve
from estimators.training.layouts.what_if import what_if
from estimators.units import HOUR_S, format_byte_rate, format_int


@frozen
class Held:
    """What fills the fullest device of a layout: bytes by part, a reserve among them.

    Attributes:
        tuned: whether the parts are those of a fine-tuning.
    """

    hardware: Hardware
    layout: Layout
    tuned: bool
    parts: Mapping[str, float] = field(hash=False)

    @property
    def needed_bytes(self) -> float:
        """All of it."""
        return sum(self.parts.values())


@frozen
class Knob:
    """What the run would take if one thing were otherwise.

    Attributes:
        change: in words.
        run_s, cost_usd: of steady steps for all tokens; money at the median price, None without one.
        fits: whether it does.
    """

    change: str
    run_s: float
    cost_usd: float | None
    fits: bool = True


@frozen
class Outlook:
    """Around one answer.

    Attributes:
        run_s, cost_usd: of the answer itself.
        knobs: the change that moves the run most first; those that break a rule are left out.
    """

    hardware: Hardware
    num_devices: int
    run_s: float
    cost_usd: float | None
    knobs: tuple[Knob, ...]


def held(job: Job, layout: Layout) -> Held:
    """What fills the fullest device."""
    return Held(hardware=job.hardware, layout=layout, tuned=job.tunes(layout), parts=job.memory_parts(layout))


HALVINGS = 3
"""A curve begins at an eighth of the answer's devices, where they divide so often, and ends at eight times as many."""


def around_devices(job: Job, layout: Layout, tokens: int, restriction: Restriction = ANYTHING) -> tuple[Point, ...]:
    """The run on fewer and on more devices, the batch held."""
    first = layout.num_devices
    for _ in range(HALVINGS):
        first = first // 2 if first % 2 == 0 else first
    return scaling_curve(job, tokens, first, layout.global_batch, restriction)


def outlook(job: Job, layout: Layout, tokens: int, price: PriceRange | None) -> Outlook:
    """Around the training of a job under a layout."""
    step = job.predict(layout)
    run_s = step.run_s(tokens)

    def cost(run_s: float, num_devices: int, usd_per_gpu_hour: float | None) -> float | None:
        return None if usd_per_gpu_hour is None else usd_per_gpu_hour * run_s * num_devices / HOUR_S

    usd = price.median if price else None
    knobs = []
    for change, said in _changes(job, layout).items():
        try:
            changed = what_if(job, layout, change)
        except RequestError:
            continue
        seconds = changed.after.run_s(tokens)
        knobs.append(Knob(change=said, run_s=seconds, cost_usd=cost(seconds, changed.after.layout.num_devices, usd), fits=changed.fits))
    factor = run_factor()
    doubts = {
        "steps at the low end of their 80 %": step.run_s(tokens, step.low_s),
        "steps at the high end of their 80 %": step.run_s(tokens, step.high_s),
        "a whole run, low end of those published": run_s * factor.low,
        "a whole run, the middle of those published": run_s * factor.median,
        "a whole run, high end of those published": run_s * factor.high,
    }
    knobs += [Knob(change=said, run_s=seconds, cost_usd=cost(seconds, layout.num_devices, usd)) for said, seconds in doubts.items()]
    return Outlook(
        hardware=job.hardware,
        num_devices=layout.num_devices,
        run_s=run_s,
        cost_usd=cost(run_s, layout.num_devices, usd),
        knobs=tuple(sorted(knobs, key=lambda knob: -abs(knob.run_s - run_s))),
    )


def _changes(job: Job, layout: Layout) -> dict[str, str]:
    """Changes as `what_if` takes them, each in words: half and double of a number, the other values of a word."""
    network, devices, batch, seq_len = float(job.machine.network_bytes_per_s), layout.num_devices, layout.global_batch, job.seq_len
    dtype = "bf16" if job.dtype == "fp8" else "fp8"
    return {
        **{f"gpus={number}": f"{format_int(number)} GPUs" for number in (devices // 2, 2 * devices) if number},
        **{f"global_batch={number}seq": f"{format_int(number)} sequences a step" for number in (batch // 2, 2 * batch) if number},
        **{f"seq_len={number}": f"sequences of {format_int(number)}" for number in (seq_len // 2, 2 * seq_len) if number},
        **{f"recompute={word}": f"recompute {word}" for word in PLAN_RECOMPUTES if word != layout.recompute},
        f"dtype={dtype}": f"products in {dtype}",
        **{f"network={format_byte_rate(rate)}": f"a network of {format_byte_rate(rate)}" for rate in (network / 2, 2 * network)},
    }
