"""`run --task serve`: transformers' continuous batching on this CPU; what is sent, cached and answered is what was asked, to the token."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.backend.models import random_language_model
from bench.calibration import engine_host, paged_passes, serving_steps
from bench.calibration.engine_host import EngineHost
from bench.calibration.serving_steps import MachineLaw
from bench.cli.main import main
from bench.records.calibration import Calibration
from bench.records.record import Measurement, read, read_folder
from bench.records.request import Request
from bench.records.served import result_of
from bench.runs import measure as measuring
from bench.runs.decide import decide
from bench.runs.measure import Interrupted, measure
from bench.workloads.serving import engine
from bench.workloads.serving.engine import arrivals, prompts_of, serve
from bench.workloads.serving.run import ServingRun
from estimators.errors import BadValueError, UnavailableError
from estimators.profile.operator_times import OperatorPrediction
from estimators.serving.step_batch import StepBatch
from reports import served
from reports.checks.crosscheck import crosscheck, failed
from reports.checks.serving import cache, predictions
from tests.support.calibrations import whole
from tests.support.processes import in_a_process

ContinuousBatchingManager = pytest.importorskip("transformers.generation.continuous_batching.continuous_api").ContinuousBatchingManager
pytestmark = pytest.mark.usefixtures("quick")

TINY: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 128,
    "max_position_embeddings": 256,
}


PARTS = ("matmul", "attention", "memory", "optimizer", "host")


def request(**fields: Any) -> Request:
    given = {"model": "tiny", "config": TINY, "task": "serve", "dtype": "fp32", "device": "cpu", "preset": "quick"}
    given |= {"seq_len": 8, "new_tokens": 5}
    return Request(**(given | fields))


def decided(**fields: Any) -> ServingRun:
    run = decide(request(**fields))
    assert isinstance(run, ServingRun)
    return run


def measured(tmp_path: Path, *, calibration: Calibration | None = None, **fields: Any) -> Measurement:
    return measure(request(**fields), hub_id=None, out=tmp_path, say=lambda _: None, calibration=calibration)


def test_a_closed_loop_keeps_so_many_in_flight_and_answers_all(tmp_path: Path) -> None:
    record = measured(tmp_path, concurrency=3, num_requests=7)
    load = record.proof.served
    assert load is not None
    assert load.engine is not None
    result = result_of(load)
    assert (result.completed, result.failed, result.output_tokens, result.prompt_tokens) == (7, 0, 35, 56)
    assert [len(each.gaps_s) for each in result.requests] == [4] * 7
    assert max(load.engine.sequences) == 3
    in_flight = [(each.arrival_s, 1) for each in result.requests] + [(each.arrival_s + each.e2e_s, -1) for each in result.requests]
    level = most = 0
    for _, step in sorted(in_flight):
        level += step
        most = max(most, level)
    assert most == 3
    assert sum(load.engine.sequences) == 35  # each pass gives a token to each of its sequences
    assert sum(load.engine.tokens) == 7 * (8 + 4)  # the prompt once, and every token but the last
    assert failed(crosscheck(record)) == ()


def test_the_cache_has_the_bytes_of_the_models_shape(tmp_path: Path) -> None:
    """2 layers x 2 x 2 heads of 8 x 4 bytes are 256 B a token; 3 sequences of 13 tokens have one block of 32 each: 24,576 B."""
    record = measured(tmp_path, concurrency=3, num_requests=3)
    assert record.proof.served is not None
    assert record.proof.served.engine is not None
    assert record.estimate.cache_bytes == record.proof.served.engine.cache_bytes == 3 * 32 * 256
    (check,) = cache(record)
    assert check.ok
    wrong = record.estimate.replaced(cache_bytes=3 * 32 * 256 + 1)
    (twin,) = cache(dataclasses.replace(record, estimate=wrong))
    assert twin.ok is False


def test_nobody_waits_for_blocks_that_all_have(tmp_path: Path) -> None:
    """8 prompts of 100 tokens, 256 a step: 30 of 32 blocks are taken before the last is read whole; a margin would hold it back."""
    record = measured(tmp_path, concurrency=8, num_requests=8, seq_len=100, new_tokens=20)
    assert record.proof.served is not None
    assert record.proof.served.engine is not None
    assert (8, 8) in zip(record.proof.served.engine.tokens, record.proof.served.engine.sequences, strict=True)  # all decode together


def test_what_the_engine_does_once_is_no_requests_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = ContinuousBatchingManager._create_batch_processor

    def slowly(self: Any) -> Any:
        time.sleep(1.0)
        return made(self)

    monkeypatch.setattr(ContinuousBatchingManager, "_create_batch_processor", slowly)
    load = measured(tmp_path, concurrency=2, num_requests=2).proof.served
    assert load is not None
    assert max(each.ttft_s or 0.0 for each in result_of(load).requests) < 0.9


def test_arrivals_at_a_rate_are_those_of_the_seed_and_wait_for_nothing(tmp_path: Path) -> None:
    record = measured(tmp_path, request_rate=200.0, num_requests=5)
    assert record.proof.served is not None
    result = result_of(record.proof.served)
    planned = arrivals(decided(request_rate=200.0, num_requests=5))
    assert result.load.kind == "open"
    assert len(planned) == 5
    assert planned == sorted(planned)
    assert planned == arrivals(decided(request_rate=200.0, num_requests=5))
    assert planned != arrivals(decided(request_rate=200.0, num_requests=5, seed=1))
    sent = [each.arrival_s for each in result.requests]
    assert sent == sorted(sent, key=lambda at_s: at_s or 0.0)
    assert sent[0] == 0


def test_tokens_are_those_of_generate_one_by_one() -> None:
    """Greedy tokens of the engine equal those of a plain generation of each prompt."""
    run = decided(concurrency=2, num_requests=3)
    model = random_language_model(TINY, attn="sdpa", dtype=torch.float32, device=torch.device("cpu"), seed=0).eval()
    prompts = prompts_of(run, 128)
    how = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False, "pad_token_id": 0}
    alone = [model.generate(torch.tensor([prompt]), **how) for prompt in prompts]
    seen: dict[str, list[int]] = {}
    real = engine._request

    def noted(output: Any, *others: Any) -> Any:
        seen[output.request_id] = list(output.generated_tokens)
        return real(output, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "_request", noted)
        serve(model, prompts, run)
    assert [seen[f"request {place}"] for place in range(3)] == [tokens[0, 8:].tolist() for tokens in alone]


def test_the_record_is_shown_by_the_run_and_by_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "tiny.json"
    config.write_text(json.dumps(TINY))
    out = tmp_path / "runs"
    words = ["run", "--config", str(config), "--task", "serve", "--dtype", "fp32", "--device", "cpu", "--preset", "quick"]
    assert main([*words, "--seq-len", "8", "--new-tokens", "5", "--concurrency", "2", "--requests", "4", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("tiny at 2 in flight: ")
    (path,) = out.iterdir()
    assert main(["report", str(path)]) == 0
    assert capsys.readouterr().out == shown
    assert read(path).request.num_requests == 4


@pytest.mark.parametrize(
    ("fields", "about"),
    [
        ({"concurrency": 2, "request_rate": 1.0}, "leave one of them out"),
        ({"batch": 2}, "--batch has no meaning"),
        ({"compile": True}, "--compile has no meaning"),
        ({"num_beams": 2}, "--num-beams has no meaning for --task serve"),
        ({"attn": "eager"}, "expected sdpa"),
        ({"new_tokens": 300}, "more than the 256 positions"),
    ],
)
def test_what_makes_no_sense_is_one_line(fields: dict[str, Any], about: str) -> None:
    with pytest.raises(BadValueError, match=about):
        decide(request(**fields))


def test_options_of_a_server_are_refused_for_other_tasks() -> None:
    with pytest.raises(BadValueError, match="--concurrency has no meaning for --task decode"):
        decide(request(task="decode", concurrency=2))


def test_an_interrupt_keeps_what_was_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = engine._drive

    def stopped(manager: Any, prompts: Any, run: ServingRun, sent_s: Any, results: Any) -> None:
        if run.requests == 6:
            real(manager, prompts[:2], dataclasses.replace(run, requests=2, concurrency=2), sent_s, results)
            raise KeyboardInterrupt
        real(manager, prompts, run, sent_s, results)

    monkeypatch.setattr(engine, "_drive", stopped)
    with pytest.raises(Interrupted):
        measured(tmp_path, concurrency=2, num_requests=6)
    (record,), _ = read_folder(tmp_path)
    assert record.status == "partial"
    assert record.proof.served is not None
    assert record.proof.served.completed == 2
    assert not [thread for thread in threading.enumerate() if "generation_loop" in thread.name]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process of its own for each signal is a fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
@pytest.mark.parametrize(
    ("kind", "at_pass", "code", "reason"),
    [
        (signal.SIGINT, 2, 130, "interrupted by the user"),  # in the pass that warms up: nothing is served then
        (signal.SIGINT, 5, 130, "interrupted by the user"),  # before anything was answered
        (signal.SIGTERM, 12, 143, "ended by SIGTERM"),
    ],
)
def test_a_signal_keeps_what_was_answered_and_ends_the_command(
    kind: signal.Signals,
    at_pass: int,
    code: int,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The engine's thread is in a pass when it comes: 3 passes warm up, then 2 requests of 5 tokens are answered after 5 more."""
    real, seen = engine._Passes._before, [0]

    def signalled(self: Any, *given: Any) -> None:
        seen[0] += 1
        if seen[0] == at_pass:
            os.kill(os.getpid(), kind)
            time.sleep(0.1)  # the main thread takes it
        real(self, *given)

    monkeypatch.setattr(engine._Passes, "_before", signalled)
    config, runs = tmp_path / "tiny.json", tmp_path / "runs"
    config.write_text(json.dumps(TINY))
    words = ["run", "--config", str(config), "--task", "serve", "--dtype", "fp32", "--device", "cpu", "--preset", "quick"]
    words += ["--seq-len", "8", "--new-tokens", "5", "--concurrency", "2", "--requests", "8", "--out", str(runs)]
    assert in_a_process(lambda: sys.exit(main(words))) == code
    assert "Traceback" not in capfd.readouterr().err
    (record,), _ = read_folder(runs)
    assert (record.status, record.status_reason) == ("partial", reason)
    assert main(["report", str(runs)]) == 1  # the run did not end
    assert "bytes of the cache" not in capfd.readouterr().out
    load = record.proof.served
    assert (load.completed if load else None) == {2: None, 5: 0, 12: 2}[at_pass]


