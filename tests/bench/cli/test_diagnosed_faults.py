"""Faults put into a small training on this processor, each named first by `diagnose` from what a user would have of it.

Both variants, with the fault and without, run in turns, so that what another program takes of the machine falls on both; where a fault has
a worth, it is held against what leaving it out really saved.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile, schedule
from torch.utils.data import DataLoader, Dataset
from transformers import LlamaConfig, LlamaForCausalLM

from bench.callbacks import watch
from bench.cli.main import main
from bench.records.record import read
from estimators.diagnosis.of_speed import MOSTLY
from tests.support.checkout import ROOT

LENGTH, ROWS, VOCABULARY = 128, 4, 512


class Sentences(Dataset[dict[str, torch.Tensor]]):
    """Random tokens; the last of them are padding, and each takes its time to be had."""

    def __init__(self, num: int, *, length: int = LENGTH, padding: float = 0.0, takes_s: float = 0.0) -> None:
        self.num, self.length, self.padding, self.takes_s = num, length, padding, takes_s

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, at: int) -> dict[str, torch.Tensor]:
        time.sleep(self.takes_s)
        tokens = torch.randint(0, VOCABULARY, (self.length,))
        mask = (torch.arange(self.length) < round((1 - self.padding) * self.length)).long()
        return {"input_ids": tokens, "attention_mask": mask, "labels": tokens.masked_fill(mask == 0, -100)}


def model_of(attention: str = "sdpa", *, heads: int = 4) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        vocab_size=VOCABULARY,
        attn_implementation=attention,
    )
    return LlamaForCausalLM(config)


def loader_of(data: Sentences) -> DataLoader[dict[str, torch.Tensor]]:
    return DataLoader(data, batch_size=ROWS)


def step_of(model: LlamaForCausalLM) -> Callable[[dict[str, torch.Tensor]], None]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step(batch: dict[str, torch.Tensor]) -> None:
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def watched(folder: Path, data: Sentences) -> Path:
    """The record of a watched training."""
    model = model_of()
    step = step_of(model)
    for batch in watch(loader_of(data), model, out=folder, every=0, ceilings=False):
        step(batch)
    return max(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)


def traced(path: Path, data: Sentences, model: LlamaForCausalLM, *, mask: bool = True) -> Path:
    """A trace of three steps behind two others, as torch.profiler's documentation has it."""
    step = step_of(model)
    with profile(
        activities=[ProfilerActivity.CPU],
        schedule=schedule(wait=1, warmup=1, active=3, repeat=1),
        on_trace_ready=lambda made: made.export_chrome_trace(str(path)),
    ) as running:
        for batch in loader_of(data):
            step(batch if mask else {name: part for name, part in batch.items() if name != "attention_mask"})
            running.step()
    return path


def diagnosed(capsys: pytest.CaptureFixture[str], words: str) -> dict[str, Any]:
    code = main([*shlex.split(f"diagnose {words}"), "--format", "json"])
    body: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert code in (0, 1)
    return body


def evidence(body: dict[str, Any], cause: str) -> float:
    """The share that a cause was measured to take; 0 where it is not named."""
    said = [row["evidence"] for row in body["rows"] if row["cause"] == cause]
    found = re.search(r"([\d.]+) %", said[0]) if said else None
    return float(found[1]) / 100 if found else 0.0


def beyond(bodies: list[dict[str, Any]], without: list[dict[str, Any]]) -> dict[str, float]:
    """By cause, its median share with a fault less that without, the largest first: what other programs take of the machine is in both."""
    causes = {cause for body in (*bodies, *without) for cause in body["causes"]}
    found = {cause: _median_share(bodies, cause) - _median_share(without, cause) for cause in causes}
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def is_named_first(cause: str, bodies: list[dict[str, Any]], without: list[dict[str, Any]], *, quiet: bool) -> bool:
    """Whether a fault is the first suspect of every body; on a machine that others keep busy, the first beyond what is there without it."""
    return next(iter(beyond(bodies, without))) == cause and (not quiet or all(body["causes"][0] == cause for body in bodies))


