"""A plain loop under watch: the record it leaves, its tokens, its waits, its lines, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.callbacks import watch
from bench.cli.main import main
from estimators.errors import BadValueError, UnavailableError
from tests.support.quiet_machine import failed_by_itself
from tests.support.seated_ranks import other, seat
from tests.support.tiny_models import CEILINGS
from tests.support.watched_trainings import Batch, Training, batches, only_record, run, tiny_model

pytestmark = pytest.mark.usefixtures("one_thread")


class TestLoop:
    def test_it_leaves_a_record_whose_checks_all_hold_and_which_report_reads(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        made = run(tmp_path, batches(12))
        assert made.status == "complete"
        assert failed_by_itself(made) == ()
        assert main(["report", str(tmp_path), "-v"]) == 0
        (path,) = tmp_path.glob("*.json")
        assert main(["report", str(path), "-v"]) == 0
        assert "Inside the training" in capsys.readouterr().out

    def test_its_tokens_are_those_of_the_masks_and_padding_stands_apart(self, tmp_path: Path) -> None:
        made = run(tmp_path, batches(5, rows=3, length=10, padding=4))
        # By hand: 3 rows of 10 positions, 4 of them padding, 5 times.
        assert made.proof.num_tokens == 5 * (3 * 10 - 4) == 130
        assert made.proof.watched.padding_per_step == (4,) * 5
        phase = made.phase("train_step")
        assert phase is not None
        assert (phase.items_per_sample, phase.item) == (26, "token")
        assert {finding.code for finding in made.warnings} >= {"Padding"}

    def test_steps_of_several_lengths_are_summed_exactly_and_said_to_vary(self, tmp_path: Path) -> None:
        short, long = run(tmp_path / "a", batches(2, length=8)), run(tmp_path / "b", batches(2, length=16))
        both = run(tmp_path / "c", [*batches(2, length=8), *batches(2, length=16)])
        expected = sum(one.proof.watched.training_flop for one in (short, long))
        assert both.proof.watched.training_flop == expected
        assert both.proof.num_tokens == 2 * 2 * 8 + 2 * 2 * 16
        assert "ShapesVary" in {finding.code for finding in both.warnings}

    def test_accumulated_batches_are_one_step_and_the_last_may_be_short(self, tmp_path: Path) -> None:
        made = run(tmp_path, batches(5), accumulate=2)
        assert made.proof.num_steps == 3
        assert made.proof.watched.tokens_per_step == (64, 64, 32)
        assert made.request.batch == 4

    def test_several_epochs_go_into_one_record(self, tmp_path: Path) -> None:
        model = tiny_model()
        training, watched = Training(model), watch(batches(4), model, out=tmp_path, every=0, ceilings=CEILINGS)
        for _ in range(2):
            for batch in watched:
                watched.loss(training.step(batch))
        assert only_record(tmp_path).proof.num_steps == 8

    def test_the_wait_for_a_slow_loader_is_measured_apart_and_reported(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [0.0]  # a scripted clock: 3 s for every batch, 1 s for every step
        monkeypatch.setattr("time.perf_counter", lambda: now[0])

        def loader() -> Iterator[Batch]:
            for batch in batches(8):
                now[0] += 3.0
                yield batch

        model = tiny_model()
        watched = watch(loader(), model, out=tmp_path, every=0, ceilings=CEILINGS)
        for _ in watched:
            now[0] += 1.0
        made = only_record(tmp_path)
        assert made.proof.watched.data_wait_s == (3.0,) * 8
        step, host = made.phase("train_step"), made.phase("host_step")
        assert step is not None
        assert host is not None
        assert (set(step.samples_s), set(host.samples_s)) == ({4.0}, {1.0})
        assert "75 % of the time went into waiting for data" in {f.text for f in made.warnings if f.code == "DataWait"}

    def test_a_line_every_few_steps_goes_to_stderr(self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
        monkeypatch.setattr("bench.callbacks.console.LEAST_LINE_S", 0.0)
        run(tmp_path, batches(9), every=3)
        said = capsys.readouterr()
        lines = [line for line in said.err.splitlines() if line.startswith("step ")]
        assert len(lines) == 2  # the step that ended last still waits for its loss
        assert "tokens/s" in lines[0]
        assert "of the matmul ceiling" in lines[1]
        assert said.out == ""

    def test_it_does_not_disturb_the_random_state(self, tmp_path: Path) -> None:
        model = tiny_model()
        torch.manual_seed(3)
        alone = torch.rand(1)
        torch.manual_seed(3)
        for _ in watch(batches(2), model, out=tmp_path, every=0, ceilings=CEILINGS):
            pass
        assert torch.equal(torch.rand(1), alone)

    @pytest.mark.parametrize(
        ("options", "complaint"),
        [
            ({"every": -1}, "every is -1; expected a whole number from 0"),
            ({"steps": 0}, "steps is 0; expected a whole number from 1"),
            ({"accumulate": 0}, "accumulate is 0; expected a whole number from 1"),
            ({"dtype": "fp3"}, "dtype 'fp3' is unknown"),
            ({"optimizer": "lion"}, "optimizer 'lion' is unknown"),
        ],
    )
    def test_a_wrong_option_is_refused_in_one_line(self, tmp_path: Path, options: dict[str, Any], complaint: str) -> None:
        with pytest.raises(BadValueError, match=complaint):
            watch(batches(1), tiny_model(), **({"out": tmp_path} | options))

    def test_a_network_without_parameters_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BadValueError, match="ReLU has no parameters; expected the network that is trained"):
            watch(batches(1), torch.nn.ReLU(), out=tmp_path)

    def test_a_rank_that_is_not_the_main_one_prints_and_writes_nothing(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("bench.callbacks.console.LEAST_LINE_S", 0.0)
        store = seat(monkeypatch, rank=0)
        other(store, rank=0)
        seat(monkeypatch, rank=1, store=store)
        for _ in watch(batches(6), tiny_model(), out=tmp_path, every=1, ceilings=CEILINGS):
            pass
        assert capsys.readouterr().err == ""
        assert list(tmp_path.glob("*.json")) == []

    def test_a_folder_that_cannot_be_written_is_refused_before_the_first_step(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(UnavailableError, match="cannot write records to"):
            watch(batches(1), tiny_model(), out=tmp_path / "file" / "runs")
