"""The article's own call: a whole generation with beams, its prefill and every decode step timed apart."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from bench.backend.device import Device
from bench.backend.forward_timer import ForwardTimer
from bench.backend.kv_cache import demand_static
from bench.machine.meters.instruments import Watch, unwatched
from bench.records.draft import Draft
from bench.records.proof import Proof
from bench.records.record import Phase
from bench.sampling.progress import sampling
from bench.sampling.timing_loop import Samples, StoppedBy
from bench.workloads.language.run import LanguageRun

ARTICLE_SAMPLING = {"no_repeat_ngram_size": 2, "top_k": 50, "top_p": 0.95, "temperature": 0.7}
"""The article's own arguments. Beam search without sampling ignores the last three, in the article's call as here."""


def generate_kwargs(run: LanguageRun) -> dict[str, Any]:
    """Arguments of `model.generate`. min_length = max_length, so that an early end of text cannot change the work."""
    length = run.seq_len + run.new_tokens
    return {
        "max_length": length,
        "min_length": length,
        "num_beams": run.num_beams,
        "do_sample": False,
        "pad_token_id": 0,
        **({"cache_implementation": "static"} if run.cache == "static" else {}),
        **ARTICLE_SAMPLING,
    }


def planned_shapes(run: LanguageRun) -> list[tuple[int, int]]:
    """Rows and tokens of every forward pass that the estimate counts: one prefill of all rows, then single tokens."""
    rows = run.batch * run.num_beams
    return [(rows, run.seq_len)] + [(rows, 1)] * (run.new_tokens - 1)


@dataclass(slots=True)
class _Taken:
    """What whole generations took: in all, in their forward passes, and between those. All in seconds, in order."""

    generate_s: list[float] = field(default_factory=list)
    prefill_s: list[float] = field(default_factory=list)
    decode_s: list[float] = field(default_factory=list)
    between_s: list[float] = field(default_factory=list)
    shapes: list[list[tuple[int, int]]] = field(default_factory=list)

    def add(self, total_s: float, timer: ForwardTimer) -> None:
        prefill_s, *decode_s = timer.forward_s()
        self.generate_s.append(total_s)
        self.prefill_s.append(prefill_s)
        self.decode_s.extend(decode_s)
        self.between_s.append(total_s - prefill_s - sum(decode_s))
        self.shapes.append(timer.shapes)


def generate(model: nn.Module, ids: torch.Tensor, run: LanguageRun, draft: Draft, watch: Watch = unwatched) -> torch.Tensor | None:
    """Warm up with two tokens, then time whole generations until `steps` or `max_time_s`, one at least.

    Adds the phases generate (wall time), prefill and decode (forward passes alone) and between (the rest: beam search,
    logits processing, cache reordering), and the proof: tokens generated, rows and lengths of every forward pass.

    Returns:
        The last output's token ids.

    Raises:
        KeyboardInterrupt: after the phases that there are were added.
    """
    kwargs, device = generate_kwargs(run), run.device
    times, output = _Taken(), None
    stopped_by: StoppedBy = "count"
    if run.cache == "static":
        demand_static(model)
    if run.compile:
        model.forward = torch.compile(model.forward, dynamic=run.cache != "static")
    warmup_s, _, _ = _once(model, ids, kwargs | {"max_length": run.seq_len + min(2, run.new_tokens), "min_length": 0}, device)
    start = time.perf_counter()
    try:
        with sampling("forward passes", max_samples=run.steps * run.new_tokens, max_time_s=run.max_time_s) as on_sample, watch("generate"):
            while len(times.generate_s) < run.steps:
                total_s, timer, output = _once(model, ids, kwargs, device, on_sample)
                times.add(total_s, timer)
                if time.perf_counter() - start > run.max_time_s:
                    stopped_by = "time"
                    break
    except KeyboardInterrupt:
        stopped_by = "interrupt"
    if output is not None and times.shapes:
        draft.proof |= _proof(times, output, run)
    _add_phases(times, run, draft, warmup_s, stopped_by)
    return output


def _once(
    model: nn.Module, ids: torch.Tensor, kwargs: dict[str, Any], device: Device, on_sample: Callable[[str, float], None] | None = None
) -> tuple[float, ForwardTimer, torch.Tensor]:
    device.synchronize()
    start = time.perf_counter()
    with ForwardTimer(model, device.torch_device, on_sample) as timer, torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        output = model.generate(ids, attention_mask=torch.ones_like(ids), **kwargs)
        device.synchronize()
    return time.perf_counter() - start, timer, output


def _proof(times: _Taken, output: torch.Tensor, run: LanguageRun) -> Proof:
    planned = planned_shapes(run)
    return Proof(
        num_new_tokens=int(output.shape[1]) - run.seq_len,
        num_expected_new_tokens=run.new_tokens,
        num_forward_passes=len(times.shapes[-1]),
        num_expected_forward_passes=len(planned),
        forward_shapes_as_planned=all(shapes == planned for shapes in times.shapes),
        num_distinct_new_tokens=len(set(output[0, run.seq_len :].tolist())),
    )


def _add_phases(times: _Taken, run: LanguageRun, draft: Draft, warmup_s: float, stopped_by: StoppedBy) -> None:
    """Add the parts and then the whole, since an interrupted phase ends the run."""
    rows = run.batch * run.num_beams
    steps_each = [len(shapes) - 1 for shapes in times.shapes]
    clock = run.device.clock()

    def samples(seconds: list[float], name: str, warmup: tuple[float, ...] = (), by: StoppedBy = "count") -> Samples:
        return Samples(
            steady_s=tuple(seconds),
            warmup_s=warmup,
            calls_per_sample=1,
            settled=None,
            stopped_by=by,
            clock=name,
            resolution_s=clock.resolution_s,
        )

    def add(phase: Phase) -> None:
        if phase.samples_s or phase.stopped_by == "interrupt":
            draft.add_phase(phase)

    decode = samples(times.decode_s, clock.name)
    whole = samples(times.generate_s, "host", (warmup_s,), stopped_by)
    draft.warnings += [*decode.findings("decode"), *whole.findings("generate")]
    contexts = [run.seq_len + step for steps in steps_each for step in range(steps)]
    add(samples(times.prefill_s, clock.name).to_phase("prefill", items_per_sample=rows * run.seq_len))
    add(decode.to_phase("decode", items_per_sample=rows, context_lens=contexts))
    add(samples(times.between_s, "host").to_phase("between", items_per_sample=run.batch * run.new_tokens))
    add(whole.to_phase("generate", items_per_sample=run.batch * run.new_tokens))
