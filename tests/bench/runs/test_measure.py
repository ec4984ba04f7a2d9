"""What stops a run leaves a readable record or none, and one line; what was measured is never lost."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.backend.models import random_language_model
from bench.cli.main import main
from bench.machine.meters.instruments import Instruments
from bench.machine.meters.power import PowerMeter
from bench.records.record import Measurement, read_folder
from bench.records.request import LANGUAGE, Request
from bench.runs.measure import keeps, measure
from bench.workloads import preparation
from bench.workloads.language import loading, slices, task
from estimators.errors import BadValueError, DoesNotFitError
from estimators.facts.registry import model_entry
from reports.checks.crosscheck import crosscheck
from tests.support.checkout import ROOT
from tests.support.fake_nvml import FakeGpu, FakeNvml
from tests.support.tiny_models import asked, write_config

pytestmark = pytest.mark.usefixtures("quick")
Run = Callable[..., Measurement]


def only_record(out: Path) -> Measurement:
    (record,), problems = read_folder(out)
    assert problems == []
    return record


def after(calls: int, error: BaseException, real: Callable[..., Any]) -> Callable[..., Any]:
    """A function that works so many times and then raises."""
    seen = iter(range(calls))

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if next(seen, None) is None:
            raise error
        return real(*args, **kwargs)

    return wrapped


def stop_forward(monkeypatch: pytest.MonkeyPatch, calls: int, error: BaseException) -> None:
    """The model's forward pass works so many times and then raises."""

    def broken(*args: Any, **kwargs: Any) -> Any:
        model = random_language_model(*args, **kwargs)
        model.forward = after(calls, error, model.forward)
        return model

    monkeypatch.setattr(loading, "random_language_model", broken)


