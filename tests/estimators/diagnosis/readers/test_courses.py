"""Logs of many lines: first steps, evaluation, checkpoints, other ranks, restarts, and changes of speed."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from estimators.diagnosis.observed import Observed, Series
from estimators.diagnosis.over_time import changes, slower_fraction
from estimators.diagnosis.readers.formats import observed_in

TITAN = (
    "[rank{rank}]:[titan] 2026-01-01 00:00:00,000 - root - INFO - \x1b[31mstep: {step:2}  \x1b[32mloss:  2.1000  "
    "\x1b[34mtps: {tps:,}  \x1b[36mtflops: 436.95  \x1b[35mmfu: 44.18%\x1b[39m"
)


def read(folder: Path, text: str, name: str = "train.log") -> Observed:
    (folder / name).write_text(text, encoding="utf-8")
    return observed_in(str(folder / name))


def skipped(observed: Observed) -> dict[str, int]:
    return {each.what: each.number for each in observed.skipped}


def test_first_steps_are_left_out_of_the_median(tmp_path: Path) -> None:
    """30 s of compilation, nine steps at 2 s, ninety at 1 s: the median of the ninety is 1 s, the mean of all would be 1.37."""
    times = [30.0] + [2.0] * 9 + [1.0] * 90
    text = "\n".join(f"iter {step}: loss 2.1000, time {1000 * time:.2f}ms, mfu -100.00%" for step, time in enumerate(times))
    observed = read(tmp_path, text)
    assert observed.figures[0].value == 1.0
    assert observed.figures[0].num_samples == 90
    assert skipped(observed) == {"readings of the first steps": 10}
    assert observed.figure("mfu_fraction") is None


def test_the_iteration_after_an_evaluation_is_left_out(tmp_path: Path) -> None:
    lines = []
    for step in range(200):
        is_evaluated = step % 20 == 0
        lines += [f"step {step}: train loss 2.1000, val loss 2.2000"] if is_evaluated else []
        lines.append(f"iter {step}: loss 2.1000, time {9000 if is_evaluated else 1000}.00ms, mfu 40.00%")
    observed = read(tmp_path, "\n".join(lines))
    assert observed.figures[0].value == observed.figures[0].high == 1.0
    assert skipped(observed)["readings after an evaluation or a checkpoint"] == 10


def test_every_rank_prints_and_one_counts(tmp_path: Path) -> None:
    """Two ranks' lines, the second always a step behind: 50 steps are 50 readings, of which 10 are first steps."""
    lines = []
    for step in range(1, 51):
        lines.append(TITAN.format(rank=0, step=step, tps=8489))
        if step > 1:
            lines.append(TITAN.format(rank=1, step=step - 1, tps=8489))
    observed = read(tmp_path, "\n".join(lines))
    assert observed.figures[0].num_samples == 40
    assert (observed.figures[0].value, observed.figures[0].scope) == (8489.0, "device")
    assert skipped(observed)["lines of steps that had been read"] == 49


def test_steps_made_again_after_a_restart_count_once(tmp_path: Path) -> None:
    steps = [*range(1, 101), *range(51, 151)]
    observed = read(tmp_path, "\n".join(TITAN.format(rank=0, step=step, tps=8489) for step in steps))
    assert observed.figures[0].num_samples == 140
    assert any("restarted 1 times" in note for note in observed.notes)
    assert observed.series[0].steps == tuple(range(11, 151))


def test_of_two_runs_in_one_file_the_last_counts(tmp_path: Path) -> None:
    text = "\n".join(TITAN.format(rank=0, step=step, tps=tps) for tps in (4000, 8489) for step in range(1, 101))
    observed = read(tmp_path, text)
    assert observed.figures[0].value == 8489.0
    assert any("2 runs, one after another" in note for note in observed.notes)


def test_validation_of_torchtitan_is_no_training(tmp_path: Path) -> None:
    lines = [TITAN.format(rank=0, step=step, tps=8489) for step in range(1, 40)]
    lines += ["[titan] validate step: 40  loss:  2.1000  memory: 60.00GiB(75.70%)  tps: 25,000"] * 30
    observed = read(tmp_path, "\n".join(lines))
    assert observed.figures[0].value == 8489.0
    assert skipped(observed)["lines of an evaluation"] == 30


