"""A server under load, predicted before it runs: its passes operator by operator, what the engine does between them, and a simulation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import torch

from bench.backend import device as devices
from bench.backend.models import language_model, random_language_model
from bench.backend.operators.trace import Call, calls_of, fake
from bench.backend.paged_cache import cache_of, pass_arguments, settings
from bench.calibration import step_operators
from bench.records.calibration import Calibration, machine_profile
from bench.records.estimated import PartsOfStep, PredictedServing
from bench.sampling.clock import ProcessorClock
from bench.statistics.robust import median
from bench.workloads.serving.engine import Pass, asked, prompts_of, serve
from bench.workloads.serving.run import ServingRun
from estimators.cost.array_math import Lane, choose, greater
from estimators.frozen import frozen, replace
from estimators.profile.operator_times import Host, OperatorPrediction, predict
from estimators.serving.load_answer import load_answer
from estimators.serving.schedule import Schedule
from estimators.serving.simulate import simulate
from estimators.serving.step_batch import StepBatch

Say = Callable[[str], None]

NARROW = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 64,
    "max_position_embeddings": 512,
}
"""Of a model that costs next to nothing: what its passes take is what issuing operators costs, what lies between them is the engine's."""

NARROW_SEQUENCES, NARROW_DEPTHS, NARROW_TOKENS = (1, 8), (1, 6), 40

ROUNDS, EACH_S = 2, 0.01
"""For each operator."""


@frozen
class EngineHost:
    """What the engine does between two forward passes: scheduling, filling tensors, taking tokens over; and what passes cost to issue.

    Attributes:
        step_s: of each step; sequence_s: for each sequence in it.
        issue: of a pass, and for each operator in it.
    """

    step_s: float
    sequence_s: float
    issue: Host = Host(fixed_s=0.0, per_op_s=0.0)

    def seconds(self, sequences: Lane) -> Lane:
        """Between the passes of a step with so many."""
        return self.step_s + self.sequence_s * sequences


def is_alone(run: ServingRun) -> bool:
    """Whether all work is on one thread of a processor, whose own time does not hang on who else runs."""
    return run.device.kind == "cpu" and torch.get_num_threads() == 1


def engine_host(run: ServingRun, calibration: Calibration) -> EngineHost:
    """Measured on a narrow model: with one sequence and with several, and at two depths; lines through the medians."""
    between_s, issued = [], []
    for sequences in NARROW_SEQUENCES:
        passes = _narrow_passes(run, sequences, NARROW_DEPTHS[0])[1]
        between_s.append(median([_between_s(run, earlier, later) for earlier, later in pairwise(passes)]))
    for depth in NARROW_DEPTHS:
        narrow, passes = _narrow_passes(run, 1, depth)
        (made,) = _timed(narrow, [(1, 9)], calibration, Host(fixed_s=0.0, per_op_s=0.0)).values()
        issued.append((made.num_ops, max(0.0, median([_pass_s(run, each) for each in passes]) - made.seconds_s)))
    (few, many), (few_s, many_s) = NARROW_SEQUENCES, between_s
    each_s = max(0.0, (many_s - few_s) / (many - few))
    (few_ops, shallow_s), (many_ops, deep_s) = issued
    per_op_s = max(0.0, (deep_s - shallow_s) / (many_ops - few_ops))
    issue = Host(fixed_s=max(0.0, shallow_s - per_op_s * few_ops), per_op_s=per_op_s)
    return EngineHost(step_s=max(0.0, few_s - few * each_s), sequence_s=each_s, issue=issue)


def _narrow_passes(run: ServingRun, sequences: int, depth: int) -> tuple[ServingRun, list[Pass]]:
    """A narrow model served, and its decode passes."""
    config = {**NARROW, "num_hidden_layers": depth}
    blocks = 4 * sequences
    narrow = dataclasses.replace(
        run,
        config=config,
        dtype="fp32",
        seq_len=8,
        new_tokens=NARROW_TOKENS,
        requests=sequences,
        concurrency=sequences,
        rate=None,
        num_blocks=blocks,
    )
    model = random_language_model(config, attn=run.attn, dtype=torch.float32, device=run.device.torch_device, seed=0).eval()
    return narrow, [each for each in serve(model, prompts_of(narrow, 64), narrow).passes if each.tokens == sequences]


def _between_s(run: ServingRun, earlier: Pass, later: Pass) -> float:
    return later.begun_processor_s - earlier.ended_processor_s if is_alone(run) else later.begun_s - earlier.ended_s


def _pass_s(run: ServingRun, each: Pass) -> float:
    return each.ended_processor_s - each.begun_processor_s if is_alone(run) else each.ended_s - each.begun_s


@frozen
class Seconds:
    """What a step takes, as a simulation asks for it."""

    total_s: Lane


