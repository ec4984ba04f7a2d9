"""Whole trainings: what must come out truthfully for every seed, what goes into the record, and how a training ends early."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.records import record
from bench.records.draft import Draft
from bench.records.learning import CurvePoint
from bench.records.record import Measurement
from bench.records.request import Request
from bench.runs.decide import decide
from bench.runs.suites import SUITES
from bench.workloads.article import text
from bench.workloads.article.run import ArticleRun
from bench.workloads.article.workload import Progress, one_interrupt, train_and_report
from estimators.errors import BadValueError, UnavailableError
from estimators.facts.registry import model_entry

SEEDS = range(3)
ONE_AND_SLOW = [SEEDS[0], *(pytest.param(seed, marks=pytest.mark.slow) for seed in SEEDS[1:])]
"""Every seed, but all save the first with the tests that take minutes."""

SMALL_GPT = {**model_entry("tiny-gpt").config, "n_layer": 1, "n_embd": 32, "n_head": 2, "n_positions": 64}


def drafted(folder: Path, model: str, config: dict[str, Any] | None = None, **flags: Any) -> tuple[ArticleRun, Draft]:
    run = decide(Request(model=model, config=config or dict(model_entry(model).config), task="train", device="cpu", **flags))
    assert isinstance(run, ArticleRun)
    return run, Draft(model=model, task="train", request=run.request, out=folder)


def trained(folder: Path, model: str, config: dict[str, Any] | None = None, **flags: Any) -> Measurement:
    """The record of one training, read back from its file."""
    run, draft = drafted(folder, model, config, **flags)
    train_and_report(run, draft)
    draft.save("complete")
    return record.read(draft.path)


@pytest.mark.parametrize("seed", ONE_AND_SLOW)
def test_seven_days_predict_better_than_one_and_a_sum_of_sigmoids_better_than_the_line(tmp_path: Path, seed: int) -> None:
    one, seven, sigmoids = (trained(tmp_path, model, seed=seed).learning for model in ("linreg-1d", "linreg-7d", "sigmoid-100"))
    assert seven.heldout_loss < 0.85 * one.heldout_loss
    assert sigmoids.heldout_loss < seven.heldout_loss
    assert one.bound_loss == seven.bound_loss == sigmoids.bound_loss < sigmoids.heldout_loss
    assert seven.heldout_loss < min(seven.baseline_losses.values())


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_the_suite_s_network_remembers_ninety_days_and_more_days_mend_it(tmp_path: Path, seed: int) -> None:
    on_few, on_a_year = (
        trained(tmp_path, run.model, seed=seed, **run.changes).learning
        for run in SUITES["article"].runs
        if run.changes.get("train_days") in (90, 365) and "neurons" not in run.changes
    )
    best = on_few.best_epoch
    assert best is not None
    assert on_few.num_train == 90
    assert on_few.train_loss < 0.2 * on_few.bound_loss < 0.2 * on_few.heldout_loss
    assert on_few.heldout_loss > 1.1 * best.heldout_loss
    assert on_a_year.heldout_loss < 0.5 * on_few.heldout_loss


@pytest.mark.parametrize("seed", ONE_AND_SLOW)
def test_too_many_parameters_for_too_long_overfit(tmp_path: Path, seed: int) -> None:
    line = trained(tmp_path, "linreg-56d", seed=seed).learning
    deep = trained(tmp_path, "mlp", seed=seed, days=56, epochs=200).learning
    assert deep.train_loss < 0.5 * line.train_loss
    assert deep.heldout_loss > 1.1 * line.heldout_loss
    best = min(deep.curve, key=lambda point: point.heldout_loss)
    last = deep.curve[-1]
    assert best.epoch < last.epoch
    assert last.train_loss < best.train_loss
    assert last.heldout_loss > 1.2 * best.heldout_loss


@pytest.mark.parametrize("seed", SEEDS)
def test_the_spam_classifier_comes_near_to_bayes_rule(tmp_path: Path, seed: int) -> None:
    learned = trained(tmp_path, "spam", seed=seed).learning
    assert learned.bound_loss < learned.heldout_loss < 0.5 * min(learned.baseline_losses.values())
    # 920 held-out mails: two rules of equal worth differ by up to about 2 % in accuracy by luck.
    assert learned.baseline_accuracy + 0.2 < learned.heldout_accuracy < learned.bound_accuracy + 0.02
    assert learned.bound_accuracy - learned.heldout_accuracy < 0.05


def test_the_small_gpt_learns_and_its_record_holds_a_sample(tmp_path: Path) -> None:
    made = trained(tmp_path, "tiny-gpt", SMALL_GPT, epochs=1, seq_len=32, new_tokens=50)
    learned, proof = made.learning, made.proof
    assert text.entropy_rate_nats() == learned.entropy_rate_nats_per_character < learned.bound_loss < learned.heldout_loss
    assert proof.loss_first == pytest.approx(math.log(64), rel=0.05)  # untrained: all 64 tokens about equally likely
    assert learned.heldout_loss < learned.baseline_losses["how common each character is"] < proof.loss_first
    assert len(learned.sample) == 1 + 50
    assert learned.sample.startswith("\n")
    assert set(learned.sample) <= set(text.alphabet())
    assert (proof.num_new_tokens, proof.num_expected_new_tokens) == (50, 50)
    step, sample = made.phase("train_step"), made.phase("generate")
    assert step is not None
    assert sample is not None
    assert (step.item, step.items_per_sample) == ("token", 16 * 32)
    assert (sample.item, sample.items_per_sample) == ("token", 50)


@pytest.mark.slow
def test_the_shipped_gpt_comes_near_to_the_reader_who_knows_the_grammar(tmp_path: Path) -> None:
    learned = trained(tmp_path, "tiny-gpt").learning
    assert learned.bound_loss < learned.heldout_loss < 1.15 * learned.bound_loss
    assert learned.sample_grammatical_lines >= learned.sample_lines - 1


def test_a_record_holds_every_step_and_what_was_decided(tmp_path: Path) -> None:
    made = trained(tmp_path, "mlp", epochs=3, batch=100)
    load, epochs, steps = made.phase("load"), made.phase("epoch"), made.phase("train_step")
    assert load is not None
    assert epochs is not None
    assert steps is not None
    assert len(steps.samples_s) + len(steps.warmup_s) == made.proof.num_steps == 3 * (1405 // 100)
    assert made.proof.num_samples == made.proof.num_steps * 100
    assert (steps.item, steps.items_per_sample, steps.stopped_by) == ("sample", 100, "count")
    assert (len(epochs.samples_s), epochs.items_per_sample) == (3, 1400)
    assert sum(epochs.samples_s) > sum(steps.samples_s) + sum(steps.warmup_s) > 0
    assert made.proof.params_changed is True
    assert (made.proof.num_ranks, made.proof.num_params) == (1, 11_001)
    assert made.proof.loss_last == made.learning.train_loss < made.proof.loss_first
    decided = {"batch": 100, "epochs": 3, "learning_rate": 3e-3, "optimizer": "adamw", "dtype": "fp32", "device": "cpu", "seq_len": 1}
    assert decided.items() <= made.request.stated().items()
    assert made.learning.data == "synthetic, seed 0"
    assert (made.learning.num_train, made.learning.num_heldout) == (1405, 365)
    assert [point.epoch for point in made.learning.curve] == [1, 2, 3]
    assert made.memory_bytes["peak_rss"] is not None
    assert made.memory_bytes["peak_rss"] > 50 * 2**20
    assert made.memory_bytes["torch_allocated"] is None
    assert "torch_allocated" in made.unavailable


def test_the_same_seed_trains_the_same_network_and_another_seed_another(tmp_path: Path) -> None:
    one, same, other = (trained(tmp_path, "mlp", epochs=2, seed=seed).learning for seed in (0, 0, 1))
    assert one == same
    assert one.train_loss != other.train_loss


def test_the_curve_ends_with_the_reported_losses(tmp_path: Path) -> None:
    learned = trained(tmp_path, "mlp", epochs=50).learning
    assert len(learned.curve) == 20
    assert learned.curve[-1] == CurvePoint(epoch=50, train_loss=learned.train_loss, heldout_loss=learned.heldout_loss)


def test_the_user_s_own_views_are_trained_on_and_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(str(100 + 10 * (t % 7) + t % 3) for t in range(300)))
    learned = trained(tmp_path / "out", "linreg-7d", data=str(path)).learning
    assert learned.data == str(path)
    assert "bound_loss" not in learned
    assert learned.num_train + learned.num_heldout == 300 - 56
    assert learned.heldout_loss < 0.1  # a pattern of 21 days without noise


def test_the_user_s_own_mails_are_trained_on_and_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("".join(",".join([str(i % 5)] * 56 + [str(9 * (i % 2)), str(i % 2)]) + "\n" for i in range(400)))
    learned = trained(tmp_path / "out", "spam", data=str(path), epochs=30).learning
    assert learned.data == str(path)
    assert "bound_accuracy" not in learned
    assert learned.heldout_accuracy == 1.0  # the last feature tells the class


def test_a_training_stops_at_the_step_limit(tmp_path: Path) -> None:
    made = trained(tmp_path, "mlp", steps=30)
    assert made.proof.num_steps == 30
    assert made.proof.num_samples == 30 * 64
    steps, epochs = made.phase("train_step"), made.phase("epoch")
    assert steps is not None
    assert epochs is not None
    assert steps.stopped_by == "count"
    assert len(epochs.samples_s) == 1  # 21 steps each; the second epoch was cut
    assert made.learning.heldout_loss is not None


def test_a_training_stops_at_the_time_limit(tmp_path: Path) -> None:
    made = trained(tmp_path, "mlp", epochs=10**6, max_time_s=0.2)
    steps = made.phase("train_step")
    assert steps is not None
    assert steps.stopped_by == "time"
    assert 0 < made.proof.num_steps < 10**6


def test_a_training_that_diverges_says_so_and_its_record_can_be_read(tmp_path: Path) -> None:
    made = trained(tmp_path, "linreg-56d", learning_rate=100.0)
    for name in ("train_loss", "heldout_loss"):
        assert getattr(made.learning, name) is None
        assert made.unavailable[name].startswith("the training diverged")
    assert made.proof.loss_last is None
    assert [(f.code, f.advice) for f in made.warnings if f.code != "CpuShared"] == [("Diverged", "lower --learning-rate")]
    assert "train_rmse_views" not in made.learning
    assert all(math.isfinite(point.train_loss) for point in made.learning.curve)


def test_bf16_trains_and_is_recorded_and_fp32_is_the_default_again_afterwards(tmp_path: Path) -> None:
    half = trained(tmp_path, "mlp", epochs=2, dtype="bf16")
    full = trained(tmp_path, "mlp", epochs=2)
    assert (half.request.dtype, full.request.dtype) == ("bf16", "fp32")
    assert half.learning.train_loss != full.learning.train_loss
    assert half.learning.train_loss == pytest.approx(full.learning.train_loss, rel=0.2)


def test_the_number_of_threads_is_put_back(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    made = trained(tmp_path, "mlp", epochs=1)
    assert made.request.num_threads == 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("flags", "error", "match"),
    [
        ({"device": "abacus"}, BadValueError, "device 'abacus' is unknown"),
        ({"dtype": "fp16"}, BadValueError, "dtype fp16 needs a GPU to train"),
        ({"dtype": "fp8"}, BadValueError, "dtype 'fp8' cannot be trained in here; expected one of: fp32, bf16, fp16"),
        ({"batch": 1406}, BadValueError, "--batch 1406 is more than the 1,405 training samples"),
        ({"data": "/no/such/file.csv"}, UnavailableError, "cannot read the data"),
    ],
)
def test_what_cannot_be_trained_is_refused(flags: dict[str, Any], error: type[Exception], match: str) -> None:
    asked = Request(**({"model": "mlp", "config": dict(model_entry("mlp").config), "task": "train", "device": "cpu"} | flags))
    with pytest.raises(error, match=match):
        decide(asked)


@pytest.mark.parametrize("model", ["linreg-1d", "mlp", "spam", "tiny-gpt"])
def test_what_can_be_trained_is_decided(model: str) -> None:
    decide(Request(model=model, config=dict(model_entry(model).config), task="train", device="cpu"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what is asked for")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    asked = Request(model="mlp", config=dict(model_entry("mlp").config), task="train", device="cuda")
    with pytest.raises(UnavailableError, match="no CUDA"):
        decide(asked)


@pytest.mark.parametrize(
    ("flags", "match"),
    [
        ({"prompt": "深度学习是"}, "the prompt has characters that tiny-gpt does not know"),
        ({"new_tokens": 64}, "--new-tokens 64 is out of range; expected 1 to 63 after a prompt of 1 characters"),
    ],
)
def test_a_sample_that_cannot_be_written_is_refused_before_the_training(tmp_path: Path, flags: dict[str, Any], match: str) -> None:
    with pytest.raises(BadValueError, match=match):
        drafted(tmp_path, "tiny-gpt", SMALL_GPT, **flags)


def test_a_vocabulary_too_small_for_the_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadValueError, match="has a vocabulary of 20; its text has 37 characters"):
        drafted(tmp_path, "tiny-gpt", {**SMALL_GPT, "vocab_size": 20})


def test_the_sample_goes_on_from_the_users_prompt(tmp_path: Path) -> None:
    learned = trained(tmp_path, "tiny-gpt", SMALL_GPT, epochs=1, steps=2, seq_len=16, prompt="on sunday ", new_tokens=5).learning
    assert learned.sample.startswith("on sunday ")
    assert len(learned.sample) == len("on sunday ") + 5


def interrupt_after(epochs: int, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send SIGINT while the training goes on, as a terminal and then a launcher do."""

    def show(self: Progress, epoch: int, curve: Any) -> None:
        if epoch == epochs:
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Progress, "show", show)


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupted_training_keeps_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    interrupt_after(4, times, monkeypatch)
    run, draft = drafted(tmp_path, "mlp", epochs=100)
    with pytest.raises(KeyboardInterrupt):
        train_and_report(run, draft)
    draft.save("partial", "interrupted by the user")
    made = record.read(draft.path)
    steps, epochs = made.phase("train_step"), made.phase("epoch")
    assert steps is not None
    assert epochs is not None
    assert steps.stopped_by == "interrupt"
    assert len(steps.samples_s) + len(steps.warmup_s) == made.proof.num_steps == 4 * 21
    assert made.proof.num_samples == 4 * 21 * 64
    assert len(epochs.samples_s) == 4
    assert made.proof.loss_first > 0
    assert "loss_last" not in made.proof
    assert made.unavailable["heldout_loss"] == "the training was interrupted"
    assert made.learning.curve == ()  # the first of 20 points would have come after epoch 5
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_training_can_follow_an_interrupted_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = trained(tmp_path, "mlp", epochs=2).learning
    with monkeypatch.context() as patched:
        interrupt_after(1, 1, patched)
        run, draft = drafted(tmp_path, "mlp", epochs=2)
        with pytest.raises(KeyboardInterrupt):
            train_and_report(run, draft)
    assert trained(tmp_path, "mlp", epochs=2).learning == alone


def test_only_the_first_interrupt_counts() -> None:
    done: list[str] = []

    def interrupted_while_it_cleans_up() -> None:
        with one_interrupt():
            try:
                signal.raise_signal(signal.SIGINT)
            finally:
                signal.raise_signal(signal.SIGINT)
                done.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        interrupted_while_it_cleans_up()
    assert done == ["cleaned up"]
    with pytest.raises(KeyboardInterrupt):  # and afterwards one counts again
        signal.raise_signal(signal.SIGINT)


def test_interrupts_are_left_alone_outside_the_main_thread() -> None:
    seen: list[Any] = []

    def look() -> None:
        with one_interrupt():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


def test_nothing_is_printed_where_nobody_watches(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    trained(tmp_path, "mlp", epochs=2)
    assert capfd.readouterr() == ("", "")


def test_the_record_is_plain_json_without_numbers_that_json_does_not_have(tmp_path: Path) -> None:
    run, draft = drafted(tmp_path, "spam", epochs=1)
    train_and_report(run, draft)
    draft.save("complete")
    json.loads(draft.path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} in a record"))
