"""What a record of a server under load says, figure by figure, each under its definition, and what its steps were predicted to take."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from bench.records.record import Measurement
from bench.records.served import result_of
from bench.statistics import robust
from estimators.architectures.from_config import model_from_config
from estimators.errors import RequestError
from estimators.frozen import frozen
from estimators.serving.results.deployment_of import Named, deployment_of
from estimators.serving.results.result import LATENCIES, ServingResult
from estimators.serving.step import StepTime, step_law
from estimators.serving.step_batch import StepBatch

STATISTICS = {"mean": None, "median": 0.5, "p90": 0.9, "p99": 0.99}
"""Of latencies, what is shown -> the quantile."""


@frozen
class Spread:
    """One latency.

    Attributes:
        quantity: a key of estimators.serving.results.result.QUANTITIES.
        values_s: by statistic, those that are known.
        num: samples; 0 where the figures are as stated.
    """

    quantity: str
    values_s: dict[str, float]
    num: int


@frozen
class Rates:
    """The four rates of a server, each None where it is not known.

    Attributes:
        output_per_replica, output_per_gpu: output tokens a second, of all its devices and of one.
        output_per_user: 1 / time per output token.
        prompt: prompt tokens a second, of all its devices.
    """

    output_per_replica: float | None
    output_per_gpu: float | None
    output_per_user: float | None
    prompt: float | None


def named_deployment(record: Measurement) -> Named:
    """The deployment that a record is of, or why none is known."""
    served = record.proof.served
    assert served is not None
    model = None
    if record.request.config:
        try:
            model = model_from_config(record.request.config, record.request.model)
        except RequestError as error:
            return Named(deployment=None, missing=str(error))
    return deployment_of(result_of(served).served, model)


def spreads(result: ServingResult) -> Iterator[Spread]:
    """Every latency that is known: by its samples where there are any, else as stated."""
    for quantity in LATENCIES:
        seconds = result.seconds(quantity)
        if seconds:
            found = {name: robust.quantile(seconds, share) for name, share in STATISTICS.items() if share is not None}
            yield Spread(quantity=quantity, values_s={"mean": sum(seconds) / len(seconds)} | found, num=len(seconds))
            continue
        stated = {name: result.stated(quantity, name) for name in STATISTICS}
        known = {name: value for name, value in stated.items() if value is not None}
        if known:
            yield Spread(quantity=quantity, values_s=known, num=0)


def rates(result: ServingResult) -> Rates:
    """As stated; else tokens over the time of the run."""
    gpus, duration_s = result.served.num_gpus, result.duration_s
    is_own = result.counted_by_client is None

    def by_tokens(tokens: int | None) -> float | None:
        return tokens / duration_s if tokens and duration_s else None

    output = result.stated("output_tokens_per_s", "mean") if is_own else None
    output = by_tokens(result.output_tokens) if output is None else output
    prompt = result.stated("prompt_tokens_per_s", "mean")
    prompt = by_tokens(result.prompt_tokens) if prompt is None else prompt
    per_gpu = result.stated("output_tokens_per_s_per_gpu", "mean")
    if per_gpu is None and output is not None and gpus:
        per_gpu = output / gpus
    per_token_s = next((value for name in ("tpot_s", "itl_s", "decode_s") if (value := _typical_s(result, name))), None)
    per_user = result.stated("output_tokens_per_s_per_user", "median", "mean") or (1 / per_token_s if per_token_s else None)
    return Rates(output_per_replica=output, output_per_gpu=per_gpu, output_per_user=per_user, prompt=prompt)


def _typical_s(result: ServingResult, quantity: str) -> float | None:
    value = result.value(quantity, "median")
    return result.value(quantity) if value is None else value


def mean_lengths(result: ServingResult) -> tuple[float | None, float | None]:
    """Prompt and output tokens of a request, in the mean: as counted, else as asked."""

    def mean(total: int | None, asked: float | None) -> float | None:
        return total / result.completed if total and result.completed else asked

    return mean(result.prompt_tokens, result.load.prompt_tokens), mean(result.output_tokens, result.load.output_tokens)


@frozen
class DecodeSteps:
    """Steps of an engine in this process in which as many sequences as were let in decoded and no prompt was read: medians.

    Attributes:
        num: how many.
        step_s: from the beginning of a forward pass to that of the next.
        pass_s: of the pass; processor_s: the time of the step that the engine's thread had a processor.
    """

    num: int
    step_s: float
    pass_s: float
    processor_s: float


def decode_steps(record: Measurement) -> DecodeSteps | None:
    """None where no such step was seen."""
    seen = record.proof.served.engine if record.proof.served else None
    most = max(seen.sequences, default=0) if seen else 0
    if seen is None or not most:
        return None
    rows = zip(seen.tokens, seen.sequences, seen.begun_s, seen.pass_s, seen.processor_s, seen.between_processor_s, strict=True)
    steps = [
        (later[2] - earlier[2], earlier[3], earlier[4] + later[5])
        for earlier, later in pairwise(rows)
        if earlier[:2] == later[:2] == (most, most)
    ]
    if not steps:
        return None
    step_s, pass_s, processor_s = (robust.median(column) for column in zip(*steps, strict=True))
    return DecodeSteps(num=len(steps), step_s=step_s, pass_s=pass_s, processor_s=processor_s)


def processor_share(record: Measurement) -> float | None:
    """Of the time of all passes on a CPU with one thread, what the engine had a processor for; None elsewhere."""
    seen, device = record.proof.served.engine if record.proof.served else None, record.environment.device
    if seen is None or device is None or device.kind != "cpu" or device.num_threads != 1 or not sum(seen.pass_s):
        return None
    return sum(seen.processor_s) / sum(seen.pass_s)


@frozen
class Held:
    """One figure of a run of a server that was predicted before it.

    Attributes:
        name: for people; key: for data.
        is_rate: whether it is tokens a second, and not seconds.
    """

    key: str
    name: str
    predicted: float
    measured: float
    is_rate: bool = False

    @property
    def ratio(self) -> float:
        """Predicted over measured."""
        return self.predicted / self.measured


def held(record: Measurement) -> list[Held]:
    """What was predicted of a run of a server here, beside what was measured."""
    said = record.estimate.serving
    if said is None or record.proof.served is None or not record.proof.served.requests:
        return []
    result, steps = result_of(record.proof.served), decode_steps(record)
    found = [Held(key="ttft_s", name="TTFT, mean", predicted=said.ttft_s, measured=result.value("ttft_s") or 0.0)]
    itl_s = result.value("itl_s")
    if said.itl_s is not None and itl_s:
        found.append(Held(key="itl_s", name="ITL, mean", predicted=said.itl_s, measured=itl_s))
    found.append(Held(key="e2e_s", name="end to end, mean", predicted=said.e2e_s, measured=result.value("e2e_s") or 0.0))
    rate = rates(result).output_per_replica or 0.0
    found.append(Held(key="output_tokens_per_s", name="output tokens/s", predicted=said.output_tokens_per_s, measured=rate, is_rate=True))
    if steps is not None:
        found.append(Held(key="step_s", name="decode step, median", predicted=said.step_s, measured=steps.step_s))
        if processor_share(record) is not None:
            found.append(Held(key="processor_s", name="processor time of that step", predicted=said.step_s, measured=steps.processor_s))
    seen = record.proof.served.engine
    if processor_share(record) is not None and seen is not None:
        busy_s = sum(seen.processor_s) + sum(seen.between_processor_s)
        found.append(Held(key="busy_s", name="processor time of the run", predicted=said.busy_s, measured=busy_s))
    return [each for each in found if each.measured > 0]


def predicted_step(record: Measurement) -> StepTime | None:
    """A decode step of as many sequences as were let in, halfway through their outputs; None where something of it is not known."""
    served = record.proof.served
    named = named_deployment(record) if served and served.file else None
    if served is None or named is None or named.deployment is None:
        return None
    result = result_of(served)
    prompt, output = mean_lengths(result)
    batch = result.load.concurrency if result.load.kind != "open" else None
    batch = batch or result.stated("running", "mean")  # type: ignore[assignment]
    if batch is None or prompt is None or not output or not result.served.weights:
        return None
    try:
        return step_law(named.deployment).time(StepBatch(decoding=batch, context_tokens=prompt + output / 2))
    except RequestError:
        return None