def test_megatrons_arguments_are_read(tmp_path: Path) -> None:
    head = "\n".join(
        f"  {name} {'.' * (40 - len(name))} {value}"
        for name, value in {
            "context_parallel_size": 1,
            "global_batch_size": 32,
            "micro_batch_size": 4,
            "recompute_granularity": "None",
            "seq_length": 4096,
            "tensor_model_parallel_size": 2,
            "world_size": 8,
        }.items()
    )
    lines = [f" [2026-01-01 00:00:00] iteration {step:8d}/     100 | elapsed time per iteration (ms): 1930.0 |" for step in range(1, 30)]
    setting = read(tmp_path, head + "\n" + "\n".join(lines)).setting
    assert (setting.seq_len, setting.num_devices, setting.global_batch, setting.micro_batch, setting.tp) == (4096, 8, 32, 4, 2)


def test_the_trainers_state_has_rates_between_its_logs_where_tokens_are_counted(tmp_path: Path) -> None:
    """A first step of 60 s, then 1,000 tokens a second: train_tokens_per_second tends there from below, the windows are there."""
    history = [
        {"step": step, "loss": 2.0, "num_input_tokens_seen": 1000 * step, "train_runtime": 60.0 + step, "train_tokens_per_second": 1.0}
        for step in range(1, 101)
    ]
    state = {"global_step": 100, "log_history": [*history, {"step": 100, "eval_loss": 2.0, "eval_runtime": 3.0}]}
    observed = read(tmp_path, json.dumps(state, indent=2, sort_keys=True), "trainer_state.json")
    assert observed.figures[0].value == pytest.approx(1000.0)
    assert (observed.figures[0].quantity, observed.figures[0].scope) == ("tokens_per_s", "job")
    assert skipped(observed)["logs of an evaluation"] == 1


def test_a_checkpoint_in_mid_run_has_no_speed_and_names_the_flag(tmp_path: Path) -> None:
    state = {"global_step": 10, "train_batch_size": 4, "log_history": [{"step": 10, "loss": 2.0, "epoch": 0.1}]}
    observed = read(tmp_path, json.dumps(state), "trainer_state.json")
    assert observed.figures == ()
    assert ["include_num_input_tokens_seen" in each.flag for each in observed.missing] == [True]


def test_llama_factorys_clock_is_read_between_logs(tmp_path: Path) -> None:
    """A first step of 80 s more, then 10 steps of 2.1 s between logs, 8,000 tokens each."""
    rows: list[dict[str, object]] = [
        {"current_steps": 10 * n, "total_steps": 400, "loss": 2.0, "total_tokens": 80_000 * n, "throughput": 80_000 * n / (80 + 21 * n)}
        for n in range(1, 41)
    ]
    for n, row in enumerate(rows, start=1):
        seconds = 80 + 21 * n
        row["elapsed_time"] = f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    observed = read(tmp_path, "\n".join(map(json.dumps, rows)), "trainer_log.jsonl")
    assert observed.figures[0].value == pytest.approx(80_000 / 21)
    time = observed.figure("step_time_s")
    assert time is not None
    assert time.value == pytest.approx(2.1)


def test_a_window_over_a_restart_counts_for_nothing_and_is_said(tmp_path: Path) -> None:
    """19 logs, 30 s and 10 steps apart, then 19 more of a clock that began again: a step takes 3 s, whatever lies between the two."""
    clocks = [*range(30, 600, 30), *range(30, 600, 30)]
    rows = [
        {"current_steps": 10 * n, "loss": 2.0, "elapsed_time": f"0:{clock // 60:02d}:{clock % 60:02d}"} for n, clock in enumerate(clocks, 1)
    ]
    observed = read(tmp_path, "\n".join(map(json.dumps, rows)), "trainer_log.jsonl")
    time = observed.figure("step_time_s")
    assert time is not None
    assert time.value == pytest.approx(3.0)
    assert {each.what: each.number for each in observed.skipped}["windows over a restart"] == 1


