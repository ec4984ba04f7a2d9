"""What the cross-check must not let pass of a server under load: a sound record, made by hand, and a twin of each fault."""

from __future__ import annotations

import dataclasses
from typing import Any

from bench.records.asked import Asked
from bench.records.environment import DeviceFacts, Environment
from bench.records.estimated import Estimated, PartsOfStep, PredictedServing
from bench.records.proof import Proof
from bench.records.record import Measurement, Phase
from bench.records.served import AnsweredRequest, AskedLoad, EngineSteps, ServedLoad, Server
from tests.support.tiny_models import record
from tests.support.twins_of_work import Twins

STEP_S = 0.01


def server(**changes: Any) -> Measurement:
    """Two sequences of 3 tokens each, side by side: a prefill and two decode steps of 10 ms each, predicted so; twice.

    Args:
        changes: of the ServedLoad.
    """
    answers = tuple(
        AnsweredRequest(arrival_s=at_s, prompt_tokens=8, output_tokens=3, ttft_s=STEP_S, e2e_s=3 * STEP_S, gaps_s=(STEP_S, STEP_S))
        for at_s in (0.0, 0.0, 3 * STEP_S, 3 * STEP_S)
    )
    load = ServedLoad(
        file_format="transformers",
        client="in process",
        served=Server(model="tiny", engine="transformers", num_gpus=1, weights="fp32"),
        load=AskedLoad(kind="closed", concurrency=2, num_requests=4, prompt_tokens=8.0, output_tokens=3.0),
        completed=4,
        failed=0,
        duration_s=6 * STEP_S,
        prompt_tokens=32,
        output_tokens=12,
        requests=answers,
        engine=EngineSteps(
            tokens=(16, 2, 2) * 2,
            keys=(16, 18, 20) * 2,
            sequences=(2,) * 6,
            begun_s=tuple(STEP_S * place for place in range(6)),
            pass_s=(STEP_S,) * 6,
            processor_s=(STEP_S,) * 6,
            between_processor_s=(0.0,) * 6,
            cache_bytes=4096,
            num_blocks=2,
            page_size=32,
        ),
    )
    parts = PartsOfStep(matmul=STEP_S, attention=0.0, memory=0.0, optimizer=0.0, host=0.0)
    said = PredictedServing(
        ttft_s=STEP_S,
        itl_s=STEP_S,
        e2e_s=3 * STEP_S,
        output_tokens_per_s=200.0,
        duration_s=6 * STEP_S,
        step_s=STEP_S,
        parts_s=parts,
        engine_s=0.0,
        busy_s=6 * STEP_S,
        calibrated_utc="2026-01-01T00:00:00+00:00",
    )
    return dataclasses.replace(
        record("decode"),
        request=Asked(model="tiny", task="serve", num_requests=4, concurrency=2),
        environment=Environment(device=DeviceFacts(kind="cpu", name="a scripted device", torch="2.0", num_threads=1)),
        phases=(Phase(name="pass", samples_s=(STEP_S,) * 6, item="pass"),),
        counts=(),
        estimate=Estimated(serving=said, cache_bytes=4096),
        proof=Proof(num_new_tokens=12, num_expected_new_tokens=12, served=load.replaced(**changes)),
    )


def engine(**changes: Any) -> Measurement:
    """The same with some of its passes' figures changed."""
    load = server().proof.served
    assert load is not None
    assert load.engine is not None
    return server(engine=load.engine.replaced(**changes))


def predicted(**changes: Any) -> Measurement:
    """The same with other predictions."""
    said = server().estimate.serving
    assert said is not None
    return dataclasses.replace(server(), estimate=server().estimate.replaced(serving=said.replaced(**changes)))


TWINS: Twins = {
    "more are in flight than were let in": (
        server,
        lambda: server(load=AskedLoad(kind="closed", concurrency=1, num_requests=4)),
        ["no more in flight than were let in"],
    ),
    "a request was not answered": (
        server,
        lambda: server(load=AskedLoad(kind="closed", concurrency=2, num_requests=5)),
        ["requests answered"],
    ),
    "the cache has a byte more than the model's shape asks for": (
        server,
        lambda: engine(cache_bytes=4097),
        ["bytes of the cache, all blocks"],
    ),
    "the first token was predicted at half of its time": (server, lambda: predicted(ttft_s=STEP_S / 2), ["predicted TTFT, mean"]),
}
