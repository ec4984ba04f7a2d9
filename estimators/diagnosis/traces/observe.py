"""What a trace says of a run: the time of its steps, and the shares that are evidence of what it waits for."""

from __future__ import annotations

from statistics import median

from estimators.diagnosis.observed import Figure, Missing, Observed, Setting, Skipped
from estimators.diagnosis.traces import names
from estimators.diagnosis.traces.parts import parts_of
from estimators.diagnosis.traces.trace import Trace, read_trace
from estimators.units import format_duration, format_fraction, format_int

LATE = 0.05
"""Of the steps' time, kernels behind the last step: the steps in the file are not all of their own work."""


def observed_in_trace(path: str) -> Observed:
    """A trace of torch.profiler as evidence; raises as `read_trace` does."""
    return observed_of(read_trace(path))


def observed_of(trace: Trace) -> Observed:
    """The steps' time as the figure, and of it the shares that something else than the model's work takes."""
    window_s = trace.window_s
    kept_waiting_s = trace.idle_s - trace.waiting_s + trace.alone_s.get(names.HOST, 0.0)
    shares = {
        "loader": trace.waiting_s / window_s,
        "exposed communication": trace.exposed_s / window_s,
        "idle": kept_waiting_s / window_s,
        "unfused attention": trace.alone_s.get(names.UNFUSED, 0.0) / window_s,
    }
    return Observed(
        figures=(_step_time(trace),) if trace.num_steps else (),
        setting=Setting(hardware=trace.device, num_devices=trace.world_size),
        shares={name: share for name, share in shares.items() if share > 0},
        step_parts_s=parts_of(trace),
        skipped=(Skipped(what="broken events", number=trace.num_broken),) if trace.num_broken else (),
        missing=_missing(trace),
        read=_read(trace),
        notes=_notes(trace),
    )


def _step_time(trace: Trace) -> Figure:
    several = trace.num_steps > 1
    return Figure(
        quantity="step_time_s",
        value=median(trace.steps_s),
        source=f"ProfilerStep, {f'median of {trace.num_steps}' if several else 'one step'}",
        low=min(trace.steps_s) if several else None,
        high=max(trace.steps_s) if several else None,
        num_samples=trace.num_steps,
    )


def _missing(trace: Trace) -> tuple[Missing, ...]:
    if trace.num_steps:
        return ()
    why = "so that start-up and what lies between steps are in the shares"
    return (Missing(what="marks of steps", why=why, flag="profile(schedule=schedule(wait=1, warmup=1, active=3)) and its step()"),)


def _read(trace: Trace) -> str:
    steps = f"{trace.num_steps} {'step' if trace.num_steps == 1 else 'steps'}" if trace.num_steps else "no marked step"
    busy = f"busy {format_fraction(trace.busy_s / trace.window_s)}, idle {format_fraction(trace.idle_s / trace.window_s)}"
    loader = f"loader {format_fraction(trace.loader_s / trace.window_s)}"
    sent, exposed = (format_fraction(each / trace.window_s) for each in (trace.communication_s, trace.exposed_s))
    where = "one rank's trace" if trace.has_gpu else "trace of a processor"
    return (
        f"{where} by torch.profiler, {steps}, {format_int(trace.num_events)} events: "
        f"{busy}, {loader}, communication {sent}, of which {exposed} exposed"
    )


def _notes(trace: Trace) -> tuple[str, ...]:
    found = []
    if trace.is_cut:
        found.append("the trace ends before its end: what is in it counts")
    if trace.has_stacks:
        found.append("Python's calls were recorded, which slows a run: its idle time is more than without (with_stack=False)")
    if trace.after_s > LATE * trace.window_s:
        found.append(f"kernels run {format_duration(trace.after_s)} behind the last step: record more steps (active=5)")
    if trace.has_gpu:
        found.append("kernels are told apart by their names, from memory, unchecked")
    else:
        found.append("no GPU's kernels: an operator's own time stands for them, with what the profiler adds to each")
    return tuple(found)