def test_of_several_bars_the_one_that_ran_the_longest_is_the_training(tmp_path: Path) -> None:
    load = "Loading checkpoint shards: 100%|####| 4/4 [00:08<00:00,  2.05s/it]"
    bars = "\r".join(
        f" {step}%|##   | {step}/100 [{2 * step // 60:02d}:{2 * step % 60:02d}<00:10,  2.00s/it, loss=2.1]" for step in range(1, 100)
    )
    fast = "\r".join(f" {step}%|##   | {step}/50 [00:{step:02d}<00:10,  4.00it/s]" for step in range(1, 50))
    observed = read(tmp_path, f"{load}\n{bars}\n{fast}\n")
    assert observed.figures[0].value == 2.0
    assert "100 steps" in observed.read


def test_seconds_a_step_and_steps_a_second_are_told_apart(tmp_path: Path) -> None:
    assert read(tmp_path, "50%|##| 50/100 [00:25<00:25,  2.00it/s]").figures[0].value == 0.5


def test_the_share_of_waiting_for_data_is_taken_where_it_is_written(tmp_path: Path) -> None:
    rows = [{"_step": n, "throughput(tps)": 4000.0, "time_metrics/data_loading(%)": 31.0} for n in range(1, 40)]
    observed = read(tmp_path, "\n".join(map(json.dumps, rows)), "history.jsonl")
    assert dict(observed.shares) == {"loader": pytest.approx(0.31)}


def test_a_log_that_calls_for_its_peak_and_device(tmp_path: Path) -> None:
    head = (
        "[titan] INFO - CUDA capacity: NVIDIA H100 80GB HBM3 with 79.10GiB memory\n"
        "[titan] INFO - Peak FLOPS used for computing MFU: 3.120e+14\n"
        "[titan] INFO - Trainer is initialized with local batch size 4, global batch size 32, gradient accumulation steps 1, "
        "sequence length 4096, total steps 10 (warmup 2)\n"
    )
    observed = read(tmp_path, head + "\n".join(TITAN.format(rank=0, step=step, tps=8489) for step in range(1, 40)))
    peak = observed.figure("peak_flop_per_s")
    assert peak is not None
    assert peak.value == 312e12
    s = observed.setting
    assert (s.hardware, s.micro_batch, s.global_batch, s.accumulation, s.seq_len) == ("NVIDIA H100 80GB HBM3", 4, 32, 1, 4096)


class TestChanges:
    """The place and size of a change, with noise of 3 % and a checkpoint's long step here and there."""

    @staticmethod
    def series(times: list[float]) -> Series:
        draw = random.Random(0)
        noisy = [time * draw.gauss(1, 0.03) * (4 if n % 97 == 0 else 1) for n, time in enumerate(times)]
        return Series(quantity="step_time_s", scope="job", steps=tuple(range(10, 10 * len(times) + 10, 10)), values=tuple(noisy))

    def test_a_slower_part_has_its_step_and_size(self) -> None:
        (change,) = changes(self.series([1.0] * 400 + [1 / 0.82] * 300))
        assert change.step == pytest.approx(4010, abs=50)
        assert change.ratio == pytest.approx(0.82, abs=0.01)
        assert str(change).endswith("on 18 % slower")

    def test_a_part_in_the_middle_has_two(self) -> None:
        found = changes(self.series([1.0] * 200 + [1.5] * 100 + [1.0] * 200))
        assert [round(change.ratio, 1) for change in found] == [0.7, 1.5]
        assert slower_fraction(self.series([1.0] * 200 + [1.5] * 200)) == pytest.approx(0.2, abs=0.01)

    def test_a_steady_run_has_none(self) -> None:
        assert [changes(self.series([1.0] * count)) for count in (4, 30, 400, 2000)] == [[], [], [], []]

    def test_rates_turn_the_other_way(self) -> None:
        times = self.series([1.0] * 200 + [2.0] * 200)
        rates = Series(quantity="tokens_per_s", scope="job", steps=times.steps, values=tuple(1 / value for value in times.values))
        assert [round(change.ratio, 2) for change in changes(rates)] == [round(change.ratio, 2) for change in changes(times)]
