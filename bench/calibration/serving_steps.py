"""A server under load, predicted before it runs: its passes operator by operator, what the engine does around them, and a simulation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

from bench.calibration.engine_host import EngineHost, engine_host
from bench.calibration.paged_passes import Size, timed
from bench.records.calibration import Calibration
from bench.records.estimated import PartsOfStep, PredictedServing
from bench.workloads.serving.engine import asked
from bench.workloads.serving.run import ServingRun
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.cost.array_math import Lane, choose, greater
from estimators.frozen import frozen
from estimators.profile.operator_times import OperatorPrediction
from estimators.serving.load_answer import load_answer
from estimators.serving.schedule import Schedule
from estimators.serving.simulate import simulate
from estimators.serving.step_batch import StepBatch

Say = Callable[[str], None]


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
        tokens = batch.decoding + batch.prompt_tokens
        beside_s = self.host.seconds(batch.decoding + batch.prompts, tokens=tokens, keys=keys, admitted=batch.prompts)
        return Seconds(total_s=self.pass_s(tokens, keys) + beside_s)

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
    model = model_from_config(run.config, run.model)
    assert isinstance(model, Decoder), "what is served is a language model"
    host = engine_host(run, calibration, model.vocab)
    say("timing the operators of passes of several sizes, each alone")
    passes = timed(run, _sizes(run), calibration, host.issue)
    law = MachineLaw(points=_points(passes), host=host)
    schedule = Schedule(blocks=run.num_blocks, block_tokens=run.page_size, token_budget=run.max_batch_tokens, max_num_seqs=run.sequences)
    simulated = simulate(law, schedule, asked(run))
    answer = load_answer(simulated, num_gpus=1)
    ttft, itl, e2e = (answer.latencies[name] for name in ("ttft_s", "itl_s", "e2e_s"))
    assert ttft is not None, "every request was answered"
    assert e2e is not None, "and has an end"
    first, last = (passes[run.sequences, _keys(run.sequences, context)] for context in (run.seq_len, run.total_tokens - 1))
    keys = (_keys(run.sequences, run.seq_len) + _keys(run.sequences, run.total_tokens - 1)) / 2
    engine_s = float(host.seconds(run.sequences, tokens=run.sequences, keys=keys))
    parts_s = {name: (first.parts_s[name] + last.parts_s[name]) / 2 for name in first.parts_s}
    return PredictedServing(
        ttft_s=ttft.mean,
        itl_s=itl.mean if itl else None,
        e2e_s=e2e.mean,
        output_tokens_per_s=answer.output_tokens_per_s,
        duration_s=answer.duration_s,
        step_s=sum(parts_s.values()) + engine_s,
        parts_s=PartsOfStep(**parts_s),
        engine_s=engine_s,
        busy_s=sum(simulated.stamps.step_s),
        calibrated_utc=calibration.created_utc,
    )


def _keys(sequences: int, context: int) -> int:
    return sequences * (context + 1)


def _sizes(run: ServingRun) -> list[Size]:
    """Tokens and keys of the passes that are timed: one sequence decoding, all of them, a prompt alone, beside the others, several."""
    most, short, long = run.sequences, run.seq_len, run.total_tokens - 1
    beside, largest = (min(tokens, run.max_batch_tokens) for tokens in (short + most - 1, most * short))
    found = [(1, _keys(1, short)), (most, _keys(most, short)), (most, _keys(most, long)), (short, short)]
    for tokens in (beside, largest):
        found += [(tokens, tokens), (tokens, max(tokens + 1, _keys(most, short)))]
    return list(dict.fromkeys(found))


def _points(passes: Mapping[Size, OperatorPrediction]) -> dict[int, tuple[tuple[int, float], tuple[int, float]]]:
    """By tokens, the passes with the fewest and the most keys."""
    found: dict[int, tuple[tuple[int, float], tuple[int, float]]] = {}
    for tokens in {tokens for tokens, _ in passes}:
        of_it = sorted((keys, made.seconds_s) for (of, keys), made in passes.items() if of == tokens)
        found[tokens] = of_it[0], of_it[-1]
    return found
