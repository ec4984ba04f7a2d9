"""The engine under load: requests go in by their arrivals, every forward pass is seen, every token has its time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from bench.backend.paged_cache import NO_END, greedy, held_bytes, settings
from bench.workloads.serving.run import ServingRun
from estimators.errors import UnavailableError
from estimators.lengths import Lengths
from estimators.serving.requests import Requests, at_rate, closed_loop
from estimators.serving.results.result import ServedRequest

WAIT_S = 0.05
"""For an answer, before it is looked whether the engine still runs and whether somebody wants it to end."""

LONGEST_S = 600.0
"""Without any answer: then the engine is taken to hang."""


@dataclass(slots=True)
class Pass:
    """One forward pass, as the engine called it.

    Attributes:
        tokens, keys, sequences: of the pass; keys are those that are read from the cache or just made.
        begun_s, ended_s: by the host's clock; processor_s: of the engine's thread.
    """

    tokens: int
    keys: int
    sequences: int
    begun_s: float
    begun_processor_s: float
    ended_s: float = 0.0
    ended_processor_s: float = 0.0


@dataclass(slots=True)
class Answered:
    """What came out.

    Attributes:
        requests: in the order in which they were sent.
        passes: of the model, in order.
        num_new_tokens: of each request.
        cache_bytes, num_blocks: of the cache as it lay in memory.
        duration_s: from the first arrival to the last token.
    """

    requests: list[ServedRequest] = field(default_factory=list)
    passes: list[Pass] = field(default_factory=list)
    num_new_tokens: list[int] = field(default_factory=list)
    cache_bytes: int = 0
    num_blocks: int = 0
    duration_s: float = 0.0


class Stopped(KeyboardInterrupt):
    """Ctrl-C or a signal that ends the process, after the engine was ended.

    Attributes:
        answered: what there was by then.
    """

    def __init__(self, answered: Answered) -> None:
        super().__init__()
        self.answered = answered


class _Passes:
    """Notes every forward pass of a module; the engine's thread calls it, one pass after another."""

    def __init__(self, model: nn.Module, on_pass: Callable[[str, float], None] | None, device: torch.device) -> None:
        self.passes: list[Pass] = []
        self._on_pass, self._device = on_pass, device
        self._handles = [model.register_forward_pre_hook(self._before, with_kwargs=True), model.register_forward_hook(self._after)]

    def _before(self, _: nn.Module, __: Any, given: dict[str, Any]) -> None:
        read = [int(index.numel()) for index in given["read_index"]]
        tokens = int(given["input_ids"].shape[1])
        now_s, processor_s = self._now()
        self.passes.append(
            Pass(
                tokens=tokens,
                keys=max(read) or tokens,
                sequences=int(given["logits_indices"].numel()),
                begun_s=now_s,
                begun_processor_s=processor_s,
            )
        )

    def _after(self, *_: Any) -> None:
        last = self.passes[-1]
        last.ended_s, last.ended_processor_s = self._now()
        if self._on_pass is not None:
            self._on_pass("steady", last.ended_s - last.begun_s)

    def _now(self) -> tuple[float, float]:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter(), time.thread_time()

    def close(self) -> list[Pass]:
        """Look no longer; the passes that ended."""
        for handle in self._handles:
            handle.remove()
        return [each for each in self.passes if each.ended_s]