def test_an_engine_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_drive", lambda *_: None)
    with pytest.raises(UnavailableError, match="continuous batching failed: it answered nothing"):
        measured(tmp_path, concurrency=1, num_requests=1)
    assert not list(tmp_path.iterdir())


@pytest.fixture(autouse=True)
def rates_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's rates are not measured again after a run, and what a prediction times, it times shortly."""
    monkeypatch.setattr(measuring, "add_ceilings_after", lambda *_: None)
    monkeypatch.setattr(paged_passes, "ROUNDS", 1)
    monkeypatch.setattr(paged_passes, "EACH_S", 1e-4)
    monkeypatch.setattr(engine_host, "ANSWER_TOKENS", 6)
    monkeypatch.setattr(engine_host, "LOADS", ((1, 4), (2, 4), (2, 16)))
    monkeypatch.setattr(engine_host, "LOAD_ROUNDS", 2)


_PREDICTED: list[Measurement] = []


def predicted(tmp_path: Path) -> Measurement:
    """A run that was predicted from a calibration made by hand; once for all tests."""
    if not _PREDICTED:
        _PREDICTED.append(measured(tmp_path, calibration=whole(), concurrency=2, num_requests=4))
    return _PREDICTED[0]


class TestPrediction:
    def test_it_is_made_before_and_stands_beside_what_was_measured(self, tmp_path: Path) -> None:
        record = predicted(tmp_path)
        said = record.estimate.serving
        assert said is not None
        found = {each.key: each for each in served.held(record)}
        assert set(found) == {"ttft_s", "itl_s", "e2e_s", "output_tokens_per_s", "step_s", "processor_s", "busy_s"}
        assert said.step_s == pytest.approx(sum(said.parts_s.stated().values()) + said.engine_s)
        assert found["e2e_s"].predicted == pytest.approx(said.ttft_s + 4 * (said.itl_s or 0))

    def test_without_a_calibration_it_is_unavailable_and_says_how_to_get_one(self, tmp_path: Path) -> None:
        record = measured(tmp_path, concurrency=1, num_requests=1)
        assert record.estimate.serving is None
        assert "calibrate" in record.unavailable["estimate.serving"]

    def test_a_law_of_two_sizes_and_two_numbers_of_keys_is_straight_between_them(self) -> None:
        law = MachineLaw(
            points={1: ((10, 1.0), (20, 2.0)), 5: ((50, 3.0), (100, 5.0))},
            host=EngineHost(step_s=0.5, sequence_s=0.25, key_s=0.1, cell_s=0.01, admitted_s=2.0),
        )
        assert law.pass_s(1, 15) == 1.5
        assert law.pass_s(5, 50) == 3.0
        assert law.pass_s(3, 50) == 4.0  # between 5.0, one sequence carried on to 50 keys, and 3.0
        assert law.pass_s(7, 50) == 2.0  # carried on
        step = law.time(StepBatch(decoding=5, context_tokens=9))
        assert step.total_s == pytest.approx(3.0 + 0.5 + 5 * 0.25 + 50 * 0.1 + 5 * 50 * 0.01)
        reading = law.time(StepBatch(decoding=0, prompts=1, prompt_tokens=5, prompt_context=2.5))
        assert reading.total_s == pytest.approx(law.pass_s(5, 5) + 0.5 + 0.25 + 5 * 0.1 + 5 * 5 * 0.01 + 2.0)

    def test_what_an_engine_does_beside_its_passes_is_found_term_by_term(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Gaps made of 200 us a step, 15 a sequence, 0.1 a key, 0.001 a cell of the mask and 40 an admitted prompt give these back."""
        made = EngineHost(step_s=200e-6, sequence_s=15e-6, key_s=1e-7, cell_s=1e-9, admitted_s=40e-6)

        def served(run: ServingRun, sequences: int, prompt: int, *, vocab: int) -> tuple[ServingRun, list[engine.Pass]]:
            now_s, passes = 0.0, []
            for step in range(20):
                reads = step % 5 == 0
                tokens = sequences * prompt if reads else sequences
                keys = sequences * (prompt + step % 5)
                now_s += made.seconds(sequences, tokens=tokens, keys=keys, admitted=sequences if reads else 0)
                seen = {"begun_s": now_s, "begun_processor_s": now_s, "ended_s": now_s + 1, "ended_processor_s": now_s + 1}
                passes.append(engine.Pass(tokens=tokens, keys=keys, sequences=sequences, **seen))
                now_s += 1
            return run, passes

        monkeypatch.setattr(engine_host, "LOADS", ((1, 8), (8, 8), (8, 256)))
        monkeypatch.setattr(engine_host, "_narrow", served)
        monkeypatch.setattr(engine_host, "_issue", lambda *_: made.issue)
        found = engine_host.engine_host(decided(concurrency=2, num_requests=2), whole(), 128)
        for name in ("step_s", "sequence_s", "key_s", "cell_s", "admitted_s"):
            assert getattr(found, name) == pytest.approx(getattr(made, name), rel=1e-3), name

    def test_a_law_that_is_the_engines_own_is_found_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Steps of 10 ms whatever they hold: the first token after one step, each other one after another, 3 rounds of 2."""
        flat = MachineLaw(points={1: ((1, 0.01), (2, 0.01)), 64: ((64, 0.01), (65, 0.01))}, host=EngineHost(step_s=0.0, sequence_s=0.0))
        nothing = OperatorPrediction(seconds_s=0.0, parts_s=dict.fromkeys(PARTS, 0.0), num_ops=0, basis_fraction={})
        monkeypatch.setattr(serving_steps, "MachineLaw", lambda **_: flat)
        monkeypatch.setattr(serving_steps, "engine_host", lambda *_: EngineHost(step_s=0.01, sequence_s=0.0))
        monkeypatch.setattr(serving_steps, "timed", lambda *_: defaultdict(lambda: nothing, {(2, 18): nothing}))
        run = decided(concurrency=2, num_requests=6)
        said = serving_steps.predict_serving(run, whole(), lambda _: None)
        assert (said.ttft_s, said.itl_s) == (pytest.approx(0.01), pytest.approx(0.01))
        assert said.duration_s == pytest.approx(3 * 5 * 0.01)
        assert said.output_tokens_per_s == pytest.approx(30 / 0.15)

    def test_a_prediction_that_is_off_fails_and_on_a_busy_machine_is_not_judged(self, tmp_path: Path) -> None:
        record = predicted(tmp_path)
        load = record.proof.served
        assert load is not None
        assert load.engine is not None
        assert record.estimate.serving is not None
        assert record.environment.device is not None
        alone = dataclasses.replace(
            record,
            estimate=record.estimate.replaced(serving=record.estimate.serving.replaced(ttft_s=1e3)),
            environment=record.environment.replaced(device=record.environment.device.replaced(num_threads=1)),
            proof=record.proof.replaced(served=load.replaced(engine=load.engine.replaced(processor_s=load.engine.pass_s))),
        )
        verdicts = {check.metric: check.ok for check in predictions(alone)}
        assert verdicts["predicted TTFT, mean"] is False
        halved = tuple(seconds / 2 for seconds in load.engine.pass_s)
        busy = dataclasses.replace(
            alone, proof=record.proof.replaced(served=load.replaced(engine=load.engine.replaced(processor_s=halved)))
        )
        verdicts = {check.metric: check.ok for check in predictions(busy)}
        assert verdicts["predicted TTFT, mean"] is None


def test_measure_knows_the_serving_workload() -> None:
    assert measuring.serving_task.measure