def is_quiet(without: list[dict[str, Any]]) -> bool:
    """Whether watched trainings without a fault had their processor for most of the time."""
    return _median_share(without, "throttled_process") < MOSTLY


def _median_share(bodies: list[dict[str, Any]], cause: str) -> float:
    return median(evidence(body, cause) for body in bodies)


def seconds_by_part(body: dict[str, Any]) -> dict[str, float]:
    return {row["part"]: row["seconds_s"] for row in body["parts"]["rows"]}


def step_s(record: Path) -> float:
    phase = read(record).phase("train_step")
    assert phase is not None
    return median(phase.samples_s)


def tokens_per_s(record: Path) -> float:
    made = read(record)
    phase = made.phase("train_step")
    assert phase is not None
    return phase.items_per_sample / median(phase.samples_s)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_trace_made_here_is_diagnosed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its steps are those that the profiler was told to record, their parts sum to the mean step, and a slow loader is seen."""
    path = traced(tmp_path / "trace.json.gz", Sentences(5 * ROWS, takes_s=0.02), model_of())
    body = diagnosed(capsys, str(path))
    assert (body["verdict"], body["causes"][0]) == ("SLOW", "data_loader_suspected")
    assert 0.3 < evidence(body, "data_loader_suspected") < 1
    parts = seconds_by_part(body)
    whole_s = parts.pop("the step")
    assert sum(parts.values()) == pytest.approx(whole_s, rel=1e-9)
    assert parts["data loading"] > ROWS * 0.02
    assert {"matrix products", "attention", "elementwise", "optimizer", "idle"} <= set(parts)


@pytest.mark.slow
@pytest.mark.parametrize("seen_by", ["record", "trace"])
def test_a_slow_loader_is_named_first_and_is_worth_what_leaving_it_out_saves(
    seen_by: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A loader that takes half a step: a third of the time. Three turns of each."""
    quick_s = step_s(watched(tmp_path / "first", Sentences(12 * ROWS)))
    slow, fast, slow_s, fast_s, of_fast = [], [], [], [], []
    for turn in range(3):
        for takes_s, bodies, times in ((quick_s / 2 / ROWS, slow, slow_s), (0.0, fast, fast_s)):
            data = Sentences(12 * ROWS, takes_s=takes_s)
            record = watched(tmp_path / f"{turn}-{takes_s > 0}", data)
            times.append(step_s(record))
            file = record if seen_by == "record" else traced(tmp_path / f"{turn}-{takes_s > 0}.json", data, model_of())
            bodies.append(diagnosed(capsys, str(file)))
            of_fast += [] if takes_s else [diagnosed(capsys, str(record))]
    assert is_named_first("data_loader_suspected", slow, fast, quiet=is_quiet(of_fast))
    if is_quiet(of_fast):
        said = median(evidence(body, "data_loader_suspected") for body in slow)
        assert 1 - median(fast_s) / median(slow_s) == pytest.approx(said, abs=0.15)


@pytest.mark.slow
def test_a_padded_batch_is_named_first_and_is_worth_what_packing_saves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Half of the positions hold no token: real tokens per second double without, less what a mask itself costs."""
    padded, packed, padded_rates, packed_rates = [], [], [], []
    for turn in range(3):
        for padding, bodies, rates in ((0.5, padded, padded_rates), (0.0, packed, packed_rates)):
            record = watched(tmp_path / f"{turn}-{padding}", Sentences(12 * ROWS, padding=padding))
            rates.append(tokens_per_s(record))
            bodies.append(diagnosed(capsys, str(record)))
    assert is_named_first("padding_computed", padded, packed, quiet=is_quiet(packed))
    assert all("padding_computed" not in body["causes"] for body in packed)
    said = median(evidence(body, "padding_computed") for body in padded)
    assert said == pytest.approx(0.5, abs=0.05)
    if is_quiet(packed):
        assert 1 - median(padded_rates) / median(packed_rates) == pytest.approx(said, abs=0.2)


@pytest.mark.slow
def test_eager_attention_is_named_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sequences of 512 in 16 heads: scores are much of the work; with a fused kernel it is faster in the median of the turns."""
    times: dict[str, list[float]] = {"eager": [], "sdpa": []}
    for turn in range(3):
        for attention, taken in times.items():
            path = traced(tmp_path / f"{turn}-{attention}.json", Sentences(5 * ROWS, length=512), model_of(attention, heads=16), mask=False)
            body = diagnosed(capsys, str(path))
            taken.append(seconds_by_part(body)["the step"])
            if attention == "eager":
                assert body["causes"][0] == "implementation"
                assert "unfused attention" in body["rows"][0]["evidence"]
            else:
                assert "implementation" not in body["causes"]
    assert median(times["eager"]) > median(times["sdpa"])