def serve(model: nn.Module, prompts: list[list[int]], run: ServingRun, on_pass: Callable[[str, float], None] | None = None) -> Answered:
    """Send the prompts as the run says, and wait for all answers.

    A closed loop sends the next request as soon as an answer is there; arrivals at a rate wait for nothing.

    Raises:
        UnavailableError: the engine failed, and says why; nothing was answered.
        Stopped: interrupted.
    """
    seen = _Passes(model, on_pass, run.device.torch_device)
    answered, results = Answered(), dict[str, Any]()
    engine_settings = settings(
        num_blocks=run.num_blocks, page_size=run.page_size, max_batch_tokens=run.max_batch_tokens, sequences=run.sequences
    )
    sent_s: dict[str, float] = {}
    is_stopped = False
    try:
        with (
            torch.inference_mode(),
            model.continuous_batching_context_manager(
                generation_config=greedy(run.new_tokens), continuous_batching_config=engine_settings, warmup=False, timeout=30
            ) as manager,
        ):
            try:
                _wait_for(manager)
                _drive(manager, prompts, run, sent_s, results)
            except KeyboardInterrupt:
                is_stopped = True
            if manager.batch_processor is not None:
                cache = manager.batch_processor.cache
                answered.cache_bytes, answered.num_blocks = held_bytes(cache), int(cache.num_blocks)
            if is_stopped:
                manager.stop(block=True, timeout=30, hard_stop=True)
    finally:
        answered.passes = seen.close()
    finished = [(name, results[name]) for name in sent_s if name in results and results[name].error is None]
    if not finished and not is_stopped:
        failed = next((str(output.error) for output in results.values() if output.error), "it answered nothing")
        raise UnavailableError(f"transformers' continuous batching failed: {' '.join(failed.split())[:200]}")
    begun_s = min(sent_s.values(), default=0.0)
    for name, output in finished:
        answered.requests.append(_request(output, sent_s[name], begun_s, run))
        answered.num_new_tokens.append(len(output.generated_tokens))
    answered.duration_s = max((output.timestamps[-1] for _, output in finished), default=begun_s) - begun_s
    if is_stopped:
        raise Stopped(answered)
    return answered


def _request(output: Any, sent_s: float, begun_s: float, run: ServingRun) -> ServedRequest:
    stamps_s = list(output.timestamps)
    return ServedRequest(
        arrival_s=sent_s - begun_s,
        prompt_tokens=run.seq_len,
        output_tokens=len(output.generated_tokens),
        ttft_s=stamps_s[0] - sent_s,
        e2e_s=stamps_s[-1] - sent_s,
        gaps_s=tuple(later - earlier for earlier, later in pairwise(stamps_s)),
    )


def _wait_for(manager: Any) -> None:
    """Until the engine's thread has its cache and takes requests: what it does once is no request's waiting."""
    while manager.batch_processor is None and manager.is_running():
        time.sleep(0.001)


def _drive(manager: Any, prompts: list[list[int]], run: ServingRun, sent_s: dict[str, float], results: dict[str, Any]) -> None:
    """Send and wait. Raises UnavailableError where the engine stands still."""
    arrivals_s = arrivals(run)
    begun_s = last_s = time.perf_counter()
    waiting = list(enumerate(prompts))

    def send() -> None:
        number, prompt = waiting.pop(0)
        name = f"request {number}"
        sent_s[name] = time.perf_counter()
        manager.add_request(prompt, request_id=name, max_new_tokens=run.new_tokens, record_timestamps=True, eos_token_id=NO_END)

    while len(results) < len(prompts):
        now_s = time.perf_counter()
        if run.concurrency is not None:
            while waiting and len(sent_s) - len(results) < run.concurrency:
                send()
        else:
            while waiting and now_s - begun_s >= arrivals_s[len(prompts) - len(waiting)]:
                send()
        next_s = arrivals_s[len(prompts) - len(waiting)] - (now_s - begun_s) if waiting and run.concurrency is None else WAIT_S
        result = manager.get_result(timeout=max(1e-4, min(WAIT_S, next_s)))
        if result is not None:
            results[result.request_id] = result
            last_s = time.perf_counter()
        elif not manager.is_running():
            return
        elif len(sent_s) > len(results) and time.perf_counter() - last_s > LONGEST_S:
            raise UnavailableError(f"transformers' continuous batching gave no answer for {LONGEST_S:g} s")


def arrivals(run: ServingRun) -> list[float]:
    """Seconds from the start at which requests arrive at a rate: those that the prediction is simulated with; 0 of a closed loop."""
    return list(asked(run).arrival_s or [0.0] * run.requests)


def asked(run: ServingRun) -> Requests:
    """The run's requests as a simulation takes them."""
    prompts, answers = (
        Lengths(counts=((length, 0, run.requests),), says_loss=False, source="as asked") for length in (run.seq_len, run.new_tokens)
    )
    if run.concurrency is not None:
        return closed_loop(prompts, answers, run.concurrency, seed=run.seed)
    assert run.rate is not None, "a run is a closed loop or has a rate"
    return at_rate(prompts, answers, run.rate, seed=run.seed)


def prompts_of(run: ServingRun, vocab: int) -> list[list[int]]:
    """Seeded random token ids, another prompt for each request: nothing of them is found in the cache."""
    drawn = random.Random(run.seed)
    return [[drawn.randrange(vocab) for _ in range(run.seq_len)] for _ in range(run.requests)]
