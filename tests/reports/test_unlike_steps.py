"""A rate over steps that differ in size is a sum over a sum, and the same record shows the same figure in every view."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import random
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

import sixnd
from bench.callbacks import watch
from bench.cli.main import main
from bench.records.record import Measurement
from bench.statistics.bootstrap import mean_interval
from bench.statistics.rates import headline_s, items_per_sample, main_phase, main_rates
from bench.statistics.step_sizes import steps_of_unlike_size
from estimators import units
from reports.checks.crosscheck import crosscheck, failed
from tests.support.tiny_models import CEILINGS
from tests.support.watched_trainings import Training, batches, only_record, tiny_model

ROWS, SHORT, LONG = 4, 16, 1024
LENGTHS = [SHORT, SHORT, LONG, SHORT, LONG] * 12
TAKES_S = {SHORT: 0.010, LONG: 0.040}
"""W34: 60 % of the steps hold 16 tokens a row and take 10 ms, the others 1,024 and 40 ms."""

Take = Callable[[int], float]


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock, which moves by what a step is said to take."""
    at = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: at[0])
    monkeypatch.setattr("bench.callbacks.console.LEAST_LINE_S", 0.0)
    return at


def trained(out: Path, now: list[float], lengths: Sequence[int] = LENGTHS, take: Take = TAKES_S.__getitem__, every: int = 0) -> Measurement:
    """The record of a training whose steps have these lengths, and take so long on the clock."""
    model = nn.Linear(8, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data = [{"input_ids": torch.zeros(ROWS, length, dtype=torch.long), "x": torch.ones(ROWS, 8)} for length in lengths]
    for batch in (watched := watch(data, model, out=out, every=every, ceilings=CEILINGS)):
        loss = model(batch["x"]).pow(2).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        watched.loss(loss)
        now[0] += take(batch["input_ids"].shape[1])
    return only_record(out)


def steady(made: Measurement) -> tuple[float, int]:
    """Seconds and tokens of the steps after the warm-up, by hand from the raw record."""
    phase = made.phase("train_step")
    assert phase is not None
    lengths = LENGTHS[len(phase.warmup_s) :]
    assert phase.samples_s == pytest.approx([TAKES_S[length] for length in lengths])
    return sum(phase.samples_s), ROWS * sum(lengths)


def test_the_rate_of_unlike_steps_is_their_tokens_over_their_time(tmp_path: Path, now: list[float]) -> None:
    made = trained(tmp_path, now)
    assert made.proof.num_tokens == 100_608
    seconds_s, num_tokens = steady(made)
    head, phase = headline_s(made), main_phase(made)
    assert head is not None
    assert phase is not None
    rate = items_per_sample(made, phase) / head[0]
    assert rate == pytest.approx(num_tokens / seconds_s)
    # Over all 60 steps, the warm-up too, 100,608 tokens in 1.32 s: 24 of 40 ms and 36 of 10 ms.
    assert rate == pytest.approx(100_608 / (24 * 0.040 + 36 * 0.010), rel=0.05)


def shown(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(argv) == 0
    return capsys.readouterr().out


def test_every_view_shows_the_same_rate(tmp_path: Path, now: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    made = trained(tmp_path / "a", now)
    seconds_s, num_tokens = steady(made)
    rate, (path,) = num_tokens / seconds_s, (tmp_path / "a").glob("*.json")
    for at in (str(path), str(tmp_path / "a")):
        for form in ("text", "md", "html", "latex"):
            assert units.format_rate(rate) in shown(["report", at, "--format", form], capsys), (at, form)
        (row,) = csv.DictReader(io.StringIO(shown(["report", str(tmp_path / "a"), "--format", "csv"], capsys)))
        assert float(row["items_per_s"]) == pytest.approx(rate)
    single = shown(["report", str(path), "--format", "csv"], capsys)
    (raw,) = [line["raw_value"] for line in csv.DictReader(io.StringIO(single.split("\n\n")[0])) if line["figure"] == "tokens_per_s"]
    assert float(raw) == pytest.approx(rate)
    for at in (str(path), str(tmp_path / "a")):
        body = shown(["report", at, "--format", "json"], capsys)
        found = [float(text) for text in re.findall(r'"(?:tokens|items)_per_s": ([0-9.e+]+)', body)]
        assert found, at
        assert found == pytest.approx([rate] * len(found))
        json.loads(body)
    assert sixnd.report(tmp_path / "a").tables()[0].rows[0]["items_per_s"] == pytest.approx(rate)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    text = shown(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--format", "csv"], capsys)
    (row,) = [row for row in csv.DictReader(io.StringIO(text)) if row["phase"] == "train_step"]
    phase = main_phase(made)
    assert phase is not None
    assert row["verdict"] == "SAME"
    assert [float(row["a_s"]), float(row["b_s"])] == pytest.approx([seconds_s / len(phase.samples_s)] * 2)


def test_a_line_and_the_logs_show_the_mean_of_unlike_steps(tmp_path: Path, now: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    trained(tmp_path, now, every=60)
    assert "step " not in capsys.readouterr().err  # the last step still waits for its loss
    trained(tmp_path / "b", now, [*LENGTHS, SHORT], every=60)
    assert f"step 60 · 22.0 ms · {100_608 / 1.32:,.0f} tokens/s" in capsys.readouterr().err


def test_steps_that_are_alike_are_still_told_by_their_median(tmp_path: Path, now: list[float]) -> None:
    at = iter(range(100))
    made = trained(tmp_path, now, [SHORT] * 30, lambda _: 1.0 if next(at) == 25 else 0.010)
    head, phase = headline_s(made), main_phase(made)
    assert head is not None
    assert phase is not None
    assert steps_of_unlike_size(made, phase) is None
    assert head[0] == pytest.approx(0.010)


def test_unlike_steps_are_no_noise_of_the_machine(tmp_path: Path, now: list[float]) -> None:
    made = trained(tmp_path, now)
    assert "train_step: spread of the samples" not in {check.metric for check in failed(crosscheck(made))}
    codes = {finding.code for finding in made.warnings}
    assert "ShapesVary" in codes
    assert not codes & {"Unstable", "NeverSettled"}
    # The twin: steps of one size that scatter so are noise, among unlike ones too.
    draw = random.Random(0)
    noisy = trained(tmp_path / "b", now, take=lambda length: TAKES_S[length] * draw.choice((0.3, 1.0, 2.0)))
    assert "train_step: spread of the samples" in {check.metric for check in failed(crosscheck(noisy))}


def test_the_utilization_of_unlike_steps_is_their_flop_over_their_time(tmp_path: Path, now: list[float]) -> None:
    model = tiny_model()
    data = [*batches(4, length=16), *batches(4, length=8), *batches(4, length=16)]
    training = Training(model)
    for batch in watch(data, model, out=tmp_path, every=0, ceilings=CEILINGS):
        training.step(batch)
        now[0] += 0.1
    made = only_record(tmp_path)
    seen, phase = made.proof.watched, main_phase(made)
    assert phase is not None
    by_length = [seen.training_flop, seen.steady_training_flop]
    skip = len(phase.warmup_s)
    one = {length: only_flop(tmp_path / str(length), now, length) for length in (8, 16)}
    flop = [one[length] for length in [16] * 4 + [8] * 4 + [16] * 4]
    assert by_length == [sum(flop), sum(flop[skip:])]
    peaked = dataclasses.replace(made, estimate=made.estimate.replaced(peak_flop_per_s=1e12))
    reached = main_rates(peaked)
    assert reached is not None
    assert reached.mfu == pytest.approx(sum(flop[skip:]) / sum(phase.samples_s) / 1e12)


def only_flop(out: Path, now: list[float], length: int) -> int:
    """FLOP of one step of that length."""
    training = Training(tiny_model())
    for batch in watch(batches(1, length=length), training.model, out=out, every=0, ceilings=CEILINGS):
        training.step(batch)
        now[0] += 0.1
    return int(only_record(out).proof.watched.training_flop)


def test_no_short_step_is_held_against_the_bound_of_the_usual_one(tmp_path: Path, now: list[float]) -> None:
    """A step of 8 tokens beats what a step of 16 needs at least, and is no impossible one."""
    usual_s = {32: 1.0, 2: 1e-9}
    data = [*batches(8, length=32), *batches(2, length=2), *batches(4, length=32)]
    training = Training(tiny_model())
    for batch in watch(data, training.model, out=tmp_path, every=0, ceilings=CEILINGS):
        training.step(batch)
        now[0] += usual_s[batch["input_ids"].shape[1]]
    made = only_record(tmp_path)
    done = made.estimate.phases["train_step"]
    bounded = dataclasses.replace(
        made, estimate=made.estimate.replaced(phases={"train_step": done.replaced(bound_s=0.5)}, peak_flop_per_s=1e12)
    )
    assert not any("physics bound" in check.metric for check in crosscheck(bounded))


class TestComparison:
    def test_the_same_sizes_in_another_order_are_the_same(self, tmp_path: Path, now: list[float]) -> None:
        mixed = random.Random(1).sample(LENGTHS, len(LENGTHS))
        trained(tmp_path / "a", now)
        trained(tmp_path / "b", now, mixed)
        assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--threshold", "0.1"]) == 0

    def test_a_tenth_more_time_for_each_is_slower(self, tmp_path: Path, now: list[float], capsys: pytest.CaptureFixture[str]) -> None:
        draw = random.Random(2)
        trained(tmp_path / "a", now, take=lambda length: TAKES_S[length] * draw.uniform(0.99, 1.01))
        trained(tmp_path / "b", now, take=lambda length: 1.1 * TAKES_S[length] * draw.uniform(0.99, 1.01))
        assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 1
        assert "SLOWER" in capsys.readouterr().out


def test_the_interval_of_a_mean_knows_what_the_sizes_explain() -> None:
    sizes = [1.0, 5.0, 2.0, 9.0] * 20
    exact = [0.5 + 2 * size for size in sizes]
    low, high = mean_interval(exact, sizes) or (0.0, 0.0)
    assert (low, high) == pytest.approx((sum(exact) / 80, sum(exact) / 80))


def test_the_interval_of_a_mean_holds_it_as_often_as_it_says() -> None:
    draw, hit, rounds = random.Random(3), 0, 200
    for _ in range(rounds):
        sizes = [float(draw.choice((1, 4))) for _ in range(60)]
        times = [2 * size + draw.gauss(0, 1) for size in sizes]
        low, high = mean_interval(times, sizes) or (0.0, 0.0)
        hit += low <= 2 * sum(sizes) / 60 <= high
    assert 0.90 <= hit / rounds <= 1.0  # 95 %, three standard errors of 200 rounds below