TRAINING = """
import sys
from pathlib import Path
import torch
from tests.bench.cli.test_diagnosed_faults import ROWS, Sentences, watched
torch.set_num_threads(1)
print("ready", flush=True)
watched(Path(sys.argv[1]), Sentences(60 * ROWS))
"""


def in_a_process(folder: Path, *, stopped_s: float, runs_s: float) -> Path:
    """The record of a training in a process of its own, which is stopped again and again, as a quota of processor time does."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", TRAINING, str(folder)], env=env, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    over = threading.Event()

    def hold() -> None:
        while stopped_s and process.poll() is None and not over.is_set():
            process.send_signal(signal.SIGSTOP)
            time.sleep(stopped_s)
            process.send_signal(signal.SIGCONT)
            time.sleep(runs_s)

    holding = threading.Thread(target=hold)
    holding.start()
    try:
        assert process.wait(timeout=240) == 0
    finally:
        over.set()
        holding.join()
        process.kill()
    return max(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes cannot be stopped here")
def test_a_throttled_process_is_named_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stopped for 40 ms of every 70: of the time that its thread would have run, at most three sevenths are left."""
    held, free, held_s, free_s = [], [], [], []
    for turn in range(2):
        for stopped_s, bodies, times in ((0.04, held, held_s), (0.0, free, free_s)):
            record = in_a_process(tmp_path / f"{turn}-{stopped_s}", stopped_s=stopped_s, runs_s=0.03)
            bodies.append(diagnosed(capsys, str(record)))
            times.append(step_s(record))
    assert all(body["causes"][0] == "throttled_process" for body in held)
    said, without = (median(evidence(body, "throttled_process") for body in bodies) for bodies in (held, free))
    assert (said - without) / (1 - without) > 0.3
    assert median(held_s) > median(free_s)


COUNTS_TWICE = """
import time
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from tests.bench.cli.test_diagnosed_faults import LENGTH, ROWS, Sentences, loader_of, model_of, step_of
torch.set_num_threads(1)
dist.init_process_group("gloo")
step, taken_s = step_of(DistributedDataParallel(model_of())), []
for batch in loader_of(Sentences(8 * ROWS)):
    begun_s = time.perf_counter()
    step(batch)
    counted = torch.tensor(float(batch["input_ids"].numel()))
    dist.all_reduce(counted)
    taken_s.append(time.perf_counter() - begun_s)
took_s = sorted(taken_s)[len(taken_s) // 2]
if dist.get_rank() == 0:
    print(f"tokens/s per rank {counted.item() / took_s:.2f} step {1e3 * took_s:.3f} ms")
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_a_double_count_is_named_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two ranks under torchrun; each divides the sum of both ranks' tokens by the step's time, and prints it as its own."""
    script = tmp_path / "twice.py"
    script.write_text(COUNTS_TWICE, encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    said = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=240, check=True).stdout
    found = re.search(r"per rank ([\d.]+) step ([\d.]+) ms", said)
    assert found is not None
    run = f"--gpus 2 --batch {ROWS} --grad-accum 1 --seq-len {LENGTH} --step-time {found[2]}ms"
    body = diagnosed(capsys, f"--tokens-per-s {found[1]} --per gpu {run}")
    assert (body["verdict"], body["causes"][0]) == ("MISCOUNTED", "total_as_per_gpu")
    assert body["value"] == pytest.approx(float(found[1]) / 2, rel=1e-3)
    right = diagnosed(capsys, f"--tokens-per-s {float(found[1]) / 2:.2f} --per gpu {run}")
    assert right["verdict"] != "MISCOUNTED"