@frozen
class MachineLaw:
    """Seconds of a step on this machine, between passes whose operators were timed.

    Attributes:
        points: tokens of a pass -> (keys, seconds) of two passes, fewer keys first.
        host: of the engine.
    """

    points: Mapping[int, tuple[tuple[int, float], tuple[int, float]]]
    host: EngineHost

    def time(self, batch: StepBatch) -> Seconds:
        """One step, or as many side by side as the batch has lanes."""
        keys = batch.decoding * (batch.context_tokens + 1) + 2 * batch.prompt_context * batch.prompts * (batch.prompt_tokens > 0)
        return Seconds(total_s=self.pass_s(batch.decoding + batch.prompt_tokens, keys) + self.host.seconds(batch.decoding + batch.prompts))

    def pass_s(self, tokens: Lane, keys: Lane) -> Lane:
        """Of a forward pass: straight between the passes in tokens, and in keys."""
        sizes = sorted(self.points)
        at_s = [self._at(size, keys) for size in sizes]
        found = at_s[0] + 0.0 * tokens
        for (low, low_s), (high, high_s) in pairwise(zip(sizes, at_s, strict=True)):
            found = choose(tokens > low, low_s + (high_s - low_s) * (tokens - low) / (high - low), found)
        return greater(found, 0.0)

    def _at(self, tokens: int, keys: Lane) -> Lane:
        (few, few_s), (many, many_s) = self.points[tokens]
        return few_s + 0.0 * keys if few == many else few_s + (many_s - few_s) * (keys - few) / (many - few)


def predict_serving(run: ServingRun, calibration: Calibration, say: Say) -> PredictedServing:
    """Trace passes of several sizes, time their operators alone, time the engine on a narrow model, simulate; the model does not run."""
    say("timing what the engine does between passes, and what issuing operators costs it, on a narrow model")
    host = engine_host(run, calibration)
    say("timing the operators of passes of several sizes, each alone")
    passes = _timed(run, _sizes(run), calibration, host.issue)
    law = MachineLaw(points=_points(passes), host=host)
    schedule = Schedule(blocks=run.num_blocks, block_tokens=run.page_size, token_budget=run.max_batch_tokens, max_num_seqs=run.sequences)
    simulated = simulate(law, schedule, asked(run))
    answer = load_answer(simulated, num_gpus=1)
    ttft, itl, e2e = (answer.latencies[name] for name in ("ttft_s", "itl_s", "e2e_s"))
    assert ttft is not None, "every request was answered"
    assert e2e is not None, "and has an end"
    first, last = (passes[run.sequences, _keys(run.sequences, context)] for context in (run.seq_len, run.total_tokens - 1))
    parts_s = {name: (first.parts_s[name] + last.parts_s[name]) / 2 for name in first.parts_s}
    return PredictedServing(
        ttft_s=ttft.mean,
        itl_s=itl.mean if itl else None,
        e2e_s=e2e.mean,
        output_tokens_per_s=answer.output_tokens_per_s,
        duration_s=answer.duration_s,
        step_s=sum(parts_s.values()) + float(host.seconds(run.sequences)),
        parts_s=PartsOfStep(**parts_s),
        engine_s=float(host.seconds(run.sequences)),
        busy_s=sum(simulated.stamps.step_s),
        calibrated_utc=calibration.created_utc,
    )


def _keys(sequences: int, context: int) -> int:
    return sequences * (context + 1)


def _sizes(run: ServingRun) -> list[tuple[int, int]]:
    """Tokens and keys of the passes that are timed: one sequence decoding, all of them, a prompt alone, beside the others, several."""
    most, short, long = run.sequences, run.seq_len, run.total_tokens - 1
    beside, largest = (min(tokens, run.max_batch_tokens) for tokens in (short + most - 1, most * short))
    found = [(1, _keys(1, short)), (most, _keys(most, short)), (most, _keys(most, long)), (short, short)]
    for tokens in (beside, largest):
        found += [(tokens, tokens), (tokens, max(tokens + 1, _keys(most, short)))]
    return list(dict.fromkeys(found))


def _timed(
    run: ServingRun, sizes: Sequence[tuple[int, int]], calibration: Calibration, issue: Host
) -> dict[tuple[int, int], OperatorPrediction]:
    """Tokens and keys of a pass -> what it takes: each of its operators timed alone, and what issuing them costs."""
    cached = run.device.cache_bytes()
    traced = _calls(run, sizes, cached)
    unique = {call.piece.key: call for calls in traced.values() for call in calls}
    clock = ProcessorClock() if is_alone(run) else None
    timed = step_operators.entries(list(unique.values()), (), run.device, cache_bytes=cached, rounds=ROUNDS, time_s=EACH_S, clock=clock)
    profile = replace(machine_profile(calibration.with_entries(timed)), hosts={"forward": issue})
    return {size: predict([call.piece for call in calls], profile, "forward") for size, calls in traced.items()}


def _calls(run: ServingRun, sizes: Sequence[tuple[int, int]], cache_bytes: int) -> dict[tuple[int, int], list[Call]]:
    """Operators of passes of so many tokens and keys, seen on tensors without memory."""
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


def _points(passes: Mapping[tuple[int, int], OperatorPrediction]) -> dict[int, tuple[tuple[int, float], tuple[int, float]]]:
    """By tokens, the passes with the fewest and the most keys."""
    found: dict[int, tuple[tuple[int, float], tuple[int, float]]] = {}
    for tokens in {tokens for tokens, _ in passes}:
        of_it = sorted((keys, made.seconds_s) for (of, keys), made in passes.items() if of == tokens)
        found[tokens] = of_it[0], of_it[-1]
    return found