@pytest.mark.parametrize(
    ("task_name", "sizes", "calls", "phases"),
    [
        ("generate", {"seq_len": 8, "new_tokens": 5}, 1, ["load"]),  # in the warm-up: its second pass
        ("generate", {"seq_len": 8, "new_tokens": 5}, 4, ["load", "generate"]),  # in the first generation
        ("generate", {"seq_len": 8, "new_tokens": 5}, 9, ["load", "prefill", "decode", "between", "generate"]),  # in the second
        ("decode", {"seq_len": 8, "new_tokens": 9}, 2, ["load"]),  # in the warm-up
        ("decode", {"seq_len": 8, "new_tokens": 9}, 8, ["load", "decode"]),
        ("prefill", {"seq_len": 8}, 1, ["load", "prefill"]),  # in the warm-up
        ("prefill", {"seq_len": 8}, 5, ["load", "prefill"]),
        ("train", {"seq_len": 8}, 0, ["load", "train_step"]),
        ("train", {"seq_len": 8}, 4, ["load", "train_step"]),
        ("train", {"seq_len": 8, "layers": 2}, 1, ["train_step@1"]),
    ],
)
def test_ctrl_c_keeps_what_was_measured(
    task_name: str,
    sizes: dict[str, int],
    calls: int,
    phases: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stop_forward(monkeypatch, calls, KeyboardInterrupt())
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        measure(asked("phi", task_name, **sizes), hub_id=None, out=tmp_path / "runs", say=said.append)
    record = only_record(tmp_path / "runs")
    assert (record.status, record.status_reason) == ("partial", "interrupted by the user")
    assert [phase.name for phase in record.phases] == phases
    assert said[-1].startswith("kept what was measured: ")
    assert record.run_id in said[-1]
    for style in ("text", "csv", "json", "md", "latex", "html"):
        for place in (tmp_path / "runs", tmp_path / "runs" / f"{record.run_id}.json"):
            assert main(["report", str(place), "--format", style]) == 1
            out, err = capsys.readouterr()
            assert "tiny-phi" in out
            assert "interrupted by the user" in out
            assert err == ""


def test_samples_before_ctrl_c_are_in_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # decode: prefill, 2 to warm up, prefill, then 4 of 8 steps
    stop_forward(monkeypatch, 8, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        measure(asked("gpt2", "decode", seq_len=8, new_tokens=9), hub_id=None, out=tmp_path, say=lambda _: None)
    phase = only_record(tmp_path).phase("decode")
    assert phase is not None
    assert (len(phase.samples_s), phase.context_lens, phase.stopped_by) == (4, (8, 9, 10, 11), "interrupt")


def test_ctrl_c_prints_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    stop_forward(monkeypatch, 8, KeyboardInterrupt())
    config = str(write_config(tmp_path / "tiny-gpt2", "gpt2"))
    argv = ["run", "--config", config, "--task", "decode", "--seq-len", "8", "--new-tokens", "9", "--preset", "quick"]
    assert main([*argv, "--out", str(tmp_path / "runs"), "--format", "json"]) == 130
    body = json.loads(capsys.readouterr().out)
    assert body["status"] == "partial"
    assert body["decode_step_s"] > 0


@pytest.mark.parametrize("where", ["collect", "predict", "language_counts", "add_ceilings"])
def test_ctrl_c_before_anything_was_timed_leaves_a_record_that_reports(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    from bench.machine import environment

    monkeypatch.setattr(environment if where == "collect" else task, where, interrupt)
    out = tmp_path / "runs"
    argv = ["run", "--config", str(write_config(tmp_path / "tiny-phi", "phi")), "--task", "train", "--out", str(out)]
    assert main(argv) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "error: interrupted"
    record = only_record(out)
    assert (record.status, record.phases) == ("partial", ())
    for place in (out, out / f"{record.run_id}.json"):
        assert main(["report", str(place), "-v"]) == 1
        assert "interrupted by the user" in capsys.readouterr().out


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."
    ),
    MemoryError(),
    OSError(12, "Cannot allocate memory"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["cuda", "cpu", "python", "mmap"])
def test_running_out_of_memory_is_one_line_and_keeps_what_was_measured(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_forward(monkeypatch, 3, error)
    out = tmp_path / "runs"
    argv = ["run", "--config", str(write_config(tmp_path / "tiny-phi", "phi")), "--task", "train", "--out", str(out)]
    assert main(argv) == 2
    stdout, err = capsys.readouterr()
    assert stdout == ""
    (line,) = (line for line in err.splitlines() if not line.startswith("· "))
    record = only_record(out)
    assert line == (
        "error: out of memory during train; take a smaller --batch or --seq-len, or slices with --layers; "
        f"kept what was measured: {out / record.run_id}.json"
    )
    assert (record.status, record.status_reason) == ("failed", "out of memory")
    assert main(["report", str(out), "-v"]) == 1
    assert "failed, out of memory" in capsys.readouterr().out


def test_a_bug_is_kept_in_the_record_and_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_forward(monkeypatch, 3, IndexError("list index out of range"))
    with pytest.raises(IndexError, match="list index out of range"):
        measure(asked("phi", "train", seq_len=8), hub_id=None, out=tmp_path, say=lambda _: None)
    record = only_record(tmp_path)
    assert (record.status, record.status_reason) == ("failed", "IndexError: list index out of range")


def test_a_request_that_cannot_be_met_leaves_no_folder_behind(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    for out in (tmp_path / "a" / "b" / "runs", tmp_path / "kept"):
        with pytest.raises(BadValueError, match="--num-beams has no meaning for --task train"):
            measure(asked("phi", "train", num_beams=2), hub_id=None, out=out, say=lambda _: None)
    assert [path.name for path in tmp_path.rglob("*")] == ["kept"]


def test_a_refused_request_leaves_the_records_of_others(tmp_path: Path) -> None:
    measure(asked("phi", "prefill", seq_len=8), hub_id=None, out=tmp_path / "runs", say=lambda _: None)
    with pytest.raises(BadValueError, match="has no meaning"):
        measure(asked("phi", "train", num_beams=2), hub_id=None, out=tmp_path / "runs", say=lambda _: None)
    assert only_record(tmp_path / "runs").status == "complete"


def test_ranks_train_into_one_record_and_do_all_else_each_into_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert keeps("train")
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "localhost")):
        monkeypatch.setenv(name, value)
    assert not keeps("train")
    record = measure(asked("phi", "prefill", seq_len=8), hub_id=None, out=tmp_path, say=lambda _: None)
    assert record.status == "complete"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_record_says_what_was_decided_and_what_was_asked(measured: Run) -> None:
    record = measured("mistral", "train", batch=3)
    # 128 positions: half of them where the default of 512 is more
    decided = {"batch": 3, "seq_len": 64, "num_beams": 1, "dtype": "fp32", "device": "cpu", "attn": "sdpa", "seed": 0}
    assert decided.items() <= record.request.stated().items()
    assert record.request.dtype_reason == "measured the faster here for a scripted product"
    assert record.request.weights_label == "random weights"
    assert record.environment.device.kind == "cpu"
    assert record.unavailable["energy_j"] == "no NVIDIA device in use"


def test_what_the_power_meter_read_is_in_the_record_and_in_the_answer(
    measured: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # the scripted counter stands at 5 J before and at 8 J after; power reads 300 W of 700 W; bit 0x04 is the power cap
    library = FakeNvml(FakeGpu("GPU-1", energy_mj=[5000, 8000], event_reasons=0x04))

    def scripted(_: str | None, **__: object) -> Instruments:
        return Instruments("GPU-1", idle_s=0, power=lambda uuid: PowerMeter(uuid, library=library, interval_s=60))

    monkeypatch.setattr(preparation, "Instruments", scripted)
    record = measured("phi", "prefill", seq_len=8)
    assert (record.power["energy_j"], record.power["max_power_w"], record.power["power_limit_w"]) == (3.0, 300.0, 700.0)
    assert "energy_j" not in record.unavailable
    assert "Throttled" in {finding.code for finding in record.warnings}
    assert main(["report", str(tmp_path / "runs" / f"{record.run_id}.json"), "--format", "json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["energy_j"] == 3.0
    assert any(note.startswith("Throttled: ") for note in body["notes"])
    assert "energy against power limit x time" in {row["metric"] for row in body["checks"]["rows"]}


@pytest.mark.parametrize(
    ("broken", "failed"),
    [
        ("backward", {"norm of the last gradient", "parameters changed", "loss is finite and falls"}),
        ("optimizer", {"parameters changed", "loss is finite and falls"}),
    ],
)
def test_a_loop_that_does_not_train_is_busy_and_fails(
    broken: str, failed: set[str], measured: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    if broken == "backward":
        monkeypatch.setattr("accelerate.Accelerator.backward", lambda *_, **__: None)
    else:
        monkeypatch.setattr(torch.optim.AdamW, "step", lambda *_, **__: None)
    record = measured("phi", "train", seq_len=8, steps=2, preset="quick")
    assert {check.metric for check in crosscheck(record) if check.ok is False} == failed


def test_two_runs_at_once_do_not_clash(tmp_path: Path) -> None:
    for _ in range(2):
        measure(asked("phi", "prefill", seq_len=8, steps=1), hub_id=None, out=tmp_path, say=lambda _: None)
    records, problems = read_folder(tmp_path)
    assert len({record.run_id for record in records}) == 2
    assert problems == []


def kill_after(seconds: float, out: Path) -> None:
    command = [sys.executable, "-m", "bench", "run", "--model", "linreg-7d", "--out", str(out)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        run.stderr.readline()  # the run has begun
        time.sleep(seconds)
        os.kill(run.pid, signal.SIGKILL)


def test_a_killed_run_leaves_a_readable_record_or_none(tmp_path: Path) -> None:
    for number, seconds in enumerate((0.0, 1.0)):
        kill_after(seconds, tmp_path / str(number))
    for path in tmp_path.rglob("*.json"):
        read_folder(path)


@pytest.mark.slow
def test_fifty_runs_killed_at_random_moments_leave_readable_records_or_none(tmp_path: Path) -> None:
    draw = random.Random(5)
    for number in range(50):
        kill_after(draw.uniform(0, 8), tmp_path / str(number))
    for path in tmp_path.rglob("*.json"):
        read_folder(path)


def test_every_task_reaches_its_own_workload(measured: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    reached = []
    timed = SimpleNamespace(keep=lambda draft: None)
    monkeypatch.setattr(task, "generate", lambda *_: reached.append("generate"))
    for name, (_, phase) in slices.STEPS.items():
        monkeypatch.setitem(slices.STEPS, name, (lambda *_, name=name: reached.append(name) or timed, phase))
    for name in LANGUAGE:
        measured("phi", name)
    assert reached == list(LANGUAGE)


def test_the_articles_models_refuse_other_tasks(tmp_path: Path) -> None:
    entry = model_entry("mlp")
    with pytest.raises(BadValueError, match="mlp"):
        measure(Request(model="mlp", config=dict(entry.config), task="generate"), hub_id=None, out=tmp_path, say=lambda _: None)


def test_what_does_not_fit_is_no_failed_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.backend.device import Device

    monkeypatch.setattr(Device, "memory_available_bytes", lambda _: 2**20)
    with pytest.raises(DoesNotFitError, match="no flag makes it fit"):
        measure(asked("phi", "train"), hub_id=None, out=tmp_path / "runs", say=lambda _: None)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("rates", "rounds"), [((5e11, 2e12, 9e12), 2), ((1e9, 1e9, 1e9, 1e9), 3)])
def test_a_ceiling_that_the_run_passed_is_measured_again_until_it_passes_no_more(
    rates: tuple[float, ...], rounds: int, monkeypatch: pytest.MonkeyPatch, measured: Run
) -> None:
    """A prefill that reached 1.5 TFLOP/s, beside 1 TFLOP/s before it; three more rounds at most."""
    from bench.records.record import Ceiling

    left = iter(rates)

    def again(*_: object, **__: object) -> Ceiling:
        return Ceiling(kind="matmul", value=next(left), dtype="fp32", shape="scripted", samples_s=(1.0,), work=1)

    monkeypatch.setattr(preparation, "passed", lambda _: {"matmul": 1.5e12})
    monkeypatch.setattr(preparation, "matmul_ceiling", again)
    record = measured("gpt2", "prefill", seq_len=8)
    assert [c.value for c in record.ceilings if c.kind == "matmul again"] == list(rates[:rounds])
